"""Builds the parts of one node and connects them: who is told of what, who asks whom.

Starts nothing; `node.daemon` runs what is built here.  No part knows another but through what it is handed.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from dns.control import ServerOptions
from dns.messages import VERSION as DNS_PROTOCOL
from node.addresses import AddressUnclear, local_interfaces, pick_advertise_address
from node.config import FEATURE_LEVEL, VERSION, Folders
from node.crashing import entries_per_snapshot
from node.drive.admission import MAX_JOINS_AT_ONCE, Admission
from node.drive.agent import Agent
from node.drive.consensus import SNAPSHOT_EVERY, Consensus
from node.drive.credentials import Credentials
from node.drive.doctor import Doctor
from node.drive.gossip import Gossip
from node.drive.leading import Leading
from node.drive.link import Link
from node.drive.names import DNS_ADDRESS, Names
from node.drive.overlaying import Overlaying
from node.drive.reach import Reach
from node.drive.refusals import Refusals
from node.drive.streams import Streams
from node.drive.upkeep import Upkeep
from node.drive.wakeup import Wakeup
from node.engine.dockerd import DockerEngine
from node.engine.memory import MemoryEngine
from node.model import Change, State, host_of_node
from node.overlay.overlay import Overlay
from node.plan.agent import concerns_host
from node.ports import StreamingEngine
from node.probes import ProbeService
from node.store.identity import DataFolder, Identity
from node.store.log import LogStore
from node.store.threaded import ThreadedStore
from protocol.ids import Incarnation, NodeId
from protocol.messages import Kind
from protocol.raft.vocabulary import DEFAULT_LIMITS, Timing
from protocol.seal import Keyring
from protocol.swim.events import Event
from protocol.swim.messages import Meta
from protocol.swim.timing import SwimTiming

TIMING = Timing(election_timeout=0.7, election_spread=0.4, heartbeat_interval=0.25)
"""A broken link tells of a killed leader at once, so heartbeats need only be frequent enough for one that hangs or was
cut off: with these, writes go on within a second mostly, and a loop that is half a second late brings no election."""
GOSSIP_TIMING = SwimTiming(probe_interval=0.75, suspicion_multiplier=3)
"""A third fewer probes than the default, which an idle host feels, and suspicions that last as long."""


@dataclass(frozen=True, slots=True)
class Options:
    """How this run of the daemon differs from the usual one."""

    folders: Folders
    engine: str = "docker"
    bind: str = "0.0.0.0"
    dns_listen: tuple[str, ...] = (f"{DNS_ADDRESS}:53",)
    voters: int | None = None
    """How many hosts should vote while this one leads; as protocol.raft.voters has it if nothing was said."""

    @property
    def has_overlay(self) -> bool:
        """The engine in memory needs no kernel, and has no overlay."""
        return self.engine == "docker"


@dataclass(slots=True, eq=False)
class Base:
    """What ends last: how this node hears of the others and agrees with them."""

    store: LogStore
    credentials: Credentials
    link: Link
    gossip: Gossip
    probes: ProbeService
    consensus: Consensus
    admission: Admission
    refusals: Refusals


@dataclass(slots=True, eq=False)
class Parts:
    """Everything that runs in a node."""

    identity: Identity
    options: Options
    base: Base
    engine: StreamingEngine
    leading: Leading
    overlaying: Overlaying | None
    agent: Agent
    names: Names
    upkeep: Upkeep
    doctor: Doctor
    streams: Streams


def now_ms() -> int:
    """The wall clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def assemble(identity: Identity, folder: DataFolder, options: Options) -> Parts:
    """Return the parts of the node that `identity` is, connected and at rest."""
    base = _assemble_base(identity, folder, options)
    consensus, gossip = base.consensus, base.gossip
    engine = _make_engine(identity, folder, options)
    overlaying = _make_overlaying(identity, consensus, engine, options)
    upkeep = Upkeep(
        folder,
        identity,
        consensus,
        base.link,
        base.admission,
        base.credentials,
        engine,
        _overlay_facts(overlaying),
        time.time,
        find_address=_address_finder(options),
    )
    parts = Parts(
        identity=identity,
        options=options,
        base=base,
        engine=engine,
        leading=Leading(
            identity.node,
            consensus,
            dead_since=gossip.dead_since,
            plan_seals=base.admission.plan_seals,
            now_ms=now_ms,
            rng=random.SystemRandom(),
            wanted_voters=options.voters,
        ),
        overlaying=overlaying,
        agent=_make_agent(identity, consensus, engine, overlaying),
        names=_make_names(identity, base, folder, options),
        upkeep=upkeep,
        doctor=Doctor(
            lambda: upkeep.identity,
            consensus,
            base.link,
            base.probes,
            engine,
            overlaying,
            overlay_is_probed=options.has_overlay,
            now=time.time,
        ),
        streams=Streams(identity.node, consensus, engine, base.link),
    )
    _connect(parts)
    return parts


