"""The HTTP server: bounds, deadlines, keep-alive, 100-continue, HEAD, stopping, and hostile bytes."""

import json
import logging
import random
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from node.api.http import Limits, Request, Response
from node.api.listeners import open_tcp_listeners, open_unix_listener
from node.api.server import ConnectionPool, serve

log = logging.getLogger(__name__)

SMALL = Limits(head_bytes=1024, body_bytes=2048, connections=2)


async def echo(request: Request) -> Response:
    text = f"{request.method} {request.path}?{request.query} {len(request.body)} {request.is_local} {request.client}"
    return Response(200, text.encode(), (("Content-Type", "text/plain"),))


@asynccontextmanager
async def connected(limits: Limits = SMALL) -> AsyncIterator[trio.abc.Stream]:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ConnectionPool(echo, limits).run, theirs)
        yield ours
        nursery.cancel_scope.cancel()


async def receive(stream: trio.abc.Stream) -> str:
    """What arrives until the other side is silent for a while."""
    data = bytearray()
    with trio.move_on_after(0.5):
        while chunk := await stream.receive_some(65536):
            data += chunk
    return data.decode()


async def ask(stream: trio.abc.Stream, text: str) -> str:
    await stream.send_all(text.encode())
    return await receive(stream)


def body_of(answer: str) -> str:
    return answer.partition("\r\n\r\n")[2]


