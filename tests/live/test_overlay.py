"""The overlay on real kernels: two or three namespaces as hosts, wireguard-go or VXLAN between them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from node.plan.overlay import OVERHEAD
from node.plan.overlay_model import Mode, OverlayConfig, Peer
from tests.live.overlay_lab import Host, Space, exchange, ping, refusals, traffic, until

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")]

PORT = 51820


class Lab:
    """Hosts on one switch, and the configuration that each of them is to have."""

    def __init__(self, mode: Mode, count: int) -> None:
        self.mode = mode
        self.switch = Space()
        self.switch.ip("link add br0 type bridge")
        self.switch.ip("link set br0 up")
        self.switch.ip("addr add 192.0.2.254/24 dev br0")
        # Whatever leaks to the hosts' default route ends, and is counted, here.
        counting = "add table inet leak; add chain inet leak c { type filter hook prerouting priority -300; }; "
        counting += "".join(f"add rule inet leak c ip {end} 10.42.0.0/16 counter; " for end in ("saddr", "daddr"))
        self.switch.run("nft", counting)
        self.hosts = [Host(number + 1, self.switch) for number in range(count)]
        self.keys = [X25519PrivateKey.generate() for _ in self.hosts]
        for host in self.hosts:
            host.stand_in_for_docker(1500 - OVERHEAD[mode])

    def peer(self, host: Host) -> Peer:
        """Return a host as the others see it."""
        public = self.keys[host.number - 1].public_key().public_bytes_raw()
        return Peer(f"{host.number:032x}", host.subnet, host.gateway, host.underlay, PORT, public)

    def config(self, host: Host) -> OverlayConfig:
        """Return a host's configuration with all others as peers."""
        others = tuple(self.peer(other) for other in self.hosts if other is not host)
        private = self.keys[host.number - 1].private_bytes_raw()
        return OverlayConfig(self.mode, "10.42.0.0/16", host.subnet, host.gateway, PORT, host.underlay, private, others)

    def up(self) -> None:
        """Apply everywhere."""
        for host in self.hosts:
            host.apply(self.config(host))

    def leaks(self) -> bool:
        """Whether a packet of the overlay reached the default router."""
        return self.switch.run("nft", "list", "table", "inet", "leak").count("packets 0 ") != 2

    def close(self) -> None:
        """End everything."""
        for space in (*self.hosts, self.switch):
            space.close()


def looks_like(host: Host, picture: dict[str, object]) -> bool:
    """Whether a host looks like that now."""
    return host.picture() == picture


