"""Websockets of the API's server: the handshake, and one socket that is bounded, kept alive and never waits for ever.

Messages that come in have a largest size, one that goes out has to be taken in time, a peer that says nothing for a
while is asked whether it is there, and any breach of the rules ends the socket with its code.  Knows nothing of what
is said.  Rules: RFC 6455, by wsproto; no extensions.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from node.api.errors import ApiError, http_error
from node.api.http import KIB, Request, Response

RECEIVE_BYTES = 8 * KIB
"""Some 1,400 of the smallest frames: what is parsed in one go."""
EVENTS_AT_A_TIME = 100
NORMAL, GOING_AWAY, TOO_BIG, FAILED, TRY_AGAIN = 1000, 1001, 1009, 1011, 1013
MAX_REASON_BYTES = 120
"""A control frame has room for 125 bytes, two of them for the code."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one socket."""

    message_bytes: int = 256 * KIB
    """Of one message that comes in, all its fragments together."""
    write_timeout: float = 10.0
    """For one message that goes out; a peer that reads slower than that is gone."""
    ping_interval: float = 30.0
    ping_timeout: float = 20.0
    """From a ping to any sign of life."""
    close_timeout: float = 1.0
    """For the peer's half of a closing."""


class SocketClosed(Exception):
    """Nothing can be sent any more."""


def wants_websocket(request: Request) -> bool:
    """Whether the request asks to go on as a websocket."""
    return "websocket" in _words(request, "upgrade") and "upgrade" in _words(request, "connection")


def check_handshake(request: Request) -> Response | None:
    """Return the refusal of a handshake that is not sound, None for one that is (RFC 6455, 4.2.1)."""
    if request.method != "GET":
        return http_error(405, "a websocket begins with GET")
    if request.body:
        return http_error(400, "a websocket's handshake has no body")
    if request.header("sec-websocket-version") != "13":
        wanted = (("Sec-WebSocket-Version", "13"),)
        return ApiError("Upgrade Required", "this node speaks version 13 of the protocol", headers=wanted).response()
    try:
        key = base64.b64decode(request.header("sec-websocket-key") or "", validate=True)
    except binascii.Error:
        key = b""
    return None if len(key) == 16 else http_error(400, "Sec-WebSocket-Key is not 16 bytes in base64")


