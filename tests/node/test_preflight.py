"""The check before a join: each finding says what is wrong and what to do, and a good pair is one line a port."""

import os
import socket
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import MockClock

from node import preflight
from node.ports import EngineError, EngineVersion
from node.probes import ProbeListener
from protocol.join import Finding
from protocol.probe import ProbeKeys, derive_probe_key
from tests.node.drive.certificates import authority
from tests.protocol.test_join import FACTS, KERNEL

KEY = derive_probe_key(b"secret", b"n" * 16)
HERE = "127.0.0.1"


def version(api: str = "1.41") -> EngineVersion:
    return EngineVersion(version="20.10", api=api, kernel="6.1", os="Debian", cpus=2, memory_bytes=2**30)


async def good_version() -> EngineVersion:
    return version()


def local(folder: Path, **ports: int) -> preflight.Local:
    return preflight.Local(
        data_dir=folder,
        api_port=ports.get("api", 0),
        peer_port=ports.get("peer", 0),
        overlay_port=ports.get("overlay", 0),
        kernel=KERNEL,
        overlay_mode="wireguard",
        overlay_network="10.42.0.0/16",
        address=HERE,
    )


async def test_good_host_is_well_in_every_check(tmp_path: Path) -> None:
    findings = await preflight.check_local(local(tmp_path / "not" / "yet"), good_version)
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) == 10
    assert not (tmp_path / "not").exists()


