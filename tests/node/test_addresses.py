"""The address a host advertises: chosen when there is one, asked for when there are several, never guessed."""

import pytest

from node.addresses import (
    AddressUnclear,
    Chosen,
    Interface,
    Route,
    find_overlaps,
    local_interfaces,
    local_routes,
    parse_routes,
    pick_advertise_address,
)

OVERLAY = "10.42.0.0/16"
LO = Interface("lo", ("127.0.0.1", "::1"), 65536)
ETH0 = Interface("eth0", ("10.0.0.2", "fe80::2"), 1400, has_default_route=True)
ETH1 = Interface("eth1", ("192.168.7.2",), 9000)
DOCKER = Interface("docker0", ("172.17.0.1",))
ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    "vpn0\t00002A0A\t00000000\t0001\t0\t0\t0\t0000FCFF\t0\t0\t0\n"
)


def pick(*interfaces: Interface, wanted: str | None = None) -> Chosen:
    return pick_advertise_address(interfaces, wanted, overlay_network=OVERLAY)


def test_only_address_is_chosen_with_its_mtu() -> None:
    assert pick(LO, DOCKER, ETH0) == Chosen("10.0.0.2", 1400)


def test_several_addresses_are_listed_and_none_is_chosen() -> None:
    with pytest.raises(AddressUnclear) as caught:
        pick(LO, ETH0, ETH1)
    assert "10.0.0.2 (eth0, default route), 192.168.7.2 (eth1)" in str(caught.value)
    assert "--advertise" in str(caught.value)


@pytest.mark.parametrize("wanted", ["192.168.7.2", "eth1"])
def test_wanted_address_or_interface_decides(wanted: str) -> None:
    assert pick(ETH0, ETH1, wanted=wanted) == Chosen("192.168.7.2", 9000)


def test_bridge_of_docker_is_taken_only_when_wanted() -> None:
    assert pick(DOCKER, wanted="docker0") == Chosen("172.17.0.1", 1500)
    with pytest.raises(AddressUnclear, match="no address that others could reach"):
        pick(LO, DOCKER)


def test_address_of_the_overlay_is_no_candidate() -> None:
    assert pick(ETH0, Interface("x0", ("10.42.1.1",))) == Chosen("10.0.0.2", 1400)


def test_ipv6_address_is_chosen_where_there_is_no_other() -> None:
    assert pick(LO, Interface("eth0", ("fe80::1", "2001:db8::1"))) == Chosen("2001:db8::1", 1500)
    assert pick(Interface("eth0", ("2001:db8::1", "10.0.0.2"))) == Chosen("10.0.0.2", 1500)


def test_wanted_address_behind_nat_is_taken_as_told() -> None:
    assert pick(ETH0, wanted="198.51.100.7") == Chosen("198.51.100.7", 1500)


def test_wanted_name_that_is_nothing_here_is_refused_with_what_there_is() -> None:
    with pytest.raises(AddressUnclear, match=r"neither an IP address nor an interface .*eth0, eth1"):
        pick(ETH0, ETH1, wanted="eth7")
    with pytest.raises(AddressUnclear, match="no address"):
        pick(Interface("eth7", ("fe80::1",)), wanted="eth7")


def test_routes_are_read_from_the_kernels_table() -> None:
    assert parse_routes(ROUTES) == (
        Route("eth0", "0.0.0.0/0"),
        Route("eth0", "192.0.2.0/24"),
        Route("vpn0", "10.42.0.0/14"),
    )
    assert parse_routes("") == ()


def test_overlapping_route_is_named_and_our_own_is_not() -> None:
    routes = (*(Route("eth0", net) for net in ("0.0.0.0/0", "10.43.0.0/16", "10.0.0.0/8")), Route("corral0", OVERLAY))
    assert find_overlaps(routes, OVERLAY, ours=("corral0",)) == ("10.0.0.0/8 on eth0",)
    assert find_overlaps((Route("eth1", "10.42.7.0/24"),), OVERLAY) == ("10.42.7.0/24 on eth1",)


def test_this_hosts_interfaces_include_loopback() -> None:
    loopback = next(each for each in local_interfaces() if each.name == "lo")
    assert "127.0.0.1" in loopback.addresses
    assert loopback.mtu > 1500
    assert isinstance(local_routes(), tuple)
