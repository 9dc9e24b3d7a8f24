"""Makes snapshots of this node's state in time, and reads the latest for a follower that needs one.

A snapshot is made of the state, or takes its place: never both at one time, or one made of a state that was wrong could
reach the disk after the one that replaced it.  5.1 of Ongaro's dissertation.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.drive.barriers import Call
from node.drive.consensus_ports import Offload, Storage
from node.model import State
from node.state import encode_state
from protocol.ids import Index
from protocol.raft.core import Raft
from protocol.raft.messages import SnapshotMeta
from protocol.raft.vocabulary import Snapshot

log = logging.getLogger("corral.consensus")


@dataclass(slots=True, eq=False)
class Snapshots:
    """The snapshot on this node's disk, and the next one."""

    storage: Storage
    offload: Offload
    now_ms: Callable[[], int]
    call: Call
    """Has a function called with the core, by the task that owns it."""
    raft: Callable[[], Raft | None]
    applied: Callable[[], tuple[State | None, Index]]
    every: int
    """Entries applied since the last snapshot after which a new one is made."""
    index: Index = Index(0)  # noqa: RUF009
    made_at: int | None = None
    """When the last one was made here."""
    lock: trio.Lock = field(default_factory=trio.Lock)
    """Held while a snapshot is made, and by whoever installs one."""
    _is_begun: bool = False

    def begin_if_due(self, nursery: trio.Nursery) -> None:
        """Make one in the background once enough has been applied since the last."""
        _, applied = self.applied()
        if applied >= self.index + self.every and not self._is_begun:
            self._is_begun = True
            nursery.start_soon(self._make_due)

    async def _make_due(self) -> None:
        try:
            await self.make()
        finally:
            self._is_begun = False

    async def make(self) -> None:
        """Write the state as it is now; it is one immutable value, so encoding it in a thread is safe."""
        async with self.lock:
            (state, index), raft = self.applied(), self.raft()
            # After a start the core learns only from the leader how much of what we have applied is committed.
            if state is None or raft is None or not raft.snapshot_index < index <= raft.applied_index:
                return
            meta = raft.snapshot_meta(index)
            encoded = await self.offload(encode_state, state)
            await self.storage.save_snapshot(Snapshot(meta, encoded))
            self.index, self.made_at = index, self.now_ms()
        self.call(lambda raft, now: self._note_made(raft, meta, now))
        log.info("made a snapshot at index %d, %d bytes", index, len(encoded))

    def _note_made(self, raft: Raft, meta: SnapshotMeta, now: float) -> None:
        if self.index == meta.index:  # Else one that was installed has taken its place.
            raft.handle_snapshot_made(meta, now)

    async def load(self) -> None:
        """Hand the core the latest."""
        if (snapshot := await self.storage.load_snapshot()) is not None:
            self.call(lambda raft, now: raft.handle_snapshot_loaded(snapshot, now))
