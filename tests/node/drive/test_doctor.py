"""The doctor as a whole: three hosts on loopback that ask and probe each other, and what each ailment makes of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, cast

import msgspec
import pytest
import trio
from trio.testing import MockClock

from node.drive.consensus import Consensus
from node.drive.doctor import PAIRS_AT_ONCE, Doctor, ProbeRequest
from node.drive.link import Caller, LinkDownError
from node.drive.overlaying import Overlaying
from node.engine.memory import MemoryEngine
from node.model import State
from node.plan.overlay_model import OverlayReport, PeerReport
from node.ports import MemberView
from node.preflight import ALARM_DAYS, DAY_SECONDS
from node.probes import ProbeListener, ProbeService
from node.store.identity import Identity
from protocol.errors import DecodeError
from protocol.ids import NodeId
from protocol.join import Finding
from protocol.messages import Kind
from protocol.pki import certificate_from_pem, certificate_to_pem, issue, key_to_pem, new_csr, new_key
from tests.fakes.loopback import free_port
from tests.fakes.replica import FakeReplica
from tests.fakes.states import admit, done, found, node_id
from tests.node.drive.certificates import authority, ca_pem

HOSTS = 3
NOW = datetime.now(UTC).timestamp()
IDLE = 0.2
"""Seconds without anything to do after which the clock jumps: packets on loopback take less, also on a busy machine."""


@cache
def identity_of(number: int) -> Identity:
    """The identity of host `h<number>`."""
    ca, ca_key = authority("c" * 32)
    node, key = node_id(number), new_key()
    made = datetime.fromtimestamp(NOW, UTC)
    certificate = issue(new_csr(node, key), node_id=node, role="host", ca=ca, ca_key=ca_key, now=made)
    return Identity(
        node=node_id(number),
        name=f"h{number}",
        cluster_id="c" * 32,
        environment_id=5,
        ca_pem=ca_pem(),
        certificate_pem=certificate_to_pem(certificate).decode(),
        key_pem=key_to_pem(key).decode(),
        gossip_key=b"g" * 32,
        overlay_private=bytes(32),
        seal_private=bytes(32),
        overlay_network="10.42.0.0/16",
        overlay_mode="wireguard",
        address=f"127.0.9.{number}",
        peer_port=8090,
        api_port=8080,
        overlay_port=51820,
    )


@dataclass(eq=False)
class Ward:
    """Three hosts; `down` is whose peer link is cut, `mute` whose ports nobody answers at."""

    doctors: dict[NodeId, Doctor] = field(default_factory=dict)
    down: set[NodeId] = field(default_factory=set)
    asked: list[NodeId] = field(default_factory=list)

    def doctor(self, number: int) -> Doctor:
        return self.doctors[node_id(number)]


@dataclass(eq=False)
class Wire:
    """The Transport port: hands a request to the doctor of the node that is asked."""

    me: NodeId
    ward: Ward

    def send(self, node: NodeId, payload: bytes) -> None:
        raise AssertionError("a doctor sends nothing that is not answered")

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes:
        await trio.lowlevel.checkpoint()
        assert kind == Kind.PROBE
        self.ward.asked.append(node)
        if node in self.ward.down or self.me in self.ward.down:
            raise LinkDownError(f"node {node[:8]} is down")
        return await self.ward.doctors[node].answer_probe(Caller(self.me, "127.0.9.1"), payload)


@dataclass(eq=False)
class SickOverlay:
    """As much of the overlay's loop as the doctor asks for."""

    report: OverlayReport
    trouble: str | None = None

    @property
    def overlay(self) -> "SickOverlay":
        return self

    async def inspect(self) -> OverlayReport:
        await trio.lowlevel.checkpoint()
        return self.report


def known(ports: dict[int, int], hosts: int = HOSTS) -> State:
    state = found()
    for number in range(1, hosts + 1):
        command = admit(number)
        state = done(
            state,
            msgspec.structs.replace(command, address=f"127.0.9.{number}", peer_port=ports.get(number, 9)),
        )
    return state


@asynccontextmanager
async def ward(*, mute: int | None = None) -> AsyncIterator[Ward]:
    """Three doctors, and behind each but the mute one's address somebody who answers probes."""
    made = Ward()
    # One number for all, as in life: then both ways of a pair are one line.
    ports = dict.fromkeys(range(1, HOSTS + 1), free_port("0.0.0.0"))
    async with trio.open_nursery() as nursery:
        for number in range(1, HOSTS + 1):
            probes = ProbeService(overlay_port=None)
            made.doctors[node_id(number)] = Doctor(
                identity=partial(identity_of, number),
                consensus=cast(Consensus, FakeReplica(known(ports))),
                transport=Wire(node_id(number), made),
                probes=probes,
                engine=MemoryEngine(lambda: 0),
                overlaying=None,
                overlay_is_probed=False,
                now=lambda: NOW,
            )
            if number != mute:
                address, port = f"127.0.9.{number}", ports[number]
                await nursery.start(ProbeListener(probes.keys, peer_port=port, overlay_port=0, address=address).run)
        yield made
        nursery.cancel_scope.cancel()


