"""Holds back, for a moment, messages that only tell a follower that more is committed: the next entries tell it too.

Under load each commit would cost a message, its answer and the processor time of both for every follower, just before
the next entries leave for the same followers.  Dropping one is what a network may do as well; a later request to the
same follower says at least as much.  Pure.
"""

from collections.abc import Sequence
from math import inf

from protocol.ids import Index, NodeId
from protocol.raft.messages import AppendRequest
from protocol.raft.vocabulary import Envelope

HOLD = 0.004
"""Seconds after which a notice leaves alone: followers apply, and answer reads, later by this much at the most."""


class Notices:
    """What is held back, at most one notice for each follower."""

    def __init__(self) -> None:
        self._held: dict[NodeId, Envelope] = {}
        self._told: dict[NodeId, Index] = {}
        """How far each follower was told that the log is committed."""
        self.due = inf
        """When something held back is to leave."""

    def sift(self, envelopes: Sequence[Envelope], now: float) -> list[Envelope]:
        """Return what is to leave now."""
        leaving: list[Envelope] = []
        for each in envelopes:
            message = each.message
            if isinstance(message, AppendRequest):
                self._held.pop(each.to, None)
                if not message.entries and message.commit > self._told.get(each.to, 0):
                    self._held[each.to] = each
                    continue
                self._told[each.to] = message.commit
            leaving.append(each)
        self.due = min(self.due, now + HOLD) if self._held else inf
        return leaving

    def take_due(self, now: float) -> Sequence[Envelope]:
        """Return what was held back for long enough."""
        if now < self.due:
            return ()
        held, self._held, self.due = tuple(self._held.values()), {}, inf
        for each in held:
            if isinstance(each.message, AppendRequest):
                self._told[each.to] = each.message.commit
        return held