def _assemble_base(identity: Identity, folder: DataFolder, options: Options) -> Base:
    rng, refusals = random.SystemRandom(), Refusals()
    credentials = Credentials(key_and_certificate=folder.tls_file, ca_pem=identity.ca_pem)
    overlay_port = identity.overlay_port if options.has_overlay else None
    probes = ProbeService(overlay_port=overlay_port)
    gossip = Gossip(
        identity.node,
        meta_of(identity),
        Keyring(identity.gossip_key),
        probe_keys=probes.keys,
        # Later than anything said before a restart: others refuse what sounds older than what they know.
        incarnation=Incarnation(int(time.time())),
        rng=rng,
        timing=GOSSIP_TIMING,
        refusals=refusals,
    )
    store, link = LogStore(folder.log_file, must_exist=True), Link(credentials, refusals)
    snapshot_every = entries_per_snapshot(SNAPSHOT_EVERY)
    consensus = Consensus(
        identity.node,
        ThreadedStore(store),
        link,
        members=lambda: gossip.members,
        now_ms=now_ms,
        rng=rng,
        timing=TIMING,
        limits=replace(DEFAULT_LIMITS, keep_entries=min(DEFAULT_LIMITS.keep_entries, snapshot_every)),
        snapshot_every=snapshot_every,
    )
    joins = trio.Semaphore(MAX_JOINS_AT_ONCE)
    admission = Admission(identity, consensus, link, probes, overlay_port, time.time, joins)
    return Base(store, credentials, link, gossip, probes, consensus, admission, refusals)


def _connect(parts: Parts) -> None:
    """Route what happens to whoever must look again."""
    base = parts.base
    link, consensus = base.link, base.consensus
    link.connect(
        resolve=_resolver(base.gossip, consensus),
        may_speak=consensus.may_speak,
        is_host=consensus.is_host,
        on_message=consensus.deliver,
        on_lost=consensus.peer_lost,
        handlers={
            Kind.SUBMIT: consensus.answer_submit,
            Kind.PREFLIGHT: base.admission.answer_preflight,
            Kind.JOIN: base.admission.answer_join,
            Kind.ADMIT: base.admission.answer_admit,
            Kind.RENEW: base.admission.answer_renew,
            Kind.PROBE: parts.doctor.answer_probe,
            **consensus.group.handlers,
        },
        takers={Kind.EXECUTE: consensus.execute},
        streamer=parts.streams.serve,
    )

    def on_member(event: Event) -> None:
        link.hint_changed(event.member.node)
        parts.leading.wakeup.set()
        parts.names.wakeup.set()

    def on_identity(identity: Identity) -> None:
        base.gossip.update_meta(meta_of(identity))
        if parts.overlaying:
            parts.overlaying.address = identity.address
            parts.overlaying.wakeup.set()

    parts.upkeep.on_address = on_identity
    if parts.overlaying:
        parts.overlaying.on_news = parts.upkeep.wakeup.set
    consensus.listen(partial(_wake_by_state, parts))
    consensus.on_unreadable = link.drop

    def on_group() -> None:
        link.drop_removed()
        me, voters = parts.identity.node, consensus.raft.config.voters
        if me in voters:
            link.keep_warm(voter for voter in voters if voter != me)
        parts.leading.wakeup.set()

    consensus.listen_group(on_group)
    base.gossip.listen(on_member)


