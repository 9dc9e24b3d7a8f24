"""Whole nodes of one cluster in one process and in virtual time: the production drivers on simulated ports.

Each host has a disk, an engine and a DNS server that outlive its daemon.  `Cluster` starts and kills daemons and knows
who is there; the faults are drawn in `cluster_story`, and what must hold is in `cluster_check`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Literal, cast

import trio
from trio._core import _run as trio_run
from trio.testing import MockClock

from dns.control import ServerOptions
from dns.zone import Zone
from node.commands import AdmitHost, InitCluster, Proposal, SealCaKey, SingleCommand, encode_proposal
from node.config import FEATURE_LEVEL, VERSION
from node.drive.agent import Agent
from node.drive.consensus import Consensus
from node.drive.gossip import Gossip
from node.drive.leading import Leading
from node.drive.names import Names
from node.drive.wakeup import Wakeup
from node.engine.memory import MemoryEngine
from node.model import DEFAULT_ENVIRONMENT_ID, Change, State
from node.plan.seals import plan_seals
from node.ports import EngineContainer
from node.store.errors import CorruptStoreError, StoreFailedError
from protocol.ids import Incarnation, Index, NodeId, Term, new_node_id
from protocol.messages import Kind
from protocol.probe import ProbeKeys
from protocol.raft.core import Raft
from protocol.raft.messages import Entry, EntryKind, decode_message
from protocol.raft.vocabulary import Limits, Output, SavedState, Timing, bootstrap
from protocol.seal import Keyring
from protocol.swim.events import Event
from protocol.swim.messages import Address, Meta
from tests.sim.cluster_parts import (
    Network,
    Pace,
    Port,
    SimEngine,
    SimSocket,
    SimTransport,
    ZoneKeeper,
    ignore_engine_errors,
)
from tests.sim.cluster_watch import RaftWatch, Seat
from tests.sim.sim_disk import StoreDisk

START_MS = 1_460_440_800_000
PEER_PORT = 8090
DATAGRAMS = 1024
SNAPSHOT_EVERY = 40
RESTART_AFTER = 2.0
"""When a daemon that ended by itself is started again."""
TIMING = Timing()
LIMITS = Limits(keep_entries=20)
"""Small, so that newcomers and those who were away long need a snapshot."""


def run_seeded(seed: int, main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in virtual time, every choice of the scheduler drawn from `seed`."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010
    trio_run._r.seed(seed)
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", before)  # noqa: B010


async def run_here(function: Callable[..., Any], *args: Any) -> Any:
    """In place of a thread, which virtual time would not wait for."""
    await trio.sleep(0.01)
    return function(*args)


class WatchedConsensus(Consensus):
    """The production driver, on a host that may stand still, with its core's outputs shown to the watch."""

    watch: RaftWatch
    pace: Pace

    async def _wait_for_input(self) -> None:
        await super()._wait_for_input()
        await self.pace.wait()

    async def _obey(self, raft: Raft, output: Output, nursery: trio.Nursery) -> None:
        self.watch.obeys(self._me, raft, output)
        await super()._obey(raft, output, nursery)
        self.watch.check_commit(self._me, raft, raft.commit_index)

    async def _write(self, output: Output, commit: Index) -> None:
        await super()._write(output, commit)
        self.watch.wrote(self._me, self.raft, output)

    async def _restore(self, saved: SavedState, commit: Index) -> None:
        self.watch.restores(self._me, saved, commit)
        await super()._restore(saved, commit)


@dataclass(eq=False)
class Life:
    """One run of a host's daemon."""

    consensus: Consensus
    gossip: Gossip
    leading: Leading
    agent: Agent
    names: Names
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(eq=False)
class SimHost:
    """A host: what is here survives a kill of the daemon."""

    node: NodeId
    name: str
    address: Address
    disk: StoreDisk
    engine: SimEngine
    zones: ZoneKeeper
    skew_ms: int
    drift: float
    """How many seconds the host's clocks count in a second."""
    pace: Pace = field(default_factory=Pace)
    life: Life | None = None
    stage: Literal["joining", "member", "leaving", "refused", "gone"] = "joining"
    """`refused`: the daemon does not go on with the disk that it found."""

    @property
    def timing(self) -> Timing:
        """As the host measures it with a clock that drifts."""
        return Timing(
            election_timeout=TIMING.election_timeout / self.drift,
            heartbeat_interval=TIMING.heartbeat_interval / self.drift,
        )

    @property
    def is_up(self) -> bool:
        return self.life is not None


