"""The rules of dns.foreign: what goes out, what is believed, how it is handed on."""

from functools import partial

import pytest
from dnslib import CNAME, RR, A, DNSRecord
from hypothesis import given, settings, strategies as st

from dns import foreign, wire
from dns.answer import Chase, answer_query
from dns.wire import Query
from dns.zone import Alias, make_zone
from tests.dns.questions import ask, read


def query_of(message: bytes) -> Query:
    query = wire.parse_query(message)
    assert isinstance(query, Query)
    return query


def answered(sent: bytes, count: int = 1, rcode: int = 0) -> bytes:
    reply = DNSRecord.parse(sent).reply(ra=1, aa=0)
    reply.header.rcode = rcode
    for number in range(count):
        reply.add_answer(RR(str(reply.q.qname), rtype=1, ttl=300, rdata=A(f"192.0.2.{number}")))
    return bytes(reply.pack())


def test_question_goes_out_with_our_id_and_none_of_the_askers_options() -> None:
    sent = foreign.encode_question(query_of(ask("Example.com", edns=4096)), 0xBEEF)
    record = read(sent)
    assert (record.header.id, str(record.q.qname), len(record.ar)) == (0xBEEF, "Example.com.", 1)


@pytest.mark.parametrize("spoil", [lambda m: b"\0\0" + m[2:], lambda m: m[:2] + b"\1" + m[3:], lambda m: m[:8]])
def test_answer_is_believed_with_id_and_question_only(spoil: object) -> None:
    sent = foreign.encode_question(query_of(ask("example.com")), 0xBEEF)
    received = answered(sent)
    assert foreign.is_answer_to(sent, received)
    assert not foreign.is_answer_to(sent, spoil(received))  # type: ignore[operator]
    assert not foreign.is_answer_to(sent, answered(foreign.encode_question(query_of(ask("example.org")), 0xBEEF)))


def test_answer_is_handed_on_with_the_askers_id_and_letters() -> None:
    query = query_of(ask("eXample.com"))
    reply = foreign.hand_on(query, answered(foreign.encode_question(query, 1)), 512)
    assert reply[:2] == b"\x12\x34"
    assert reply[12 : 12 + len(query.question)] == query.question
    assert str(read(reply).rr[0].rdata) == "192.0.2.0"


def test_denied_aaaa_becomes_an_empty_answer_and_denied_a_does_not() -> None:
    for qtype, rcode in (("AAAA", wire.NOERROR), ("A", wire.NXDOMAIN)):
        query = query_of(ask("example.com", qtype))
        received = answered(foreign.encode_question(query, 1), 0, wire.NXDOMAIN)
        assert read(foreign.hand_on(query, received, 512)).header.rcode == rcode


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (1232, 1232)])
def test_long_answer_is_cut_at_a_record_with_tc(edns: int | None, limit: int) -> None:
    query = query_of(ask("example.com", edns=edns))
    reply = foreign.hand_on(query, answered(foreign.encode_question(query, 1), 200), limit)
    record = read(reply)
    assert limit - 20 < len(reply) <= limit
    assert record.header.tc == 1
    assert len(record.ar) == (edns is not None)


def test_chase_answers_with_alias_and_what_it_leads_to() -> None:
    zone = make_zone(1, {"db.rancher.internal": Alias("db.example.com")})
    chase = answer_query(ask("db"), zone, (), ())
    assert isinstance(chase, Chase)
    outside = DNSRecord.question("db.example.com").reply()
    outside.add_answer(RR("db.example.com", rtype=5, ttl=60, rdata=CNAME("a.example.com")))
    outside.add_answer(RR("a.example.com", rtype=1, ttl=60, rdata=A("192.0.2.7")))
    records = read(foreign.answer_chase(chase, bytes(outside.pack()), 512)).rr
    assert [(str(record.rname), str(record.rdata)) for record in records] == [
        ("db.", "db.example.com."),
        ("db.example.com.", "a.example.com."),
        ("a.example.com.", "192.0.2.7"),
    ]


def test_chase_without_answer_fails_but_keeps_the_alias() -> None:
    chase = answer_query(ask("db"), make_zone(1, {"db.rancher.internal": Alias("db.example.com")}), (), ())
    assert isinstance(chase, Chase)
    record = read(foreign.answer_chase(chase, None, 512))
    assert (record.header.rcode, len(record.rr)) == (wire.SERVFAIL, 1)


@settings(max_examples=200, deadline=None)
@given(rest=st.binary(max_size=700), count=st.integers(0, 40))
def test_any_bytes_from_outside_are_handed_on_or_refused(rest: bytes, count: int) -> None:
    query = query_of(ask("example.com"))
    chase = Chase(query, "example.com", b"", 0)
    received = wire.HEADER.pack(1, wire.QR, 1, count, 0, 0) + query.question + rest
    for make_reply in (partial(foreign.hand_on, query), partial(foreign.answer_chase, chase)):
        try:
            assert len(make_reply(received, 512)) <= 512
        except wire.MalformedError:
            pass
