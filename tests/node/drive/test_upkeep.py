"""Small duties: what a host tells of itself, its certificate renewed in time, and where the others were."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import pytest
import trio
from trio.testing import MockClock

from node.commands import RemoveHost
from node.drive.admission import Admission, Renewal
from node.drive.consensus import Consensus
from node.drive.credentials import Credentials
from node.drive.link import LinkDownError
from node.drive.upkeep import RENEW_RETRY, Upkeep
from node.engine.memory import MemoryEngine
from node.model import host_of_node
from node.ports import MemberView
from node.preflight import DAY_SECONDS
from node.store.identity import DataFolder, Identity
from protocol.ids import Index, NodeId, Term
from protocol.messages import Kind
from protocol.pki import (
    Certificate,
    certificate_from_pem,
    certificate_to_der,
    certificate_to_pem,
    issue,
    key_to_pem,
    new_csr,
    new_key,
    renew_at,
)
from protocol.raft.messages import Entry, EntryKind
from tests.fakes.consensus import ME, OTHER, Follower, leading_alone, now_ms, running, two_voters
from tests.node.drive.certificates import NOW, authority, ca_pem


def sign(csr: bytes, node: NodeId = ME, *, later: timedelta = timedelta()) -> Certificate:
    ca, ca_key = authority("c" * 32)
    return issue(csr, node_id=node, role="host", ca=ca, ca_key=ca_key, now=NOW + later)


def make_identity() -> Identity:
    key = new_key()
    return Identity(
        node=ME,
        name="h1",
        cluster_id="c" * 32,
        environment_id=5,
        ca_pem=ca_pem(),
        certificate_pem=certificate_to_pem(sign(new_csr(ME, key))).decode(),
        key_pem=key_to_pem(key).decode(),
        gossip_key=bytes(32),
        overlay_private=bytes(32),
        seal_private=bytes(32),
        overlay_network="10.42.0.0/16",
        overlay_mode="wireguard",
        address="192.0.2.1",
        peer_port=8090,
        api_port=8080,
        overlay_port=51820,
    )


@dataclass(eq=False)
class CountingCredentials(Credentials):
    """The real contexts, and how often they were read again."""

    folder: DataFolder
    reloads: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__(key_and_certificate=self.folder.tls_file, ca_pem=ca_pem())
        self.reloads = 0

    def reload(self) -> None:
        super().reload()
        self.reloads += 1


@dataclass(eq=False)
class Duties:
    """The parts of one upkeep, its clock set by the test."""

    path: Path
    now: float
    consensus: Consensus
    follower: Follower | None = None

    def __post_init__(self) -> None:
        self.folder = DataFolder(self.path)
        self.identity = make_identity()
        self.folder.save(self.identity)
        self.credentials = CountingCredentials(self.folder)
        self.engine = MemoryEngine(now_ms)
        self.upkeep = Upkeep(
            self.folder,
            self.identity,
            self.consensus,
            self.consensus._transport,
            cast("Admission", None),
            self.credentials,
            self.engine,
            lambda: ("wireguard kernel", 1420),
            lambda: self.now,
            find_address=lambda identity: None,
        )

    @property
    def saved(self) -> Identity:
        identity = self.folder.load()
        assert identity is not None
        return identity


def due_at(identity: Identity) -> float:
    return renew_at(certificate_from_pem(identity.certificate_pem.encode()))


@asynccontextmanager
async def following(path: Path) -> AsyncIterator[Duties]:
    """The duties of h1 while OTHER leads."""
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus) as consensus, trio.open_nursery() as nursery:
        noop = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (noop,), noop.index)

        async def beat() -> None:
            while True:
                await follower.hear(noop, (), noop.index)

        nursery.start_soon(beat)
        yield Duties(path, NOW.timestamp(), consensus, follower)
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 3000.0) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.05)


async def test_certificate_past_two_thirds_is_renewed_saved_and_used(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        assert duties.follower is not None
        transport = duties.follower.transport

        async def answer(kind: Kind, payload: bytes) -> bytes:
            if kind is not Kind.RENEW:
                raise LinkDownError("not answered here")
            return certificate_to_der(sign(decode_renewal(payload), later=timedelta(days=1)))

        transport.answer = answer
        duties.now = due_at(duties.identity) + 1
        await nursery.start(duties.upkeep.run)
        await until(lambda: duties.credentials.reloads == 1)
        assert [(node, kind) for node, kind, _ in transport.requests if kind is Kind.RENEW] == [(OTHER, Kind.RENEW)]
        assert due_at(duties.saved) > due_at(duties.identity)
        assert duties.saved.certificate_pem in duties.folder.tls_file.read_text()
        nursery.cancel_scope.cancel()


async def test_certificate_is_left_alone_before_two_thirds(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        assert duties.follower is not None
        duties.now = due_at(duties.identity) - 1
        await nursery.start(duties.upkeep.run)
        await trio.sleep(30)
        assert not [kind for _, kind, _ in duties.follower.transport.requests if kind is Kind.RENEW]
        nursery.cancel_scope.cancel()


async def test_certificate_of_another_node_is_not_taken(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        assert duties.follower is not None

        async def answer(kind: Kind, payload: bytes) -> bytes:
            if kind is not Kind.RENEW:
                raise LinkDownError("not answered here")
            return certificate_to_der(sign(new_csr(OTHER, new_key()), OTHER))

        duties.follower.transport.answer = answer
        duties.now = due_at(duties.identity) + 1
        await nursery.start(duties.upkeep.run)
        await trio.sleep(30)
        assert duties.saved == duties.identity
        assert duties.credentials.reloads == 0
        nursery.cancel_scope.cancel()


async def test_renewal_is_tried_again_when_the_leader_is_down(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        assert duties.follower is not None
        duties.now = due_at(duties.identity) + 1
        await nursery.start(duties.upkeep.run)
        await trio.sleep(RENEW_RETRY * 2.5)
        asked = [kind for _, kind, _ in duties.follower.transport.requests if kind is Kind.RENEW]
        assert len(asked) == 3
        nursery.cancel_scope.cancel()


async def test_certificate_that_nobody_renews_is_an_alarm_a_day(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def alarms() -> int:
        return sum("is not renewed" in record.getMessage() for record in caplog.records)

    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        end = certificate_from_pem(duties.identity.certificate_pem.encode()).not_valid_after_utc.timestamp()
        duties.now = end - 15 * DAY_SECONDS
        await nursery.start(duties.upkeep.run)
        await trio.sleep(RENEW_RETRY * 2.5)
        assert alarms() == 0
        for day in (1, 2):
            duties.now = end - (14 - day) * DAY_SECONDS
            await trio.sleep(RENEW_RETRY * 2.5)
            assert alarms() == day
        nursery.cancel_scope.cancel()


async def test_host_tells_the_cluster_what_it_is_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        duties = Duties(tmp_path, NOW.timestamp(), consensus)
        await nursery.start(duties.upkeep.run)
        await until(duties.upkeep.is_reported.is_set)
        host = host_of_node(consensus.state, ME)
        assert host is not None
        assert (host.facts.docker_version, host.facts.overlay_kind, host.facts.mtu) == (
            "memory",
            "wireguard kernel",
            1420,
        )
        before = consensus.consensus.applied_index
        await trio.sleep(100)
        assert consensus.consensus.applied_index == before
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_leaving", [False, True])
async def test_removal_is_an_error_only_for_a_host_that_did_not_ask_for_it(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, is_leaving: bool
) -> None:
    caplog.set_level(logging.INFO, "corral.upkeep")
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        duties = Duties(tmp_path, NOW.timestamp(), consensus)
        await nursery.start(duties.upkeep.run)
        await until(duties.upkeep.is_reported.is_set)
        host = host_of_node(consensus.state, ME)
        assert host is not None
        duties.upkeep.is_leaving = is_leaving
        await consensus.submit(RemoveHost(id=host.id))
        for _ in range(3):
            duties.upkeep.wakeup.set()
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    told = [record.levelno for record in caplog.records if "this host" in record.getMessage()]
    assert told == [logging.INFO if is_leaving else logging.ERROR]


async def test_addresses_of_the_living_are_kept_for_the_next_start(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        duties = Duties(tmp_path, NOW.timestamp(), consensus)
        consensus._members = partial(dict, {node: view(node, status) for node, status in MEMBERS})
        await nursery.start(duties.upkeep.run)
        await until(lambda: bool(duties.saved.seeds))
        assert duties.saved.seeds == (("192.0.2.2", 8090),)
        nursery.cancel_scope.cancel()


async def test_host_goes_on_under_its_new_address_when_the_disk_does_not_take_it(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with following(tmp_path) as duties, trio.open_nursery() as nursery:
        told: list[str] = []
        duties.upkeep.find_address = lambda identity: "192.0.2.77"
        duties.upkeep.on_address = lambda identity: told.append(identity.address)
        (tmp_path / ".identity.new").mkdir()  # Stands for any reason why a file cannot be written.
        await nursery.start(duties.upkeep.run)
        await until(lambda: told == ["192.0.2.77"])
        assert duties.saved == duties.identity
        nursery.cancel_scope.cancel()


async def test_saves_side_by_side_lose_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        duties = Duties(tmp_path, NOW.timestamp(), consensus)
        async with trio.open_nursery() as nursery:
            for port in range(1, 30):
                nursery.start_soon(partial(duties.upkeep._save, seeds=(("192.0.2.2", port),)))
                nursery.start_soon(partial(duties.upkeep._save, certificate_pem=f"certificate {port}"))
        assert duties.saved == duties.upkeep.identity


MEMBERS = [(ME, "alive"), (OTHER, "alive"), (NodeId("3" * 32), "dead")]


def view(node: NodeId, status: str) -> MemberView:
    return MemberView(
        node=node,
        name="h",
        address="192.0.2.2",
        peer_port=8090,
        api_port=8080,
        status=status,  # type: ignore[arg-type]
        version="1",
    )


def decode_renewal(payload: bytes) -> bytes:
    return msgspec.msgpack.decode(payload, type=Renewal).csr
