"""The sockets that askers reach: datagrams drained in batches, and streams with deadlines and caps.

Shell.  Binding is level-triggered: an address that is not there yet, or a port that somebody else has, is tried again
every second and said in the status, since the overlay's bridge may come later than we do.
"""

import logging
import socket
from collections import Counter
from typing import Any

import trio

from dns.responder import Outside, Responder
from dns.upstream import Address

DRAIN_MESSAGES = 64
MAX_DATAGRAM_BYTES = 4096
RECEIVE_BUFFER_BYTES = 1 << 20
MAX_STREAMS = 128
MAX_STREAMS_PER_ASKER = 16
STREAM_IDLE_TIMEOUT = 10.0
RETRY_INTERVAL = 1.0
BACKLOG = 128

logger = logging.getLogger("corral.dns")


class Listeners:
    """All that is, or shall be, bound."""

    def __init__(self, responder: Responder, addresses: list[Address], *, bind_any_free: bool) -> None:
        self._responder = responder
        self._addresses = addresses
        self._bind_any_free = bind_any_free
        self._streams: Counter[str] = Counter()
        self.bound: dict[str, str] = {}
        """`udp 169.254.169.250:53` -> why it is not bound, empty when it is."""

    async def run(self) -> None:
        """Serve every address by datagram and by stream, for ever."""
        async with trio.open_nursery() as nursery:
            for address in self._addresses:
                nursery.start_soon(self._run_datagrams, address)
                nursery.start_soon(self._run_streams, address)

    async def _bind(self, kind: socket.SocketKind, address: Address) -> socket.socket:
        """Return a bound non-blocking socket, once there is one."""
        label = f"{'udp' if kind == socket.SOCK_DGRAM else 'tcp'} {address[0]}:{address[1]}"
        while True:
            try:
                bound = self._try_bind(kind, address)
            except OSError as refused:
                if self.bound.get(label) != str(refused):
                    logger.warning("cannot listen on %s yet, trying again every second: %s", label, refused)
                self.bound[label] = str(refused)
                await trio.sleep(RETRY_INTERVAL)
            else:
                self.bound[label] = ""
                logger.info("listening on %s", label)
                return bound

    def _try_bind(self, kind: socket.SocketKind, address: Address) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
        try:
            sock.setblocking(False)
            if self._bind_any_free:
                # IP_FREEBIND (ip(7)): an address that no interface has yet; `socket` has no name for it before 3.13.
                sock.setsockopt(socket.IPPROTO_IP, 15, 1)
            if kind == socket.SOCK_DGRAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            if kind == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock

    async def _run_datagrams(self, address: Address) -> None:
        with await self._bind(socket.SOCK_DGRAM, address) as sock:
            async with trio.open_nursery() as nursery:
                while True:
                    # Waiting is a checkpoint even when there is work: the other tasks get their turn after each batch.
                    await trio.lowlevel.wait_readable(sock)
                    self._drain(sock, nursery)

    def _drain(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        """Answer up to DRAIN_MESSAGES datagrams that have come."""
        responder = self._responder
        receive, send, tables = sock.recvfrom, sock.sendto, responder.tables
        ready_replies = 0
        for _ in range(DRAIN_MESSAGES):
            try:
                message, asker = receive(MAX_DATAGRAM_BYTES)
            except OSError:
                break
            table = tables.get(asker[0])
            ready = table.get(message[2:]) if table is not None else None
            if ready is not None:
                ready_replies += 1
                try:
                    send(message[:2] + ready.take(), asker)
                except OSError:
                    responder.counts["dropped"] += 1
            else:
                self._answer_slowly(sock, message, asker, nursery)
        responder.counts["ready"] += ready_replies

    def _answer_slowly(self, sock: socket.socket, message: bytes, asker: Any, nursery: trio.Nursery) -> None:
        reply = self._responder.respond(message, asker[0])
        if isinstance(reply, bytes):
            self._send(sock, reply, asker)
        elif reply is not None:
            self._responder.claim_outside(asker[0])
            nursery.start_soon(self._relay, sock, reply, message, asker)

    async def _relay(self, sock: socket.socket, outside: Outside, message: bytes, asker: Any) -> None:
        self._send(sock, await self._responder.ask_outside(outside, message, asker[0]), asker)

    def _send(self, sock: socket.socket, reply: bytes, asker: Any) -> None:
        """Send, or drop where the socket is full or the asker cannot be reached: it will ask again."""
        try:
            sock.sendto(reply, asker)
        except OSError:
            self._responder.counts["dropped"] += 1

    async def _run_streams(self, address: Address) -> None:
        bound = await self._bind(socket.SOCK_STREAM, address)
        with trio.socket.from_stdlib_socket(bound) as sock:
            async with trio.open_nursery() as nursery:
                while True:
                    try:
                        accepted, asker = await sock.accept()
                    except OSError as failed:
                        logger.warning("cannot accept a stream, waiting a second: %s", failed)
                        await trio.sleep(RETRY_INTERVAL)
                        continue
                    self._admit(accepted, asker[0], nursery)

    def _admit(self, accepted: trio.socket.SocketType, asker: str, nursery: trio.Nursery) -> None:
        if self._streams.total() >= MAX_STREAMS or self._streams[asker] >= MAX_STREAMS_PER_ASKER:
            self._responder.counts["dropped"] += 1
            accepted.close()
            return
        self._streams[asker] += 1
        nursery.start_soon(self._serve_stream, accepted, asker)

    async def _serve_stream(self, accepted: trio.socket.SocketType, asker: str) -> None:
        try:
            async with trio.SocketStream(accepted) as stream:
                while await self._serve_message(stream, asker):
                    pass
        except (OSError, trio.BrokenResourceError, trio.TooSlowError):
            self._responder.counts["dropped"] += 1
        finally:
            self._streams[asker] -= 1
            if not self._streams[asker]:
                del self._streams[asker]

    async def _serve_message(self, stream: trio.SocketStream, asker: str) -> bool:
        """Read one message, answer it, and say whether there may be another."""
        with trio.fail_after(STREAM_IDLE_TIMEOUT):
            prefix = await _receive(stream, 2)
            message = await _receive(stream, int.from_bytes(prefix, "big")) if prefix else b""
        if not message:
            return False
        reply = self._responder.respond(message, asker, stream=True)
        if reply is None:
            return False
        if not isinstance(reply, bytes):
            self._responder.claim_outside(asker)
            reply = await self._responder.ask_outside(reply, message, asker, stream=True)
        with trio.fail_after(STREAM_IDLE_TIMEOUT):
            await stream.send_all(len(reply).to_bytes(2, "big") + reply)
        self._responder.counts["stream"] += 1
        return True


async def _receive(stream: trio.SocketStream, count: int) -> bytes:
    """Return `count` bytes, or nothing where the stream ends before."""
    received = b""
    while len(received) < count:
        piece = await stream.receive_some(count - len(received))
        if not piece:
            return b""
        received += bytes(piece)
    return received
