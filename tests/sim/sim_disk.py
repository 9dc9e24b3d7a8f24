"""A host's disk in the simulation: the production store on files in memory, and what disks do to files.

A kill during a write leaves the transaction out, whole, or torn: of the 512-byte sectors that it changed some are
new and some are old, in any order, within what the store has flushed in between.  Whatever loads later must be what
was written: `shadow` knows.  A full disk and a flush that fails are raised as the store raises them.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import gettempdir, mkdtemp
from typing import Literal

import trio

from node.store.errors import StoreFailedError
from node.store.log import LogStore
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot
from tests.sim.raft_cluster import Disk

SECTOR = 512
WAL_HEADER = 32


class DiskLiedError(AssertionError):
    """The store returned something else than what was written to it."""


def in_memory_folder() -> Path:
    """Make a folder on a file system in memory, where a flush costs nothing."""
    shared = Path("/dev/shm")
    return Path(mkdtemp(prefix="corral-sim-", dir=shared if shared.is_dir() else gettempdir()))


Files = dict[str, bytes]
"""Name → content, of all that the store keeps."""


@dataclass(eq=False)
class StoreDisk:
    """The Storage port on node.store.log; outlives the daemons that open it."""

    folder: Path
    rng: Random
    slowness: float = 0.002
    trouble: Literal["full", "flush"] | None = None
    """What is wrong with the disk now."""
    shadow: Disk = field(default_factory=lambda: Disk(SavedState()))
    """What was promised to be durable."""
    is_damaged: bool = False
    """Bits were flipped, or all is gone: the store may refuse."""
    _also: Disk | None = None
    """What is on the disk too if the write that a kill interrupted went through."""
    _left: Files | None = None
    """What a kill during a write left on the platters."""
    _generation: int = 0
    _store: LogStore | None = None
    _has_failed: bool = False
    """Until it is loaded again, every call fails."""
    _turn: trio.Lock = field(default_factory=trio.Lock)

    @property
    def path(self) -> Path:
        return self.folder / f"{self._generation}" / "log.db"

    def found(self, saved: SavedState) -> None:
        """Write the start of a new group."""
        store = LogStore.anew(self.path)
        store.write_saved(saved)
        store.close()
        self.shadow = Disk(saved)

    def make_empty(self) -> None:
        """What joining writes: a store without entries."""
        self.path.parent.mkdir(parents=True)
        LogStore.anew(self.path).close()

    def remove(self) -> None:
        self._close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # The Storage port.

    async def load(self) -> tuple[SavedState, Index]:
        async with self._turn:
            await self._wait()
            self.crash()
            if self.trouble is not None:
                raise StoreFailedError(self.path, "the disk takes nothing")
            self._store, self._has_failed = LogStore(self.path, must_exist=True), False
            saved, commit = self._store.load()
            self._check_loaded(saved)
            return saved, commit

    async def load_snapshot(self) -> Snapshot | None:
        async with self._turn:
            await self._wait()
            snapshot = self._opened().load_snapshot()
            self._require(snapshot == self.shadow.snapshot, "another snapshot than was saved")
            self.is_damaged = False
            return snapshot

    async def write(self, output: Output, commit: Index) -> None:
        await self._put(lambda: self._opened().write(output, commit), lambda disk: disk.write(output))
        self._require(
            not _has_gap(self.shadow.saved), f"nothing yet: it was given {_tell(self.shadow.saved)}, with a gap"
        )

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._put(lambda: self._opened().save_snapshot(snapshot), lambda disk: _keep(disk, snapshot))

    async def _put(self, act: Callable[[], None], shadow: Callable[[Disk], None]) -> None:
        async with self._turn:
            try:
                await self._wait()
            except trio.Cancelled:
                self._interrupt(act, shadow)
                raise
            store = self._opened()
            if self.trouble is not None:
                self._has_failed = True
                if self.trouble == "flush":
                    self._interrupt(act, shadow)
                raise StoreFailedError(
                    store.path, "database or disk is full" if self.trouble == "full" else "I/O error"
                )
            act()
            shadow(self.shadow)

    async def _wait(self) -> None:
        await trio.sleep(self.rng.uniform(0.2, 1.0) * self.slowness)

    def _opened(self) -> LogStore:
        if self._store is None or self._has_failed:
            raise StoreFailedError(self.path, "it failed before and was not loaded since")
        return self._store

    # What becomes of the files.

    def _interrupt(self, act: Callable[[], None], shadow: Callable[[Disk], None]) -> None:
        """The power goes, or the disk fails, during a write: nobody was promised anything."""
        if self._store is None or self._left is not None or self.rng.random() < 0.3:
            return
        before = self._files()
        try:
            act()
        except StoreFailedError:
            return
        after = self._files()
        self._also = Disk(self.shadow.saved)
        self._also.snapshot = self.shadow.snapshot
        shadow(self._also)
        self._left = after if self.rng.random() < 0.3 else _tear(before, after, self.rng)

    def crash(self) -> None:
        """End without a goodbye: the next daemon finds the files as they are now."""
        if self._store is None:
            return
        left = self._files() if self._left is None else self._left
        self._close()
        shutil.rmtree(self.path.parent)
        self._generation += 1
        self.path.parent.mkdir()
        self._put_files(left)

    def flip_bits(self, rng: Random) -> None:
        """Rot, somewhere in the files of a daemon that does not run."""
        files = {name: bytearray(content) for name, content in sorted(self._files().items()) if content}
        for _ in range(rng.choice([1, 1, 1, 8])):
            bit = rng.randrange(8 * sum(map(len, files.values())))
            for content in files.values():
                if bit < 8 * len(content):
                    content[bit // 8] ^= 1 << bit % 8
                    break
                bit -= 8 * len(content)
        self.is_damaged = True
        self._put_files({name: bytes(content) for name, content in files.items()})

    def wipe(self) -> None:
        """Somebody put in an empty disk."""
        self._close()
        for old in self.path.parent.iterdir():
            old.unlink()
        self.is_damaged = True

    def _files(self) -> Files:
        """What the store keeps; its index of the write-ahead log does not outlive the processes that share it."""
        return {each.name: each.read_bytes() for each in self.path.parent.iterdir() if not each.name.endswith("-shm")}

    def _put_files(self, files: Files) -> None:
        for name, content in files.items():
            self.path.with_name(name).write_bytes(content)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _check_loaded(self, saved: SavedState) -> None:
        if self._also is not None and saved == self._also.saved and saved != self.shadow.saved:
            self.shadow = self._also
        self._also = self._left = None
        self._require(saved == self.shadow.saved, f"{_tell(saved)}, which is not {_tell(self.shadow.saved)}")
        # Loading reads the whole log, and of the snapshot only what it is of.
        self.is_damaged = self.is_damaged and self.shadow.snapshot is not None

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise DiskLiedError(f"the disk returned {what}")


def _keep(disk: Disk, snapshot: Snapshot) -> None:
    disk.snapshot = snapshot
    disk.saved = SavedState(disk.saved.hard, snapshot.meta, disk.saved.entries)


def _has_gap(saved: SavedState) -> bool:
    entries, since = saved.entries, saved.snapshot.index if saved.snapshot else 0
    if not entries:
        return False
    return entries[0].index > since + 1 or entries[-1].index - entries[0].index != len(entries) - 1


def _tell(saved: SavedState) -> str:
    first, last = (saved.entries[0].index, saved.entries[-1].index) if saved.entries else (0, 0)
    vote = (saved.hard.vote or "nobody")[:8]
    since = saved.snapshot.index if saved.snapshot else 0
    return f"term {saved.hard.term} with a vote for {vote}, a snapshot at {since} and entries {first} to {last}"


def _tear(before: Files, after: Files, rng: Random) -> Files:
    """Return a state of the files that a loss of power during the write may leave.

    The write-ahead log is flushed before the main file is touched, and its header, when it starts anew, before the
    rest.  What is not flushed at all is as it was.
    """
    main, log = "log.db", "log.db-wal"
    if before[main] != after[main] and rng.random() < 0.5:
        return {**before, main: _mix(before[main], after[main], rng), log: after.get(log, b"")}
    old, new = before.get(log, b""), after.get(log, b"")
    if old[:WAL_HEADER] != new[:WAL_HEADER]:
        old = new[:WAL_HEADER] + old[WAL_HEADER:]
        if rng.random() < 0.3:
            return {**before, log: old}
    return {**before, log: _mix(old, new, rng)}


def _mix(before: bytes, after: bytes, rng: Random) -> bytes:
    """Some sectors of each; what lies beyond the end of the older file is zeros where nothing arrived."""
    arrived = rng.choice([0.0, 0.5, 0.9, 0.98])
    size = len(after) if arrived or len(before) > len(after) else len(before)
    mixed = bytearray(before.ljust(size, b"\0")[:size])
    for start in range(0, size, SECTOR):
        if rng.random() < arrived:
            mixed[start : start + SECTOR] = after[start : start + SECTOR]
    return bytes(mixed)
