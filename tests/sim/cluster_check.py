"""What must hold in a cluster: always, after each state and zone that any node shows, and once faults have ended."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

import trio

from dns.zone import NAMESERVER_ADDRESS, Zone
from node.model import Container, Service, State, host_of_node
from node.plan.everything import Picture, plan
from node.plan.members import plan_members
from node.plan.names import render_names
from node.ports import EngineContainer
from node.state import state_digest
from node.state.services import ACTIVE_STATES
from protocol.ids import Index, NodeId
from protocol.raft.voters import wanted_voters
from tests.fakes.invariants import check_invariants
from tests.sim.cluster import Cluster, Life, SimHost, Watcher
from tests.sim.cluster_watch import RaftWatch

DIGEST_ONE_IN = 4
"""A digest costs more than all else; the same states are chosen on every node."""


class Broken(AssertionError):
    """Something that must hold does not; the message says what, when and in which seed."""


@dataclass(eq=False)
class Wanted:
    """What clients were promised of one service; what they were not told about may have happened or not."""

    uuid: str
    service_id: int
    scale: int
    """The last one that was confirmed."""
    unanswered: set[int] = field(default_factory=set)
    """Scales that were asked for and never confirmed: each may take effect late."""
    may_be_removed: bool = False
    is_removed: bool = False


@dataclass(eq=False)
class Checker(Watcher):
    """Everything that was ever seen, and complaints about it."""

    seed: int
    stacks: set[str] = field(default_factory=set)
    """Names of stacks whose creation was confirmed."""
    services: list[Wanted] = field(default_factory=list)
    states: int = 0
    raft_watch: RaftWatch | None = None
    _last_at: dict[Life, int] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _by_index: dict[Index, str] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _ran: set[tuple[str, str]] = field(default_factory=set)
    """(name, address) of containers that some applied state had running."""
    _places: dict[str, str] = field(default_factory=dict)
    """Uuid → the host whose engine had it."""
    _given_up: set[str] = field(default_factory=set)
    """Uuids of containers that some applied state did not want to run as they were."""
    _addresses: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            raise Broken(f"seed {self.seed} at {trio.current_time():.3f}: {what}")

    # Always.

    def saw_state(self, host: SimHost, state: State) -> None:
        self.states += 1
        if host.life is not None:
            self.require(state.last_at >= self._last_at.get(host.life, 0), f"time runs backwards on {host.name}")
            self._last_at[host.life] = state.last_at
        key = next(reversed(state.recent), "")
        if crc32(key.encode()) % DIGEST_ONE_IN == 0:
            digest = state_digest(state)
            self.require(self._digests.setdefault(key, digest) == digest, f"{host.name} has another state at {key}")
        if key in self._known:
            return
        self._known.add(key)
        self._check_taken(state)
        check_invariants(state)
        for row in state.containers.values():
            if row.desired != "running" or row.removed is not None or row.restarts_wanted:
                self._given_up.add(row.uuid)
            if row.removed is None and row.seen.status == "running" and row.address:
                self._ran.add((row.name.lower(), row.address))

    def _check_taken(self, state: State) -> None:
        rows = [row for row in state.containers.values() if row.removed is None]
        self._check_once("address", ((r.host_id, r.address) for r in rows if r.address))
        self._check_once("port", ((r.host_id, p.protocol, p.public) for r in rows for p in r.ports))
        self._check_once("slot", ((r.service_id, r.number) for r in rows if r.service_id is not None))
        self._check_once("name", ((r.environment_id, r.name.lower()) for r in rows))
        self._check_once("uuid", (r.uuid for r in state.containers.values()))
        self._check_once("subnet", (h.subnet for h in state.hosts.values() if h.removed is None))
        for row in rows:
            if row.host_id is not None:
                place = (row.host_id, row.address)
                kept = self._addresses.setdefault(row.uuid, place) == place
                self.require(kept, f"{row.name} moved to {place}")

    def _check_once(self, what: str, values: Iterable[Hashable]) -> None:
        twice = [value for value, count in Counter(values).items() if count > 1]
        self.require(not twice, f"{what} given twice: {twice}")

    def saw_zone(self, host: SimHost, zone: Zone) -> None:
        for name, addresses in zone.names.items():
            if name.count(".") != 2:
                continue
            for address in addresses if isinstance(addresses, tuple) else ():
                ran = (name.partition(".")[0], address) in self._ran or address == NAMESERVER_ADDRESS
                self.require(ran, f"{host.name} answers {address} for {name}, which never ran there")

    def saw_stop(self, host: SimHost, one: EngineContainer) -> None:
        self.require(one.uuid in self._given_up, f"{host.name} stops {one.name}, which is to run")

    async def watch_engines(self, cluster: Cluster) -> None:
        """Look at all engines again and again: a container is in one place, once."""
        while True:
            for host in cluster.hosts.values():
                held = host.engine.containers()
                self._check_once(f"uuid on {host.name}", (one.uuid for one in held))
                for one in held:
                    place = self._places.setdefault(one.uuid, host.name)
                    self.require(place == host.name, f"{one.name} is on {place} and on {host.name}")
                self._check_index(host)
                self._check_leads(cluster, host)
            await trio.sleep(0.05)

    def _check_leads(self, cluster: Cluster, host: SimHost) -> None:
        if host.life is not None and host.life.consensus._raft is not None:
            is_even = host.pace.is_even and host.disk.slowness < 0.01
            cluster.raft_watch.check_leads(host.node, host.life.consensus._raft, is_even=is_even)

    def _check_index(self, host: SimHost) -> None:
        life = host.life
        if life is None or not life.consensus.has_state:
            return
        index = life.consensus._applied
        if index % DIGEST_ONE_IN == 0:
            digest = state_digest(life.consensus.state)
            self.require(self._by_index.setdefault(index, digest) == digest, f"{host.name} differs at {index}")

    # At the end.

    def why_not_settled(self, cluster: Cluster) -> str | None:
        """Return what the cluster still lacks, None if it is as it should be."""
        leader = cluster.leader()
        if leader is None or leader.life is None or not leader.life.consensus.leads_currently:
            return "nobody leads"
        members = cluster.members()
        consensus = leader.life.consensus
        state, raft = consensus.state, consensus.raft
        for host in members:
            if host.life is None or not host.life.consensus.has_state:
                return f"{host.name} has no state"
            other = host.life.consensus
            if other._applied != consensus._applied or other.raft.leader != leader.node:
                return f"{host.name} is behind or follows another leader"
            if state_digest(other.state) != state_digest(state):
                raise Broken(f"seed {self.seed}: {host.name} has another state at {other._applied}")
        if set(raft.config.members) != {host.node for host in members}:
            return f"the group has {len(raft.config.members)} members for {len(members)} hosts"
        if len(raft.config.voters) != wanted_voters(len(members)):
            return f"{len(raft.config.voters)} voters of {len(members)} hosts"
        if plan_members(raft.config, raft.config.members, leader.node) is not None:
            return "membership is planned"
        commands = plan(state, Picture(), cluster.now_ms(), Random(0))
        if commands:
            return f"still planned: {commands[:3]}"
        differing = self._why_engines_differ(cluster, state) or self._why_names_differ(members, state)
        return differing or _why_copies_differ(state, raft.config.voters)

    def _why_engines_differ(self, cluster: Cluster, state: State) -> str | None:
        for service in state.services.values():
            if service.state in ACTIVE_STATES and (lack := _lacks(service, state)):
                return lack
        for host in cluster.members():
            row = host_of_node(state, host.node)
            if row is None:
                return f"{host.name} is no host"
            if not row.up:
                return f"{host.name} is down"
            wanted = {c.uuid: c for c in state.containers.values() if c.host_id == row.id and c.removed is None}
            held = {one.uuid: one for one in host.engine.containers()}
            for uuid, container in wanted.items():
                status = held[uuid].status if uuid in held else "absent"
                if container.desired == "removed":
                    return f"{container.name} on {host.name} is still to be removed"
                # Nobody starts a stand-alone container again that ended by itself.
                may_have_ended = container.service_id is None and status == "exited"
                if (container.desired == "running") != (status == "running") and not may_have_ended:
                    return f"{container.name} on {host.name} is {status}, not {container.desired}"
            strays = held.keys() - wanted.keys()
            if strays:
                return f"{host.name} has strays: {sorted(held[uuid].name for uuid in strays)}"
        return None

    def _why_names_differ(self, members: list[SimHost], state: State) -> str | None:
        for host in members:
            row = host_of_node(state, host.node)
            assert row is not None
            table = render_names(state, row.environment_id, frozenset(), row.id)
            zone = host.zones.zone
            if zone is not None and (wrong := _not_running(zone, state)):
                return f"the names on {host.name} answer {wrong}, where nothing runs"
            if zone is None or dict(zone.names) != dict(table.names) or dict(zone.scopes) != dict(table.scopes):
                return f"the names on {host.name} are not those of the state"
        return None

    def check_promises(self, state: State) -> None:
        """No acknowledged command is lost, and nothing took effect that nobody asked for."""
        names = {stack.name for stack in state.stacks.values()}
        self.require(self.stacks <= names, f"confirmed and lost: {sorted(self.stacks - names)}")
        by_uuid = {service.uuid: service for service in state.services.values()}
        for wanted in self.services:
            service = by_uuid.get(wanted.uuid)
            if service is None:
                # What was removed is dropped after a while, by a clock that may have jumped.
                self.require(wanted.may_be_removed, f"service {wanted.uuid} was confirmed and is lost")
                continue
            self.require(service.id == wanted.service_id, f"{service.name} was confirmed under another id")
            scales = {wanted.scale, *wanted.unanswered}
            self.require(service.scale in scales, f"{service.name} has scale {service.scale}, not one of {scales}")
            is_gone = service.state in ("removing", "removed")
            self.require(is_gone or not wanted.is_removed, f"{service.name} was removed and is {service.state}")
            self.require(not is_gone or wanted.may_be_removed, f"{service.name} is gone and nobody asked for it")


def _why_copies_differ(state: State, voters: Collection[NodeId]) -> str | None:
    copies = state.sealed_ca_keys.keys()
    return None if copies == set(voters) else f"{len(copies)} copies of the CA key for {len(voters)} voters"


def _not_running(zone: Zone, state: State) -> list[str]:
    """Return addresses that a zone gives out and where no container runs."""
    runs = {row.address for row in state.containers.values() if row.removed is None and _runs(row)}
    given = {each for answer in zone.names.values() if isinstance(answer, tuple) for each in answer}
    return sorted(each for each in given if each not in runs and each != NAMESERVER_ADDRESS)


def _lacks(service: Service, state: State) -> str | None:
    rows = [row for row in state.containers.values() if row.service_id == service.id and row.removed is None]
    running = [row for row in rows if _runs(row)]
    is_full = "no host fits" in (service.message or "") and any(":" in port for port in service.launch.ports)
    wanted = len(rows) if is_full else service.scale
    if len(rows) != wanted or len(running) != wanted:
        return f"{service.name} has {len(running)} of {service.scale} containers running, {len(rows)} rows"
    return None


def _runs(row: Container) -> bool:
    return row.desired == "running" and row.seen.status == "running"
