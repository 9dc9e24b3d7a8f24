"""An HTTP/1.1 server for one handler, on trio and h11: it reads whole requests and writes whole responses.

It bounds everything a peer can grow (head, body, connections, time) and never lets a peer's bytes raise beyond its
connection.  It knows nothing of paths or resources.  A request for a websocket that its `upgrader` takes leaves HTTP,
and the bounds of connections, for those of sockets.  Rules: RFC 9112.
"""

import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from email.utils import formatdate
from functools import partial
from http import HTTPStatus

import h11
import trio

from node.api.errors import http_error
from node.api.http import Handler, Limits, Request, Response
from node.api.registering import redact
from node.api.websocket import (
    Socket,
    SocketServer,
    Upgrader,
    check_handshake,
    handshake_headers,
    run_socket,
    wants_websocket,
)

log = logging.getLogger(__name__)

RECEIVE_BYTES = 64 * 1024
LINGER = 1.0
"""Seconds to read on after an early refusal, so that the peer sees the answer and not a reset."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BUSY = http_error(503, "too many connections; try again in a moment", retry_after=1)
_SOCKETS_BUSY = http_error(503, "too many websockets are open here; close some, or use another node", retry_after=10)


async def serve(
    handler: Handler,
    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]],
    *,
    upgrader: Upgrader | None = None,
    limits: Limits | None = None,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on all listeners until `stop` is set, then let requests under way end within `limits.stop_timeout`.

    Websockets go to whom `upgrader` names; at the stop each is told that this node goes away.  The listeners are
    closed in any case.  Cancelling instead of `stop` ends everything at once.
    """
    bounds = limits or Limits()
    pools = [ConnectionPool(handler, bounds, upgrader) for _ in listeners]
    async with trio.open_nursery() as connections:
        try:
            async with trio.open_nursery() as accepting:
                for pool, listener in zip(pools, listeners, strict=True):
                    accept = partial(trio.serve_listeners, pool.run, [listener], handler_nursery=connections)
                    await accepting.start(accept)
                task_status.started()
                await (trio.sleep_forever() if stop is None else stop.wait())
                accepting.cancel_scope.cancel()
        finally:
            await _close_all(listeners)
        connections.cancel_scope.deadline = trio.current_time() + bounds.stop_timeout
        for pool in pools:
            pool.close_idle()


