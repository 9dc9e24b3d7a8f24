"""Asks the host's resolvers what our zone does not know: one fresh socket per question, next server after 2 s.

Shell.  Never asks the addresses we listen on ourselves.  A new socket takes a random source port and hears nobody but
its server (RFC 5452 9.2); what to believe and how to word things is `dns.foreign`'s.
"""

import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from random import Random

import trio

from dns import foreign
from dns.wire import HEADER_BYTES, STREAM_BYTES, Query
from dns.zone import NAMESERVER_ADDRESS

TRY_TIMEOUT = 2.0
SHUN_INTERVAL = 30.0
"""A server that did not answer is asked last for so long."""

MAX_SERVERS = 3
MAX_STRAY_DATAGRAMS = 32
DNS_PORT = 53

Address = tuple[str, int]

logger = logging.getLogger("corral.dns")


def parse_server(text: str) -> Address:
    """Return `address`, `address:port` or `[address]:port` as a pair; raise ValueError for anything else."""
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"expected a port from 1 to 65535 in {text!r}")
    return str(ip_address(host)), int(port)


class Upstreams:
    """The resolvers outside, in the order in which they are asked."""

    def __init__(self, own: Iterable[Address], rng: Random) -> None:
        self._own = {*own, (NAMESERVER_ADDRESS, DNS_PORT)}
        self._rng = rng
        self._wanted: tuple[str, ...] = ()
        self._servers: tuple[Address, ...] = ()
        self._shunned_until: dict[Address, float] = {}

    def use_servers(self, texts: Iterable[str]) -> None:
        """Ask these from now on, without ourselves and without what is no address."""
        wanted = tuple(texts)
        if wanted == self._wanted:
            return
        self._wanted = wanted
        servers = []
        for text in wanted:
            try:
                server = parse_server(text)
            except ValueError as wrong:
                logger.warning("%r is no resolver's address, going on without it: %s", text, wrong)
                continue
            if server not in self._own and not ip_address(server[0]).is_unspecified and server not in servers:
                servers.append(server)
        self._servers = tuple(servers[:MAX_SERVERS])
        self._shunned_until = {server: at for server, at in self._shunned_until.items() if server in servers}

    @property
    def servers(self) -> tuple[Address, ...]:
        """Whom we ask."""
        return self._servers

    async def ask(self, query: Query, question: bytes | None = None) -> bytes | None:
        """Return the first useful answer to `query` (or to `question` in its stead), or None when there is none."""
        now = trio.current_time()
        ordered = sorted(self._servers, key=lambda server: self._shunned_until.get(server, 0.0) > now)
        for server in ordered:
            sent = foreign.encode_question(query, self._rng.getrandbits(16), question)
            received = await self._try(server, sent)
            if received is not None and foreign.rcode_of(received) not in foreign.RETRIED_RCODES:
                return received
        return None

    async def _try(self, server: Address, sent: bytes) -> bytes | None:
        received = None
        with trio.move_on_after(TRY_TIMEOUT) as patience:
            try:
                received = await _ask_by_datagram(server, sent)
                if received is not None and foreign.is_truncated(received):
                    # Truncated is better than nothing where the server has no TCP.
                    received = await _ask_by_stream(server, sent) or received
            except OSError:
                self._shunned_until[server] = trio.current_time() + SHUN_INTERVAL
        if patience.cancelled_caught and received is None:
            self._shunned_until[server] = trio.current_time() + SHUN_INTERVAL
        elif received is not None:
            self._shunned_until.pop(server, None)
        return received


def _family(server: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in server[0] else socket.AF_INET


async def _ask_by_datagram(server: Address, sent: bytes) -> bytes | None:
    with trio.socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        await sock.connect(server)
        await sock.send(sent)
        for _ in range(MAX_STRAY_DATAGRAMS):
            received = await sock.recv(STREAM_BYTES)
            if foreign.is_answer_to(sent, received):
                return received
    return None


async def _ask_by_stream(server: Address, sent: bytes) -> bytes | None:
    with trio.socket.socket(_family(server), socket.SOCK_STREAM) as sock:
        try:
            await sock.connect(server)
            stream = trio.SocketStream(sock)
            await stream.send_all(len(sent).to_bytes(2, "big") + sent)
            length = int.from_bytes(await _receive_exactly(stream, 2), "big")
            received = await _receive_exactly(stream, length) if length >= HEADER_BYTES else b""
        except (OSError, trio.BrokenResourceError):
            return None
    return received if foreign.is_answer_to(sent, received) else None


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = await stream.receive_some(count - len(received))
        if not piece:
            raise trio.BrokenResourceError("the resolver closed the connection early")
        received += bytes(piece)
    return received