async def test_server_answers_a_request(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "GET /v1?a=b HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert "Date: " in answer
    assert body_of(answer) == "GET /v1?a=b 0 False "


async def test_server_keeps_the_connection_for_pipelined_requests(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert "GET /1?" in answer
        assert "GET /2?" in answer
        assert "GET /3?" in await ask(stream, "GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")


async def test_server_closes_when_asked_to(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await ask(stream, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert await stream.receive_some() == b""


async def test_server_sends_no_body_for_head(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert "Content-Length: 16" in answer
        assert body_of(answer) == ""
        assert "GET /next?" in await ask(stream, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")


async def test_server_says_continue_before_it_reads_a_body(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        assert (await ask(stream, head)).startswith("HTTP/1.1 100")
        assert body_of(await ask(stream, "abcd")) == "POST /? 4 False "


async def test_server_refuses_a_declared_body_that_is_too_large_without_continue(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2049\r\nExpect: 100-continue\r\n\r\n")
    assert answer.startswith("HTTP/1.1 413")
    assert json.loads(body_of(answer))["detail"] == "a body may have 2048 bytes"


async def test_server_refuses_a_chunked_body_that_grows_too_large(autojump_clock: MockClock) -> None:
    chunk = "400\r\n" + "x" * 1024 + "\r\n"
    async with connected() as stream:
        answer = await ask(stream, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        assert answer.startswith("HTTP/1.1 413")
        assert await stream.receive_some() == b""


async def test_server_bounds_all_bodies_together(autojump_clock: MockClock) -> None:
    pool = ConnectionPool(echo, Limits(buffered_bytes=3000))
    head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n"
    async with trio.open_nursery() as nursery:
        streams = []
        for _ in range(2):
            ours, theirs = memory_stream_pair()
            nursery.start_soon(pool.run, theirs)
            streams.append(ours)
        assert await ask(streams[0], head + "x" * 1900) == ""
        assert (await ask(streams[1], head + "x" * 1900)).startswith("HTTP/1.1 503")
        assert (await ask(streams[0], "x" * 100)).startswith("HTTP/1.1 200")
        assert pool.buffered == 0
        nursery.cancel_scope.cancel()


async def test_server_refuses_a_head_that_is_too_large(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "GET / HTTP/1.1\r\nHost: h\r\nX: " + "x" * 2000)
    assert answer.startswith("HTTP/1.1 431")


async def test_server_answers_400_to_what_is_not_http(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        answer = await ask(stream, "\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith("HTTP/1.1 400")
    assert list(json.loads(body_of(answer))) == [
        "id", "type", "links", "actions", "status", "code", "message", "detail",
    ]  # fmt: skip


async def test_server_refuses_two_content_lengths(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        text = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
        assert (await ask(stream, text)).startswith("HTTP/1.1 400")


async def test_server_gives_up_on_a_head_that_trickles(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        started = trio.current_time()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")
        assert trio.current_time() - started == pytest.approx(SMALL.head_timeout)


async def test_server_gives_up_on_a_body_that_does_not_come(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        started = trio.current_time()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")
        assert trio.current_time() - started == pytest.approx(SMALL.body_timeout)


async def test_server_closes_an_idle_connection_after_its_time(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await ask(stream, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        started = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - started == pytest.approx(SMALL.idle_timeout, abs=1)


async def test_server_closes_a_connection_that_says_nothing(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(SMALL.head_timeout)


async def test_server_drops_a_peer_that_does_not_read_its_answer(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    theirs.send_stream.send_all_hook = trio.sleep_forever
    await ours.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await ConnectionPool(echo, SMALL).run(theirs)
    assert trio.current_time() == pytest.approx(SMALL.write_timeout)


async def test_server_answers_500_and_goes_on_when_the_handler_fails(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing(request: Request) -> Response:
        raise RuntimeError("secret cause")

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ConnectionPool(failing, SMALL).run, theirs)
        for _ in range(2):
            answer = await ask(ours, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert answer.startswith("HTTP/1.1 500")
            assert "secret cause" not in answer
        nursery.cancel_scope.cancel()
    assert "secret cause" in caplog.text


async def test_server_makes_room_by_closing_the_connection_idle_longest(autojump_clock: MockClock) -> None:
    pool = ConnectionPool(echo, SMALL)
    async with trio.open_nursery() as nursery:
        streams = []
        for _ in range(3):
            ours, theirs = memory_stream_pair()
            nursery.start_soon(pool.run, theirs)
            assert "200" in await ask(ours, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            streams.append(ours)
        assert await streams[0].receive_some() == b""
        assert "200" in await ask(streams[1], "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        nursery.cancel_scope.cancel()


async def test_server_answers_503_when_every_connection_is_busy(autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    pool = ConnectionPool(slow, SMALL)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            ours, theirs = memory_stream_pair()
            nursery.start_soon(pool.run, theirs)
            await ask(ours, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        ours, theirs = memory_stream_pair()
        nursery.start_soon(pool.run, theirs)
        answer = await receive(ours)
        assert answer.startswith("HTTP/1.1 503")
        assert "Retry-After: 1" in answer
        nursery.cancel_scope.cancel()


async def test_server_survives_ten_thousand_random_byte_strings(autojump_clock: MockClock) -> None:
    seed = random.SystemRandom().getrandbits(32)
    log.warning("seed %d", seed)
    rng = random.Random(seed)
    starts = (b"", b"GET / HTTP/1.1\r\n", b"POST /v1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    pool = ConnectionPool(echo, SMALL)
    for _ in range(10_000):
        ours, theirs = memory_stream_pair()
        await ours.send_all(rng.choice(starts) + rng.randbytes(rng.randrange(200)))
        await ours.send_eof()
        await pool.run(theirs)
    async with trio.open_nursery() as nursery:
        ours, theirs = memory_stream_pair()
        nursery.start_soon(pool.run, theirs)
        assert "200" in await ask(ours, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        nursery.cancel_scope.cancel()


async def test_server_tells_the_client_address_over_tcp() -> None:
    listeners = await open_tcp_listeners("127.0.0.1", 0)
    port = listeners[0].socket.getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, echo, listeners, stop=stop))
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await stream.receive_some()).endswith(b"GET /? 0 False 127.0.0.1")
            stop.set()
            assert await stream.receive_some() == b""


async def open_from(address: str, port: int) -> trio.SocketStream:
    """Connect from an address of our choice."""
    sock = trio.socket.socket()
    await sock.bind((address, 0))
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


async def say(stream: trio.abc.Stream, text: str) -> str:
    """Send text and return the first piece of the answer."""
    await stream.send_all(text.encode())
    with trio.fail_after(5):
        return (await stream.receive_some()).decode()


async def test_one_address_cannot_hold_all_connections_with_half_sent_requests() -> None:
    listeners = await open_tcp_listeners("127.0.0.1", 0)
    port = listeners[0].socket.getsockname()[1]
    stop = trio.Event()
    half = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
    get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, echo, listeners, limits=Limits(connections_per_client=2), stop=stop))
        first, second = await open_from("127.0.0.1", port), await open_from("127.0.0.1", port)
        for stream in (first, second):
            assert "100" in await say(stream, half)
        async with await open_from("127.0.0.1", port) as refused:
            assert "503" in (await refused.receive_some()).decode()
        async with await open_from("127.0.0.2", port) as other:
            assert "200" in await say(other, get)
        assert "200" in await say(first, "x")
        async with await open_from("127.0.0.1", port) as again:
            assert "200" in await say(again, get), "the idle one makes room"
            assert await first.receive_some() == b""
        for stream in (first, second):
            await stream.aclose()
        stop.set()


async def test_unix_socket_is_root_only_local_and_gone_after_the_stop(tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    listener = open_unix_listener(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, echo, [listener], stop=stop))
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            assert (await stream.receive_some()).endswith(b"GET /? 0 True ")
        stop.set()
    assert not path.exists()


async def test_unix_listener_leaves_a_file_that_is_no_socket_and_a_successors_socket(tmp_path: Path) -> None:
    path = tmp_path / "corral.sock"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="not a socket"):
        open_unix_listener(path)
    assert path.read_text() == "precious"
    path.unlink()
    first = open_unix_listener(path)
    second = open_unix_listener(path)
    await first.aclose()
    assert path.exists()
    await second.aclose()
    assert not path.exists()


async def test_server_lets_a_request_under_way_end_when_it_stops(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def slow(request: Request) -> Response:
        stop.set()
        await trio.sleep(1)
        return Response(200, b"done")

    stop = trio.Event()
    listener = open_unix_listener(tmp_path / "s")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, slow, [listener], stop=stop))
        async with await trio.open_unix_socket(str(tmp_path / "s")) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await receive_all(stream)
    assert answer.endswith(b"done")
    assert b"Connection: close" in answer


async def receive_all(stream: trio.abc.Stream) -> bytes:
    data = bytearray()
    while chunk := await stream.receive_some():
        data += chunk
    return bytes(data)


async def test_server_cuts_a_request_that_outlasts_the_stop_deadline(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def endless(request: Request) -> Response:
        stop.set()
        await trio.sleep_forever()
        raise AssertionError

    stop = trio.Event()
    listener = open_unix_listener(tmp_path / "s")
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, endless, [listener], stop=stop))
        async with await trio.open_unix_socket(str(tmp_path / "s")) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert await receive_all(stream) == b""
    assert trio.current_time() == pytest.approx(Limits().stop_timeout, abs=0.5)
