"""The overlay's plans: what is done from which picture, and that it settles."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from node.plan.overlay import KEEPALIVE, STALE_AFTER, clamp_key, plan_overlay, report_overlay, tunnel_mtu
from node.plan.overlay_model import (
    MARK,
    Address,
    Facts,
    Link,
    Mode,
    OverlayConfig,
    Peer,
    Route,
    WireGuard,
    WireGuardPeer,
    address_text,
    container_addresses,
    gateway_of,
    hosts_of_network,
    is_in_network,
    overlaps,
    subnet_of_host,
    vxlan_mac,
)
from node.plan.overlay_rules import docker_rules, render_script, script_digest
from node.plan.overlay_steps import ConfigureWireGuard, LoadRules, PutRoute, RemoveTunnel
from protocol.probe import MAGIC
from tests.fakes.overlay_host import OverlayHost

NETWORK = "10.42.0.0/16"
NOW = 1_000_000.0


def key_of(number: int) -> bytes:
    """Return a host's public key."""
    return Random(number).randbytes(32)


def make_peer(number: int, endpoint: str = "") -> Peer:
    """Return a host as the others see it."""
    subnet = subnet_of_host(NETWORK, 24, number)
    where = endpoint or f"192.0.2.{number}"
    return Peer(f"{number:032x}", subnet, gateway_of(subnet), where, 51820, key_of(number))


def make_config(mode: Mode = "wireguard", peers: tuple[int, ...] = (2, 3)) -> OverlayConfig:
    """Return host 1's configuration."""
    return OverlayConfig(
        mode,
        NETWORK,
        "10.42.1.0/24",
        "10.42.1.1",
        51820,
        "192.0.2.1",
        bytes(range(32)),
        tuple(make_peer(number) for number in peers),
    )


def bare_host(has_docker: bool = True) -> Facts:
    """Return a host with an underlay and, once Docker is there, its bridge and chain."""
    links = (Link("lo", "", 65536, True), Link("eth0", "", 1500, True))
    addresses = (Address("lo", "127.0.0.1", 8, "lo"), Address("eth0", "192.0.2.1", 24, "eth0"))
    if not has_docker:
        return Facts(links, addresses, ip_forward=False)
    bridge = Link("corral0", "bridge", 1440, True)
    at_bridge = Address("corral0", "10.42.1.1", 24, "corral0")
    return Facts((*links, bridge), (*addresses, at_bridge), docker_rules=(), ip_forward=True)


def settled(config: OverlayConfig, kind: str = "tun") -> OverlayHost:
    """Return a host that has what `config` wants."""
    host = OverlayHost(bare_host(), kind)
    host.carry_out(plan_overlay(config, host.facts, {}, NOW).actions)
    return host


@pytest.mark.parametrize("mode", ["wireguard", "vxlan"])
def test_host_settles_in_one_round_and_none_leaves_no_trace(mode: Mode) -> None:
    host = settled(make_config(mode))
    plan = plan_overlay(make_config(mode), host.facts, {}, NOW)
    assert plan.actions == ()
    assert plan.warnings == ()
    host.carry_out(plan_overlay(None, host.facts, {}, NOW).actions)
    assert host.facts == bare_host()
    assert plan_overlay(None, host.facts, {}, NOW).actions == ()


CONFIGS = st.builds(
    make_config, st.sampled_from(["wireguard", "vxlan"]), st.sets(st.integers(2, 9), max_size=4).map(tuple)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CONFIGS | st.none(), min_size=1, max_size=4), st.sampled_from(["tun", "wireguard"]), st.booleans())
def test_any_sequence_of_configurations_settles_after_each_round(
    configs: list[OverlayConfig | None], kind: str, has_docker: bool
) -> None:
    host = OverlayHost(bare_host(has_docker), kind)
    for config in configs:
        host.carry_out(plan_overlay(config, host.facts, {}, NOW).actions)
        assert plan_overlay(config, host.facts, {}, NOW).actions == ()
    host.carry_out(plan_overlay(None, host.facts, {}, NOW).actions)
    assert replace(host.facts, ip_forward=True) == replace(bare_host(has_docker), ip_forward=True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["wireguard", "vxlan"]), st.data())
def test_whatever_is_lost_comes_back_in_one_round(mode: Mode, data: st.DataObject) -> None:
    config = make_config(mode)
    host = settled(config)
    facts = host.facts
    host.facts = replace(
        facts,
        addresses=tuple(at for at in facts.addresses if at.link == "eth0" or data.draw(st.booleans())),
        routes=tuple(route for route in facts.routes if data.draw(st.booleans())),
        neighbours=tuple(at for at in facts.neighbours if data.draw(st.booleans())),
        forwarding=tuple(at for at in facts.forwarding if data.draw(st.booleans())),
        docker_rules=tuple(rule for rule in facts.docker_rules or () if data.draw(st.booleans())),
        table=data.draw(st.sampled_from([facts.table, "", None])),
    )
    host.carry_out(plan_overlay(config, host.facts, {}, NOW).actions)
    assert plan_overlay(config, host.facts, {}, NOW).actions == ()


