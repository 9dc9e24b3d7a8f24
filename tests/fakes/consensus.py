"""A consensus driver of a one-host cluster on a disk in memory, for tests of the drivers that stand on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from node.commands import InitCluster, Proposal, SingleCommand, encode_proposal
from node.drive.consensus import Consensus
from node.drive.link import LinkDownError
from node.ports import MemberView
from protocol.ids import Index, NodeId, Term
from protocol.messages import Kind
from protocol.raft.messages import AppendRequest, Entry, EntryKind, encode_config, encode_message, make_config
from protocol.raft.vocabulary import Limits, SavedState, bootstrap
from tests.fakes.replica import START
from tests.fakes.states import CLUSTER_ID, admit, node_id
from tests.sim.cluster_parts import SimDisk
from tests.sim.raft_cluster import Disk

ME = node_id(1)
OTHER = node_id(2)
MYSELF = MemberView(node=ME, name="h1", address="192.0.2.1", peer_port=8090, api_port=8080, status="alive", version="1")


@dataclass(eq=False)
class FakeTransport:
    """The Transport port: keeps what was sent, answers requests with `answer`."""

    sent: list[tuple[NodeId, bytes]] = field(default_factory=list)
    requests: list[tuple[NodeId, Kind, bytes]] = field(default_factory=list)
    answer: Callable[[Kind, bytes], Awaitable[bytes]] | None = None

    def send(self, node: NodeId, payload: bytes) -> None:
        self.sent.append((node, payload))

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes:
        await trio.lowlevel.checkpoint()
        self.requests.append((node, kind, payload))
        if self.answer is None:
            raise LinkDownError(f"node {node[:8]} is down")
        return await self.answer(kind, payload)


def now_ms() -> int:
    """The wall clock of a test: it moves with the loop's."""
    return START + int(trio.current_time() * 1000)


async def run_here(function: Callable[..., Any], *args: Any) -> Any:
    """In place of a thread, which a virtual clock would not wait for."""
    await trio.lowlevel.checkpoint()
    return function(*args)


def founded_disk(*more: SingleCommand) -> SimDisk:
    """The disk of host h1 after it founded a cluster; it holds `more` commands too."""
    start = bootstrap(ME)
    entries = list(start.entries)
    for number, command in enumerate((InitCluster(cluster_id=CLUSTER_ID, ca=b"ca"), admit(1), *more)):
        data = encode_proposal(Proposal(id=f"{number:032x}", at=START, command=command))
        entries.append(Entry(Index(entries[-1].index + 1), Term(1), EntryKind.COMMAND, data))
    return SimDisk(Random(1), Disk(SavedState(start.hard, None, tuple(entries))), slowness=0.0)


def make_consensus(
    disk: SimDisk, transport: FakeTransport | None = None, *, snapshot_every: int = 1000, keep_entries: int = 1000
) -> Consensus:
    """A driver for host h1, not running yet."""
    return Consensus(
        ME,
        disk,
        transport or FakeTransport(),
        members=lambda: {ME: MYSELF},
        now_ms=now_ms,
        rng=Random(7),
        limits=Limits(keep_entries=keep_entries),
        snapshot_every=snapshot_every,
        offload=run_here,
    )


@asynccontextmanager
async def running(consensus: Consensus) -> AsyncIterator[Consensus]:
    """Run the driver inside the block."""
    async with trio.open_nursery() as nursery:
        await nursery.start(consensus.run)
        yield consensus
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def leading_alone(disk: SimDisk | None = None) -> AsyncIterator[Consensus]:
    """The consensus of a one-host cluster that leads."""
    async with running(make_consensus(disk or founded_disk())) as consensus:
        with trio.fail_after(10):
            while not consensus.leads_currently:
                await trio.sleep(0.01)
        yield consensus


@dataclass
class Follower:
    """Host h1 as a follower of OTHER, who says what the test wants."""

    disk: SimDisk
    transport: FakeTransport = field(default_factory=FakeTransport)
    seq: int = 0

    def __post_init__(self) -> None:
        self.consensus = make_consensus(self.disk, self.transport, snapshot_every=10, keep_entries=5)

    async def hear(self, prev: Entry, entries: tuple[Entry, ...], commit: int, *, term: int = 2) -> None:
        self.seq += 1
        request = AppendRequest(Term(term), prev.index, prev.term, entries, Index(commit), self.seq)
        self.consensus.deliver(OTHER, encode_message(request))
        await trio.sleep(0.1)


def two_voters() -> SimDisk:
    """The disk of h1 after OTHER has become a voter too; only the first entries are known to be committed."""
    disk = founded_disk(admit(2))
    entries = disk.disk.saved.entries
    config = Entry(Index(entries[-1].index + 1), Term(1), EntryKind.CONFIG, encode_config(make_config([ME, OTHER])))
    disk.disk = Disk(SavedState(disk.disk.saved.hard, None, (*entries, config)))
    disk.commit = Index(3)
    return disk
