"""The check before a join, from both sides, and the one `node doctor` repeats between running hosts.

Looks at this host and at the path to another, writes nothing, and gives findings that say what to do.  Packets are
node/probes'; what a host must bring, seen from the cluster, is protocol/admission's.
"""

import errno
import os
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from node.ports import EngineVersion
from node.probes import Reached, probe_path_mtu, probe_tcp, probe_udp
from protocol.admission import check_docker, check_firewall, check_overlay, check_range
from protocol.join import Facts, Finding, KernelFeatures

if TYPE_CHECKING:
    from protocol.pki import Certificate

DISK_FAIL_BYTES = 64 * 2**20
DISK_WARN_BYTES = 512 * 2**20
MIN_PATH_MTU = 1280
DOCKER_TIMEOUT = 5.0
ALARM_DAYS = 14
"""A certificate is renewed 30 days before it ends; one that is nearer to that has a problem."""
DAY_SECONDS = 86400.0
_PATH_MTU = "path MTU"

AskVersion = Callable[[], Awaitable[EngineVersion]]


@dataclass(frozen=True, slots=True)
class Local:
    """What a host is about to use, for `check_local`."""

    data_dir: Path
    api_port: int
    peer_port: int
    overlay_port: int | None
    """None where no overlay is built (the light demo)."""

    kernel: KernelFeatures
    overlay_mode: str
    overlay_network: str
    range_in_use: tuple[str, ...] = ()
    euid: int = 0
    address: str = "0.0.0.0"
    """Where the daemon is going to listen."""


async def check_local(local: Local, ask_version: AskVersion) -> tuple[Finding, ...]:
    """Return what this host can tell about itself before it speaks to anybody."""
    docker, _ = await ask_docker(ask_version)
    findings = [
        check_root(local.euid),
        docker,
        check_port("API port", "TCP", local.address, local.api_port, "--api-port"),
        check_port("peer port", "TCP", local.address, local.peer_port, "--peer-port"),
        check_port("peer port", "UDP", local.address, local.peer_port, "--peer-port"),
        check_disk(local.data_dir),
    ]
    if local.overlay_port is not None:
        findings += [
            check_port("overlay port", "UDP", local.address, local.overlay_port, "--overlay-port"),
            check_overlay(local.kernel, local.overlay_mode),
            check_firewall(local.kernel),
            check_range(local.range_in_use, local.overlay_network),
        ]
    return tuple(findings)


def check_root(euid: int) -> Finding:
    """Fail for anybody but root: bridges, routes and Docker's socket need it."""
    if euid == 0:
        return Finding("root", "ok")
    return Finding("root", "fail", f"started by user {euid}", "run it as root: `sudo node …`")


async def ask_docker(ask_version: AskVersion) -> tuple[Finding, EngineVersion | None]:
    """Ask the engine for its version within a deadline; the finding tells a missing engine from an old one."""
    try:
        with trio.fail_after(DOCKER_TIMEOUT):
            version = await ask_version()
    except trio.TooSlowError:
        why = f"Docker did not answer within {DOCKER_TIMEOUT:.0f} s"
    except Exception as error:
        # The engine port may fail in ways of its own; whatever it is, the finding is the same.
        why = f"Docker did not answer: {error or type(error).__name__}"
    else:
        return check_docker(version.api, version.version), version
    return Finding(
        "docker", "fail", why[:1000], "start it: `systemctl start docker`, or install it: docs/operations"
    ), None


def check_port(what: str, kind: str, address: str, port: int, option: str) -> Finding:
    """Fail for a port that somebody holds, by binding it for a moment."""
    check = f"{what} {kind} {port}"
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "TCP" else socket.SOCK_DGRAM) as sock:
        if kind == "TCP":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
            if kind == "TCP":
                sock.listen(1)
        except OSError as error:
            return Finding(check, "fail", *_why_not(error, kind, address, port, option))
    return Finding(check, "ok", "free on this host")


def _why_not(error: OSError, kind: str, address: str, port: int, option: str) -> tuple[str, str]:
    if error.errno == errno.EADDRINUSE:
        flag = "t" if kind == "TCP" else "u"
        find = f"see who holds it: `ss -ln{flag}p 'sport = :{port}'`"
        return "in use on this host", f"{find}; stop that, or take another with {option}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is on no interface of this host", "give an address that it has with --bind"
    return error.strerror or str(error), f"take another with {option}"


def check_certificate(certificate: "Certificate", now: float) -> Finding:
    """Warn of a certificate that ends soon: it should have been renewed long before, and then nobody talks to us."""
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    days = (certificate.not_valid_after_utc.timestamp() - now) / DAY_SECONDS
    if days > ALARM_DAYS:
        return Finding("certificate", "ok", f"in force until {until}")
    if days > 0:
        advice = "see why it cannot be renewed in this node's log; a leader and the way to it are needed"
        return Finding("certificate", "warn", f"it ends on {until}, in {days:.0f} days, and is not renewed", advice)
    advice = "see that the clock is right; if it is, `node leave --force` here, then join again"
    return Finding("certificate", "fail", f"it ended on {until}: no member talks to this host", advice)


