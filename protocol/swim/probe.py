"""Whom to probe, what an answer or its absence means, and probing on behalf of others.

One probe at a time, each member once per round in a fresh random order (SWIM 4.3): a direct ping, then pings through
others, then an accusation. Lifeguard adds the nacks and stretches the spans by local health. Returns what to send.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeAlias

from protocol.ids import NodeId
from protocol.swim.health import LocalHealth
from protocol.swim.members import MemberTable
from protocol.swim.messages import Ack, Message, Nack, Ping, PingRequest, State
from protocol.swim.timing import SwimTiming

MAX_RELAYS: Final = 256
"""Probes on behalf of others at a time; the oldest is dropped."""
NACK_SHARE: Final = 0.8
"""The part of the probe timeout after which a relay says that it has no answer yet (memberlist)."""

Errand: TypeAlias = tuple[NodeId, Message]


@dataclass(slots=True)
class _Probe:
    target: NodeId
    seq: int
    indirect_at: float
    ends_at: float
    asked: int = -1
    """How many of whom a nack is expected were asked to probe indirectly; -1 before any is."""
    nacks: dict[NodeId, None] = field(default_factory=dict)
    answered: bool = False


@dataclass(slots=True)
class _Relay:
    origin: NodeId
    origin_seq: int
    target: NodeId
    nack_at: float
    ends_at: float
    nacked: bool = False


class Prober:
    """The probe under way, the round it belongs to, and the relays for others."""

    def __init__(self, table: MemberTable, timing: SwimTiming, health: LocalHealth, rng: Random, now: float) -> None:
        self._table = table
        self._timing = timing
        self._health = health
        self._rng = rng
        self._seq = rng.getrandbits(32)
        self._round: list[NodeId] = []
        self._probe: _Probe | None = None
        self._relays: dict[int, _Relay] = {}
        # Members started together by one script must not probe in step.
        self._next_at = now + rng.random() * timing.probe_interval

    def next_seq(self) -> int:
        """Return a sequence number that is not in use."""
        self._seq = (self._seq + 1) % 2**32
        return self._seq

    def wake_at(self) -> float:
        """When `handle_timer` has something to do."""
        wake_at = self._next_at
        if self._probe is not None and not self._probe.answered:
            wake_at = min(wake_at, self._probe.indirect_at if self._probe.asked < 0 else self._probe.ends_at)
        for relay in self._relays.values():
            wake_at = min(wake_at, relay.ends_at if relay.nacked else relay.nack_at)
        return wake_at

    def handle_timer(self, now: float) -> tuple[list[Errand], NodeId | None]:
        """Return what to send, and whom a failed probe accuses."""
        errands = self._serve_relays(now)
        accused = None
        probe = self._probe
        if probe is not None and not probe.answered:
            if now >= probe.ends_at:
                accused = self._fail(probe)
            elif now >= probe.indirect_at and probe.asked < 0:
                errands += self._ask_others(probe)
        if now >= self._next_at:
            errands += self._begin(now)
        return errands, accused

    def abandon(self, now: float) -> None:
        """Draw no conclusion from what is under way: we were not able to listen."""
        self._probe = None
        self._relays.clear()
        self._next_at = now + self._rng.random() * self._timing.probe_interval

    def handle_ack(self, ack: Ack, sender: NodeId) -> list[Errand]:
        """Take an answer, to our own probe or to one we relay."""
        probe = self._probe
        if probe is not None and (ack.seq, ack.node) == (probe.seq, probe.target):
            if not probe.answered:
                probe.answered = True
                self._health.improve()
            return []
        relay = self._relays.get(ack.seq)
        if relay is None or relay.target != ack.node or sender != ack.node:
            return []
        del self._relays[ack.seq]
        return [(relay.origin, Ack(relay.origin_seq, ack.node))]

    def handle_nack(self, nack: Nack, sender: NodeId) -> None:
        """Note that somebody we asked hears us, though it has no answer."""
        if self._probe is not None and nack.seq == self._probe.seq and len(self._probe.nacks) < self._probe.asked:
            self._probe.nacks[sender] = None

    def handle_request(self, request: PingRequest, origin: NodeId, now: float) -> list[Errand]:
        """Probe somebody for `origin`."""
        if request.target not in self._table.rows or origin not in self._table.rows:
            return []
        if len(self._relays) >= MAX_RELAYS:
            del self._relays[next(iter(self._relays))]
        seq = self.next_seq()
        nack_at = now + NACK_SHARE * self._timing.probe_timeout
        self._relays[seq] = _Relay(origin, request.seq, request.target, nack_at, now + 2 * self._timing.probe_interval)
        return [(request.target, Ping(seq, request.target))]

    def _begin(self, now: float) -> list[Errand]:
        interval = self._health.stretch(self._timing.probe_interval)
        self._next_at = now + interval
        target = self._next_target()
        if target is None:
            self._probe = None
            return []
        timeout = self._health.stretch(self._timing.probe_timeout)
        self._probe = _Probe(target, self.next_seq(), now + timeout, now + interval)
        return [(target, Ping(self._probe.seq, target))]

    def _next_target(self) -> NodeId | None:
        for _ in range(2):
            while self._round:
                node = self._round.pop()
                row = self._table.rows.get(node)
                if row is not None and not row.is_gone and node != self._table.me:
                    return node
            self._round = [row.node for row in self._table.others()]
            self._rng.shuffle(self._round)
        return None

    def note_newcomer(self, node: NodeId) -> None:
        """Give a newcomer a random place in the round under way (SWIM 4.3)."""
        if len(self._round) < 2 * len(self._table.rows):
            self._round.insert(self._rng.randrange(len(self._round) + 1), node)

    def probe_next(self, node: NodeId) -> None:
        """Put somebody at the head of the round under way."""
        if len(self._round) < 2 * len(self._table.rows):
            self._round.append(node)

    def _ask_others(self, probe: _Probe) -> list[Errand]:
        others = [row for row in self._table.others() if row.node != probe.target]
        healthy = [row.node for row in others if row.state is State.ALIVE]
        helpers = self._rng.sample(healthy, min(self._timing.indirect_probes, len(healthy)))
        probe.asked = len(helpers)
        # Suspects may help, but that they do not answer says nothing about us.
        suspects = [row.node for row in others if row.state is State.SUSPECT]
        helpers += suspects[: self._timing.indirect_probes - len(helpers)]
        return [(helper, PingRequest(probe.seq, probe.target)) for helper in helpers]

    def _fail(self, probe: _Probe) -> NodeId:
        # Lifeguard counts missing nacks. Here each nack that came outweighs one that is missing: it shows that we hear,
        # and in a split down the middle half of the helpers are silent through no fault of ours.
        came, missing = len(probe.nacks), max(0, probe.asked) - len(probe.nacks)
        self._health.worsen(max(0, missing - came) if probe.asked > 0 else 1)
        self._probe = None
        return probe.target

    def _serve_relays(self, now: float) -> list[Errand]:
        errands: list[Errand] = []
        for seq, relay in list(self._relays.items()):
            if now >= relay.ends_at:
                del self._relays[seq]
            elif now >= relay.nack_at and not relay.nacked:
                relay.nacked = True
                errands.append((relay.origin, Nack(relay.origin_seq)))
        return errands