@contextmanager
def watching(space: Space) -> Iterator[subprocess.Popen[bytes]]:
    """Watch in a process of its own; once its stdin ends, it prints how often it was woken."""
    words = [sys.executable, "-m", "tests.live.overlay_driver", "watch"]
    with subprocess.Popen(space.enter(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == b"ready\n"
        yield watch


@pytest.fixture(params=["wireguard", "vxlan"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two hosts, nothing applied yet."""
    lab = Lab(request.param, 2)
    try:
        yield lab
    finally:
        lab.close()


@pytest.fixture
def wireguard_lab() -> Iterator[Lab]:
    """Three hosts for WireGuard, nothing applied yet."""
    lab = Lab("wireguard", 3)
    try:
        yield lab
    finally:
        lab.close()


def test_overlay_carries_hosts_and_containers_when_applied(lab: Lab) -> None:
    one, two = lab.hosts
    before = [host.picture() for host in lab.hosts]
    lab.up()
    # The process that applied is gone: what follows runs on the data plane alone.
    assert ping(one, two.gateway) == [64, 64]
    assert ping(one.container, two.container_address) == [62, 62]
    assert ping(two, one.container_address) == [63, 63]
    assert exchange(one.container, two.container, two.container_address, 8080, 2_000_000) == (
        one.container_address,
        2_000_000,
    )
    report = one.apply(lab.config(one))
    assert report.done == ()
    assert report.warnings == ()
    assert report.mtu == 1500 - OVERHEAD[lab.mode]
    assert report.kind == ("vxlan" if lab.mode == "vxlan" else report.kind)
    if lab.mode == "wireguard":
        (peer,) = report.peers
        assert peer.node == lab.peer(two).node
        assert peer.handshake_age is not None
        assert peer.handshake_age < 60
        assert peer.rx_bytes > 1000
    assert ping(one.container, "169.254.169.250") == [64, 64]
    assert not lab.leaks()
    for host, picture in zip(lab.hosts, before, strict=True):
        host.apply(None)
        assert host.apply(None).done == ()
        assert until(partial(looks_like, host, picture)), (picture, host.picture())


def test_host_is_unreachable_and_nothing_leaks_when_it_is_no_peer_any_more(lab: Lab) -> None:
    one, two = lab.hosts
    lab.up()
    assert ping(one.container, two.container_address)
    report = one.apply(replace(lab.config(one), peers=()))
    assert report.peers == ()
    assert refusals(one, two.gateway) == [113]
    assert refusals(one.container, two.container_address) == [1001]
    assert not lab.leaks()


def test_containers_reach_the_outside_with_the_address_of_their_host(lab: Lab) -> None:
    one = lab.hosts[0]
    lab.up()
    assert exchange(one.container, lab.switch, "192.0.2.254", 8080, 1000) == (one.underlay, 1000)
    assert not lab.leaks()


def test_published_port_answers_from_outside_and_from_other_hosts(lab: Lab) -> None:
    one, two = lab.hosts
    lab.up()
    publish = "-t nat -A PREROUTING -p tcp --dport 8080 -m addrtype --dst-type LOCAL -j DNAT --to "
    publish += two.container_address
    admit = f"-A FORWARD -d {two.container_address} -o corral0 -p tcp --dport 8080 -j ACCEPT"
    for rule in (publish, admit):
        two.run("iptables", *rule.split())
    for client, address, source in (
        (lab.switch, two.underlay, "192.0.2.254"),
        (one, two.underlay, one.underlay),
        (one.container, two.underlay, one.underlay),
        (one.container, two.gateway, one.container_address),
    ):
        assert exchange(client, two.container, address, 8080, 100_000) == (source, 100_000)
    assert not lab.leaks()


def test_forged_overlay_packet_is_dropped_when_it_comes_over_the_underlay(lab: Lab) -> None:
    one, two = lab.hosts
    lab.up()
    counting = "add table inet seen; add chain inet seen c { type filter hook prerouting priority 0; }; "
    counting += "add rule inet seen c ip protocol icmp counter"
    one.container.run("nft", counting)
    one.run("nft", counting)
    for source, target in (
        (two.container_address, one.container_address),
        (two.container_address, one.underlay),
        ("192.0.2.77", one.container_address),
        ("192.0.2.77", "169.254.169.250"),
    ):
        lab.switch.ip(f"route replace {target}/32 via {one.underlay}" if target != one.underlay else "route")
        traffic(lab.switch, "forge", source, target, "br0")
    assert "packets 0 " in one.container.run("nft", "list", "table", "inet", "seen")
    assert "packets 0 " in one.run("nft", "list", "table", "inet", "seen")
    dropped = one.run("nft", "list", "chain", "inet", "corral", "guard_in")
    assert dropped.count("counter packets 0 ") <= dropped.count("counter") - 3, dropped
    # The same by way of a container that claims to be another host's.
    traffic(one.container, "forge", two.container_address, one.gateway, "eth0")
    assert "packets 0 " in one.run("nft", "list", "table", "inet", "seen")


def test_vxlan_from_a_stranger_is_dropped() -> None:
    lab = Lab("vxlan", 3)
    try:
        one, two, stranger = lab.hosts
        for host in (one, two):
            config = lab.config(host)
            host.apply(replace(config, peers=tuple(peer for peer in config.peers if peer.subnet != stranger.subnet)))
        stranger.apply(lab.config(stranger))
        assert ping(one, two.gateway) == [64, 64]
        assert ping(stranger, one.gateway) == []
        assert "udp dport 51820" in one.run("nft", "list", "chain", "inet", "corral", "guard_in")
        assert "@members counter packets 0 " not in one.run("nft", "list", "chain", "inet", "corral", "guard_in")
    finally:
        lab.close()


def test_path_heals_when_a_host_comes_back_with_another_address(lab: Lab) -> None:
    one, two = lab.hosts
    lab.up()
    assert ping(one.container, two.container_address)
    two.ip(f"addr del {two.underlay}/24 dev eth0")
    two.underlay = "192.0.2.99"
    two.ip("addr add 192.0.2.99/24 dev eth0")
    two.ip("route replace default via 192.0.2.254")
    # Its own daemon is the first to know; WireGuard's peers follow its packets, VXLAN's must be told.
    two.apply(lab.config(two))
    if lab.mode == "vxlan":
        one.apply(lab.config(one))
    assert until(lambda: bool(ping(one.container, two.container_address, 1)))
    one.apply(lab.config(one))
    assert one.apply(lab.config(one)).done == ()


def test_containers_talk_when_the_host_checks_reverse_paths_strictly(lab: Lab) -> None:
    one, two = lab.hosts
    for host in lab.hosts:
        host.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")
    lab.up()
    assert ping(one.container, two.container_address) == [62, 62]
    assert ping(one.container, "169.254.169.250") == [64, 64]


def test_third_host_joins_without_a_gap_in_the_sessions_of_the_others(wireguard_lab: Lab) -> None:
    one, two, three = wireguard_lab.hosts
    config = wireguard_lab.config(one)
    one.apply(replace(config, peers=config.peers[:1]))
    two.apply(wireguard_lab.config(two))
    assert ping(one, two.gateway)
    before = one.apply(replace(config, peers=config.peers[:1])).peers[0]
    one.apply(config)
    three.apply(wireguard_lab.config(three))
    assert ping(one.container, three.container_address) == [62, 62]
    after = next(peer for peer in one.inspect().peers if peer.endpoint == before.endpoint)
    assert after.rx_bytes >= before.rx_bytes
    assert after.handshake_age is not None


def test_overlay_is_repaired_when_others_break_it(lab: Lab) -> None:
    one, two = lab.hosts
    lab.up()
    tunnel = lab.config(one).tunnel
    one.ip(f"link set {tunnel} down")
    one.run("nft", "flush", "chain", "inet", "corral", "guard_in")
    one.run("iptables", "-F", "DOCKER-USER")
    one.ip("addr del 169.254.169.250/32 dev corral0")
    one.ip("route del unreachable 10.42.0.0/16")
    assert len(one.apply(lab.config(one)).done) >= 5
    assert one.apply(lab.config(one)).done == ()
    assert ping(one.container, two.container_address) == [62, 62]


def test_tunnel_returns_when_its_process_was_killed(wireguard_lab: Lab) -> None:
    one, two, _ = wireguard_lab.hosts
    wireguard_lab.up()
    if one.inspect().kind != "wireguard-go":
        pytest.skip("the kernel has WireGuard")
    one.run("pkill", "-KILL", "--ns", str(one.pid), "--nslist", "net", "wireguard-go")
    assert until(lambda: one.inspect().kind is None)
    assert refusals(one.container, two.container_address) == [1001]
    assert not wireguard_lab.leaks()
    one.apply(wireguard_lab.config(one))
    assert until(lambda: ping(one.container, two.container_address, 1) == [62])


def test_mode_changes_in_one_round(lab: Lab) -> None:
    one = lab.hosts[0]
    lab.up()
    other: Mode = "vxlan" if lab.mode == "wireguard" else "wireguard"
    config = replace(lab.config(one), mode=other, tunnel="")
    report = one.apply(config)
    assert report.kind is not None
    assert report.kind.startswith(other)
    assert one.apply(config).done == ()
    assert lab.config(one).tunnel not in one.ip("link")


def test_foreign_route_stays_and_is_reported_when_it_holds_the_range(lab: Lab) -> None:
    one, two = lab.hosts
    one.ip(f"route add {two.subnet} via 192.0.2.254")
    report = one.apply(lab.config(one))
    assert any(two.subnet in warning for warning in report.warnings)
    assert "via 192.0.2.254" in one.ip(f"route show {two.subnet}")
    assert [conflict.network for conflict in one.probe().conflicts if conflict.link == "eth0"] == [two.subnet]


@pytest.mark.parametrize("mode", ["wireguard", "vxlan"])
def test_overlay_keeps_the_contract(mode: Mode) -> None:
    lab = Lab(mode, 3)
    try:
        one = lab.hosts[0]
        assert one.drive("contract", msgspec.json.encode(lab.config(one)).decode()) == '"kept"'
    finally:
        lab.close()


@pytest.mark.parametrize("change", ["ip link add b0 type bridge", "nft add table inet other"])
def test_watch_wakes_when_links_or_rules_change(change: str) -> None:
    space = Space()
    try:
        with watching(space) as watch:
            space.run(*change.split())
            out, _ = watch.communicate(b"", timeout=20)
        assert int(out) >= 1
    finally:
        space.close()


def test_watch_sleeps_while_apply_has_nothing_to_do(lab: Lab) -> None:
    one = lab.hosts[0]
    lab.up()
    with watching(one) as watch:
        assert one.apply(lab.config(one)).done == ()
        out, _ = watch.communicate(b"", timeout=20)
    assert int(out) == 0


def test_probe_names_what_the_host_has(wireguard_lab: Lab) -> None:
    one = wireguard_lab.hosts[0]
    before = one.picture()
    findings = one.probe()
    assert one.picture() == before
    assert findings.has_wireguard or (findings.has_tun and findings.wireguard_go)
    assert findings.nftables is None
    assert [(at.address, at.mtu) for at in findings.underlays] == [(one.underlay, 1500)]
    assert {conflict.link for conflict in findings.conflicts} == {"corral0"}
