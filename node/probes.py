"""Sends and answers probes: TCP and UDP reachability of a host's ports, and the largest packet a path carries.

Decides nothing: findings are made in node/preflight.  The bytes are protocol/probe's.  A host that runs nothing yet
answers with `ProbeListener`; a running one hands datagrams of its gossip port to `ProbeKeys.answer` and lets
`answer_overlay` watch the port that its tunnel holds.
"""

import errno
import logging
import os
import socket
import struct
from array import array
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address

import trio

from protocol.probe import ANSWER_BYTES, MAGIC, MAX_PROBE_BYTES, ProbeKeys, decode_answer, encode_question

LOG = logging.getLogger(__name__)

TRIES = 3
ANSWER_FOR_SECONDS = 15.0
"""How long a running host answers one round: time for the other side to hear back and to probe in turn."""

MTU_STEPS = (9000, 8951, 8500, 4000, 1600, 1500, 1492, 1480, 1472, 1460, 1450, 1440, 1420, 1400, 1380, 1340, 1280, 576)
MIN_MTU = 576
TAP_RETRY = 1.0
MAX_TCP_PROBES = 16
"""Connections a listener serves at once; others wait in the kernel's queue."""

# From linux/in.h and linux/in6.h; the socket module has no names for them.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3
_SO_ATTACH_FILTER, _IP_PKTINFO = 26, 8


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether an answer came, after how long, and if none did: what the kernel said, or None for silence."""

    seconds: float | None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """True when the other side answered."""
        return self.seconds is not None


def header_bytes(address: str) -> int:
    """Return the bytes of IP and UDP headers in front of a datagram's payload."""
    return 48 if ip_address(address).version == 6 else 28


async def probe_tcp(address: str, port: int, key: bytes | None, *, timeout: float = 2.0) -> Reached:
    """Connect; with a key also have the listener behind the port prove that it is the one we mean."""
    start = trio.current_time()
    with trio.move_on_after(timeout):
        try:
            with _socket(address, socket.SOCK_STREAM) as sock:
                await sock.connect((address, port))
                if key is not None and not await _exchange(trio.SocketStream(sock), key):
                    return Reached(None, "somebody else answers there")
        except OSError as error:
            return Reached(None, _why(error))
        except trio.BrokenResourceError:
            return Reached(None, "the connection was cut")
        return Reached(trio.current_time() - start)
    return Reached(None)


async def _exchange(stream: trio.SocketStream, key: bytes) -> bool:
    await stream.send_all(encode_question(key, 1))
    got = b""
    while len(got) < ANSWER_BYTES:
        more = await stream.receive_some(ANSWER_BYTES - len(got))
        if not more:
            return False
        got += more
    return decode_answer(key, got) is not None


async def probe_udp(address: str, port: int, key: bytes, *, timeout: float = 2.0) -> Reached:
    """Ask up to TRIES times within `timeout`; one answer is enough."""
    start = trio.current_time()
    error: str | None = None
    with _socket(address, socket.SOCK_DGRAM) as sock:
        try:
            await sock.connect((address, port))
        except OSError as failure:
            return Reached(None, _why(failure))
        for attempt in range(TRIES):
            with trio.move_on_after(timeout / TRIES):
                try:
                    await sock.send(encode_question(key, attempt))
                    while decode_answer(key, await sock.recv(MAX_PROBE_BYTES)) is None:
                        continue
                    return Reached(trio.current_time() - start)
                except OSError as failure:
                    # ICMP may be a passing state (the other side is just binding): ask again.
                    error = _why(failure)
                    await trio.sleep(timeout / TRIES)
    return Reached(None, error)


async def probe_path_mtu(address: str, port: int, key: bytes, *, mtu: int, timeout: float = 1.0) -> int | None:
    """Return the size in bytes of the largest IP packet, up to `mtu`, that arrived unfragmented; None: not one did."""
    overhead = header_bytes(address)
    mtu = max(MIN_MTU, min(mtu, MTU_STEPS[0]))
    sizes = sorted({mtu, *(step for step in MTU_STEPS if step < mtu)}, reverse=True)
    best = 0
    with _socket(address, socket.SOCK_DGRAM) as sock:
        _forbid_fragments(sock)
        await sock.connect((address, port))
        for attempt in range(TRIES):
            await _send_sizes(sock, key, attempt, [size - overhead for size in sizes if size > best])
            with trio.move_on_after(timeout / TRIES):
                while best != sizes[0]:
                    best = max(best, await _next_arrived(sock, key) + overhead)
            if best == sizes[0]:
                break
    return best if best >= MIN_MTU else None


