"""The rules of dns.listen: deadlines and caps of streams, addresses that come later, batches."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock

from dns import listen as bounds
from dns.listen import Listeners
from dns.responder import Responder
from dns.upstream import Upstreams
from dns.zone import make_zone
from tests.dns.outside import outside_resolver
from tests.dns.questions import addresses_in, ask
from tests.fakes.loopback import free_port


@asynccontextmanager
async def listening(*, upstreams: tuple[str, ...] = ()) -> AsyncIterator[tuple[Responder, int]]:
    """Run listeners on a free loopback port."""
    port = free_port()
    responder = Responder(Upstreams([], Random(1)), Random(1))
    names = {"web.rancher.internal": tuple(f"10.42.0.{last}" for last in range(1, 101))}
    responder.use_zone(make_zone(1, names, allow=("127.0.0.0/8",), upstreams=upstreams))
    listeners = Listeners(responder, [("127.0.0.1", port)], bind_any_free=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listeners.run)
        while len([why for why in listeners.bound.values() if not why]) < 2:
            await trio.lowlevel.checkpoint()
        yield responder, port
        nursery.cancel_scope.cancel()


async def read_stream(stream: trio.SocketStream) -> bytes:
    received = b""
    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
        piece = bytes(await stream.receive_some(65537))
        if not piece:
            return b""
        received += piece
    return received[2:]


async def test_stream_gives_all_addresses_where_a_datagram_gives_25() -> None:
    async with listening() as (_, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            message = ask("web")
            for piece in (b"\0", bytes((len(message),)), message[:5], message[5:]):
                await stream.send_all(piece)
            assert len(addresses_in(await read_stream(stream))) == 100
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect(("127.0.0.1", port))
            await sock.send(ask("web"))
            assert len(addresses_in(await sock.recv(65535))) == 25


async def test_idle_stream_is_closed_at_its_deadline(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with listening() as (responder, port):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            began = trio.current_time()
            assert await read_stream(stream) == b""
            assert trio.current_time() - began == pytest.approx(bounds.STREAM_IDLE_TIMEOUT, abs=0.1)
        assert responder.counts["dropped"] == 1


async def test_streams_of_one_asker_are_bounded() -> None:
    async with listening() as (responder, port):
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(bounds.MAX_STREAMS_PER_ASKER)]
        extra = await trio.open_tcp_stream("127.0.0.1", port)
        assert await read_stream(extra) == b""
        assert responder.counts["dropped"] == 1
        await streams[0].send_all(len(ask("web")).to_bytes(2, "big") + ask("web"))
        assert await read_stream(streams[0])
        for stream in (*streams, extra):
            await stream.aclose()


async def test_empty_or_broken_stream_message_ends_the_stream_only() -> None:
    async with listening() as (_, port):
        for rubbish in (b"\0\0", b"\0\5abc", b"\0\1x"):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(rubbish)
                await stream.send_eof()
                assert await read_stream(stream) == b""


async def test_address_that_no_interface_has_can_be_bound_beforehand() -> None:
    listeners = Listeners(Responder(Upstreams([], Random(1)), Random(1)), [("192.0.2.77", 0)], bind_any_free=True)
    with listeners._try_bind(socket.SOCK_DGRAM, ("192.0.2.77", 0)) as sock:
        assert sock.getsockname()[0] == "192.0.2.77"


async def test_address_that_is_missing_is_named_and_tried_again_when_it_may_not_be_bound_beforehand(
    autojump_clock: MockClock,
) -> None:
    listeners = Listeners(Responder(Upstreams([], Random(1)), Random(1)), [("192.0.2.77", 0)], bind_any_free=False)
    with trio.move_on_after(5):
        await listeners.run()
    assert "Cannot assign" in listeners.bound["udp 192.0.2.77:0"]


async def test_slow_question_outside_holds_nobody_up(autojump_clock: MockClock) -> None:
    # Time stands still while anybody has something to do, however slow the machine is.
    autojump_clock.autojump_threshold = 0.2
    async with outside_resolver(lambda _: []) as silent, listening(upstreams=(silent.server,)) as (_, port):
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect(("127.0.0.1", port))
            await sock.send(ask("example.com"))
            with trio.fail_after(1.5):
                for _ in range(5):
                    for _ in range(bounds.DRAIN_MESSAGES // 2):
                        await sock.send(ask("web"))
                    for _ in range(bounds.DRAIN_MESSAGES // 2):
                        assert addresses_in(await sock.recv(65535))