def check_disk(folder: Path) -> Finding:
    """Fail where the data folder could not be written; looks at its nearest existing parent and writes nothing."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    choose = "choose another folder with --data-dir"
    if not there.is_dir():
        return Finding("disk", "fail", f"{there} is no folder", choose)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("disk", "fail", f"{there} cannot be written", choose)
    return judge_space(str(folder), shutil.disk_usage(there).free)


def judge_space(folder: str, free_bytes: int) -> Finding:
    """Fail with no room for the log and a snapshot, warn when that is near."""
    detail = f"{free_bytes // 2**20} MiB free for {folder}"
    if free_bytes < DISK_FAIL_BYTES:
        return Finding("disk", "fail", detail, "make room, or choose another folder with --data-dir")
    if free_bytes < DISK_WARN_BYTES:
        return Finding("disk", "warn", detail, "make room soon")
    return Finding("disk", "ok", detail)


@dataclass(frozen=True, slots=True)
class Target:
    """The other end of a pair."""

    name: str
    address: str
    peer_port: int
    overlay_port: int | None
    """None: there is no overlay port to probe."""

    mtu: int = 1500
    """The largest packet worth trying: that of the smaller of both interfaces."""

    is_listening: bool = False
    """True for a joining host, whose `ProbeListener` answers on TCP too; a member's peer port speaks TLS only."""


@dataclass(frozen=True, slots=True)
class PairReport:
    """One direction of one pair."""

    findings: tuple[Finding, ...]
    path_mtu: int | None


def target_of(facts: Facts) -> Target:
    """Return the joining host as a target for the member that checks it."""
    mtu = facts.underlay_mtu or 1500
    return Target(facts.name, facts.advertise, facts.peer_port, facts.overlay_port, mtu, is_listening=True)


async def probe_pair(me: str, target: Target, key: bytes, *, timeout: float = 2.0) -> PairReport:
    """Probe every port of `target` from here, at the same time; `target` must expect `key`."""
    found: dict[str, Finding] = {}
    mtus: list[int | None] = [None]

    async def try_tcp() -> None:
        got = await probe_tcp(target.address, target.peer_port, key if target.is_listening else None, timeout=timeout)
        found["tcp"] = _judge_port(me, target, "peer port", "TCP", target.peer_port, got)

    async def try_udp() -> None:
        got = await probe_udp(target.address, target.peer_port, key, timeout=timeout)
        found["udp"] = _judge_port(me, target, "peer port", "UDP", target.peer_port, got)
        if got.ok:
            mtus[0] = await probe_path_mtu(target.address, target.peer_port, key, mtu=target.mtu)
            found["mtu"] = judge_mtu(me, target.name, mtus[0], target.mtu)

    async def try_overlay(port: int) -> None:
        got = await probe_udp(target.address, port, key, timeout=timeout)
        found["overlay"] = _judge_port(me, target, "overlay port", "UDP", port, got)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_tcp)
        nursery.start_soon(try_udp)
        if target.overlay_port is not None:
            nursery.start_soon(try_overlay, target.overlay_port)
    return PairReport(tuple(found[each] for each in ("tcp", "udp", "overlay", "mtu") if each in found), mtus[0])


def _judge_port(me: str, target: Target, what: str, kind: str, port: int, got: Reached) -> Finding:
    check = f"{what} {kind} {port}"
    if got.seconds is not None:
        return Finding(check, "ok", f"{me} → {target.name}, {got.seconds * 1000:.1f} ms")
    whom = f"{target.name} ({target.address})"
    if got.error is None:
        return Finding(
            check,
            "fail",
            f"{me} gets no answer from {whom}",
            f"open {kind} {port} on {target.name} and on what lies between: firewall, security group, NAT",
        )
    return Finding(
        check,
        "fail",
        f"{me} cannot reach {whom}: {got.error}",
        f"see that {target.address} is the address of {target.name} for others (--advertise), that {kind} {port} is "
        "its port, and that no firewall rejects it",
    )


def judge_mtu(me: str, other: str, found: int | None, wanted: int) -> Finding:
    """Say what the path carries; less than the interface is bearable, since the overlay's packets are made to fit."""
    if found is None or found < MIN_PATH_MTU:
        carried = "no packet of a useful size" if found is None else f"{found} bytes"
        advice = f"raise the MTU of the network between them to {MIN_PATH_MTU} or more"
        return Finding(_PATH_MTU, "fail", f"{me} → {other} carries {carried}", advice)
    if found < wanted:
        return Finding(_PATH_MTU, "warn", f"{me} → {other} carries {found} bytes, its interface {wanted}")
    return Finding(_PATH_MTU, "ok", f"{found} bytes")


def merge_ways(there: Iterable[Finding], back: Iterable[Finding]) -> tuple[Finding, ...]:
    """Join the two directions of a pair: one line where both are well, a line each where they are not."""
    rest = list(back)
    merged: list[Finding] = []
    for one in there:
        other = next((each for each in rest if each.check == one.check), None)
        if other is not None:
            rest.remove(other)
        if other is None:
            merged.append(one)
        elif one.level == other.level == "ok":
            merged.append(Finding(one.check, "ok", _both_ways(one, other)))
        else:
            merged += [one, other]
    return (*merged, *rest)


def _both_ways(one: Finding, other: Finding) -> str:
    if one.check != _PATH_MTU:
        return "both ways"
    return f"{one.detail} both ways" if one.detail == other.detail else f"{one.detail} there, {other.detail} back"


def render_findings(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return a line for each finding, as `node join` and `node doctor` print them."""
    return tuple(map(_render, findings))


def _render(finding: Finding) -> str:
    word = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}[finding.level]
    if finding.level == "ok":
        return f"{word}  {finding.check} {finding.detail}".rstrip()
    advice = f": try {finding.try_}" if finding.try_ else ""
    return f"{word}  {finding.check}: {finding.detail}{advice}"