def _wake_by_state(parts: Parts, state: State, changes: Sequence[Change]) -> None:
    """Wake whoever may find something to do in a new state; no changes: all of it is new."""
    tables = {change.table for change in changes}
    parts.leading.wakeup.set()
    if not changes or "hosts" in tables:
        parts.base.link.drop_removed()
        if parts.overlaying:
            parts.overlaying.wakeup.set()
        parts.upkeep.wakeup.set()
    if not changes or tables & {"containers", "services", "stacks", "hosts"}:
        parts.names.wakeup.set()
    host = host_of_node(state, parts.identity.node)
    if host is not None and concerns_host(state, host.id, changes):
        parts.agent.wakeup.set()


def _resolver(gossip: Gossip, consensus: Consensus) -> Callable[[NodeId], tuple[str, int] | None]:
    def resolve(node: NodeId) -> tuple[str, int] | None:
        """What the node says of itself by gossip, else what the state remembers."""
        if (address := gossip.address_of(node)) is not None:
            return address
        host = host_of_node(consensus.state, node) if consensus.has_state else None
        return (host.address, host.peer_port) if host else None

    return resolve


def meta_of(identity: Identity) -> Meta:
    return Meta(
        name=identity.name,
        address=identity.address,
        port=identity.peer_port,
        api_port=identity.api_port,
        feature_level=FEATURE_LEVEL,
        environment=identity.environment_id,
        version=VERSION,
    )


def _make_engine(identity: Identity, folder: DataFolder, options: Options) -> StreamingEngine:
    if options.engine == "memory":
        return MemoryEngine(now_ms)
    return DockerEngine(identity.cluster_id, resolv_dir=folder.path / "resolv")


def _make_overlaying(
    identity: Identity, consensus: Consensus, engine: StreamingEngine, options: Options
) -> Overlaying | None:
    if not options.has_overlay:
        return None
    return Overlaying(
        me=identity.node,
        address=identity.address,
        private_key=identity.overlay_private,
        consensus=consensus,
        engine=engine,
        overlay=Overlay(),
        wakeup=Wakeup(),
        ready=trio.Event(),
    )


def _address_finder(options: Options) -> Callable[[Identity], str | None]:
    def find(identity: Identity) -> str | None:
        """Return the address this host has now, None while nobody can tell."""
        interfaces = local_interfaces()
        if not options.has_overlay or any(identity.address in each.addresses for each in interfaces):
            return identity.address
        try:
            return pick_advertise_address(interfaces, None, overlay_network=identity.overlay_network).address
        except AddressUnclear:
            return None

    return find


def _make_agent(
    identity: Identity, consensus: Consensus, engine: StreamingEngine, overlaying: Overlaying | None
) -> Agent:
    ready = overlaying.ready if overlaying else trio.Event()
    if overlaying is None:
        ready.set()
    return Agent(identity.node, consensus, engine, ready=ready, now_ms=now_ms)


def _make_names(identity: Identity, base: Base, folder: DataFolder, options: Options) -> Names:
    return Names(
        me=identity.node,
        consensus=base.consensus,
        dead=lambda: base.gossip.dead,
        options=_dns_options(folder, options),
        now_ms=now_ms,
        wakeup=Wakeup(),
        also_allow=() if options.has_overlay else ("127.0.0.0/8",),
        # The containers of the engine in memory end with their daemon.
        sift=Reach(_resolver(base.gossip, base.consensus)).sift if options.has_overlay else None,
    )


def _overlay_facts(overlaying: Overlaying | None) -> Callable[[], tuple[str, int]]:
    def facts() -> tuple[str, int]:
        report = overlaying.report if overlaying else None
        return (report.kind or "", report.mtu or 0) if report else ("", 0)

    return facts


def _dns_options(folder: DataFolder, options: Options) -> ServerOptions:
    return ServerOptions(
        control=options.folders.dns_socket,
        listen=options.dns_listen,
        state=folder.zone_file,
        log=Path(folder.path / "dns.log"),
        release=f"{VERSION}+{DNS_PROTOCOL}",
    )
