"""The rules of dns.upstream, against a real resolver on loopback."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from dns import wire
from dns.upstream import Upstreams, parse_server
from dns.wire import Query
from tests.dns.outside import answer, outside_resolver, truncate
from tests.dns.questions import addresses_in, ask, read


def query_for(name: str) -> Query:
    query = wire.parse_query(ask(name))
    assert isinstance(query, Query)
    return query


def make_upstreams(*servers: str) -> Upstreams:
    upstreams = Upstreams([("127.0.0.1", 5353)], Random(5))
    upstreams.use_servers(servers)
    return upstreams


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_server_is_read_with_and_without_port(text: str, address: tuple[str, int]) -> None:
    assert parse_server(text) == address


@pytest.mark.parametrize("text", ["", "localhost", "192.0.2.1:0", "192.0.2.1:x", "192.0.2.1:70000"])
def test_server_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_server(text)


def test_own_and_unusable_addresses_are_never_asked() -> None:
    upstreams = make_upstreams("169.254.169.250", "127.0.0.1:5353", "0.0.0.0", "nonsense", "192.0.2.1", "192.0.2.1")
    assert upstreams.servers == (("192.0.2.1", 53),)


async def test_answer_of_the_first_server_is_returned() -> None:
    async with outside_resolver() as resolver:
        received = await make_upstreams(resolver.server).ask(query_for("example.com"))
    assert received is not None
    assert addresses_in(received) == ["192.0.2.0"]


async def test_each_question_has_another_id_and_source() -> None:
    async with outside_resolver() as resolver:
        upstreams = make_upstreams(resolver.server)
        for _ in range(5):
            await upstreams.ask(query_for("example.com"))
        assert len({query[:2] for query in resolver.asked}) == 5


async def test_datagram_with_another_id_or_question_is_not_believed() -> None:
    def forge(query: bytes) -> list[bytes]:
        other = query[:2] + ask("example.org")[2:]
        return [b"\0\0" + answer(query, 9)[2:], answer(other, 9), b"", answer(query, 1)]

    async with outside_resolver(forge) as resolver:
        received = await make_upstreams(resolver.server).ask(query_for("example.com"))
    assert received is not None
    assert len(addresses_in(received)) == 1


async def test_truncated_answer_is_fetched_by_stream() -> None:
    async with outside_resolver(
        lambda query: [truncate(answer(query))], lambda query: [answer(query, 100)]
    ) as resolver:
        received = await make_upstreams(resolver.server).ask(query_for("example.com"))
        assert resolver.asked_by_stream == resolver.asked
    assert received is not None
    assert len(addresses_in(received)) == 100


async def test_truncated_answer_is_taken_when_the_stream_fails() -> None:
    async with outside_resolver(lambda query: [truncate(answer(query))], lambda _: []) as resolver:
        received = await make_upstreams(resolver.server).ask(query_for("example.com"))
    assert received is not None
    assert read(received).header.tc == 1


async def test_next_server_is_asked_when_one_fails_or_is_not_there() -> None:
    async with (
        outside_resolver(lambda query: [answer(query, 0, wire.SERVFAIL)]) as broken,
        outside_resolver() as working,
    ):
        received = await make_upstreams("127.0.0.1:1", broken.server, working.server).ask(query_for("example.com"))
        assert len(broken.asked) == len(working.asked) == 1
    assert received is not None
    assert read(received).header.rcode == wire.NOERROR


async def test_silent_server_costs_two_seconds_once_and_is_then_asked_last(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05  # Loopback needs a moment of real time.
    async with outside_resolver(lambda _: []) as silent, outside_resolver() as working:
        upstreams = make_upstreams(silent.server, working.server)
        began = trio.current_time()
        assert await upstreams.ask(query_for("example.com")) is not None
        assert trio.current_time() - began == pytest.approx(2.0)
        assert await upstreams.ask(query_for("example.com")) is not None
        assert len(silent.asked) == 1


async def test_denied_name_is_an_answer_and_ends_the_search() -> None:
    async with (
        outside_resolver(lambda query: [answer(query, 0, wire.NXDOMAIN)]) as first,
        outside_resolver() as second,
    ):
        received = await make_upstreams(first.server, second.server).ask(query_for("example.com"))
        assert second.asked == []
    assert received is not None
    assert read(received).header.rcode == wire.NXDOMAIN


async def test_nobody_to_ask_is_no_answer_at_once() -> None:
    assert await make_upstreams().ask(query_for("example.com")) is None