async def _send_sizes(sock: trio.socket.SocketType, key: bytes, attempt: int, sizes: list[int]) -> None:
    for size in sizes:
        # A router's "too big" for an earlier probe fails the next send in its place: that one has not left, try again.
        for _ in range(TRIES):
            try:
                await sock.send(encode_question(key, attempt, size))
                break
            except OSError as error:
                if error.errno not in (errno.EMSGSIZE, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                    raise


async def _next_arrived(sock: trio.socket.SocketType, key: bytes) -> int:
    while True:
        try:
            answer = decode_answer(key, await sock.recv(MAX_PROBE_BYTES))
        except OSError:
            await trio.sleep(0.01)  # a queued ICMP error: read on
            continue
        if answer is not None:
            return answer.arrived_bytes


def _why(error: OSError) -> str:
    # trio puts the address into `strerror`; the finding names it anyway.
    return os.strerror(error.errno) if error.errno else str(error)


def _socket(address: str, kind: int) -> trio.socket.SocketType:
    return trio.socket.socket(socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET, kind)


def _forbid_fragments(sock: trio.socket.SocketType) -> None:
    # PROBE: set DF and ignore what the kernel has cached of the path, since the path is what we ask about.
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)


class ProbeListener:
    """Answers probes on the ports a joining host is going to use, while nothing else uses them yet."""

    def __init__(self, keys: ProbeKeys, *, peer_port: int, overlay_port: int, address: str = "0.0.0.0") -> None:
        self._keys = keys
        self._address = address
        self._wanted = (peer_port, overlay_port)
        self.peer_port = peer_port
        """The port in use once `run` has started; differs from the wanted one when that is 0."""
        self.overlay_port = overlay_port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Bind all three ports, or raise OSError, then answer until cancelled; the ports are free again after that."""
        peer_port, overlay_port = self._wanted
        with ExitStack() as opened:
            listener = opened.enter_context(_socket(self._address, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            await listener.bind((self._address, peer_port))
            self.peer_port = listener.getsockname()[1]
            gossip = opened.enter_context(_socket(self._address, socket.SOCK_DGRAM))
            await gossip.bind((self._address, self.peer_port))
            overlay = opened.enter_context(_socket(self._address, socket.SOCK_DGRAM))
            await overlay.bind((self._address, overlay_port))
            self.overlay_port = overlay.getsockname()[1]
            listener.listen(MAX_TCP_PROBES)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answer_datagrams, gossip)
                nursery.start_soon(self._answer_datagrams, overlay)
                nursery.start_soon(self._answer_connections, listener, nursery)
                task_status.started()

    async def _answer_datagrams(self, sock: trio.socket.SocketType) -> None:
        while True:
            try:
                packet, sender = await sock.recvfrom(MAX_PROBE_BYTES)
                answer = self._keys.answer(packet, trio.current_time())
                if answer is not None:
                    await sock.sendto(answer, sender)
            except OSError:
                await trio.sleep(0.01)  # an ICMP error for an earlier answer, or no buffer: the asker asks again

    async def _answer_connections(self, listener: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        room = trio.Semaphore(MAX_TCP_PROBES)
        while True:
            await room.acquire()
            try:
                sock, _ = await listener.accept()
            except OSError:
                room.release()
                await trio.sleep(0.01)  # the other side gave up before we accepted
                continue
            nursery.start_soon(self._answer_connection, sock, room)

    async def _answer_connection(self, sock: trio.socket.SocketType, room: trio.Semaphore) -> None:
        try:
            with trio.move_on_after(2.0):
                async with trio.SocketStream(sock) as stream:
                    await self._answer_stream(stream)
        finally:
            room.release()

    async def _answer_stream(self, stream: trio.SocketStream) -> None:
        question = b""
        try:
            while len(question) < ANSWER_BYTES:
                more = await stream.receive_some(ANSWER_BYTES - len(question))
                if not more:
                    return
                question += more
            answer = self._keys.answer(question, trio.current_time())
            if answer is not None:
                await stream.send_all(answer)
        except trio.BrokenResourceError:
            return


async def answer_overlay(
    keys: ProbeKeys, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer probes to a UDP port that a tunnel holds, from a raw socket beside it, until cancelled.

    Needs CAP_NET_RAW.  A raw socket sees what passed the host's firewall for input, as the tunnel does; a filter in the
    kernel lets nothing through but probes, so the data path pays next to nothing.  IPv4 only.
    """
    with trio.socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
        _attach_probe_filter(sock, port)
        task_status.started()
        while True:
            try:
                packet, sender = await sock.recvfrom(MAX_PROBE_BYTES + 64)
                answer = _answer_packet(keys, packet, port)
                if answer is not None:
                    # From the address that was asked, which on a host with several is not the route's choice.
                    source = (socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + packet[16:20] + bytes(4))
                    await sock.sendmsg([answer], [source], 0, (sender[0], 0))
            except OSError:
                await trio.sleep(0.01)


