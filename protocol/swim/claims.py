"""What becomes of a claim: the one place where a member's state changes, news is queued and events arise.

Sends nothing and reads no clock. Rules: SWIM 4.2 (suspicion, incarnations), Lifeguard (confirmation, local health),
memberlist (revival), and one of our own: a death heard of counts as all the confirmations, but ends no suspicion. Each
host waits out its own, so a host that was cut off and holds everybody dead takes nobody down when it comes back.
"""

from dataclasses import replace
from typing import Final

from protocol.ids import Incarnation, NodeId
from protocol.swim.broadcast import BroadcastQueue
from protocol.swim.events import (
    Event,
    MemberCleared,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRevived,
    MemberSuspected,
    MemberUpdated,
)
from protocol.swim.health import LocalHealth
from protocol.swim.members import Member, MemberTable
from protocol.swim.messages import (
    MAX_INCARNATION,
    Alive,
    Claim,
    Dead,
    Left,
    Meta,
    Record,
    State,
    Suspect,
    encode_message,
)
from protocol.swim.suspicion import Suspicion
from protocol.swim.timing import SwimTiming

MAX_EVENTS: Final = 16384
"""Events kept for an owner that does not take them; the oldest go, and `members` still tells the truth."""


class Membership:
    """The member table with its suspicions and the news about it."""

    def __init__(self, mine: Member, timing: SwimTiming, health: LocalHealth) -> None:
        self.table = MemberTable(mine)
        self.timing = timing
        self.health = health
        self.suspicions: dict[NodeId, Suspicion] = {}
        self.queue = BroadcastQueue()
        self._events: list[Event] = []
        self.queue.put(mine.node, encode_message(self.my_claim()))

    def take_events(self) -> tuple[Event, ...]:
        """Hand over what happened so far, and forget it."""
        events, self._events = tuple(self._events), []
        return events

    def my_claim(self) -> Alive | Left:
        """Return what we say of ourselves."""
        mine = self.table.mine
        if mine.state is State.LEFT:
            return Left(mine.node, mine.incarnation)
        return Alive(mine.node, mine.incarnation, mine.meta)

    def accusation(self, node: NodeId) -> Claim | None:
        """Return what a member must be told first, because only it can refute it."""
        row = self.table.rows.get(node)
        if row is None or node == self.table.me:
            return None
        match row.state:
            case State.SUSPECT:
                suspicion = self.suspicions.get(node)
                return Suspect(node, row.incarnation, suspicion.accuser if suspicion else self.table.me)
            case State.DEAD:
                return Dead(node, row.incarnation, self.table.me)
            case State.LEFT:
                return Left(node, row.incarnation)
            case State.ALIVE:
                return None

    def hear(self, claim: Claim, now: float) -> bool:
        """Take in a claim; return whether the teller is behind about us and should be told who we are."""
        if claim.node == self.table.me:
            return self._hear_about_us(claim, now)
        match claim:
            case Alive():
                self._hear_alive(claim, now)
            case Suspect():
                self._hear_suspect(claim, now)
            case Dead():
                self._hear_dead(claim, now)
            case Left():
                self._hear_left(claim, now)
        return False

    def hear_record(self, record: Record, teller: NodeId, now: float) -> bool:
        """Take in a row of somebody's table; the dead and departed whom we do not know stay unknown.

        Were they taken in, two hosts would remind each other of a dead member for ever.
        """
        node, incarnation = record.node, record.incarnation
        match record.state:
            case State.ALIVE:
                return self.hear(Alive(node, incarnation, record.meta), now)
            case State.SUSPECT:
                behind = self.hear(Alive(node, incarnation, record.meta), now)
                return self.hear(Suspect(node, incarnation, teller), now) or behind
            case State.DEAD:
                return self.hear(Dead(node, incarnation, teller), now)
            case State.LEFT:
                return self.hear(Left(node, incarnation), now)

    def accuse(self, node: NodeId, now: float) -> None:
        """Act on a probe of ours that failed."""
        row = self.table.rows.get(node)
        if row is not None and not row.is_gone:
            self._hear_suspect(Suspect(node, row.incarnation, self.table.me), now)

    def say_anew(self, meta: Meta, above: int, now: float) -> None:
        """Describe ourselves in an incarnation higher than `above` and ours."""
        mine = self.table.mine
        incarnation = Incarnation(min(MAX_INCARNATION, max(above, mine.incarnation) + 1))
        self._set(replace(mine, meta=meta, incarnation=incarnation, changed_at=now))

    def leave(self, now: float) -> None:
        """Say goodbye; nothing said of us matters any more."""
        mine = self.table.mine
        if mine.state is not State.LEFT:
            self._set(replace(mine, state=State.LEFT, changed_at=now))

    def expire(self, now: float) -> None:
        """Turn suspicions that ran out into deaths."""
        for node, ends_at in self._deadlines():
            if ends_at <= now:
                row = self.table.rows[node]
                self._die(row, Dead(node, row.incarnation, self.table.me), now)

    def next_expiry(self) -> float:
        """When the first suspicion runs out, as things stand."""
        return min((ends_at for _, ends_at in self._deadlines()), default=float("inf"))

    def postpone(self, span: float) -> None:
        """Lengthen what is running by a time in which we could not listen."""
        for suspicion in self.suspicions.values():
            suspicion.started_at += span

    def forget_overdue(self, now: float) -> None:
        """Drop whoever has been gone for long."""
        for row in self.table.overdue(now - self.timing.forget_timeout):
            self._forget(row)

    def _deadlines(self) -> list[tuple[NodeId, float]]:
        if not self.suspicions:
            return []
        shortest = self.timing.shortest_suspicion(len(self.table.alive))
        longest = shortest * self.timing.max_suspicion_factor
        needed = min(self.timing.confirmations, self.table.healthy_others())
        return [(node, running.ends_at(needed, shortest, longest)) for node, running in self.suspicions.items()]

    # A row changes in the methods below and nowhere else.

    def _hear_about_us(self, claim: Claim, now: float) -> bool:
        mine = self.table.mine
        if mine.state is State.LEFT:
            return not isinstance(claim, Left)
        match claim:
            case Alive(incarnation=theirs, meta=meta):
                # A higher incarnation, or other words in ours, are those of a life before this one.
                refute = theirs > mine.incarnation or (theirs == mine.incarnation and meta != mine.meta)
                behind = refute or theirs < mine.incarnation
            case Suspect(incarnation=theirs) | Dead(incarnation=theirs) | Left(incarnation=theirs):
                refute = theirs >= mine.incarnation
                behind = True
        if refute:
            if isinstance(claim, Suspect | Dead):
                self.health.worsen(1)
            self.say_anew(mine.meta, claim.incarnation, now)
        return behind

    def _hear_alive(self, claim: Alive, now: float) -> None:
        row = self.table.rows.get(claim.node)
        if row is None:
            self._admit(Member(claim.node, claim.meta, State.ALIVE, claim.incarnation, now))
            return
        if not row.yields_to(State.ALIVE, claim.incarnation):
            return
        changed_at = row.changed_at if row.state is State.ALIVE else now
        fresh = Member(claim.node, claim.meta, State.ALIVE, claim.incarnation, changed_at)
        self._set(fresh)
        match row.state:
            case State.SUSPECT:
                self._tell(MemberCleared(fresh))
            case State.DEAD:
                self._tell(MemberRevived(fresh))
            case State.LEFT:
                self._tell(MemberJoined(fresh))
            case State.ALIVE:
                pass
        if row.meta != claim.meta and not row.is_gone:
            self._tell(MemberUpdated(fresh))

    def _admit(self, member: Member) -> None:
        if self.table.is_full():
            longest_gone = next(iter(self.table.gone()), None)
            if longest_gone is None:
                return
            self._forget(longest_gone)
        self._set(member)
        self._tell(MemberJoined(member))

    def _hear_suspect(self, claim: Suspect, now: float, *, hastened: bool = False) -> None:
        row = self.table.rows.get(claim.node)
        # Whoever is gone returns by its own word only.
        if row is None or row.is_gone:
            return
        running = self.suspicions.get(claim.node)
        if running is not None and running.incarnation == claim.incarnation:
            running.hastened = running.hastened or hastened
            if running.confirm(claim.accuser, self.timing.confirmations):
                self.queue.put(claim.node, encode_message(claim))
        elif row.yields_to(State.SUSPECT, claim.incarnation):
            fresh = Member(claim.node, row.meta, State.SUSPECT, claim.incarnation, now)
            self._set(fresh, claim)
            self.suspicions[claim.node] = Suspicion(claim.incarnation, claim.accuser, now, hastened=hastened)
            if row.state is State.ALIVE:
                self._tell(MemberSuspected(fresh))

    def _hear_dead(self, claim: Dead, now: float) -> None:
        row = self.table.rows.get(claim.node)
        if row is None or not row.yields_to(State.DEAD, claim.incarnation):
            return
        if row.is_gone:
            self._die(row, claim, now)
            return
        running = self.suspicions.get(claim.node)
        is_news = running is None or not running.hastened or running.incarnation != claim.incarnation
        self._hear_suspect(Suspect(claim.node, claim.incarnation, claim.accuser), now, hastened=True)
        if is_news:
            self.queue.put(claim.node, encode_message(claim))

    def _die(self, row: Member, claim: Dead, now: float) -> None:
        fresh = Member(row.node, row.meta, State.DEAD, claim.incarnation, row.changed_at if row.is_gone else now)
        self._set(fresh, claim)
        if not row.is_gone:
            self._tell(MemberDied(fresh))

    def _hear_left(self, claim: Left, now: float) -> None:
        row = self.table.rows.get(claim.node)
        if row is None or not row.yields_to(State.LEFT, claim.incarnation):
            return
        fresh = Member(row.node, row.meta, State.LEFT, claim.incarnation, now)
        self._set(fresh, claim)
        if row.state is not State.LEFT:
            self._tell(MemberLeft(fresh))

    def _set(self, member: Member, claim: Claim | None = None) -> None:
        self.table.put(member)
        self.suspicions.pop(member.node, None)
        news = claim or self._claim_of(member)
        self.queue.put(member.node, encode_message(news))
        for row in self.table.surplus():
            self._forget(row)

    def _claim_of(self, member: Member) -> Claim:
        if member.node == self.table.me:
            return self.my_claim()
        return Alive(member.node, member.incarnation, member.meta)

    def _forget(self, row: Member) -> None:
        self.table.forget(row.node)
        self.queue.drop(row.node)
        self._tell(MemberForgotten(row))

    def _tell(self, event: Event) -> None:
        if len(self._events) >= MAX_EVENTS:
            del self._events[: MAX_EVENTS // 2]
        self._events.append(event)
