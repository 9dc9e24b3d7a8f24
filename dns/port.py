"""The server's end of the control socket: takes zones and changes, says how it is, stops when told to.

Shell.  Outlives its clients: a connection that closes changes nothing.  Anybody who reaches the socket (mode 0600) may
ask for the status; the latest connection that sends a zone or a change is the publisher, and the one before is closed.
"""

import logging
import os
from collections.abc import Callable

import trio

from dns.messages import (
    LENGTH_BYTES,
    Ack,
    FrameError,
    Full,
    NeedFull,
    Refused,
    Response,
    Status,
    StatusReply,
    Stop,
    decode_body,
    decode_length,
    encode_frame,
)
from dns.responder import Responder
from dns.zone import Change, GapError, apply_change

MAX_CONNECTIONS = 8
INLINE_FRAME_BYTES = 64 << 10
"""Larger frames are decoded in a thread: the loop answers questions meanwhile."""

REPLY_TIMEOUT = 5.0
RETRY_INTERVAL = 1.0

logger = logging.getLogger("corral.dns")


class ControlPort:
    """Serves the control socket."""

    def __init__(self, responder: Responder, release: str, bound: Callable[[], dict[str, str]]) -> None:
        self.stop = trio.Event()
        self.changed = trio.Event()
        """Set when the zone changed; whoever waits puts a fresh one in its place."""

        self._stopping = False
        self._responder = responder
        self._release = release
        self._bound = bound
        self._connections: list[trio.CancelScope] = []
        self._publisher: trio.CancelScope | None = None

    async def run(self, listener: trio.socket.SocketType) -> None:
        """Accept connections on `listener` for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    accepted, _ = await listener.accept()
                except OSError as failed:
                    logger.warning("cannot accept a control connection, waiting a second: %s", failed)
                    await trio.sleep(RETRY_INTERVAL)
                    continue
                nursery.start_soon(self._serve, trio.SocketStream(accepted))

    async def _serve(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._enter(scope)
            try:
                async with stream:
                    while await self._serve_frame(stream, scope):
                        pass
            except (OSError, trio.BrokenResourceError, trio.TooSlowError) as failed:
                logger.info("a control connection failed: %s", failed)
            finally:
                self._connections.remove(scope)
                if self._publisher is scope:
                    self._publisher = None
                    logger.info("the publisher is gone; serving serial %d on", self._responder.zone.serial)

    def _enter(self, scope: trio.CancelScope) -> None:
        self._connections.append(scope)
        if len(self._connections) > MAX_CONNECTIONS:
            next(old for old in self._connections if old is not self._publisher).cancel()

    def _become_publisher(self, scope: trio.CancelScope) -> None:
        if self._publisher is not None and self._publisher is not scope:
            logger.info("another publisher took over")
            self._publisher.cancel()
        self._publisher = scope

    async def _serve_frame(self, stream: trio.SocketStream, scope: trio.CancelScope) -> bool:
        """Read one request, answer it, and say whether there may be another."""
        prefix = await receive_exactly(stream, LENGTH_BYTES)
        if not prefix:
            return False
        try:
            body = await receive_exactly(stream, decode_length(prefix))
            if not body:
                return False
            response = await self._respond(body, scope)
        except FrameError as broken:
            logger.warning("refused a control frame: %s", broken)
            response = Refused(str(broken))
        with trio.fail_after(REPLY_TIMEOUT):
            await stream.send_all(encode_frame(response))
        if self._stopping:
            # Only now: whoever told us to stop has its acknowledgement.
            self.stop.set()
        return not self._stopping

    async def _respond(self, body: bytes, scope: trio.CancelScope) -> Response:
        request = (
            decode_body(body) if len(body) < INLINE_FRAME_BYTES else await trio.to_thread.run_sync(decode_body, body)
        )
        match request:
            case Full(zone):
                self._become_publisher(scope)
                self._responder.use_zone(zone)
                self.changed.set()
                return Ack(zone.serial)
            case Change():
                self._become_publisher(scope)
                return self._apply(request)
            case Status():
                return self._status()
            case Stop():
                self._stopping = True
                return Ack(self._responder.zone.serial)
            case _:
                return Refused(f"{type(request).__name__} is for the server to say")

    def _apply(self, change: Change) -> Ack | NeedFull:
        try:
            zone = apply_change(self._responder.zone, change)
        except GapError:
            return NeedFull(self._responder.zone.serial)
        self._responder.use_zone(zone)
        self.changed.set()
        return Ack(zone.serial)

    def _status(self) -> StatusReply:
        counts = self._responder.counts
        bound = self._bound()
        waiting = (f"{label}: {why}" for label, why in bound.items() if why)
        return StatusReply(
            serial=self._responder.zone.serial,
            pid=os.getpid(),
            version=self._release,
            queries=sum(counts[kind] for kind in ("ready", "answered", "forwarded", "refused", "unanswerable")),
            counts=dict(counts),
            listening=tuple(label for label, why in bound.items() if not why),
            trouble="; ".join(waiting),
        )


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    """Return `count` bytes, or nothing where the stream ends before."""
    received = bytearray()
    while len(received) < count:
        piece = await stream.receive_some(min(count - len(received), 1 << 18))
        if not piece:
            return b""
        received += piece
    return bytes(received)
