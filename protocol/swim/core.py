"""SWIM membership with Lifeguard's refinements, without a clock or a socket.

The driver feeds opened datagrams and deadlines, then calls `take_output` and obeys it. Equal inputs give equal
outputs; chance enters through `rng` only. Members are known by identity; an address is only where one was last.

Sources: SWIM (Das, Gupta, Motivala 2002), Lifeguard (arXiv 1707.00788), and memberlist for what runs in practice:
gossip apart from probes, push/pull, and contact with the dead, so that healed partitions grow together by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from protocol.ids import Incarnation, NodeId
from protocol.swim.broadcast import transmit_limit
from protocol.swim.claims import Membership
from protocol.swim.events import Event, MemberJoined, MemberSuspected
from protocol.swim.health import LocalHealth
from protocol.swim.members import MAX_MEMBERS, Member
from protocol.swim.messages import (
    BODY_BUDGET_BYTES,
    Ack,
    Address,
    Alive,
    Dead,
    Left,
    Message,
    Meta,
    Nack,
    Packet,
    Ping,
    PingRequest,
    State,
    Suspect,
    SyncReply,
    SyncRequest,
    decode_packet,
    encode_message,
    encode_packet,
    validate_meta,
)
from protocol.swim.probe import Errand, Prober
from protocol.swim.sync import Joining, encode_table
from protocol.swim.timing import SwimTiming

ACCUSERS_PER_TICK: Final = 4
"""How many members, taken together, tell one suspect of the suspicion in each gossip interval."""
SECOND_OPINIONS: Final = 4
"""How many members, taken together, probe somebody newly suspected out of turn."""
MAX_REPLIES: Final = 8
"""Messages said in answer to one datagram, news not counted; members ask for one thing at a time."""
STALL_INTERVALS: Final = 2
"""Probe intervals by which a wake-up may be late before we conclude that this host stood still."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """Bytes to seal and send; losing them is allowed."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class SwimOutput:
    """What the driver owes after one input."""

    send: tuple[Datagram, ...]
    events: tuple[Event, ...]
    """What happened, in order."""
    wake_at: float
    """Call `handle_timer` no later than this; much later is taken for a stall of this host."""


