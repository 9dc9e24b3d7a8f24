"""A small real resolver on loopback, with its moods, for the tests of names outside."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from dnslib import RR, A, DNSRecord

from tests.fakes.loopback import free_port

Mood = Callable[[bytes], list[bytes]]


def answer(query: bytes, count: int = 1, rcode: int = 0) -> bytes:
    """Return an answer with `count` addresses."""
    record = DNSRecord.parse(query).reply(ra=1, aa=0)
    record.header.rcode = rcode
    for number in range(count):
        record.add_answer(RR(str(record.q.qname), rtype=1, ttl=300, rdata=A(f"192.0.2.{number}")))
    return bytes(record.pack())


def truncate(reply: bytes) -> bytes:
    """Return `reply` cut down to its question, with TC."""
    record = DNSRecord.parse(reply)
    record.rr = []
    record.header.tc = 1
    return bytes(record.pack())


@dataclass
class OutsideResolver:
    """What it was asked, and where it listens."""

    datagram: Mood
    stream: Mood
    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    asked_by_stream: list[bytes] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def outside_resolver(
    datagram: Mood = lambda query: [answer(query)], stream: Mood = lambda query: [answer(query)]
) -> AsyncIterator[OutsideResolver]:
    """Run a resolver on one free loopback port, by datagram and by stream."""
    resolver = OutsideResolver(datagram, stream)
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        resolver.port = free_port()
        await sock.bind(("127.0.0.1", resolver.port))
        listeners = await trio.open_tcp_listeners(resolver.port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_datagrams, resolver, sock)
            nursery.start_soon(_streams, resolver, listeners)
            yield resolver
            nursery.cancel_scope.cancel()


async def _datagrams(resolver: OutsideResolver, sock: trio.socket.SocketType) -> None:
    while True:
        query, asker = await sock.recvfrom(4096)
        resolver.asked.append(query)
        for reply in resolver.datagram(query):
            await sock.sendto(reply, asker)


async def _streams(resolver: OutsideResolver, listeners: list[trio.SocketListener]) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            query = bytes(await stream.receive_some(4096))[2:]
            resolver.asked_by_stream.append(query)
            for reply in resolver.stream(query):
                await stream.send_all(len(reply).to_bytes(2, "big") + reply)

    await trio.serve_listeners(serve, listeners)
