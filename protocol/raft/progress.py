"""What a leader knows of one other member's log, and what it may send next.

A small state machine of three states (probe, replicate, snapshot); it sends nothing itself.
Section numbers are those of Ongaro's dissertation.
"""

from collections import deque

from protocol.ids import Index
from protocol.raft.vocabulary import Limits, PeerStatus, ProgressState


class Progress:
    """Invariant: `match` < `next`, and `match` only grows."""

    def __init__(self, next_index: Index, now: float) -> None:
        self.match = Index(0)
        self.next = next_index
        self.state = ProgressState.PROBE
        self.since_seq = 1
        """Refusals of requests before this one are about an older guess of `next`, or of an earlier term: they say
        nothing."""
        self.is_probing = False
        self.inflight: deque[tuple[Index, int]] = deque()
        """Of each request with entries on its way: its last entry and its payload in bytes."""
        self.inflight_bytes = 0
        self.sent_commit = Index(0)
        self.heard_at = now
        self.heard_seq = 0
        """6.4: the latest request that it has answered in this term."""
        self.offset = 0
        """In state SNAPSHOT: where the chunk on its way begins; it left at `chunk_at`."""
        self.chunk_at = now
        self.is_replacing = False
        """The snapshot on its way is to replace what the member has applied itself."""
        self.is_chunk_out = False
        """A chunk has left and is not answered."""
        self.has_lost_log = False
        """A voter that has refused what it had acknowledged: until it is a learner, its word counts for nothing."""
        self._match_since = 1
        self._round_target = Index(next_index - 1)
        self._round_at = now
        self._is_round_short = False

    # The state changes in the become_* methods and nowhere else.

    def become_probe(self, next_index: Index, seq: int) -> None:
        self.state = ProgressState.PROBE
        self.next = max(next_index, Index(self.match + 1))
        self.since_seq = seq
        self.is_probing = False
        self._forget_inflight()

    def become_replicate(self, seq: int) -> None:
        self.state = ProgressState.REPLICATE
        self.next = Index(self.match + 1)
        self.since_seq = seq
        self._forget_inflight()

    def become_snapshot(self, now: float, *, replaces: bool = False) -> None:
        self.state, self.is_replacing = ProgressState.SNAPSHOT, replaces
        self.offset = 0
        self.chunk_at = now
        self._forget_inflight()

    def _forget_inflight(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0

    def has_room(self, limits: Limits) -> bool:
        """May a request with entries leave now?"""
        if self.state is ProgressState.PROBE:
            return not self.is_probing
        return len(self.inflight) < limits.window and self.inflight_bytes < limits.inflight_bytes

    def note_sent(self, last: Index, commit: Index, payload: int | None) -> None:
        """Record a request whose last entry is `last`; without any, `payload` is None."""
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.is_probing = True
        elif payload is not None:
            self.inflight.append((last, payload))
            self.inflight_bytes += payload
            self.next = Index(last + 1)

    def acknowledge(self, index: Index, seq: int) -> None:
        """The logs agree up to `index`, and the member has that on its disk; `seq` is the next to be sent."""
        if index > self.match:
            self.match, self._match_since = index, seq
        self.next = max(self.next, Index(self.match + 1))
        while self.inflight and self.inflight[0][0] <= index:
            self.inflight_bytes -= self.inflight.popleft()[1]

    def can_do_without_snapshot(self, base: Index) -> bool:
        return self.state is ProgressState.SNAPSHOT and self.match >= base and not self.is_replacing

    def breaks_its_word(self, refused: Index, seq: int) -> bool:
        """Does it refuse, in reply to a request sent after it had acknowledged that entry, to have it? 3.8 forbids."""
        return refused <= self.match and seq >= self._match_since

    def distrust(self, next_index: Index, seq: int) -> None:
        """Begin anew with what it has now."""
        self.match = Index(0)
        self._is_round_short = False
        self.become_probe(next_index, seq)

    # 4.2.1: a learner is caught up when it took less than an election timeout to get all that the leader had when a
    # round began; until the next round ends, that is the time it may lag behind as a voter.

    def note_round(self, last_index: Index, now: float, election_timeout: float) -> None:
        if self.match >= self._round_target:
            self._is_round_short = now - self._round_at <= election_timeout
            self._round_target, self._round_at = last_index, now

    def is_caught_up(self, now: float, election_timeout: float) -> bool:
        return self._is_round_short and now - self._round_at <= election_timeout

    def status(self, now: float, election_timeout: float) -> PeerStatus:
        is_caught_up = self.is_caught_up(now, election_timeout)
        return PeerStatus(self.match, self.state, self.heard_at, is_caught_up, self.has_lost_log)