def levels(findings: tuple[Finding, ...]) -> dict[str, str]:
    """The worst level of each check, without the ports' numbers."""
    rank = ("ok", "warn", "fail")
    told: dict[str, str] = {}
    for each in findings:
        check = " ".join(word for word in each.check.split() if not word.isdigit())
        told[check] = max(each.level, told.get(check, "ok"), key=rank.index)
    return told


def of_pair(name: str, level: str = "ok") -> dict[str, str]:
    return {f"{name}: {what}": level for what in ("peer port TCP", "peer port UDP", "path MTU", "clock")}


OWN = {"docker": "ok", "leader": "ok", "certificate": "ok"}


async def test_doctor_finds_nothing_wrong_where_nothing_is_and_changes_nothing() -> None:
    async with ward() as hosts:
        states = [doctor.consensus.state for doctor in hosts.doctors.values()]
        findings = await hosts.doctor(1).examine()
        assert levels(findings) == OWN | of_pair("h2") | of_pair("h3")
        assert {each.detail for each in findings if "peer port" in each.check} == {"both ways"}
        assert all(
            doctor.consensus.state is state for doctor, state in zip(hosts.doctors.values(), states, strict=True)
        )


async def test_doctor_tells_this_host_s_own_findings_first_then_host_by_host() -> None:
    async with ward() as hosts:
        checks = [each.check for each in await hosts.doctor(2).examine()]
        assert checks[:3] == ["docker", "leader", "certificate"]
        assert [check.partition(":")[0] for check in checks[3:]] == ["h1"] * 4 + ["h3"] * 4


