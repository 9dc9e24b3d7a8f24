"""What a leader knows of one other member's log, and what it may send next.

A small state machine of three states (probe, replicate, snapshot); it sends nothing itself.
Section numbers are those of Ongaro's dissertation.
"""

from collections import deque

from protocol.ids import Index
from protocol.raft.vocabulary import PeerStatus, ProgressState


class Progress:
    """Invariant: `match` < `next`, and `match` only grows."""

    def __init__(self, next_index: Index, now: float) -> None:
        self.match = Index(0)
        self.next = next_index
        self.state = ProgressState.PROBE
        self.since_seq = 0
        """Refusals of requests before this one are about an older guess of `next` and say nothing."""
        self.is_probing = False
        self.inflight: deque[Index] = deque()
        self.sent_commit = Index(0)
        self.heard_at = now
        self.heard_seq = 0
        """6.4: the latest request that it has answered in this term."""
        self.offset = 0
        """In state SNAPSHOT: where the chunk on its way begins; it left at `chunk_at`."""
        self.chunk_at = now
        self._round_target = Index(next_index - 1)
        self._round_at = now
        self._is_round_short = False

    # The state changes in the become_* methods and nowhere else.

    def become_probe(self, next_index: Index, seq: int) -> None:
        self.state = ProgressState.PROBE
        self.next = max(next_index, Index(self.match + 1))
        self.since_seq = seq
        self.is_probing = False
        self.inflight.clear()

    def become_replicate(self, seq: int) -> None:
        self.state = ProgressState.REPLICATE
        self.next = Index(self.match + 1)
        self.since_seq = seq
        self.inflight.clear()

    def become_snapshot(self, now: float) -> None:
        self.state = ProgressState.SNAPSHOT
        self.offset = 0
        self.chunk_at = now
        self.inflight.clear()

    def has_room(self, window: int) -> bool:
        """May a request with entries leave now?"""
        if self.state is ProgressState.PROBE:
            return not self.is_probing
        return len(self.inflight) < window

    def note_sent(self, last: Index, commit: Index, *, carries_entries: bool) -> None:
        """Record a request whose last entry is `last`."""
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.is_probing = True
        elif carries_entries:
            self.inflight.append(last)
            self.next = Index(last + 1)

    def acknowledge(self, index: Index) -> None:
        """The logs agree up to `index`, and the member has that on its disk."""
        self.match = max(self.match, index)
        self.next = max(self.next, Index(self.match + 1))
        while self.inflight and self.inflight[0] <= index:
            self.inflight.popleft()

    # 4.2.1: a learner is caught up when it took less than an election timeout to get all that the leader had when a
    # round began; until the next round ends, that is the time it may lag behind as a voter.

    def note_round(self, last_index: Index, now: float, election_timeout: float) -> None:
        if self.match >= self._round_target:
            self._is_round_short = now - self._round_at <= election_timeout
            self._round_target, self._round_at = last_index, now

    def is_caught_up(self, now: float, election_timeout: float) -> bool:
        return self._is_round_short and now - self._round_at <= election_timeout

    def status(self, now: float, election_timeout: float) -> PeerStatus:
        return PeerStatus(self.match, self.state, self.heard_at, self.is_caught_up(now, election_timeout))
