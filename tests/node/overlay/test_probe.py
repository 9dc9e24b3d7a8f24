"""Which of a host's addresses and routes stand in the overlay's way, and which could carry it."""

from node.overlay.probe import find_conflicts, find_underlays
from node.plan.overlay_model import Address, Conflict, Link, Route, Underlay

NETWORK = "10.42.0.0/16"


def test_address_and_route_inside_the_range_are_conflicts() -> None:
    addresses = [Address("eth0", "192.0.2.1", 24), Address("br9", "10.42.5.1", 24)]
    routes = [Route("10.42.9.0/24", link="tun0", proto=3)]
    assert list(find_conflicts(NETWORK, addresses, routes, set())) == [
        Conflict("address 10.42.5.1", "10.42.5.0/24", "br9", False),
        Conflict("route by tun0", "10.42.9.0/24", "tun0", False),
    ]


def test_wider_route_is_named_as_such() -> None:
    (conflict,) = find_conflicts(NETWORK, [], [Route("10.0.0.0/8", link="tun0", proto=3)], set())
    assert conflict.is_wider


def test_default_route_and_what_is_ours_are_no_conflict() -> None:
    addresses = [Address("corral0", "10.42.5.1", 24)]
    routes = [
        Route("0.0.0.0/0", link="eth0", proto=3),
        Route("0.0.0.0/1", link="vpn", proto=3),
        Route("10.42.5.0/24", link="corral0", proto=2),
        Route(NETWORK, "unreachable"),
    ]
    assert list(find_conflicts(NETWORK, addresses, routes, {"corral0"})) == []


def test_underlays_are_addresses_on_links_that_are_up_and_not_local() -> None:
    links = {name: Link(name, "", 1500, name != "eth1") for name in ("lo", "eth0", "eth1", "corral0")}
    addresses = [
        Address("lo", "127.0.0.1", 8),
        Address("eth0", "192.0.2.1", 24),
        Address("eth0", "169.254.9.9", 16),
        Address("eth1", "198.51.100.1", 24),
        Address("corral0", "172.17.0.1", 16),
    ]
    assert list(find_underlays(NETWORK, addresses, links, {"corral0"})) == [Underlay("eth0", "192.0.2.1", 1500)]