class Swim:
    """One member's view of the group."""

    def __init__(
        self, me: NodeId, meta: Meta, *, timing: SwimTiming, rng: Random, now: float, incarnation: Incarnation
    ) -> None:
        """`incarnation` may be 0 after a restart: others say what they remember, and it jumps above that."""
        validate_meta(meta)
        self.me = me
        self._timing = timing
        self._rng = rng
        self._health = LocalHealth()
        self._group = Membership(Member(me, meta, State.ALIVE, incarnation, now), timing, self._health)
        self._prober = Prober(self._group.table, timing, self._health, rng, now)
        self._joining: Joining | None = None
        self._outbox: list[Datagram] = []
        self._events: list[Event] = []
        self._gossip_at = now
        self._sync_at = now + rng.random() * timing.sync_interval
        self._reconnect_at = now + rng.random() * timing.reconnect_interval
        self._wake_at = self._now = now

    @property
    def members(self) -> Mapping[NodeId, Member]:
        """Everybody known, ourselves and the gone included; a live view."""
        return self._group.table.rows

    @property
    def alive(self) -> frozenset[NodeId]:
        """Everybody alive or merely suspect, ourselves included until we leave."""
        return self._group.table.alive

    @property
    def local_health(self) -> int:
        """0 is well; the higher, the more this host doubts itself instead of others."""
        return self._health.score

    @property
    def incarnation(self) -> Incarnation:
        """Ours; worth keeping across restarts, not necessary."""
        return self._group.table.mine.incarnation

    @property
    def is_joining(self) -> bool:
        """Whether seeds are still being contacted."""
        return self._joining is not None

    @property
    def has_left(self) -> bool:
        """Whether our goodbye was sent often enough to be known."""
        table = self._group.table
        return table.mine.state is State.LEFT and (self.me not in self._group.queue or not table.others())

    def handle_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Take in one opened datagram; raises DecodeError for junk, and then nothing has changed."""
        packet = decode_packet(data)
        if packet.sender == self.me:
            return
        self._notice_stall(now)
        replies: list[Message] = []
        behind = False
        for message in packet.messages:
            match message:
                case Alive() | Suspect() | Dead() | Left():
                    behind = self._group.hear(message, now) or behind
                case SyncRequest() | SyncReply():
                    behind = self._handle_sync(message, packet, source, now) or behind
                case _:
                    replies += self._handle_probe(message, packet, now)
        if behind:
            replies.insert(0, self._group.my_claim())
        if replies:
            self._post(source, packet.sender, replies)
        self._collect()

    def handle_timer(self, now: float) -> None:
        """Act on deadlines that have passed; early calls are harmless."""
        self._notice_stall(now)
        self._group.expire(now)
        if self._group.table.mine.state is not State.LEFT:
            self._handle_timers_of_the_living(now)
        if now >= self._gossip_at:
            self._gossip(now)
        self._collect()

    def join(self, addresses: Sequence[Address], now: float) -> None:
        """Contact members under these addresses, again and again until one answers."""
        self._notice_stall(now)
        if addresses:
            self._joining = Joining(addresses, now, self._timing.join_retry_interval)

    def leave(self, now: float) -> None:
        """Say goodbye; keep driving until `has_left`, or for as long as there is patience."""
        self._notice_stall(now)
        self._joining = None
        self._group.leave(now)
        self._gossip_at = min(self._gossip_at, now)

    def update_meta(self, meta: Meta, now: float) -> None:
        """Tell everybody something new about ourselves."""
        validate_meta(meta)
        self._notice_stall(now)
        if meta != self._group.table.mine.meta:
            self._group.say_anew(meta, 0, now)

    def take_output(self) -> SwimOutput:
        """Hand over everything owed so far, and forget it."""
        self._collect()
        # Never in the past: a deadline that lay idle until now is not one that was missed.
        self._wake_at = max(self._next_deadline(), self._now)
        send, self._outbox = tuple(self._outbox), []
        events, self._events = tuple(self._events), []
        return SwimOutput(send, events, self._wake_at)

    def _next_deadline(self) -> float:
        deadlines = [self._group.next_expiry()]
        if self._group.queue or self._accused(self._gossip_at):
            deadlines.append(self._gossip_at)
        if self._group.table.mine.state is not State.LEFT:
            deadlines += [self._prober.wake_at(), self._sync_at, self._reconnect_at]
        if self._joining is not None:
            deadlines.append(self._joining.retry_at)
        return min(deadlines)

    def _collect(self) -> None:
        for event in self._group.take_events():
            match event:
                case MemberJoined(member):
                    self._prober.note_newcomer(member.node)
                case MemberSuspected(member):
                    self._look_into(member)
                case _:
                    pass
            self._events.append(event)

    def _look_into(self, suspect: Member) -> None:
        # Not in the papers: enough of us probe a suspect next, for its confirmation or refutation must not wait for
        # its turn in everybody's round.
        crowd = max(1, self._group.table.healthy_others())
        if self._rng.random() * crowd < SECOND_OPINIONS:
            self._prober.probe_next(suspect.node)

    def _notice_stall(self, now: float) -> None:
        # While we stood still nobody's answers were heard; concluding from their absence would accuse the living.
        late = now - self._wake_at
        if late > STALL_INTERVALS * self._timing.probe_interval:
            self._group.postpone(late)
            self._prober.abandon(now)
            self._health.worsen(1)
        self._wake_at = max(self._wake_at, now)
        self._now = now

    def _handle_probe(self, message: Message, packet: Packet, now: float) -> list[Message]:
        match message:
            case Ping(seq=seq, target=target) if target == self.me:
                self._greet(packet.sender, now)
                return [Ack(seq, self.me)]
            case PingRequest():
                self._run(self._prober.handle_request(message, packet.sender, now))
            case Ack():
                self._run(self._prober.handle_ack(message, packet.sender))
            case Nack():
                self._prober.handle_nack(message, packet.sender)
            case _:
                pass
        return []

    def _handle_sync(self, message: SyncRequest | SyncReply, packet: Packet, source: Address, now: float) -> bool:
        behind = False
        for record in message.records:
            behind = self._group.hear_record(record, packet.sender, now) or behind
        if isinstance(message, SyncRequest):
            if message.part == 0:
                self._send_table(SyncReply, message.seq, source, packet.sender)
        elif self._joining is not None and self._joining.handle_reply(message, packet.sender):
            self._joining = None
        return behind

    def _greet(self, stranger: NodeId, now: float) -> None:
        # Somebody who knows us and whom we do not know: ask soon, gossip may have passed us by.
        if stranger not in self.members and len(self.members) < MAX_MEMBERS:
            self._sync_at = min(self._sync_at, now + self._timing.gossip_interval)

    def _handle_timers_of_the_living(self, now: float) -> None:
        errands, accused = self._prober.handle_timer(now)
        if accused is not None:
            self._group.accuse(accused, now)
        self._run(errands)
        if self._joining is not None and now >= self._joining.retry_at:
            seq = self._prober.next_seq()
            self._joining.knock(seq, now)
            for seed in self._joining.seeds:
                self._send_table(SyncRequest, seq, seed, None)
        if now >= self._sync_at:
            self._sync_at = now + self._timing.sync_interval * (0.5 + self._rng.random())
            self._group.forget_overdue(now)
            self._sync_with(self._group.table.others())
        if now >= self._reconnect_at:
            self._reconnect_at = now + self._timing.reconnect_interval * (0.5 + self._rng.random())
            self._sync_with([row for row in self._group.table.gone() if row.state is State.DEAD])

    def _sync_with(self, candidates: list[Member]) -> None:
        if candidates:
            peer = self._rng.choice(candidates)
            self._send_table(SyncRequest, self._prober.next_seq(), peer.address, peer.node)

    def _gossip(self, now: float) -> None:
        self._gossip_at = now + self._timing.gossip_interval
        crowd = max(1, len(self.alive) - 1)
        # Not in the papers: the accused is told directly and often, as nothing else matters until it knows. News for
        # everybody does not go along, lest it be spent on the dead.
        accused = self._accused(now)
        for node in self._rng.sample(accused, min(self._timing.gossip_fanout, len(accused))):
            if self._rng.random() * crowd < ACCUSERS_PER_TICK:
                self._post(self.members[node].address, node, [], with_news=False)
        others = self._group.table.others()
        for row in self._rng.sample(others, min(self._timing.gossip_fanout, len(others))):
            if self._group.queue:
                self._post(row.address, row.node, [])

    def _accused(self, now: float) -> list[NodeId]:
        """Suspects, and the dead to whom it may be news."""
        recent = now - self._timing.gossip_to_dead_timeout
        gone = self._group.table.gone()
        return list(self._group.suspicions) + [
            row.node for row in gone if row.state is State.DEAD and row.changed_at > recent
        ]

    def _run(self, errands: Sequence[Errand]) -> None:
        for node, message in errands:
            if node in self.members:
                self._post(self.members[node].address, node, [message])

    def _send_table(
        self, kind: type[SyncRequest] | type[SyncReply], seq: int, to: Address, peer: NodeId | None
    ) -> None:
        for body in encode_table(kind, seq, self._group.table, peer, self._rng):
            self._outbox.append(Datagram(to, encode_packet(self.me, [body])))

    def _post(self, to: Address, node: NodeId, messages: Sequence[Message], *, with_news: bool = True) -> None:
        """Send messages with what news fits beside them; whoever stands accused is told so first."""
        accusation = self._group.accusation(node)
        if accusation is not None:
            messages = [accusation, *messages]
        bodies: list[bytes] = []
        room = BODY_BUDGET_BYTES
        for body in map(encode_message, messages):
            if len(body) > room or len(bodies) == MAX_REPLIES:
                break
            bodies.append(body)
            room -= len(body)
        limit = transmit_limit(self._timing.retransmit_multiplier, len(self.alive) + 1)
        if with_news:
            bodies += self._group.queue.take(room, limit)
        if bodies:
            self._outbox.append(Datagram(to, encode_packet(self.me, bodies)))
