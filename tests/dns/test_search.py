"""The rules of dns.search: what a short name stands for, and who may ask."""

import pytest

from dns.search import Askers, expand_name, find_name, is_kept_inside
from tests.dns.questions import SHOP, STRANGER, WEB_1, make_shop


def test_names_are_tried_as_asked_then_by_the_askers_list_then_by_the_domain() -> None:
    tried = list(expand_name(make_shop(), "web", ("corp.example", "shop.rancher.internal")))
    assert tried == ["web", "web.corp.example", "web.shop.rancher.internal", "web.rancher.internal"]


def test_domain_is_tried_once_when_the_askers_list_has_it() -> None:
    assert list(expand_name(make_shop(), "web", SHOP)).count("web.rancher.internal") == 1


def test_names_of_the_domain_are_tried_as_asked_only() -> None:
    assert list(expand_name(make_shop(), "web.rancher.internal", SHOP)) == ["web.rancher.internal"]


@pytest.mark.parametrize("name", ["web", "web.shop", "shop_web_1", "web.shop.rancher.internal"])
def test_service_is_found_by_each_of_its_forms(name: str) -> None:
    assert find_name(make_shop(), name, SHOP) is not None


def test_service_of_another_stack_needs_its_stack_name() -> None:
    assert find_name(make_shop(), "web", ("other.rancher.internal",)) is None
    assert find_name(make_shop(), "web.shop", ("other.rancher.internal",)) == "web.shop.rancher.internal"


def test_service_without_containers_is_found_so_that_it_is_not_asked_outside() -> None:
    assert find_name(make_shop(), "cache", SHOP) == "cache.shop.rancher.internal"


@pytest.mark.parametrize(
    ("name", "kept"),
    [("gone.rancher.internal", True), ("shop_web_9", True), ("intranet", False), ("_sip.example.com", False)],
)
def test_unknown_name_is_kept_inside_when_it_can_only_be_ours(name: str, kept: bool) -> None:
    assert is_kept_inside(make_shop(), name) is kept


def test_asker_has_its_list_an_empty_one_by_prefix_or_may_not_ask() -> None:
    askers = Askers(make_shop())
    assert askers.suffixes_of(WEB_1) == SHOP
    assert askers.suffixes_of("10.42.1.77") == ()
    assert askers.suffixes_of(STRANGER) is None
    assert askers.suffixes_of("") is None
