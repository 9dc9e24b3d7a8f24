"""The rules of dns.responder: ready replies per asker, bounds on what goes outside."""

from random import Random

import pytest
import trio

from dns import responder as bounds, wire
from dns.answer import Forward
from dns.responder import Responder
from dns.upstream import Upstreams
from tests.dns.outside import answer, outside_resolver
from tests.dns.questions import STRANGER, WEB_1, addresses_in, ask, make_shop, read


def make_responder(*servers: str) -> Responder:
    responder = Responder(Upstreams([], Random(1)), Random(1))
    responder.use_zone(make_shop(upstreams=servers))
    return responder


def reply_of(responder: Responder, message: bytes, asker: str = WEB_1) -> bytes:
    reply = responder.respond(message, asker)
    assert isinstance(reply, bytes)
    return reply


def test_reply_is_ready_for_the_next_query_of_the_same_scope() -> None:
    responder = make_responder()
    reply_of(responder, ask("db", ident=1))
    assert b"\0\2" + responder.tables[WEB_1][ask("db")[2:]].take() == reply_of(responder, ask("db", ident=2))


def test_asker_of_another_scope_has_other_replies() -> None:
    responder = make_responder()
    assert addresses_in(reply_of(responder, ask("db.shop")))
    assert addresses_in(reply_of(responder, ask("web.shop"), "10.42.1.99"))
    assert read(reply_of(responder, ask("db"), "10.42.1.99")).header.rcode == wire.SERVFAIL
    assert responder.tables[WEB_1] is not responder.tables["10.42.1.99"]


def test_new_zone_throws_ready_replies_away() -> None:
    responder = make_responder()
    reply_of(responder, ask("db"))
    responder.use_zone(make_shop(8))
    assert responder.tables == {}


def test_stranger_never_gets_a_table() -> None:
    responder = make_responder()
    assert read(reply_of(responder, ask("db"), STRANGER)).header.rcode == wire.REFUSED
    assert responder.tables == {}
    assert responder.counts["refused"] == 1


def test_tables_of_askers_are_bounded() -> None:
    responder = Responder(Upstreams([], Random(1)), Random(1))
    responder.use_zone(make_shop(allow=("10.0.0.0/8",)))
    for number in range(bounds.MAX_ASKERS + 10):
        reply_of(responder, ask("db.shop"), f"10.1.{number // 256}.{number % 256}")
    assert len(responder.tables) <= bounds.MAX_ASKERS


def test_asker_with_too_many_questions_outside_fails_at_once_and_others_do_not() -> None:
    responder = make_responder("192.0.2.53")
    for _ in range(bounds.MAX_OUTSIDE_PER_ASKER):
        assert isinstance(responder.respond(ask("example.com"), WEB_1), Forward)
        responder.claim_outside(WEB_1)
    assert read(reply_of(responder, ask("example.com"))).header.rcode == wire.SERVFAIL
    assert isinstance(responder.respond(ask("example.com"), "10.42.1.99"), Forward)


def test_questions_outside_are_bounded_for_all_together() -> None:
    responder = make_responder("192.0.2.53")
    for number in range(bounds.MAX_OUTSIDE):
        responder.claim_outside(f"10.42.1.{number % 100}")
    assert read(reply_of(responder, ask("example.com"), "10.42.1.200")).header.rcode == wire.SERVFAIL


async def test_answered_question_frees_its_place() -> None:
    async with outside_resolver() as resolver:
        responder = make_responder(resolver.server)
        for _ in range(bounds.MAX_OUTSIDE_PER_ASKER + 5):
            outside = responder.respond(ask("example.com"), WEB_1)
            assert isinstance(outside, Forward)
            responder.claim_outside(WEB_1)
            reply = await responder.ask_outside(outside, ask("example.com"), WEB_1)
            assert addresses_in(reply) == ["192.0.2.0"]


async def test_question_given_up_frees_its_place() -> None:
    async with outside_resolver(lambda _: []) as resolver:
        responder = make_responder(resolver.server)
        outside = responder.respond(ask("example.com"), WEB_1)
        assert isinstance(outside, Forward)
        responder.claim_outside(WEB_1)
        with trio.move_on_after(0.01):
            await responder.ask_outside(outside, ask("example.com"), WEB_1)
    responder.use_zone(make_shop(upstreams=("192.0.2.53",)))
    for _ in range(bounds.MAX_OUTSIDE_PER_ASKER):
        assert isinstance(responder.respond(ask("example.com"), WEB_1), Forward)
        responder.claim_outside(WEB_1)


@pytest.mark.parametrize("cut", [20, 40, 45])
async def test_garbage_from_outside_is_a_failure(cut: int) -> None:
    # Long enough to be believed, too long to be handed on as it is, and broken where it has to be cut.
    async with outside_resolver(lambda query: [answer(query, 60)[:-cut] + b"\xff" * 500]) as resolver:
        responder = make_responder(resolver.server)
        outside = responder.respond(ask("example.com"), WEB_1)
        assert isinstance(outside, Forward)
        responder.claim_outside(WEB_1)
        reply = await responder.ask_outside(outside, ask("example.com"), WEB_1)
    assert read(reply).header.rcode == wire.SERVFAIL