def _answer_packet(keys: ProbeKeys, packet: bytes, port: int) -> bytes | None:
    start = (packet[0] & 15) * 4 if packet else 0
    answer = keys.answer(packet[start + 8 :], trio.current_time())
    if answer is None:
        return None
    asked_from = int.from_bytes(packet[start : start + 2], "big")
    return struct.pack(">HHHH", port, asked_from, 8 + len(answer), 0) + answer


def _attach_probe_filter(sock: trio.socket.SocketType, port: int) -> None:
    # Classic BPF over the IP packet: X = header length; destination port; first four bytes of the payload.
    steps = (
        (0xB1, 0, 0, 0),  # ldxb 4*([0]&0xf)
        (0x48, 0, 0, 2),  # ldh [x + 2]
        (0x15, 0, 3, port),  # jne port, drop
        (0x40, 0, 0, 8),  # ld [x + 8]
        (0x15, 0, 1, int.from_bytes(MAGIC, "big")),  # jne magic, drop
        (0x06, 0, 0, 0xFFFF),  # keep
        (0x06, 0, 0, 0),  # drop
    )
    # The kernel copies the program during the call; the array need not live longer.
    program = array("B", b"".join(struct.pack("=HBBI", *step) for step in steps))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(steps), program.buffer_info()[0]))


class ProbeService:
    """A running host's side of probes: the keys its gossip port answers for, and the watch on its overlay port."""

    def __init__(self, *, overlay_port: int | None) -> None:
        """`overlay_port` is None on a host without a tunnel; probes to one are then met with silence."""
        self.keys = ProbeKeys()
        self._overlay_port = overlay_port
        self._until = 0.0
        self._asked = trio.Event()

    def expect(self, key: bytes, seconds: float = ANSWER_FOR_SECONDS) -> bool:
        """Answer probes under `key` for a while; False when too many rounds are under way."""
        now = trio.current_time()
        if not self.keys.expect(key, now, now + seconds):
            return False
        self._until = max(self._until, now + seconds)
        self._asked.set()
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch the overlay's port while anybody is expected to probe it, and only then."""
        task_status.started()
        while True:
            await self._asked.wait()
            async with trio.open_nursery() as nursery:
                if self._overlay_port is not None:
                    nursery.start_soon(self._tap, self._overlay_port)
                while trio.current_time() < self._until:
                    await trio.sleep_until(self._until)
                nursery.cancel_scope.cancel()
            if trio.current_time() >= self._until:
                self._asked = trio.Event()

    async def _tap(self, port: int) -> None:
        while True:
            try:
                await answer_overlay(self.keys, port)
            except PermissionError:
                LOG.warning("cannot watch UDP port %d for probes: that needs CAP_NET_RAW", port)
                return
            except Exception:
                # Probes without an answer are a finding of somebody's check; the daemon has better things to do.
                LOG.exception("watching UDP port %d for probes broke off", port)
            await trio.sleep(TAP_RETRY)
