"""Websockets of the server: the handshake, messages both ways, bounds, silence, slowness, and the end."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings, strategies as st
from trio.testing import MemorySendStream, MockClock, memory_stream_pair
from wsproto.connection import CLIENT, Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import Opcode

from node.api.http import Limits, Request, Response
from node.api.server import ConnectionPool
from node.api.websocket import Socket, SocketClosed, SocketServer, run_socket

KEY = base64.b64encode(bytes(16)).decode()
HEADERS = (
    "Host: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
)


async def hello(request: Request) -> Response:
    return Response(200, b"hello")


async def echo(socket: Socket) -> None:
    while (message := await socket.receive()) is not None:
        await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


def upgrading(serve: SocketServer) -> Callable[[Request], Awaitable[Response | SocketServer]]:
    async def upgrade(request: Request) -> Response | SocketServer:
        return Response(404, b"no") if request.path == "/no" else serve

    return upgrade


class Peer:
    """The client's end of one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.ws = Connection(CLIENT)
        self._events: list[Event] = []

    async def ask(self, text: str) -> str:
        """Send a request and return the head of the answer."""
        await self.stream.send_all(text.encode())
        data = bytearray()
        while b"\r\n\r\n" not in data:
            chunk = await self.stream.receive_some(4096)
            if not chunk:
                break
            data += chunk
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101"):
            self.ws.receive_data(rest)
        return head.decode() + "\r\n\r\n" + (rest.decode() if not head.startswith(b"HTTP/1.1 101") else "")

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.ws.send(event))

    async def receive(self) -> Event | None:
        """Return the next event, None when the connection has ended."""
        while not self._events:
            self._events += self.ws.events()
            if self._events:
                break
            chunk = await self.stream.receive_some(4096)
            if not chunk:
                return None
            self.ws.receive_data(bytes(chunk))
        return self._events.pop(0)

    async def is_closed_with(self) -> int:
        """Return the code of the closing, whatever comes before it."""
        while not isinstance(event := await self.receive(), CloseConnection):
            assert event is not None, "it ended without a closing"
        return event.code


@asynccontextmanager
async def connected(
    serve: SocketServer = echo, *, limits: Limits | None = None, handshake: bool = True
) -> AsyncIterator[tuple[Peer, ConnectionPool]]:
    ours, theirs = memory_stream_pair()
    pool = ConnectionPool(hello, limits or Limits(), upgrading(serve))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, theirs)
        peer = Peer(ours)
        if handshake:
            assert (await peer.ask(f"GET /yes HTTP/1.1\r\n{HEADERS}\r\n")).startswith("HTTP/1.1 101 ")
        yield peer, pool
        nursery.cancel_scope.cancel()


def frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """One frame as a client sends it, sound or not."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([fin << 7 | opcode]) + length + bytes(4) + payload


async def test_handshake_is_accepted_with_the_key_of_the_standard(autojump_clock: MockClock) -> None:
    async with connected(handshake=False) as (peer, _):
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        answer = await peer.ask(f"GET / HTTP/1.1\r\n{HEADERS.replace(KEY, key)}\r\n")
    assert answer.startswith("HTTP/1.1 101 ")
    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


@pytest.mark.parametrize(
    ("method", "path", "old", "new", "status"),
    [
        ("POST", "/", "", "", 405),
        ("GET", "/no", "", "", 404),
        ("GET", "/", "Version: 13", "Version: 8", 426),
        ("GET", "/", KEY, "short", 400),
        ("GET", "/", KEY, "!" * 24, 400),
        ("GET", "/", "Host: h\r\n", "Host: h\r\nContent-Length: 1\r\n", 400),
        ("GET", "/", "Upgrade: websocket", "Upgrade: h2c", 200),
        ("GET", "/", "keep-alive, Upgrade", "keep-alive", 200),
    ],
)
async def test_handshake_that_is_not_sound_is_refused(
    method: str, path: str, old: str, new: str, status: int, autojump_clock: MockClock
) -> None:
    headers = HEADERS.replace(old, new) if old else HEADERS
    body = "x" if "Content-Length" in headers else ""
    async with connected(handshake=False) as (peer, _):
        answer = await peer.ask(f"{method} {path} HTTP/1.1\r\n{headers}\r\n{body}")
        assert answer.startswith(f"HTTP/1.1 {status} ")
        assert ("sec-websocket-version: 13" in answer.lower()) == (status == 426)
        assert "200" in await peer.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "the connection goes on as HTTP"


async def test_http_1_0_peer_is_not_upgraded(autojump_clock: MockClock) -> None:
    async with connected(handshake=False) as (peer, _):
        assert "200" in await peer.ask(f"GET / HTTP/1.0\r\n{HEADERS}\r\n")


async def test_messages_come_back_whole_whatever_kind_and_pieces(autojump_clock: MockClock) -> None:
    async with connected() as (peer, _):
        await peer.send(TextMessage("grüß", message_finished=False))
        await peer.send(Ping(b"between"))
        await peer.send(TextMessage(" dich", message_finished=True))
        await peer.send(BytesMessage(b"\x00\xff"))
        assert await peer.receive() == Pong(b"between")
        assert await peer.receive() == TextMessage("grüß dich")
        assert await peer.receive() == BytesMessage(b"\x00\xff")


async def test_message_sent_along_with_the_handshake_is_not_lost(autojump_clock: MockClock) -> None:
    async with connected(handshake=False) as (peer, _):
        await peer.stream.send_all(f"GET / HTTP/1.1\r\n{HEADERS}\r\n".encode() + frame(b"early"))
        await peer.ask("")
        assert await peer.receive() == TextMessage("early")


async def test_peer_that_closes_is_answered_and_the_socket_ends(autojump_clock: MockClock) -> None:
    async with connected() as (peer, pool):
        began = trio.current_time()
        await peer.send(CloseConnection(1000, "bye"))
        assert await peer.is_closed_with() == 1000
        assert await peer.receive() is None
        assert trio.current_time() == began, "it ends at once"
        assert pool.has_room_for_socket("")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(b"\xff\xfe"), 1007),
        (frame(b"ok", fin=False) + frame(b"\xc3", Opcode.CONTINUATION), 1007),
        (b"\x81\x02hi", 1002),
        (frame(b"late", Opcode.CONTINUATION), 1002),
        (frame(b"a", fin=False) + frame(b"b"), 1002),
        (b"\xc1\x80\x00\x00\x00\x00", 1002),
        (b"\x83\x80\x00\x00\x00\x00", 1002),
        (frame(b"x" * 126, Opcode.PING), 1002),
        (frame(b"\x00", Opcode.CLOSE), 1002),
    ],
)
async def test_breach_of_the_rules_ends_the_socket_with_its_code(
    wire: bytes, code: int, autojump_clock: MockClock
) -> None:
    async with connected() as (peer, _):
        await peer.stream.send_all(wire)
        assert await peer.is_closed_with() == code


async def test_message_that_is_too_big_ends_the_socket_although_it_comes_in_fragments(
    autojump_clock: MockClock,
) -> None:
    async with connected() as (peer, _):
        await peer.stream.send_all(frame(bytes(1024), Opcode.BINARY, fin=False))
        for _ in range(256):
            await peer.stream.send_all(frame(bytes(1024), Opcode.CONTINUATION, fin=False))
        assert await peer.is_closed_with() == 1009


async def test_frame_that_says_it_is_huge_is_refused_before_it_has_come(autojump_clock: MockClock) -> None:
    async with connected() as (peer, _):
        await peer.stream.send_all(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + bytes(4) + bytes(300_000))
        assert await peer.is_closed_with() == 1009


async def test_flood_of_empty_fragments_takes_no_memory_and_leaves_the_loop_to_others(
    autojump_clock: MockClock,
) -> None:
    async with connected() as (peer, _):
        await peer.stream.send_all(frame(b"", fin=False) + frame(b"", Opcode.CONTINUATION, fin=False) * 5000)
        await peer.stream.send_all(frame(b"end", Opcode.CONTINUATION))
        assert await peer.receive() == TextMessage("end")


async def test_silent_peer_is_asked_and_kept_as_long_as_it_answers(autojump_clock: MockClock) -> None:
    async with connected() as (peer, _):
        for _ in range(3):
            assert await peer.receive() == Ping(b"")
            await peer.send(Pong())
        await peer.send(TextMessage("still here"))
        assert await peer.receive() == TextMessage("still here")


async def test_dead_peer_is_found(autojump_clock: MockClock) -> None:
    async with connected() as (peer, pool):
        began = trio.current_time()
        assert await peer.receive() == Ping(b"")
        assert await peer.receive() is None
        assert trio.current_time() - began < 60
        assert pool.has_room_for_socket("")


async def test_peer_is_not_called_dead_while_nobody_reads_what_it_says(autojump_clock: MockClock) -> None:
    async def busy(socket: Socket) -> None:
        await trio.sleep(300)
        await socket.send_text("done")

    async with connected(busy) as (peer, _):
        while isinstance(event := await peer.receive(), Ping):
            await peer.send(event.response())
        assert event == TextMessage("done")


async def test_slow_reader_is_cut_off(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def flood(socket: Socket) -> None:
        try:
            while True:
                await socket.send_text("x" * 1000)
        except SocketClosed as error:
            ended.append(str(error))
            raise

    ours, theirs = memory_stream_pair()
    assert isinstance(theirs, trio.StapledStream)
    assert isinstance(theirs.send_stream, MemorySendStream)

    async def stuck() -> None:
        await trio.sleep_forever()

    pool = ConnectionPool(hello, Limits(), upgrading(flood))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, theirs)
        peer = Peer(ours)
        await peer.ask(f"GET / HTTP/1.1\r\n{HEADERS}\r\n")
        theirs.send_stream.send_all_hook = stuck
    assert ended == ["the peer does not read"]


async def test_error_of_whoever_serves_is_told_as_1011_and_stays_here(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(socket: Socket) -> None:
        raise RuntimeError("a bug")

    async with connected(broken) as (peer, _):
        assert await peer.is_closed_with() == 1011
        assert await peer.receive() is None
    assert "the websocket on /yes failed" in caplog.text


async def test_socket_that_is_served_to_its_end_is_closed_normally(autojump_clock: MockClock) -> None:
    async def once(socket: Socket) -> None:
        await socket.send_text("all")

    async with connected(once) as (peer, _):
        assert await peer.receive() == TextMessage("all")
        assert await peer.is_closed_with() == 1000


async def test_stopping_server_tells_every_socket_that_it_goes_away(autojump_clock: MockClock) -> None:
    async with connected() as (peer, pool):
        pool.close_idle()
        assert await peer.is_closed_with() == 1001


async def test_sockets_have_a_bound_of_their_own(autojump_clock: MockClock) -> None:
    async with connected(limits=Limits(sockets=1, connections=1)) as (_, pool):
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, theirs)
            answer = await Peer(ours).ask(f"GET / HTTP/1.1\r\n{HEADERS}\r\n")
            nursery.cancel_scope.cancel()
    assert answer.startswith("HTTP/1.1 503 ")
    assert "too many websockets" in answer


async def test_nothing_is_sent_after_a_frame_was_cut_short(autojump_clock: MockClock) -> None:
    _, theirs = memory_stream_pair()
    socket = Socket(theirs)
    theirs.send_stream.send_all_hook = trio.sleep_forever
    with trio.move_on_after(1):
        await socket.send_text("half")
    theirs.send_stream.send_all_hook = None
    with pytest.raises(SocketClosed):
        await socket.send_text("more")
    await socket.close()


@settings(max_examples=60, deadline=None)
@given(wire=st.binary(max_size=400), chop=st.integers(min_value=1, max_value=50))
def test_no_bytes_of_a_peer_raise_or_hang(wire: bytes, chop: int) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_socket, Socket(theirs), echo, trio.CancelScope())
            for at in range(0, len(wire), chop):
                await ours.send_all(wire[at : at + chop])
            await ours.send_eof()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=40), max_size=8), pieces=st.integers(1, 5), chop=st.integers(1, 30))
def test_messages_survive_any_fragments_and_any_packets(texts: list[str], pieces: int, chop: int) -> None:
    async def main() -> None:
        ours, theirs = memory_stream_pair()
        peer, wire = Peer(ours), bytearray()
        for text in texts:
            step = max(1, len(text) // pieces)
            parts = [text[at : at + step] for at in range(0, len(text), step)] or [""]
            for number, part in enumerate(parts, 1):
                wire += peer.ws.send(TextMessage(part, message_finished=number == len(parts)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_socket, Socket(theirs), echo, trio.CancelScope())
            for at in range(0, len(wire), chop):
                await ours.send_all(bytes(wire[at : at + chop]))
            for text in texts:
                assert await peer.receive() == TextMessage(text)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
