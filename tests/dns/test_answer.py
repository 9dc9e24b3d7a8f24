"""The rules of dns.answer: what each question gets."""

from random import Random

import pytest

from dns import wire
from dns.answer import Chase, Decision, Forward, Reply, answer_query, fail, parse_reverse
from dns.ready import make_ready
from dns.zone import Alias, Zone, make_zone, parse_networks
from tests.dns.questions import DB_1, SHOP, WEB_1, WEB_2, addresses_in, ask, make_shop, read


def decide(message: bytes, zone: Zone | None = None, suffixes: tuple[str, ...] | None = SHOP, **how: bool) -> Decision:
    zone = zone or make_shop()
    return answer_query(message, zone, suffixes, parse_networks(zone.networks), **how)


def reply_to(message: bytes, zone: Zone | None = None, suffixes: tuple[str, ...] | None = SHOP, **how: bool) -> bytes:
    decision = decide(message, zone, suffixes, **how)
    assert isinstance(decision, Reply)
    return message[:2] + make_ready(decision, Random(1)).take()


def crowd(count: int, prefix: str = "10.42.9.") -> Zone:
    return make_shop(names={"many.shop.rancher.internal": tuple(f"{prefix}{last}" for last in range(1, count + 1))})


@pytest.mark.parametrize("name", ["web", "WEB", "wEb.shop", "web.Shop.RANCHER.internal"])
def test_service_gets_all_addresses_under_the_name_as_asked(name: str) -> None:
    message = ask(name)
    reply = read(reply_to(message))
    assert {str(record.rdata) for record in reply.rr} == {WEB_1, WEB_2}
    assert {(str(record.rname), record.ttl) for record in reply.rr} == {(name + ".", 1)}
    assert (reply.header.aa, reply.header.ra, reply.header.tc, reply.header.rcode) == (1, 1, 0, wire.NOERROR)
    assert reply_to(message)[12 : len(message)] == message[12:]


def test_short_name_with_a_records_is_an_empty_answer_when_aaaa_is_asked() -> None:
    reply = read(reply_to(ask("web", "AAAA")))
    assert (reply.header.rcode, reply.rr) == (wire.NOERROR, [])
    assert str(reply.auth[0].rname) == "rancher.internal."


@pytest.mark.parametrize("qtype", ["MX", "TXT", "SRV", "NS", "SOA"])
def test_name_of_other_types_is_an_empty_answer_with_the_soa(qtype: str) -> None:
    reply = read(reply_to(ask("db.shop.rancher.internal", qtype)))
    assert (reply.header.rcode, reply.rr, reply.auth[0].rtype) == (wire.NOERROR, [], wire.SOA)


def test_service_without_containers_is_an_empty_answer() -> None:
    reply = read(reply_to(ask("cache")))
    assert (reply.header.rcode, reply.rr) == (wire.NOERROR, [])


@pytest.mark.parametrize("name", ["web.rancher.internal", "gone.shop.rancher.internal", "shop.rancher.internal"])
def test_name_without_any_record_is_nxdomain_with_the_soa(name: str) -> None:
    reply = read(reply_to(ask(name)))
    assert (reply.header.rcode, reply.header.aa, reply.auth[0].rtype) == (wire.NXDOMAIN, 1, wire.SOA)


def test_other_name_is_forwarded() -> None:
    assert isinstance(decide(ask("example.com")), Forward)
    assert isinstance(decide(ask("intranet")), Forward)


def test_apex_gives_soa_and_ns_and_nothing_else() -> None:
    assert read(reply_to(ask("rancher.internal", "SOA"))).rr[0].rtype == wire.SOA
    assert str(read(reply_to(ask("rancher.internal", "NS"))).rr[0].rdata) == "corral-dns.rancher.internal."
    assert read(reply_to(ask("rancher.internal"))).auth[0].rtype == wire.SOA
    assert addresses_in(reply_to(ask("corral-dns.rancher.internal"))) == ["169.254.169.250"]


def test_soa_carries_the_zones_serial() -> None:
    assert read(reply_to(ask("rancher.internal", "SOA"))).rr[0].rdata.times[0] == 7


def test_reverse_question_gets_the_containers_name() -> None:
    reply = read(reply_to(ask("20.1.42.10.in-addr.arpa", "PTR")))
    assert str(reply.rr[0].rdata) == "shop_db_1.rancher.internal."


def test_unknown_reverse_name_is_denied_inside_our_networks_and_forwarded_elsewhere() -> None:
    assert read(reply_to(ask("99.9.42.10.in-addr.arpa", "PTR"))).header.rcode == wire.NXDOMAIN
    assert isinstance(decide(ask("8.8.8.8.in-addr.arpa", "PTR")), Forward)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("20.1.42.10.in-addr.arpa", DB_1),
        ("1.42.10.in-addr.arpa", None),
        ("x.1.42.10.in-addr.arpa", None),
        ("1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::1"),
        ("1.ip6.arpa", None),
        ("example.com", None),
    ],
)
def test_reverse_name_is_read_when_it_is_whole(name: str, address: str | None) -> None:
    assert parse_reverse(name) == address


