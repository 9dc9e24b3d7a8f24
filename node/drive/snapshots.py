"""Makes snapshots of this node's state in time, reads the latest for a follower that needs one, and a leader's.

A snapshot is made of the state, or takes its place: never both at one time, or one made of a state that was wrong could
reach the disk after the one that replaced it.  A leader's is read before anything of it is saved: one that this
release cannot read would keep the daemon from starting again.  5.1 of Ongaro's dissertation.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

import msgspec
import trio

from node.drive.barriers import Call
from node.drive.consensus_ports import Offload, Storage
from node.model import State
from node.state import decode_state, encode_state
from protocol.ids import Index
from protocol.raft.core import Raft
from protocol.raft.messages import RaftMessage, SnapshotChunk, SnapshotMeta
from protocol.raft.vocabulary import Snapshot

log = logging.getLogger("corral.consensus")


class UnreadableSnapshotError(Exception):
    """A leader's snapshot is none that this release can read; nothing of it was saved."""


class NewerStateError(Exception):
    """The snapshot on this host's own disk is whole, and none that this release can read: it is of a later one."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The last such snapshot."""

    meta: SnapshotMeta
    size: int
    crc: int
    stays_at: Index
    """What was applied when it came."""
    alarm: str


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
    _unreadable: Unreadable | None = None

    @property
    def alarms(self) -> tuple[str, ...]:
        """What a person is to be told, until this node has come further by itself or with another snapshot."""
        unreadable, (_, applied) = self._unreadable, self.applied()
        if unreadable is None or applied > max(unreadable.stays_at, unreadable.meta.index - 1):
            return ()
        return (unreadable.alarm,)

    async def read(self, snapshot: Snapshot) -> State:
        """Return the state in a leader's snapshot; UnreadableSnapshotError if this release cannot."""
        try:
            state: State = await self.offload(decode_state, snapshot.state)
        except msgspec.MsgspecError as error:
            _, applied = self.applied()
            alarm = (
                f"the leader's snapshot at entry {snapshot.meta.index} cannot be read by this release ({error}): give "
                f"this host the release that the leader runs; until then it stays at entry {applied} and answers with "
                "that, and nothing of what it has is lost"
            )
            crc = crc32(snapshot.state)
            self._unreadable = Unreadable(snapshot.meta, len(snapshot.state), crc, applied, alarm)
            raise UnreadableSnapshotError(alarm) from None
        self._unreadable = None
        return state

    async def restore(self) -> tuple[Index, State] | None:
        """Return the state in the snapshot on the disk; NewerStateError if this release cannot read it."""
        snapshot = await self.storage.load_snapshot()
        if snapshot is None:
            return None
        try:
            return snapshot.meta.index, await self.offload(decode_state, snapshot.state)
        except msgspec.MsgspecError as error:
            raise NewerStateError(
                f"the state on this host's disk, as of entry {snapshot.meta.index}, cannot be read by this release "
                f"({error}): start the release that wrote it, or a later one; nothing on the disk was changed"
            ) from None

    def refuses(self, message: RaftMessage) -> bool:
        """Whether it is a piece of the snapshot that could not be read: a leader that hears nothing tries it again."""
        if not isinstance(message, SnapshotChunk) or self._unreadable is None:
            return False
        known = self._unreadable
        return (message.meta, message.size, message.crc) == (known.meta, known.size, known.crc)

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
