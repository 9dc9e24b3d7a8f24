"""Damage of the files is named or changes nothing; what a crash tears off is at most what was never acknowledged.

Both are tried on real files: bytes are flipped anywhere, and the write-ahead log is torn in all the ways in which an
unfinished flush may leave it.
"""

import os
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from node.store.errors import CorruptStoreError
from node.store.log import LogStore
from protocol.ids import Index, Term
from protocol.raft.vocabulary import HardState, SavedState, Snapshot
from tests.node.store.outputs import A, entry, output, snapshot

ENDS = ("", "-wal", "-mark")
FLIPS = 400
SECTOR = 512
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Content:
    """All that can be read from a store."""

    saved: SavedState
    commit: Index
    snapshot: Snapshot | None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: thousands of files are made in it, and none has to outlast anything."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as path:
        yield Path(path)


def seeded() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def files_of(path: Path) -> Files:
    """Copy what a killed daemon leaves: SQLite's index of the write-ahead log is made anew in any case."""
    return {end: found.read_bytes() for end in ENDS if (found := path.with_name(path.name + end)).exists()}


def put(files: Files, path: Path) -> Path:
    for end in (*ENDS, "-shm", ".next", ".new"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    for end, content in files.items():
        path.with_name(path.name + end).write_bytes(content)
    return path


def content_of(store: LogStore) -> Content:
    saved, commit = store.load()
    return Content(saved, commit, store.load_snapshot())


def read(path: Path) -> Content:
    """Open a file as a daemon does, and read everything."""
    store = LogStore(path, must_exist=True)
    try:
        return content_of(store)
    finally:
        store.close()


def fill(store: LogStore) -> Iterator[None]:
    """Write what a member writes, one acknowledged write at a time."""
    rng = random.Random(5)
    for index in range(1, 24):
        hard = HardState(Term(1 + index // 8), A) if index % 8 == 0 else None
        store.write(output(entry(index, data=rng.randbytes(rng.randrange(300))), hard=hard), Index(index - 1))
        yield
    store.save_snapshot(snapshot(12, rng.randbytes(600_000)))
    yield
    store.write(output(entry(24), entry(25), compact_to=8), Index(20))
    yield
    store.write(output(entry(25, 4, b"other"), truncate_from=25, hard=HardState(Term(4), None)), Index(24))
    yield


def flipped(files: Files, rng: random.Random, end: str) -> tuple[Files, int]:
    content = bytearray(files[end])
    # Half of them where the file has content at all: its first page, the ends of pages.
    at = rng.randrange(len(content))
    if rng.random() < 0.5:
        while not content[at]:
            at = rng.randrange(len(content))
    content[at] ^= 1 << rng.randrange(8)
    return {**files, end: bytes(content)}, at


@pytest.mark.parametrize("how", ["stopped", "killed", "killed after a checkpoint"])
def test_any_flipped_bit_is_named_or_changes_nothing(how: str, folder: Path) -> None:
    store = LogStore(folder / "made.db")
    for number, _ in enumerate(fill(store)):
        if how == "killed after a checkpoint" and number == 20:
            assert store._database is not None
            store._database.one("PRAGMA wal_checkpoint(FULL)")
    want = content_of(store)
    if how == "stopped":
        store.close()
    files = files_of(folder / "made.db")
    store.close()
    assert read(put(files, folder / "state.db")) == want
    rng = seeded()
    for _ in range(FLIPS):
        end = rng.choice(sorted(files))
        damaged, at = flipped(files, rng, end)
        try:
            found = read(put(damaged, folder / "state.db"))
        except CorruptStoreError:
            continue
        assert found == want, f"bit in byte {at} of state.db{end}"


def test_lost_or_foreign_write_ahead_log_is_named(folder: Path) -> None:
    store = LogStore(folder / "made.db")
    for _ in fill(store):
        pass
    files = files_of(folder / "made.db")
    store.close()
    for wal in (None, b"", files["-wal"][:32], bytes(len(files["-wal"]))):
        damaged = {end: content for end, content in files.items() if end != "-wal"}
        if wal is not None:
            damaged["-wal"] = wal
        with pytest.raises(CorruptStoreError, match=r"state\.db"):
            read(put(damaged, folder / "state.db"))


def steps(path: Path, *, checkpoint_at: int | None) -> Iterator[tuple[Files, Content]]:
    """Return the files and the content after each acknowledged write."""
    store = LogStore(path)
    yield files_of(path), content_of(store)
    for number, _ in enumerate(fill(store)):
        if number == checkpoint_at:
            assert store._database is not None
            store._database.one("PRAGMA wal_checkpoint(FULL)")
        yield files_of(path), content_of(store)
    store.close()


def torn(before: bytes, after: bytes, rng: random.Random) -> Iterator[bytes]:
    """Return what the disk may hold when the flush that makes `after` of `before` did not end."""
    before = before.ljust(len(after), b"\0")
    changed = [at for at in range(len(after)) if before[at] != after[at]]
    first, last = changed[0], changed[-1] + 1
    for cut in {first, last, *(rng.randrange(first, last + 1) for _ in range(8))}:
        yield after[:cut] + before[cut:]
        yield after[:cut]
        yield after[:cut] + rng.randbytes(last - cut) + after[last:]
    for _ in range(4):
        # Sectors arrive in any order.
        mixed = bytearray(after)
        for start in range(first - first % SECTOR, last, SECTOR):
            if rng.random() < 0.5:
                mixed[max(start, first) : start + SECTOR] = before[max(start, first) : start + SECTOR]
        yield bytes(mixed)


@pytest.mark.parametrize("checkpoint_at", [None, 12])
def test_torn_end_of_the_write_ahead_log_costs_at_most_what_was_not_acknowledged(
    checkpoint_at: int | None, folder: Path
) -> None:
    rng = seeded()
    history = list(steps(folder / "made.db", checkpoint_at=checkpoint_at))
    for (old, acknowledged), (new, unacknowledged) in pairwise(history):
        if len(new["-wal"]) > 500_000 and rng.random() < 0.5:
            continue  # The large snapshot takes long to open again and again.
        for wal in torn(old.get("-wal", b""), new["-wal"], rng):
            # Of the mark a power cut may leave an older one, or nothing.
            mark = rng.choice((old["-mark"], history[0][0]["-mark"], b""))
            found = read(put({"": old[""], "-wal": wal, "-mark": mark}, folder / "state.db"))
            assert found in (acknowledged, unacknowledged)


def test_cut_anywhere_in_what_is_flushed_is_named(folder: Path) -> None:
    *_, (files, want) = steps(folder / "made.db", checkpoint_at=None)
    rng = seeded()
    for _ in range(60):
        cut = rng.randrange(len(files["-wal"]))
        with pytest.raises(CorruptStoreError, match=r"state\.db"):
            read(put({**files, "-wal": files["-wal"][:cut]}, folder / "state.db"))
    assert read(put(files, folder / "state.db")) == want


def test_what_a_killed_daemon_had_not_acknowledged_counts_once_it_was_loaded(folder: Path) -> None:
    path = folder / "state.db"
    store = LogStore(path)
    store.write(output(entry(1)), Index(0))
    mark_before = files_of(path)["-mark"]
    store.write(output(entry(2)), Index(1))
    left = files_of(path)
    store.close()
    found = LogStore(put({**left, "-mark": mark_before}, path), must_exist=True)
    assert [each.index for each in found.load()[0].entries] == [1, 2]
    left = files_of(path)
    found.close()
    # Whoever was told of entry 2 after the load must not find it missing without a word.
    cut = LogStore(put({**left, "-wal": left["-wal"][:-1]}, path), must_exist=True)
    with pytest.raises(CorruptStoreError, match="1 of 2 acknowledged writes are missing"):
        cut.load()
    cut.close()