def test_rules_and_backstop_come_before_any_link() -> None:
    first, second, *rest = plan_overlay(make_config(), bare_host(), {}, NOW).actions
    assert isinstance(first, LoadRules)
    assert isinstance(second, PutRoute)
    assert second.route == Route(NETWORK, "unreachable")
    assert rest


def test_backstop_stays_when_a_peer_goes() -> None:
    host = settled(make_config())
    host.carry_out(plan_overlay(make_config(peers=(3,)), host.facts, {}, NOW).actions)
    assert {route.dst for route in host.facts.routes} == {NETWORK, "10.42.3.0/24"}
    assert host.facts.wireguard is not None
    assert [peer.public_key for peer in host.facts.wireguard.peers] == [key_of(3)]


def test_only_the_new_peer_is_named_when_a_host_joins() -> None:
    host = settled(make_config(peers=(2,)))
    steps = plan_overlay(make_config(peers=(2, 3)), host.facts, {}, NOW).actions
    (step,) = [step for step in steps if isinstance(step, ConfigureWireGuard)]
    assert [change.public_key for change in step.peers] == [key_of(3)]
    assert (step.private_key, step.listen_port) == (None, None)


def moved_peer(handshake_at: float) -> Facts:
    """Return a host whose peer 2 is seen at another endpoint than the configured one."""
    host = settled(make_config(peers=(2,)))
    seen = WireGuardPeer(key_of(2), ("203.0.113.9", 4000), frozenset({"10.42.2.0/24"}), KEEPALIVE, handshake_at)
    return replace(host.facts, wireguard=WireGuard(clamp_key(bytes(range(32))), 51820, (seen,)))


def test_endpoint_that_wireguard_learned_is_left_alone_while_its_session_lives() -> None:
    assert plan_overlay(make_config(peers=(2,)), moved_peer(NOW - 10), {}, NOW).actions == ()


def test_endpoint_is_put_right_when_the_session_is_stale() -> None:
    (step,) = plan_overlay(make_config(peers=(2,)), moved_peer(NOW - STALE_AFTER - 1), {}, NOW).actions
    assert isinstance(step, ConfigureWireGuard)
    assert step.peers[0].endpoint == ("192.0.2.2", 51820)
    assert step.peers[0].allowed is None


def test_endpoint_is_put_right_at_once_when_it_is_news() -> None:
    told = {key_of(2): ("192.0.2.200", 51820)}
    (step,) = plan_overlay(make_config(peers=(2,)), moved_peer(NOW - 10), told, NOW).actions
    assert isinstance(step, ConfigureWireGuard)
    assert step.peers[0].endpoint == ("192.0.2.2", 51820)


def test_range_that_moves_to_another_peer_arrives_there() -> None:
    host = settled(make_config(peers=(2,)))
    heir = replace(make_peer(2), public_key=key_of(77), node="f" * 32)
    config = replace(make_config(), peers=(heir,))
    host.carry_out(plan_overlay(config, host.facts, {}, NOW).actions)
    assert plan_overlay(config, host.facts, {}, NOW).actions == ()


def test_device_that_does_not_answer_is_made_anew() -> None:
    host = settled(make_config())
    host.facts = replace(host.facts, wireguard=None)
    steps = plan_overlay(make_config(), host.facts, {}, NOW).actions
    assert isinstance(steps[0], RemoveTunnel)
    host.carry_out(steps)
    assert plan_overlay(make_config(), host.facts, {}, NOW).actions == ()


def test_socket_without_its_link_is_removed() -> None:
    facts = replace(bare_host(), sockets=("corral-wg",))
    assert [step.link for step in plan_overlay(None, facts, {}, NOW).actions if isinstance(step, RemoveTunnel)] == [
        "corral-wg"
    ]


def test_vxlan_device_is_made_anew_when_its_underlay_address_changes() -> None:
    host = settled(make_config("vxlan"))
    config = replace(make_config("vxlan"), underlay_address="192.0.2.50")
    steps = plan_overlay(config, host.facts, {}, NOW).actions
    assert any(isinstance(step, RemoveTunnel) for step in steps)
    host.carry_out(steps)
    assert plan_overlay(config, host.facts, {}, NOW).actions == ()