@pytest.mark.parametrize(("qtype", "qclass"), [("ANY", "IN"), ("AXFR", "IN"), ("A", "CH")])
def test_any_transfers_and_other_classes_are_not_implemented(qtype: str, qclass: str) -> None:
    message = ask("web", qtype)
    if qclass != "IN":
        message = message[:-2] + b"\0\3"
    assert read(reply_to(message)).header.rcode == wire.NOTIMP


def test_stranger_is_refused_and_told_nothing() -> None:
    reply = read(reply_to(ask("web.shop.rancher.internal"), suffixes=None))
    assert (reply.header.rcode, reply.rr, reply.auth) == (wire.REFUSED, [], [])
    assert reply.questions


def test_nothing_is_denied_before_a_zone_came() -> None:
    assert read(reply_to(ask("web"), Zone())).header.rcode == wire.SERVFAIL


def test_response_gets_no_reply() -> None:
    assert decide(reply_to(ask("web"))) is None


def test_plain_datagram_has_at_most_25_addresses_and_no_truncation_bit() -> None:
    reply = reply_to(ask("many"), crowd(60))
    assert len(reply) <= 512
    assert len(read(reply).rr) == 25
    assert read(reply).header.tc == 0


def test_long_question_leaves_room_for_fewer_addresses() -> None:
    names = {"x" * 60 + ".shop.rancher.internal": tuple(f"10.42.9.{last}" for last in range(60))}
    reply = reply_to(ask("x" * 60 + ".shop.rancher.internal"), make_shop(names=names))
    assert len(reply) <= 512
    assert 20 < len(read(reply).rr) <= 25


def test_edns_datagram_fills_the_askers_payload() -> None:
    reply = reply_to(ask("many", edns=4096), crowd(200))
    assert 1200 < len(reply) <= 1232
    assert read(reply).ar[0].rtype == wire.OPT


def test_stream_carries_all_addresses() -> None:
    assert len(read(reply_to(ask("many"), crowd(250), stream=True)).rr) == 250


def test_ipv6_addresses_answer_aaaa() -> None:
    zone = make_shop(names={"six.shop.rancher.internal": ("2001:db8::1", DB_1)})
    assert addresses_in(reply_to(ask("six", "AAAA"), zone)) == ["2001:db8::1"]


def test_unknown_edns_version_is_badvers() -> None:
    message = ask("web", edns=1232)
    message = message[:-5] + b"\1" + message[-4:]
    assert read(reply_to(message)).ar[0].ttl >> 24 == 1


def test_alias_of_our_name_comes_with_its_addresses() -> None:
    zone = make_zone(1, {"a.rancher.internal": Alias("b.rancher.internal"), "b.rancher.internal": (DB_1,)})
    first, second = read(reply_to(ask("a"), zone)).rr
    assert (str(first.rname), str(first.rdata)) == ("a.", "b.rancher.internal.")
    assert (str(second.rname), str(second.rdata)) == ("b.rancher.internal.", DB_1)


def test_chain_of_aliases_keeps_each_owner() -> None:
    names = {"a.rancher.internal": Alias("b.rancher.internal"), "b.rancher.internal": Alias("c.rancher.internal")}
    zone = make_zone(1, {**names, "c.rancher.internal": (DB_1,)})
    owners = [str(record.rname) for record in read(reply_to(ask("a.rancher.internal"), zone)).rr]
    assert owners == ["a.rancher.internal.", "b.rancher.internal.", "c.rancher.internal."]


def test_alias_loop_ends() -> None:
    zone = make_zone(1, {"a.rancher.internal": Alias("a.rancher.internal")})
    assert len(read(reply_to(ask("a"), zone)).rr) == 8


def test_alias_of_a_name_outside_is_chased() -> None:
    zone = make_zone(1, {"db.shop.rancher.internal": Alias("db.example.com")})
    decision = decide(ask("db"), zone)
    assert isinstance(decision, Chase)
    assert (decision.target, decision.alias_count) == ("db.example.com", 1)
    assert str(read(reply_to(ask("db", "CNAME"), zone)).rr[0].rdata) == "db.example.com."


def test_failure_repeats_the_question_when_it_can_be_read() -> None:
    assert read(fail(ask("example.com"), wire.SERVFAIL)).questions
    assert read(fail(ask("example.com")[:14], wire.SERVFAIL)).header.rcode == wire.SERVFAIL