async def test_host_that_answers_no_probe_is_the_one_that_is_named(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = IDLE
    async with ward(mute=3) as hosts:
        told = levels(await hosts.doctor(1).examine())
        assert {check: level for check, level in told.items() if check.startswith("h2")} == of_pair("h2")
        assert told["h3: peer port TCP"] == told["h3: peer port UDP"] == "fail"


async def test_way_back_that_is_closed_is_told_from_the_way_there(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = IDLE
    async with ward() as hosts:
        # h2 looks for h1 where it was once.
        state = hosts.doctor(2).consensus.state
        hosts.doctor(2).consensus = cast(Consensus, FakeReplica(with_host(state, "h1", address="127.0.9.77")))
        findings = await hosts.doctor(1).examine()
        told = {(each.check.split()[0], each.level) for each in findings if each.check.startswith("h2: peer port TCP")}
        assert told == {("h2:", "ok"), ("h2:", "fail")}
        (failed,) = (each for each in findings if each.level == "fail" and "TCP" in each.check)
        assert failed.detail.startswith("h2 cannot reach h1 (127.0.9.77)")


def with_host(whole: State, name: str, /, **changes: Any) -> State:
    """The state with another picture of one host."""
    rows = {
        row.id: msgspec.structs.replace(row, **changes) if row.name == name else row for row in whole.hosts.values()
    }
    return msgspec.structs.replace(whole, hosts=rows)


async def test_peer_link_that_is_down_is_named_and_the_ports_are_probed_all_the_same(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = IDLE
    async with ward() as hosts:
        hosts.down.add(node_id(2))
        findings = await hosts.doctor(1).examine()
        told = levels(findings)
        assert told["peer link to h2"] == "fail"
        assert told["h2: peer port TCP"] == "ok"
        # Nobody has told h2 under which key the probes come, so that it keeps silent.
        assert told["h2: peer port UDP"] == "fail"
        assert {check: level for check, level in told.items() if check.startswith("h3")} == of_pair("h3")
        assert all(each.try_ for each in findings if each.level == "fail")


async def test_member_is_looked_for_where_gossip_has_it(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = IDLE
    async with ward() as hosts:
        replica = cast(FakeReplica, hosts.doctor(1).consensus)
        there = next(row for row in replica.state.hosts.values() if row.name == "h3")
        replica.known[node_id(2)] = MemberView(
            node=node_id(2),
            name="h2",
            address=there.address,
            peer_port=there.peer_port,
            api_port=8080,
            status="alive",
            version="1",
        )
        told = levels(await hosts.doctor(1).examine())
        # Somebody listens there, and does not know the key that h2 was told.
        assert (told["h2: peer port TCP"], told["h2: peer port UDP"]) == ("ok", "fail")


async def test_clocks_that_differ_are_a_warning_with_the_difference() -> None:
    async with ward() as hosts:
        hosts.doctor(3).now = lambda: NOW - 3600
        findings = await hosts.doctor(1).examine()
        told = {each.check: (each.level, each.detail) for each in findings if "clock" in each.check}
        assert told == {"h2: clock": ("ok", "0.0 s apart"), "h3: clock": ("warn", "3600.0 s apart")}


async def test_host_that_was_removed_is_not_asked() -> None:
    async with ward() as hosts:
        state = hosts.doctor(1).consensus.state
        hosts.doctor(1).consensus = cast(Consensus, FakeReplica(with_host(state, "h3", state="removed")))
        assert levels(await hosts.doctor(1).examine()) == OWN | of_pair("h2")
        assert hosts.asked == [node_id(2)]


async def test_only_some_pairs_are_examined_at_once(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = IDLE
    async with ward() as hosts:
        doctor = hosts.doctor(1)
        doctor.consensus = cast(Consensus, FakeReplica(known({}, hosts=2 * PAIRS_AT_ONCE + 1)))
        transport = CountingTransport()
        doctor.transport = transport
        findings = await doctor.examine()
        assert transport.most == PAIRS_AT_ONCE
        assert sum(each.check.startswith("peer link") for each in findings) == 2 * PAIRS_AT_ONCE


@dataclass(eq=False)
class CountingTransport:
    """The Transport port to hosts that never answer; counts who waits."""

    waiting: int = 0
    most: int = 0

    def send(self, node: NodeId, payload: bytes) -> None:
        raise AssertionError("a doctor sends nothing that is not answered")

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await trio.sleep(timeout)
        self.waiting -= 1
        raise LinkDownError("silence")


# This host


async def alone(change: Callable[[Doctor], object]) -> dict[str, Finding]:
    """What the doctor of a single host says after `change`."""
    async with ward() as hosts:
        doctor = hosts.doctor(1)
        doctor.consensus = cast(Consensus, FakeReplica(known({}, hosts=1)))
        change(doctor)
        return {each.check: each for each in await doctor.examine()}


async def test_docker_that_is_down_is_found() -> None:
    findings = await alone(lambda doctor: setattr(doctor.engine, "is_up", False))
    assert findings["docker"].level == "fail"
    assert "systemctl start docker" in (findings["docker"].try_ or "")


async def test_cluster_without_a_leader_is_found() -> None:
    findings = await alone(lambda doctor: setattr(doctor.consensus, "leaderless_since", 1))
    assert findings["leader"].level == "fail"
    assert "node status" in (findings["leader"].try_ or "")


@pytest.mark.parametrize(("days_left", "level"), [(ALARM_DAYS + 1, "ok"), (1, "warn"), (-1, "fail")])
async def test_certificate_that_ends_is_found(days_left: int, level: str) -> None:
    ends_at = certificate_from_pem(identity_of(1).certificate_pem.encode()).not_valid_after_utc.timestamp()
    findings = await alone(lambda doctor: setattr(doctor, "now", lambda: ends_at - days_left * DAY_SECONDS))
    assert findings["certificate"].level == level


HEALTHY = OverlayReport("wireguard kernel", 1420)


def peer(number: int, age: float | None) -> PeerReport:
    return PeerReport(node_id(number), f"10.42.{number}.0/24", "192.0.2.1:51820", age, 0, 0)


@pytest.mark.parametrize(
    ("report", "trouble", "level", "words"),
    [
        (HEALTHY, None, "ok", "wireguard kernel, MTU 1420"),
        (OverlayReport("vxlan", 1450), None, "ok", "vxlan, MTU 1450"),
        (OverlayReport(None, None), None, "fail", "there is no tunnel yet"),
        (replace(HEALTHY, failures=("owed: a route",)), None, "fail", "owed: a route"),
        (replace(HEALTHY, failures=("owed: a route",)), "no nft", "fail", "no nft"),
    ],
)
async def test_overlay_is_told_as_it_is(report: OverlayReport, trouble: str | None, level: str, words: str) -> None:
    overlaying = cast(Overlaying, SickOverlay(report, trouble))
    findings = await alone(lambda doctor: setattr(doctor, "overlaying", overlaying))
    assert (findings["overlay"].level, findings["overlay"].detail) == (level, words)


@pytest.mark.parametrize(("age", "level"), [(20.0, "ok"), (None, "warn"), (301.0, "fail")])
async def test_tunnel_without_a_fresh_handshake_names_the_other_host(age: float | None, level: str) -> None:
    overlaying = cast(Overlaying, SickOverlay(replace(HEALTHY, peers=(peer(1, age),))))
    findings = await alone(lambda doctor: setattr(doctor, "overlaying", overlaying))
    assert findings["tunnel to h1"].level == level


# Being asked


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode({"nonce": b"short", "clock": 1.0})])
async def test_request_that_is_none_is_refused(payload: bytes) -> None:
    async with ward() as hosts:
        with pytest.raises(DecodeError):
            await hosts.doctor(1).answer_probe(Caller(node_id(2), "127.0.9.2"), payload)


@pytest.mark.parametrize("node", [None, node_id(99)])
async def test_stranger_is_not_probed(node: NodeId | None) -> None:
    request = msgspec.msgpack.encode(ProbeRequest(b"n" * 16, NOW))
    async with ward() as hosts:
        with pytest.raises(DecodeError, match="only members"):
            await hosts.doctor(1).answer_probe(Caller(node, "127.0.9.9"), request)