def test_foreign_route_is_a_warning_and_never_replaced() -> None:
    foreign = Route("10.42.2.0/24", link="eth0", proto=3)
    host = OverlayHost(replace(bare_host(), routes=(foreign,)))
    host.carry_out(plan_overlay(make_config(), host.facts, {}, NOW).actions)
    assert foreign in host.facts.routes
    plan = plan_overlay(make_config(), host.facts, {}, NOW)
    assert plan.actions == ()
    assert any("10.42.2.0/24" in warning for warning in plan.warnings)


def test_foreign_link_and_route_survive_the_removal() -> None:
    foreign = Route("10.99.0.0/16", link="eth0", proto=99)
    facts = replace(bare_host(), routes=(foreign,), links=(*bare_host().links, Link("wg0", "wireguard", 1420, True)))
    assert plan_overlay(None, facts, {}, NOW).actions == ()


def test_absent_bridge_is_a_warning_and_the_tunnel_comes_up_all_the_same() -> None:
    host = OverlayHost(bare_host(has_docker=False))
    host.carry_out(plan_overlay(make_config(), host.facts, {}, NOW).actions)
    assert host.facts.link("corral-wg") == Link("corral-wg", "tun", 1440, True, MARK)
    assert "corral0 is absent" in plan_overlay(make_config(), host.facts, {}, NOW).warnings[0]


@pytest.mark.parametrize(("mode", "underlay", "expected"), [("wireguard", 1500, 1440), ("vxlan", 9000, 8950)])
def test_mtu_leaves_room_for_what_wraps_a_packet(mode: Mode, underlay: int, expected: int) -> None:
    facts = Facts((Link("eth0", "", underlay, True),), (Address("eth0", "192.0.2.1", 24),))
    assert tunnel_mtu(make_config(mode), facts) == expected
    assert tunnel_mtu(replace(make_config(mode), mtu=1300), facts) == 1300


def test_mtu_stays_while_the_underlay_address_is_away() -> None:
    facts = Facts((Link("corral-wg", "tun", 1390, True, MARK),))
    assert tunnel_mtu(make_config(), facts) == 1390
    assert tunnel_mtu(make_config(), Facts()) == 1440


def test_report_names_peers_and_says_how_old_their_handshakes_are() -> None:
    report = report_overlay(make_config(peers=(2,)), moved_peer(NOW - 10), NOW)
    assert report.kind == "wireguard-go"
    assert report.peers[0].node == make_peer(2).node
    assert report.peers[0].handshake_age == 10
    assert report.peers[0].endpoint == "203.0.113.9:4000"


def test_script_differs_by_its_digest_when_any_input_does() -> None:
    scripts = [make_config(), make_config("vxlan"), make_config("vxlan", (2,)), replace(make_config(), bridge="br9")]
    assert len({script_digest(config) for config in scripts}) == 4
    assert "members" not in render_script(make_config())
    assert "192.0.2.2, 192.0.2.3" in render_script(make_config("vxlan"))
    assert docker_rules(make_config())[0].startswith("-i corral-wg -o corral0 ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"subnet": "10.43.1.0/24"},
        {"gateway": "10.42.2.1"},
        {"tunnel": "a-name-that-is-too-long"},
        {"peers": (make_peer(1),)},
        {"private_key": b"short"},
    ],
)
def test_configuration_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        replace(make_config(), **wrong)  # type: ignore[arg-type]


def test_private_key_is_not_shown_when_a_configuration_is_printed() -> None:
    assert repr(bytes(range(32))) not in repr(make_config())


def test_address_arithmetic_covers_the_network() -> None:
    assert subnet_of_host(NETWORK, 24, 7) == "10.42.7.0/24"
    assert subnet_of_host(NETWORK, 26, 5) == "10.42.1.64/26"
    assert hosts_of_network(NETWORK, 24) == 256
    assert gateway_of("10.42.7.0/24") == "10.42.7.1"
    usable = container_addresses("10.42.7.0/24")
    assert (address_text(usable[0]), address_text(usable[-1]), len(usable)) == ("10.42.7.2", "10.42.7.254", 253)
    assert is_in_network("10.42.255.255", NETWORK)
    assert not is_in_network("10.43.0.0", NETWORK)
    assert overlaps("10.0.0.0/8", NETWORK)
    assert not overlaps("10.43.0.0/16", NETWORK)
    assert vxlan_mac("10.42.7.1") == "0a:43:0a:2a:07:01"
    for number, bits in ((256, 24), (-1, 24), (0, 31), (0, 8)):
        with pytest.raises(ValueError, match=r"subnet"):
            subnet_of_host(NETWORK, bits, number)


def test_guard_of_vxlan_lets_the_probes_of_a_joining_host_through() -> None:
    script = render_script(make_config(mode="vxlan"))
    assert f"ip saddr != @members @th,64,32 != 0x{MAGIC.hex()} counter drop" in script
    assert not MAGIC[0] & 0x08, "the bit that makes a VXLAN header valid (RFC 7348 section 5)"
