"""The scene of one disk: the production store on files in memory, with everything that befalls files.

Outputs of every shape, snapshots written in steps between them, kills, power lost during a write, and bits that flip at
rest, mostly inside records.  What loads must be what was promised, or the store must refuse.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random

from node.store.errors import CorruptStoreError
from node.store.log import LogStore, Staging
from node.store.records import CHUNK_BYTES
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, make_config
from protocol.raft.vocabulary import HardState, Output, Snapshot, bootstrap
from tests.sim.raft_parts import Disk
from tests.sim.sim_disk import DiskLiedError, Files, _keep, _tear, _tell, in_memory_folder

STEPS = 60
NODES = tuple(NodeId(letter * 32) for letter in "abc")
NOTHING = Output(None, None, None, None, (), (), (), False, (), 0.0)
NEEDLE = 12
"""Bytes by which a record is found in a file."""


@dataclass(frozen=True, slots=True)
class Promised:
    """What the store must give back."""

    disk: Disk
    commit: Index


class DiskStory:
    """One life of a disk from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(f"{seed} disk")
        self.steps = 0
        self._folder = in_memory_folder()
        self._generation = 0
        self._trace = sha256()
        self._stagings: list[tuple[Staging, list[int]]] = []
        """Snapshots that are half written, and their steps to come."""

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._generation}" / "log.db"

    def run(self) -> None:
        try:
            self._begin()
            acts = (
                *(self._append, self._append, self._vote, self._cut_back, self._stage, self._stage, self._stage),
                *(self._compact, self._install, self._look, self._tidy),
            )
            ends = (self._close, self._kill, self._lose_power, self._rot, self._rot)
            for _ in range(STEPS):
                act = self.rng.choice(acts if self.rng.random() < 0.7 else ends)
                self.steps += 1
                self._trace.update(f"{act.__name__} {_tell(self._promised.disk.saved)}\n".encode())
                act()
        finally:
            self._store.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> None:
        """Start with the empty log of a new group."""
        self._generation += 1
        self._path.parent.mkdir()
        saved = bootstrap(NODES[0])
        self._store = LogStore.anew(self._path)
        self._store.write_saved(saved)
        self._promised, self._stagings = Promised(Disk(saved), Index(0)), []

    # What a node does with its disk.

    @property
    def _span(self) -> tuple[int, int]:
        """What precedes the log, and its end."""
        saved = self._promised.disk.saved
        since = saved.snapshot.index if saved.snapshot else 0
        return since, max(since, saved.entries[-1].index if saved.entries else 0)

    def _entries(self, after: int, term: int) -> tuple[Entry, ...]:
        sizes = [self.rng.choice([0, 20, 300, 9000]) for _ in range(self.rng.randint(1, 4))]
        return tuple(
            Entry(Index(after + place), Term(term), EntryKind.COMMAND, self.rng.randbytes(size))
            for place, size in enumerate(sizes, 1)
        )

    def _append(self) -> None:
        _, last = self._span
        self._write(replace(NOTHING, append=self._entries(last, self._promised.disk.saved.hard.term)))

    def _vote(self) -> None:
        term = Term(self._promised.disk.saved.hard.term + self.rng.randint(1, 3))
        self._write(replace(NOTHING, hard=HardState(term, self.rng.choice([None, *NODES]))))

    def _cut_back(self) -> None:
        since, last = self._span
        if last > max(since, self._promised.commit):
            first = self.rng.randint(max(since, self._promised.commit) + 1, last)
            hard = HardState(Term(self._promised.disk.saved.hard.term + 1), None)
            entries = self._entries(first - 1, hard.term)
            self._write(replace(NOTHING, hard=hard, truncate_from=Index(first), append=entries))

    def _compact(self) -> None:
        saved = self._promised.disk.saved
        if saved.snapshot is not None and saved.entries:
            to = saved.snapshot.index - self.rng.choice([0, 0, 2])
            self._write(replace(NOTHING, compact_to=Index(to)))

    def _snapshot(self, index: int) -> Snapshot:
        held = {entry.index: entry.term for entry in self._promised.disk.saved.entries}
        term = held.get(Index(index), self._promised.disk.saved.hard.term)
        size = self.rng.choice([0, 40, 5000, CHUNK_BYTES + 1, 5 * CHUNK_BYTES - 7])
        config = make_config(NODES[: self.rng.randint(1, 3)])
        return Snapshot(SnapshotMeta(Index(index), term, config), self.rng.randbytes(size))

    def _stage(self) -> None:
        """Begin to write a snapshot, go on with one, or switch to one that is whole."""
        since, last = self._span
        if len(self._stagings) < 2 and last > since and self.rng.random() < 0.5:
            staging = self._store.begin_staging(self._snapshot(self.rng.randint(since + 1, last)))
            self._stagings.append((staging, list(staging.steps())))
            return
        if not self._stagings:
            return
        staging, steps = one = self.rng.choice(self._stagings)
        if steps:
            self._store.stage(staging, steps.pop(0))
            return
        self._stagings.remove(one)
        self._change(lambda: self._store.switch(staging), self._switched(staging.snapshot))

    def _switched(self, snapshot: Snapshot) -> Promised:
        known = self._promised.disk.snapshot
        disk = self._copy()
        if known is None or known.meta.index < snapshot.meta.index:
            _keep(disk, snapshot)
        return Promised(disk, self._promised.commit)

    def _install(self) -> None:
        """A leader's snapshot from beyond the log's end."""
        _, last = self._span
        if self.rng.random() < 0.5:
            snapshot = self._snapshot(last + self.rng.randint(1, 5))
            self._write(replace(NOTHING, install=snapshot, truncate_from=Index(1)))

    def _look(self) -> None:
        self._require(self._store.load_snapshot() == self._promised.disk.snapshot, "another snapshot than was saved")

    def _tidy(self) -> None:
        self._store.tidy()

    def _write(self, output: Output) -> None:
        disk = self._copy()
        disk.write(output)
        last = disk.saved.entries[-1].index if disk.saved.entries else 0
        commit = Index(max(self._promised.commit, self.rng.randint(0, last)))
        if output.install is not None:
            commit = max(commit, output.install.meta.index)
        self._change(lambda: self._store.write(output, commit), Promised(disk, commit))

    def _change(self, act: Callable[[], None], then: Promised) -> None:
        """Carry out what is durable once it has ended, or have the power go in the midst of it."""
        if self.rng.random() < 0.8:
            act()
            self._promised = then
            return
        before = self._files()
        act()
        self._restart(_tear(before, self._files(), self.rng), then)

    def _copy(self) -> Disk:
        disk = Disk(self._promised.disk.saved)
        disk.snapshot = self._promised.disk.snapshot
        return disk

    # What befalls it.

    def _close(self) -> None:
        self._store.close()
        self._open(None)

    def _kill(self) -> None:
        """The files as they are, the write-ahead log among them."""
        self._restart(self._files(), None)

    def _lose_power(self) -> None:
        """What was not acknowledged may be gone, such as the half of a snapshot."""
        before = self._files()
        if self._stagings and self._stagings[0][1]:
            self._store.stage(self._stagings[0][0], self._stagings[0][1].pop(0))
        self._restart(_tear(before, self._files(), self.rng), None)

    def _rot(self) -> None:
        """Bits flip while no daemon runs."""
        files = self._files() if self.rng.random() < 0.3 else None
        self._store.close()
        files = self._files() if files is None else files
        try:
            self._restart(self._flipped(files), None)
        except CorruptStoreError:
            self._trace.update(b"refused\n")
            self._store.close()
            self._begin()

    def _flipped(self, files: Files) -> Files:
        spots = self._spots(files)
        if not spots or self.rng.random() < 0.3:
            name = self.rng.choice(sorted(name for name, content in files.items() if content))
            spots = [(name, self.rng.randrange(len(files[name])))]
        name, place = self.rng.choice(spots)
        content = bytearray(files[name])
        content[place] ^= 1 << self.rng.randrange(8)
        return {**files, name: bytes(content)}

    def _spots(self, files: Files) -> list[tuple[str, int]]:
        """Find some record of the log, or some part of the snapshot, wherever the files have it."""
        disk = self._promised.disk
        texts = [entry.data for entry in disk.saved.entries]
        if disk.snapshot is not None and self.rng.random() < 0.5:
            texts = [disk.snapshot.state]
        texts = [text for text in texts if len(text) > NEEDLE]
        if not texts:
            return []
        text = self.rng.choice(texts)
        start = self.rng.randrange(len(text) - NEEDLE)
        found = ((name, content.find(text[start : start + NEEDLE])) for name, content in sorted(files.items()))
        return [(name, place + self.rng.randrange(NEEDLE)) for name, place in found if place >= 0]

    def _restart(self, files: Files, also: Promised | None) -> None:
        """Have the next daemon find these files; a write that was interrupted may have gone through."""
        self._store.close()
        shutil.rmtree(self._path.parent)
        self._generation += 1
        self._path.parent.mkdir()
        for name, content in files.items():
            self._path.with_name(name).write_bytes(content)
        self._open(also)

    def _open(self, also: Promised | None) -> None:
        self._stagings = []
        self._store = LogStore(self._path, must_exist=True)
        saved, commit = self._store.load()
        if also is not None and (saved, commit) == (also.disk.saved, also.commit):
            self._promised = also
        self._require(saved == self._promised.disk.saved, f"{_tell(saved)}, not {_tell(self._promised.disk.saved)}")
        self._require(commit == self._promised.commit, f"a commit at {commit}, not {self._promised.commit}")
        self._look()

    def _files(self) -> Files:
        return {each.name: each.read_bytes() for each in self._path.parent.iterdir() if not each.name.endswith("-shm")}

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise DiskLiedError(f"seed {self.seed}, step {self.steps}: the disk returned {what}")
