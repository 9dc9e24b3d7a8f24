"""The rules of dns.zone: lookups, reverse names, changes."""

import pytest
from hypothesis import given, settings, strategies as st

from dns.zone import Alias, Change, GapError, Record, Zone, apply_change, diff_zones, make_zone
from tests.dns.questions import DB_1, WEB_1, make_shop

LABELS = st.sampled_from(["web", "db", "shop_web_1", "a"])
NAMES = st.lists(LABELS, min_size=1, max_size=2).map(lambda labels: ".".join([*labels, "rancher.internal"]))
ADDRESSES = st.integers(1, 6).map(lambda last: f"10.42.0.{last}")
RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.lists(ADDRESSES, unique=True, max_size=3).map(tuple), st.just(Alias("example.com"))
)
SCOPES = st.dictionaries(ADDRESSES, st.lists(NAMES, max_size=2).map(tuple), max_size=3)
PARTS = st.tuples(st.dictionaries(NAMES, RECORDS, max_size=6), SCOPES, st.sampled_from([(), ("192.0.2.53",)]))


@settings(max_examples=60, deadline=None)
@given(old=PARTS, new=PARTS)
def test_diff_applied_to_the_old_zone_gives_the_new_one(
    old: tuple[dict[str, Record], dict[str, tuple[str, ...]], tuple[str, ...]],
    new: tuple[dict[str, Record], dict[str, tuple[str, ...]], tuple[str, ...]],
) -> None:
    before = make_zone(1, old[0], scopes=old[1], upstreams=old[2])
    after = make_zone(2, new[0], scopes=new[1], upstreams=new[2])
    changed = apply_change(before, diff_zones(before, after))
    assert changed == after
    assert changed.reverse == after.reverse


def test_diff_of_equal_zones_changes_nothing_but_the_serial() -> None:
    assert diff_zones(make_shop(7), make_shop(8)) == Change(7, 8)


def test_change_raises_gap_when_it_starts_elsewhere() -> None:
    with pytest.raises(GapError, match="starts from serial 8, this zone is at 7"):
        apply_change(make_shop(7), Change(8, 9))


def test_change_leaves_the_old_zone_as_it_was() -> None:
    zone = make_shop()
    apply_change(zone, Change(7, 8, drop=("db.shop.rancher.internal", "shop_db_1.rancher.internal")))
    assert zone.lookup("db.shop.rancher.internal") == (DB_1,)
    assert zone.name_of(DB_1) == "shop_db_1.rancher.internal"


def test_diff_raises_when_the_domain_differs() -> None:
    with pytest.raises(ValueError, match="send the whole zone"):
        diff_zones(make_shop(), make_shop(8, domain="corral.internal"))


def test_reverse_name_is_the_containers_and_not_its_services() -> None:
    zone = make_zone(1, {"web.shop.rancher.internal": (WEB_1,), "shop_web_1.rancher.internal": (WEB_1,)})
    assert zone.name_of(WEB_1) == "shop_web_1.rancher.internal"


def test_reverse_name_is_gone_when_its_last_name_is_dropped() -> None:
    zone = make_zone(1, {"a_b_1.rancher.internal": (WEB_1,)})
    assert apply_change(zone, Change(1, 2, drop=("a_b_1.rancher.internal",))).name_of(WEB_1) is None


def test_names_no_message_can_carry_are_left_out_and_listed() -> None:
    long = "x" * 64 + ".rancher.internal"
    zone = make_zone(1, {long: (WEB_1,), "Web.Shop.rancher.internal": (WEB_1,), "bad.rancher.internal": ("10.42",)})
    assert set(zone.names) == {"web.shop.rancher.internal"}
    assert zone.skipped == (long, "bad.rancher.internal")


def test_nameserver_has_an_address_without_being_in_the_zone() -> None:
    assert Zone().lookup("corral-dns.rancher.internal") == ("169.254.169.250",)