async def test_port_in_use_is_named_with_the_way_to_find_its_holder(tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((HERE, 0))
        tcp.listen()
        udp.bind((HERE, 0))
        peer, overlay = tcp.getsockname()[1], udp.getsockname()[1]
        findings = await preflight.check_local(local(tmp_path, peer=peer, overlay=overlay), good_version)
    bad = {finding.check: finding for finding in findings if not finding.ok}
    assert set(bad) >= {f"peer port TCP {peer}", f"overlay port UDP {overlay}"}
    assert f"ss -lntp 'sport = :{peer}'" in bad[f"peer port TCP {peer}"].try_
    assert "--overlay-port" in bad[f"overlay port UDP {overlay}"].try_


def test_anybody_but_root_is_sent_to_sudo() -> None:
    assert preflight.check_root(0).ok
    assert "sudo" in preflight.check_root(1000).try_


async def refuse() -> EngineVersion:
    raise EngineError("unavailable", "connect: no such file")


async def hang() -> EngineVersion:
    await trio.sleep_forever()
    raise AssertionError


async def old() -> EngineVersion:
    return version("1.20")


@pytest.mark.parametrize(("ask", "detail"), [(refuse, "no such file"), (hang, "within 5 s"), (old, "older than 1.24")])
async def test_docker_that_is_absent_mute_or_old_is_told_apart(
    ask: preflight.AskVersion, detail: str, autojump_clock: MockClock
) -> None:
    finding, _ = await preflight.ask_docker(ask)
    assert not finding.ok
    assert detail in finding.detail
    assert finding.try_


async def test_docker_that_answers_gives_its_version() -> None:
    finding, got = await preflight.ask_docker(good_version)
    assert finding == Finding("docker", "ok", "20.10 (API 1.41)")
    assert got == version()


@pytest.mark.parametrize(("free", "level"), [(0, "fail"), (100 * 2**20, "warn"), (2**31, "ok")])
def test_space_is_enough_scarce_or_gone(free: int, level: str) -> None:
    assert preflight.judge_space("/var/lib/corral", free).level == level


def test_data_folder_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "no folder" in preflight.check_disk(tmp_path / "file" / "data").detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in preflight.check_disk(tmp_path / "data").detail


async def listen(nursery: trio.Nursery) -> preflight.Target:
    keys = ProbeKeys()
    keys.expect(KEY, trio.current_time(), trio.current_time() + 60)
    listener = ProbeListener(keys, peer_port=0, overlay_port=0, address=HERE)
    await nursery.start(listener.run)
    return preflight.Target("h2", HERE, listener.peer_port, listener.overlay_port, is_listening=True)


async def test_good_pair_is_well_on_every_port_and_tells_its_mtu(nursery: trio.Nursery) -> None:
    target = await listen(nursery)
    report = await preflight.probe_pair("h1", target, KEY)
    assert [finding.level for finding in report.findings] == ["ok"] * 4
    assert report.path_mtu == 1500
    assert preflight.render_findings(preflight.merge_ways(report.findings, report.findings)) == (
        f"ok    peer port TCP {target.peer_port} both ways",
        f"ok    peer port UDP {target.peer_port} both ways",
        f"ok    overlay port UDP {target.overlay_port} both ways",
        "ok    path MTU 1500 bytes both ways",
    )


async def test_mute_pair_fails_with_the_ports_to_open(autojump_clock: MockClock) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind((HERE, 0))
        tcp.listen(1)
        port = tcp.getsockname()[1]
        udp.bind((HERE, port))
        target = preflight.Target("h2", HERE, port, None, is_listening=True)
        report = await preflight.probe_pair("h1", target, KEY)
    assert report.path_mtu is None
    assert preflight.render_findings(report.findings) == tuple(
        f"FAIL  peer port {kind} {port}: h1 gets no answer from h2 (127.0.0.1): try open {kind} {port} on h2 and on "
        "what lies between: firewall, security group, NAT"
        for kind in ("TCP", "UDP")
    )


async def test_member_is_only_connected_to_since_its_port_speaks_tls(nursery: trio.Nursery) -> None:
    with socket.socket() as tcp:
        tcp.bind((HERE, 0))
        tcp.listen(1)
        target = preflight.Target("h1", HERE, tcp.getsockname()[1], None)
        report = await preflight.probe_pair("h2", target, KEY, timeout=0.1)
    assert report.findings[0].ok
    assert "Connection refused" in report.findings[1].detail
    assert "--advertise" in report.findings[1].try_


def test_joining_host_is_probed_where_it_says_it_is() -> None:
    target = preflight.target_of(FACTS)
    assert target == preflight.Target("h2", "10.0.0.2", 8090, 51820, 1500, is_listening=True)


@pytest.mark.parametrize(
    ("found", "level"), [(None, "fail"), (1279, "fail"), (1280, "warn"), (1499, "warn"), (1500, "ok")]
)
def test_path_is_wide_enough_bearable_or_too_narrow(found: int | None, level: str) -> None:
    assert preflight.judge_mtu("h1", "h2", found, 1500).level == level


def test_pair_with_one_bad_way_shows_each_way_and_keeps_what_only_one_side_checked() -> None:
    there = (Finding("peer port TCP 8090", "ok", "h1 → h2"), Finding("only there", "ok"))
    back = (Finding("peer port TCP 8090", "fail", "h2 gets no answer from h1"), Finding("only back", "warn", "w"))
    assert preflight.merge_ways(there, back) == (there[0], back[0], there[1], back[1])


def test_pair_with_two_sizes_shows_both() -> None:
    merged = preflight.merge_ways([Finding("path MTU", "ok", "1500 bytes")], [Finding("path MTU", "ok", "9000 bytes")])
    assert merged == (Finding("path MTU", "ok", "1500 bytes there, 9000 bytes back"),)


def test_findings_print_one_line_each() -> None:
    assert preflight.render_findings(
        (Finding("root", "ok"), Finding("disk", "warn", "100 MiB free", "make room soon"), Finding("x", "fail", "bad"))
    ) == ("ok    root", "warn  disk: 100 MiB free: try make room soon", "FAIL  x: bad")


MEMBER = "127.0.0.2"


def free_ports() -> tuple[int, int]:
    """Draw two ports that are free on every loopback address."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("", 0))
        udp.bind(("", 0))
        return tcp.getsockname()[1], udp.getsockname()[1]


async def test_joining_host_and_member_see_each_other_both_ways(nursery: trio.Nursery) -> None:
    # A host on one loopback address, a member on another, both with the same ports.
    peer_port, overlay_port = free_ports()
    facts = msgspec.structs.replace(FACTS, advertise=HERE, peer_port=peer_port, overlay_port=overlay_port)
    for address in (HERE, MEMBER):
        keys = ProbeKeys()
        keys.expect(KEY, trio.current_time(), trio.current_time() + 15)
        await nursery.start(ProbeListener(keys, peer_port=peer_port, overlay_port=overlay_port, address=address).run)
    there = await preflight.probe_pair("h1", preflight.target_of(facts), KEY)
    back = await preflight.probe_pair("h2", preflight.Target("h1", MEMBER, peer_port, overlay_port), KEY)
    merged = preflight.merge_ways((Finding("clock", "ok", "0.0 s"), *there.findings), back.findings)
    assert [finding.level for finding in merged] == ["ok"] * 5
    assert [finding.detail for finding in merged] == ["0.0 s", *["both ways"] * 3, "1500 bytes both ways"]


def test_port_on_an_address_of_another_host_is_no_question_of_ports() -> None:
    finding = preflight.check_port("peer port", "TCP", "192.0.2.77", 8090, "--peer-port")
    assert "on no interface" in finding.detail
    assert "--bind" in finding.try_


@pytest.mark.parametrize(("days", "level"), [(60.0, "ok"), (15.0, "ok"), (13.0, "warn"), (0.1, "warn"), (-0.1, "fail")])
def test_certificate_that_ends_soon_is_said(days: float, level: str) -> None:
    certificate = authority()[0]
    end = certificate.not_valid_after_utc.timestamp()
    finding = preflight.check_certificate(certificate, end - days * preflight.DAY_SECONDS)
    assert finding.level == level
    assert bool(finding.try_) is (level != "ok")