def handshake_headers(request: Request) -> list[tuple[str, str]]:
    """Return the headers of the answer that accepts a sound handshake."""
    # Imported where the first socket needs it: a daemon whose API nobody watches does without.
    from wsproto.utilities import generate_accept_token

    token = generate_accept_token((request.header("sec-websocket-key") or "").encode())
    return [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", token.decode())]


def _words(request: Request, name: str) -> set[str]:
    values = (value for key, value in request.headers if key == name)
    return {word.strip().lower() for value in values for word in value.split(",")}


class Socket:
    """One open websocket.  Any task may send; one at a time receives, and one has to, or no closing is seen."""

    def __init__(self, stream: trio.abc.Stream, limits: SocketLimits | None = None, trailing: bytes = b"") -> None:
        """Take a stream over; `trailing` is what came after the handshake already."""
        from wsproto.connection import SERVER, Connection

        self._stream = stream
        self._limits = limits or SocketLimits()
        self._ws = Connection(SERVER, trailing_data=trailing)
        self._writing = trio.Lock()
        self._is_cut = False
        """A frame was begun and not ended, or the peer is gone: nothing more can be said."""
        self._is_closing = False
        self._is_over = False
        """The peer closed, or broke the rules."""
        self._is_breached = False
        """What else it sends cannot be read."""
        self._is_reading = False
        self._heard_at = trio.current_time()
        self._parts: list[str | bytes] = []
        self._size = 0

    async def send_text(self, text: str) -> None:
        """Send one text message; SocketClosed when the peer is gone, or too slow."""
        from wsproto.events import TextMessage

        await self._send(TextMessage(text))

    async def send_bytes(self, payload: bytes) -> None:
        """Send one binary message; SocketClosed when the peer is gone, or too slow."""
        from wsproto.events import BytesMessage

        await self._send(BytesMessage(payload))

    async def receive(self) -> str | bytes | None:
        """Return the next message, None once there will be none; pings are answered on the way."""
        self._is_reading = True
        try:
            while not self._is_over:
                message = await self._next_message()
                if message is not None:
                    return message
                if not self._is_over:
                    await self._receive_more()
            return None
        finally:
            self._is_reading = False

    async def drain(self) -> None:
        """Read and drop messages until the peer closes: for sockets that only send."""
        while await self.receive() is not None:
            pass

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say that this is the end; harmless when it was said, or cannot be."""
        from wsproto.connection import ConnectionState
        from wsproto.events import CloseConnection

        if self._is_closing or self._ws.state not in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            return
        self._is_closing = True
        reason = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
        try:
            await self._write(CloseConnection(code, reason or None))
        except SocketClosed:
            pass

    async def finish(self, code: int, reason: str = "") -> None:
        """Close, and wait for a moment until the peer has too: an early end of the stream could take our frame away."""
        await self.close(code, reason)
        with trio.move_on_after(self._limits.close_timeout):
            while not self._is_over:
                await self.receive()
            while not self._is_cut and self._is_breached:
                self._is_cut = not await self._receive_some()

    async def keep_alive(self) -> None:
        """Ask a silent peer for a sign of life; returns when none comes."""
        from wsproto.events import Ping

        interval, timeout = self._limits.ping_interval, self._limits.ping_timeout
        while not self._is_over:
            await trio.sleep_until(self._heard_at + interval)
            if self._heard_at + interval > trio.current_time():
                continue
            asked_at = trio.current_time()
            try:
                await self._send(Ping())
            except SocketClosed:
                return
            await trio.sleep(timeout)
            if not self._is_reading:
                # Whoever serves it has no time for more; what came since has not been looked at.
                self._heard_at = trio.current_time()
            elif self._heard_at < asked_at:
                self._is_cut = True
                return

    async def _next_message(self) -> str | bytes | None:
        """Return the next whole message of what has arrived, if any."""
        from wsproto.connection import ConnectionState
        from wsproto.events import CloseConnection, Message, Ping

        for number, event in enumerate(self._ws.events(), 1):
            match event:
                case Message(data=piece, message_finished=is_whole):
                    self._parts.append(piece if isinstance(piece, str) else bytes(piece))
                    self._size += len(piece)
                    if self._size > self._limits.message_bytes:
                        self._is_breached = True
                        await self._break_off(TOO_BIG, f"a message may have {self._limits.message_bytes} bytes")
                        return None
                    if is_whole:
                        return self._take_message()
                    if len(self._parts) > EVENTS_AT_A_TIME:
                        self._parts = [self._joined()]
                case Ping():
                    await self._answer(event.response())
                case CloseConnection(code=code, reason=reason):
                    self._is_breached = self._ws.state is ConnectionState.OPEN
                    await self._break_off(code, reason or "")
                    return None
            if number % EVENTS_AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
        return None

    def _take_message(self) -> str | bytes:
        message = self._joined()
        self._parts, self._size = [], 0
        return message

    def _joined(self) -> str | bytes:
        # Of one message all pieces are of one kind, wsproto sees to that.
        if isinstance(self._parts[0], str):
            return "".join(part for part in self._parts if isinstance(part, str))
        return b"".join(part for part in self._parts if isinstance(part, bytes))

    async def _break_off(self, code: int, reason: str) -> None:
        self._is_over = True
        await self.close(code, reason)

    async def _answer(self, event: object) -> None:
        try:
            await self._send(event)
        except SocketClosed:
            self._is_over = self._is_cut

    async def _receive_more(self) -> None:
        chunk = await self._receive_some()
        if not chunk:
            self._is_over = self._is_cut = True
            return
        self._heard_at = trio.current_time()
        self._ws.receive_data(chunk)

    async def _receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def _send(self, event: object) -> None:
        if self._is_closing:
            raise SocketClosed("the socket is closing")
        await self._write(event)

    async def _write(self, event: object) -> None:
        from wsproto.events import Event
        from wsproto.utilities import LocalProtocolError

        assert isinstance(event, Event)
        with trio.move_on_after(self._limits.write_timeout):
            async with self._writing:
                if self._is_cut:
                    raise SocketClosed("the peer is gone")
                try:
                    wire = bytes(self._ws.send(event))
                except LocalProtocolError:
                    raise SocketClosed("the socket is closed") from None
                # Until all of it is out the stream is good for nothing else, whatever interrupts us.
                self._is_cut = True
                try:
                    await self._stream.send_all(wire)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise SocketClosed("the peer is gone") from None
                self._is_cut = False
                return
        self._is_cut = True
        raise SocketClosed("the peer does not read")


async def run_socket(socket: Socket, serve: "SocketServer", going_away: trio.CancelScope) -> None:
    """Have `serve` talk until it returns, the peer is gone, or `going_away` is cancelled, then close.

    Only an error of `serve` is raised, once the peer was told that something failed.
    """
    code = FAILED
    try:
        with going_away:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_keep_alive, socket, nursery.cancel_scope)
                try:
                    await serve(socket)
                except* SocketClosed:
                    pass
                nursery.cancel_scope.cancel()
        code = GOING_AWAY if going_away.cancelled_caught else NORMAL
    finally:
        await socket.finish(code, "this node stops" if code == GOING_AWAY else "")


async def _keep_alive(socket: Socket, scope: trio.CancelScope) -> None:
    await socket.keep_alive()
    scope.cancel()


SocketServer = Callable[[Socket], Awaitable[None]]
Upgrader = Callable[[Request], Awaitable["Response | SocketServer"]]
"""Decides on a sound handshake: an answer that refuses it, or who talks on the socket."""