async def _close_all(listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
    for listener in listeners:
        # Closing must reach every listener even while we are being cancelled.
        with trio.CancelScope(shield=True):
            await listener.aclose()


class _Refused(Exception):
    """A request that is answered without being read whole."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class ConnectionPool:
    """The open connections of one listener, in the order in which they became idle."""

    def __init__(self, handler: Handler, limits: Limits, upgrader: Upgrader | None = None) -> None:
        self.handler = handler
        self.limits = limits
        self.upgrader = upgrader
        self.stopping = False
        self.buffered = 0
        self._open: dict[_Connection, None] = {}
        self._counts: Counter[str] = Counter()
        """How many of them each address has."""
        self._sockets: dict[_Connection, trio.CancelScope] = {}
        self._socket_counts: Counter[str] = Counter()

    async def run(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; never raises for what a peer does."""
        connection = _Connection(stream, self)
        try:
            if not self._has_room(connection.client):
                await connection.refuse()
                return
            async with self._member(connection):
                await connection.run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    def close_idle(self) -> None:
        """Let no further request begin: idle connections end now, the others after their response."""
        self.stopping = True
        for connection in tuple(self._open):
            connection.close_if_idle()
        for going_away in self._sockets.values():
            going_away.cancel()

    def touch(self, connection: "_Connection") -> None:
        """Note that a connection was active just now."""
        self._open[connection] = self._open.pop(connection, None)

    def _has_room(self, client: str) -> bool:
        """Whether one more may come in, be it in the place of one that is idle."""
        # A client at its bound makes room among its own, and with that for all.
        if client and self._counts[client] >= self.limits.connections_per_client:
            return any(one.client == client and one.close_if_idle() for one in self._open)
        return len(self._open) < self.limits.connections or any(one.close_if_idle() for one in self._open)

    @asynccontextmanager
    async def _member(self, connection: "_Connection") -> AsyncIterator[None]:
        self._open[connection] = None
        self._counts[connection.client] += 1
        try:
            yield
        finally:
            self._leave(connection)

    def _leave(self, connection: "_Connection") -> None:
        if connection in self._open:
            del self._open[connection]
            _count_down(self._counts, connection.client)

    def has_room_for_socket(self, client: str) -> bool:
        """Whether one more connection may become a websocket."""
        is_full = bool(client) and self._socket_counts[client] >= self.limits.sockets_per_client
        return not is_full and len(self._sockets) < self.limits.sockets and not self.stopping

    @contextmanager
    def socket_member(self, connection: "_Connection") -> Iterator[trio.CancelScope]:
        """Count a connection as a websocket from here on; the scope is cancelled when this node stops."""
        self._leave(connection)
        self._socket_counts[connection.client] += 1
        self._sockets[connection] = trio.CancelScope()
        try:
            yield self._sockets[connection]
        finally:
            del self._sockets[connection]
            _count_down(self._socket_counts, connection.client)


def _count_down(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


class _Connection:
    """One peer, one exchange after the other."""

    def __init__(self, stream: trio.abc.Stream, pool: ConnectionPool) -> None:
        self._stream = stream
        self._pool = pool
        self._limits = pool.limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=pool.limits.head_bytes)
        self.client, self._is_local = _peer(stream)
        self._idle: trio.CancelScope | None = None
        self._first = True
        self._is_head = False
        self._held = 0

    def close_if_idle(self) -> bool:
        """End the connection if no request is under way, and say whether that was so."""
        if self._idle is None or self._idle.cancel_called:
            return False
        self._idle.cancel()
        return True

    async def refuse(self) -> None:
        """Tell a peer that there are too many, without reading what it wants."""
        await self._respond(_BUSY, close=True)

    async def run(self) -> None:
        try:
            while await self._exchange():
                self._release()
                self._h11.start_next_cycle()
                self._pool.touch(self)
        finally:
            self._release()

    async def _exchange(self) -> bool:
        """Read one request and answer it; True if another may follow."""
        try:
            request = await self._read_request()
        except h11.RemoteProtocolError as error:
            await self._respond(http_error(error.error_status_hint, str(error)), close=True)
            return False
        except _Refused as refused:
            await self._respond(refused.response, close=True)
            return False
        if request is None:
            return False
        answer = await self._answer(request)
        if isinstance(answer, Response):
            return await self._respond(answer, close=self._pool.stopping)
        await self._become_socket(request, answer)
        return False

    async def _answer(self, request: Request) -> Response | SocketServer:
        try:
            # An HTTP/1.0 peer knows of no upgrade and is to ignore the header (RFC 9110, 7.8).
            if self._pool.upgrader is not None and self._may_upgrade and wants_websocket(request):
                return check_handshake(request) or await self._pool.upgrader(request)
            return await self._pool.handler(request)
        except Exception:
            # The handler's own errors are a bug of ours; one bad request must not take the daemon down.
            log.exception("%s %s failed", request.method, redact(request.path))
            return http_error(500, "see this node's log")

    async def _become_socket(self, request: Request, serve: SocketServer) -> None:
        """Leave HTTP for good and talk as `serve` does."""
        if not self._pool.has_room_for_socket(self.client):
            await self._respond(_SOCKETS_BUSY, close=True)
            return
        with self._pool.socket_member(self) as going_away:
            await self._send(h11.InformationalResponse(status_code=101, headers=handshake_headers(request)))
            socket = Socket(self._stream, trailing=self._h11.trailing_data[0])
            try:
                await run_socket(socket, serve, going_away)
            except Exception:
                log.exception("the websocket on %s failed", request.path)

    async def _read_request(self) -> Request | None:
        if not await self._wait_for_first_byte():
            return None
        with trio.move_on_after(self._limits.head_timeout) as scope:
            head = await self._next_event()
        if scope.cancelled_caught:
            raise _Refused(http_error(408, "the request's head did not arrive in time"))
        if not isinstance(head, h11.Request):
            return None
        self._is_head = head.method == b"HEAD"
        with trio.move_on_after(self._limits.body_timeout) as scope:
            body = await self._read_body(head)
        if scope.cancelled_caught:
            raise _Refused(http_error(408, "the request's body did not arrive in time"))
        path, _, query = head.target.decode("ascii").partition("?")
        return Request(
            method=head.method.decode("ascii"),
            path=path,
            query=query,
            headers=tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers),
            body=body,
            client=self.client,
            is_local=self._is_local,
            scheme="https" if isinstance(self._stream, trio.SSLStream) else "http",
        )

    async def _wait_for_first_byte(self) -> bool:
        if self._h11.trailing_data[0]:
            return True
        if self._pool.stopping:
            return False
        timeout = self._limits.head_timeout if self._first else self._limits.idle_timeout
        self._first = False
        with trio.move_on_after(timeout) as self._idle:
            chunk = await self._stream.receive_some(RECEIVE_BYTES)
            self._idle = None
            self._h11.receive_data(bytes(chunk))
            return bool(chunk)
        self._idle = None
        return False

    async def _next_event(self) -> h11.Event | None:
        """Return the next event of the request, None when the peer has gone."""
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
        return event if isinstance(event, h11.Event) else None

    async def _read_body(self, head: h11.Request) -> bytes:
        limit = self._limits.body_bytes
        declared = next((value for name, value in head.headers if name == b"content-length"), b"0")
        # h11 has checked that it is digits, at most 20 of them.
        if int(declared) > limit:
            raise _too_large(limit)
        if self._h11.they_are_waiting_for_100_continue:
            await self._send(h11.InformationalResponse(status_code=100, headers=[]))
        body = bytearray()
        while isinstance(event := await self._next_event(), h11.Data):
            body += event.data
            self._hold(len(event.data))
            if len(body) > limit:
                raise _too_large(limit)
        return bytes(body)

    def _hold(self, size: int) -> None:
        """Count bytes of a body that is kept until its answer is out."""
        self._held += size
        self._pool.buffered += size
        if self._pool.buffered > self._limits.buffered_bytes:
            raise _Refused(http_error(503, "too many large requests at once; try again in a moment", retry_after=1))

    def _release(self) -> None:
        self._pool.buffered -= self._held
        self._held = 0

    async def _respond(self, response: Response, *, close: bool) -> bool:
        """Write a response; True if the connection may carry another exchange."""
        if self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        headers = [*response.headers, ("Date", formatdate(usegmt=True)), ("Content-Length", str(len(response.body)))]
        if close:
            headers.append(("Connection", "close"))
        await self._send(
            h11.Response(status_code=response.status, reason=_REASONS.get(response.status, ""), headers=headers),
            h11.Data(data=b"" if self._is_head else response.body),
            h11.EndOfMessage(),
        )
        if self._is_done():
            return True
        await self._linger()
        return False

    @property
    def _may_upgrade(self) -> bool:
        return self._h11.their_http_version == b"1.1"

    def _is_done(self) -> bool:
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _send(self, *events: h11.Event) -> None:
        wire = b"".join(self._h11.send(event) or b"" for event in events)
        with trio.move_on_after(self._limits.write_timeout) as scope:
            await self._stream.send_all(wire)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("the peer does not read its response")

    async def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes makes the kernel reset the connection under our answer."""
        if not isinstance(self._stream, trio.SocketStream):
            return
        await self._stream.send_eof()
        with trio.move_on_after(LINGER):
            while await self._stream.receive_some(RECEIVE_BYTES):
                pass


def _too_large(limit: int) -> _Refused:
    return _Refused(http_error(413, f"a body may have {limit} bytes"))


def _peer(stream: trio.abc.Stream) -> tuple[str, bool]:
    """Return the peer's address and whether it came over a unix socket."""
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if not isinstance(transport, trio.SocketStream):
        return "", False
    if transport.socket.family == socket.AF_UNIX:
        return "", True
    try:
        return str(transport.socket.getpeername()[0]), False
    except OSError:
        return "", False
