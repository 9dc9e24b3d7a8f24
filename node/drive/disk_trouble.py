"""What a member of the group does when its disk fails: who may lead instead, what others may go on reading, when to try
the disk again.

Pure.  A member that cannot save takes part in nothing: it neither votes nor acknowledges, since all of that depends on
what it has saved, and a disk that failed once is believed only after everything was read from it anew.
"""

from dataclasses import dataclass
from random import Random

from node.drive.consensus_ports import StoreFailedError
from protocol.ids import Index, NodeId
from protocol.raft.core import Raft
from protocol.raft.messages import SnapshotMeta, TimeoutNow
from protocol.raft.vocabulary import HardState, SavedState

FIRST_RETRY, LAST_RETRY = 0.5, 10.0
STEADY = 60.0
"""Seconds for which a disk must have worked before its next failure counts as the first."""


@dataclass(slots=True, eq=False)
class DiskTrouble:
    """Whether the disk works, and how long to leave it alone if not."""

    reason: str | None = None
    """Why it does not, and what to do; None while it works."""
    retry_in: float = FIRST_RETRY
    failures: int = 0
    """How often it has stopped working since the start."""
    _mended_at: float = 0.0

    @property
    def alarms(self) -> tuple[str, ...]:
        """What a person is to be told."""
        if self.reason is None:
            return ()
        effect = "until then this host takes no changes and does not vote, and answers with what it knew"
        return (f"THE DISK FAILS: {self.reason}; {effect}; it goes on by itself",)

    def note_failed(self, reason: str, now: float) -> None:
        """The disk has just failed a write."""
        self.failures += 1
        if self.failures == 1 or now - self._mended_at >= STEADY:
            self.retry_in = FIRST_RETRY
        else:
            # It works and fails by turns: each time the group has to do with one member less all of a sudden.
            self._wait_longer()
        self.reason = reason

    def note_still_failing(self, reason: str) -> None:
        self.reason = reason
        self._wait_longer()

    def note_mended(self, now: float) -> None:
        self.reason, self._mended_at = None, now

    def _wait_longer(self) -> None:
        self.retry_in = min(self.retry_in * 2, LAST_RETRY)


def last_words(raft: Raft, now: float) -> tuple[tuple[NodeId, TimeoutNow], ...]:
    """Return what a leader that must stop may still say: that the voter with the longest log is to be elected now.

    3.10, without waiting until that voter has everything: what it lacks no majority has.  Depends on nothing that was
    not saved: whoever leads had its term on the disk before it asked for votes.
    """
    peers = raft.peers(now)
    voters = [voter for voter in raft.config.voters if voter in peers]
    if not raft.is_leader or not voters:
        return ()
    heir = max(voters, key=lambda voter: (peers[voter].match, peers[voter].heard_at))
    return ((heir, TimeoutNow(raft.term)),)


def stand_in(raft: Raft, applied: Index, rng: Random, now: float) -> Raft:
    """Return what others may look at until the disk works: a follower of nobody, which is never driven."""
    meta = SnapshotMeta(applied, raft.term_at(applied) or raft.term, raft.config)
    return Raft(raft.me, saved=SavedState(HardState(raft.term), meta, ()), rng=rng, now=now)


def first_of(errors: BaseExceptionGroup[StoreFailedError]) -> StoreFailedError:
    """Return one of the failures that came together; what follows the first says the same."""
    error: StoreFailedError | BaseExceptionGroup[StoreFailedError] = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
