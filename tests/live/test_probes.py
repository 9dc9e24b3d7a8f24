"""Probes between two namespaces with a router in between: narrow paths, firewalls, and a port that a tunnel holds."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from node import preflight, probes
from protocol.probe import ProbeKeys, derive_probe_key

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

KEY = derive_probe_key(b"secret", b"n" * 16)
LEFT, RIGHT = "10.9.1.2", "10.9.2.2"
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin, text=True, check=True, capture_output=True)


def ip(space: str, line: str) -> None:
    run("ip", "-n", space, *line.split())


@contextmanager
def inside(space: str) -> Iterator[None]:
    """Have sockets opened in the block belong to the namespace."""
    with open("/proc/self/ns/net") as ours, open(f"/run/netns/{space}") as theirs:
        assert LIBC.setns(theirs.fileno(), 0x40000000) == 0
        try:
            yield
        finally:
            assert LIBC.setns(ours.fileno(), 0x40000000) == 0


@pytest.fixture
def spaces() -> Iterator[tuple[str, str, str]]:
    names = (f"crl{os.getpid()}a", f"crl{os.getpid()}r", f"crl{os.getpid()}b")
    left, router, right = names
    try:
        for name in names:
            run("ip", "netns", "add", name)
            ip(name, "link set lo up")
        for side, number, host in ((left, 1, LEFT), (right, 2, RIGHT)):
            ip(side, f"link add eth0 type veth peer name eth{number} netns {router}")
            ip(side, f"addr add {host}/24 dev eth0")
            ip(side, "link set eth0 up")
            ip(router, f"addr add 10.9.{number}.1/24 dev eth{number}")
            ip(router, f"link set eth{number} up")
            ip(side, f"route add default via 10.9.{number}.1")
        with inside(router):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def expecting() -> ProbeKeys:
    keys = ProbeKeys()
    keys.expect(KEY, trio.current_time(), trio.current_time() + 60)
    return keys


async def listen(nursery: trio.Nursery, space: str) -> preflight.Target:
    listener = probes.ProbeListener(expecting(), peer_port=8090, overlay_port=51820)
    with inside(space):
        await nursery.start(listener.run)
    return preflight.Target("h2", RIGHT, 8090, 51820, 1500, is_listening=True)


async def probe(space: str, target: preflight.Target) -> preflight.PairReport:
    with inside(space):
        return await preflight.probe_pair("h1", target, KEY, timeout=0.5)


async def test_open_path_is_well_at_full_size(spaces: tuple[str, str, str], nursery: trio.Nursery) -> None:
    target = await listen(nursery, spaces[2])
    report = await probe(spaces[0], target)
    assert [finding.level for finding in report.findings] == ["ok"] * 4
    assert report.path_mtu == 1500


@pytest.mark.parametrize(("mtu", "found", "level"), [(1400, 1400, "warn"), (1300, 1280, "warn"), (1000, 576, "fail")])
async def test_narrow_link_behind_the_router_is_found(
    spaces: tuple[str, str, str], nursery: trio.Nursery, mtu: int, found: int, level: str
) -> None:
    ip(spaces[1], f"link set eth2 mtu {mtu}")
    target = await listen(nursery, spaces[2])
    report = await probe(spaces[0], target)
    assert report.path_mtu == found
    assert report.findings[-1].level == level


@pytest.mark.parametrize(("rule", "verdict"), [("udp dport 51820", "drop"), ("tcp dport 8090", "drop")])
async def test_firewall_on_one_port_fails_that_port_alone(
    spaces: tuple[str, str, str], nursery: trio.Nursery, rule: str, verdict: str
) -> None:
    table = f"table ip t {{ chain c {{ type filter hook input priority 0; {rule} {verdict}; }}; }}"
    run("ip", "netns", "exec", spaces[2], "nft", "-f", "-", stdin=table)
    target = await listen(nursery, spaces[2])
    report = await probe(spaces[0], target)
    failed = [finding for finding in report.findings if not finding.ok]
    assert len(failed) == 1
    assert rule.split()[2] in failed[0].check
    assert "no answer" in failed[0].detail


async def tap(nursery: trio.Nursery, space: str) -> socket.socket:
    with inside(space):
        holder = socket.socket(type=socket.SOCK_DGRAM)
        holder.bind(("", 51820))
        await nursery.start(probes.answer_overlay, expecting(), 51820)
    return holder


async def test_port_held_by_a_tunnel_is_answered_beside_it(spaces: tuple[str, str, str], nursery: trio.Nursery) -> None:
    # A second address, asked first: the answer has to come from the one that was asked.
    ip(spaces[2], "addr add 10.9.2.9/24 dev eth0")
    holder = await tap(nursery, spaces[2])
    with holder, inside(spaces[0]):
        for address in (RIGHT, "10.9.2.9"):
            assert (await probes.probe_udp(address, 51820, KEY, timeout=1)).ok
            other = derive_probe_key(b"other", b"n" * 16)
            assert not (await probes.probe_udp(address, 51820, other, timeout=0.3)).ok


async def test_port_held_by_a_tunnel_is_not_answered_behind_a_firewall(
    spaces: tuple[str, str, str], nursery: trio.Nursery
) -> None:
    table = "table ip t { chain c { type filter hook input priority 0; udp dport 51820 drop; }; }"
    run("ip", "netns", "exec", spaces[2], "nft", "-f", "-", stdin=table)
    holder = await tap(nursery, spaces[2])
    with holder, inside(spaces[0]):
        assert not (await probes.probe_udp(RIGHT, 51820, KEY, timeout=0.3)).ok