class Cluster:
    """The hosts, the network between them, and a record of what happened."""

    def __init__(self, seed: int, nursery: trio.Nursery, watch: "Watcher", folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.raft_watch = RaftWatch(watch.require)
        self.rng = Random(seed)
        self.nursery = nursery
        self.hosts: dict[NodeId, SimHost] = {}
        self.keyring = Keyring(bytes(32))
        self.events = 0
        self._trace = sha256()
        self._watch = watch
        self.network = Network(Random(self.rng.getrandbits(64)), nursery, self.note)

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def note(self, *what: object) -> None:
        self.events += 1
        self._trace.update(f"{trio.current_time():.6f} {what}\n".encode())

    def now_ms(self, host: SimHost | None = None) -> int:
        """The wall clock, as a host has it."""
        if host is None:
            return START_MS + int(trio.current_time() * 1000)
        return START_MS + host.skew_ms + int(trio.current_time() * 1000 * host.drift)

    def running(self) -> list[SimHost]:
        return [host for host in self.hosts.values() if host.is_up]

    def members(self) -> list[SimHost]:
        """Hosts that nobody has removed."""
        return [host for host in self.hosts.values() if host.stage == "member"]

    def leader(self) -> SimHost | None:
        """Who leads in the highest term."""
        leaders = [host for host in self.running() if host.life and host.life.consensus.is_leader]
        return max(leaders, key=_term_of, default=None)

    # Hosts come and go.

    def add_host(self) -> SimHost:
        number = len(self.hosts) + 1
        engine_rng = Random(self.rng.getrandbits(64))
        skew_ms = self.rng.randint(-3000, 3000)
        node = new_node_id(self.rng)
        host = SimHost(
            node=node,
            name=f"h{number}",
            address=Address(f"192.0.2.{number}", PEER_PORT),
            disk=StoreDisk(self.folder / f"h{number}", Random(self.rng.getrandbits(64))),
            engine=SimEngine(
                MemoryEngine(lambda: self.now_ms(host)),
                engine_rng,
                self._later,
                lambda one: self._watch.saw_stop(host, one),
            ),
            zones=ZoneKeeper(lambda zone: self._watch.saw_zone(host, zone)),
            skew_ms=skew_ms,
            drift=self.rng.choice([1.0, 1.0, 0.98, 1.02]),
        )
        self.hosts[host.node] = host
        self.raft_watch.seats[node] = Seat(host.name, lambda: host.disk.shadow, host.timing)
        host.disk.make_empty()
        return host

    def admission_of(self, host: SimHost) -> AdmitHost:
        return AdmitHost(
            uuid=f"host-{host.name}",
            environment_id=DEFAULT_ENVIRONMENT_ID,
            node=host.node,
            name=host.name,
            address=host.address.ip,
            peer_port=PEER_PORT,
            api_port=8080,
            overlay_port=51820,
            overlay_key=bytes(32),
            seal_key=bytes(32),
        )

    def found(self) -> SimHost:
        """Write a one-host cluster as `node start` does, and start it."""
        host = self.add_host()
        host.stage = "member"
        start = bootstrap(host.node)
        entries = list(start.entries)
        commands: list[SingleCommand] = [
            InitCluster(cluster_id="c" * 32, ca=b"ca"),
            self.admission_of(host),
            SealCaKey(node=host.node, sealed=host.node.encode()),
        ]
        for number, command in enumerate(commands):
            proposal = Proposal(id=f"{number:032x}", at=self.now_ms(), command=command)
            index = Index(entries[-1].index + 1)
            entries.append(Entry(index, Term(1), EntryKind.COMMAND, encode_proposal(proposal)))
        host.disk.found(SavedState(start.hard, None, tuple(entries)))
        self.start(host)
        return host

    def start(self, host: SimHost) -> None:
        if host.life is not None or host.stage not in ("member", "leaving"):
            return
        self.note("start", host.name)
        host.life = self._assemble(host)
        self.nursery.start_soon(self._live, host, host.life)

    async def kill(self, host: SimHost) -> None:
        """End the daemon at once; containers and names go on."""
        life = host.life
        if life is not None:
            self.note("kill", host.name)
            life.scope.cancel()
            await life.ended.wait()

    def _saw_message(self, host: SimHost, to: NodeId, payload: bytes) -> None:
        life = host.life
        raft = life.consensus._raft if life is not None else None
        self.raft_watch.sends(host.node, to, decode_message(payload), raft)

    def _later(self, act: Callable[[], Awaitable[object]]) -> None:
        self.nursery.start_soon(ignore_engine_errors, act)

    def _rng(self) -> Random:
        return Random(self.rng.getrandbits(64))

    def _assemble(self, host: SimHost) -> Life:
        now_ms = partial(self.now_ms, host)
        meta = Meta(host.name, *host.address, 8080, FEATURE_LEVEL, DEFAULT_ENVIRONMENT_ID, VERSION)
        gossip = Gossip(
            host.node,
            meta,
            self.keyring,
            probe_keys=ProbeKeys(),
            incarnation=Incarnation(now_ms() // 1000),
            rng=self._rng(),
        )
        consensus = WatchedConsensus(
            host.node,
            host.disk,
            SimTransport(host.node, self.network, partial(self._saw_message, host)),
            members=lambda: gossip.members,
            now_ms=now_ms,
            rng=self._rng(),
            timing=host.timing,
            limits=LIMITS,
            snapshot_every=SNAPSHOT_EVERY,
            offload=run_here,
        )
        consensus.watch, consensus.pace = self.raft_watch, host.pace
        self.raft_watch.starts(host.node)
        leading = Leading(
            host.node,
            consensus,
            dead_since=gossip.dead_since,
            plan_seals=partial(_plan_seals, host, consensus),
            now_ms=now_ms,
            rng=self._rng(),
        )
        ready = trio.Event()
        ready.set()
        agent = Agent(host.node, consensus, host.engine, ready=ready, now_ms=now_ms)
        names = Names(
            me=host.node,
            consensus=consensus,
            dead=lambda: gossip.dead,
            options=ServerOptions(Path("unused")),
            now_ms=now_ms,
            wakeup=Wakeup(),
            find_server=partial(_find, host.zones),
        )
        life = Life(consensus, gossip, leading, agent, names)
        self._connect(host, life)
        return life

    def _connect(self, host: SimHost, life: Life) -> None:
        """Route what happens as `node.assembly` does."""

        def on_state(state: State, changes: Sequence[Change]) -> None:
            self._watch.saw_state(host, state)
            life.leading.wakeup.set()
            if not changes or {change.table for change in changes} & {"containers", "services", "stacks", "hosts"}:
                life.agent.wakeup.set()
                life.names.wakeup.set()

        def on_member(event: Event) -> None:
            life.leading.wakeup.set()
            life.names.wakeup.set()

        life.consensus.listen(on_state)
        life.gossip.listen(on_member)

    async def _live(self, host: SimHost, life: Life) -> None:
        to_gossip, datagrams = trio.open_memory_channel[tuple[bytes, tuple[str, int]]](DATAGRAMS)
        sock = SimSocket(host.node, host.address, self.network, datagrams, host.pace)
        socket = cast("trio.socket.SocketType", sock)
        with life.scope:
            try:
                await self._run_parts(host, life, socket, to_gossip)
            except* CorruptStoreError as errors:
                self._refuse(host, errors)
            except* StoreFailedError:
                self.note("the disk of", host.name, "failed")
                self.nursery.start_soon(self._start_again, host)
        host.disk.crash()
        host.life = None
        life.ended.set()

    def _refuse(self, host: SimHost, errors: BaseExceptionGroup[CorruptStoreError]) -> None:
        self.note("the disk of", host.name, "is refused")
        self._watch.require(host.disk.is_damaged, f"{host.name} refuses a sound disk: {errors.exceptions}")
        if host.stage == "member":
            host.stage = "refused"

    async def _start_again(self, host: SimHost) -> None:
        await trio.sleep(RESTART_AFTER)
        self.start(host)

    async def _run_parts(
        self,
        host: SimHost,
        life: Life,
        socket: "trio.socket.SocketType",
        to_gossip: trio.MemorySendChannel[tuple[bytes, tuple[str, int]]],
    ) -> None:
        async with trio.open_nursery() as nursery:
            # As in the daemon, others may speak to this node while it still reads its disk.
            self.network.open(self._port(host, life, nursery, to_gossip))
            try:
                await nursery.start(life.gossip.run, socket)
                await nursery.start(life.consensus.run)
                life.gossip.join([other.address for other in self.members() if other is not host])
                for part in (life.leading, life.agent, life.names):
                    await nursery.start(part.run)
                await trio.sleep_forever()
            finally:
                self.network.close(host.node)

    def _port(
        self,
        host: SimHost,
        life: Life,
        nursery: trio.Nursery,
        to: trio.MemorySendChannel[tuple[bytes, tuple[str, int]]],
    ) -> Port:
        def deliver(sender: NodeId, payload: bytes) -> None:
            self.raft_watch.heard_from(host.node, sender)
            life.consensus.deliver(sender, payload)

        def lose(peer: NodeId) -> None:
            life.consensus.peer_lost(peer)
            life.consensus._call(lambda raft, now: self.raft_watch.doubts(host.node, peer))

        return Port(
            node=host.node,
            nursery=nursery,
            address=host.address,
            is_member=life.consensus.may_speak,
            on_message=deliver,
            on_lost=lose,
            handlers={Kind.SUBMIT: life.consensus.answer_submit, **life.consensus.group.handlers},
            datagrams=to,
            pace=host.pace,
        )


class Watcher:
    """Is told of every state that a node applies and every zone that it publishes."""

    def require(self, holds: bool, what: str) -> None: ...

    def saw_state(self, host: SimHost, state: State) -> None: ...

    def saw_zone(self, host: SimHost, zone: Zone) -> None: ...

    def saw_stop(self, host: SimHost, one: EngineContainer) -> None: ...


async def _find(zones: ZoneKeeper, options: ServerOptions) -> ZoneKeeper:
    await trio.lowlevel.checkpoint()
    return zones


def _plan_seals(host: SimHost, consensus: Consensus, state: State) -> tuple[SealCaKey, ...]:
    """As the daemon does, without the cryptography: a copy says only whose it is."""
    plan = plan_seals(state, consensus.raft.config.voters, host.node, leads=consensus.is_leader)
    given = (SealCaKey(node=other.node, sealed=other.node.encode()) for other in plan.give)
    return (*given, *(SealCaKey(node=node, sealed=None) for node in plan.take_back))


def _term_of(host: SimHost) -> int:
    assert host.life is not None
    return host.life.consensus.raft.term
