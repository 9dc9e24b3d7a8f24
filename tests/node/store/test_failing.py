"""A disk that fails: nothing is promised any more, until the file was opened anew and holds what was acknowledged."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.store.errors import CorruptStoreError, StoreFailedError
from node.store.log import LogStore
from protocol.ids import Index, Term
from protocol.raft.vocabulary import HardState, SavedState
from tests.node.store.outputs import A, entry, output, snapshot

FIRST = (entry(1), entry(2))
LONGEST = 128 * 1024
VOTE = HardState(Term(3), A)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LogStore]:
    """A store with two entries and a vote in it."""
    store = LogStore(tmp_path / "state.db")
    store.write(output(*FIRST, hard=VOTE), Index(1))
    yield store
    store.close()


@contextmanager
def short_files() -> Iterator[None]:
    """Have the system refuse to make any file longer than this: an I/O error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LONGEST, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def limit_pages(store: LogStore, pages: int) -> None:
    """Have SQLite find the disk full when the file would need more pages."""
    assert store._database is not None
    store._database.one(f"PRAGMA max_page_count = {pages}")


def fail(store: LogStore) -> None:
    with short_files(), pytest.raises(StoreFailedError, match=r"state\.db"):
        store.write(output(entry(3, data=b"x" * 200_000)), Index(2))


def test_write_without_room_is_refused_and_so_is_all_that_follows_until_it_is_loaded(store: LogStore) -> None:
    fail(store)
    for call in (store.load_snapshot, store.tidy, lambda: store.write(output(entry(3)), Index(2))):
        with pytest.raises(StoreFailedError, match=r"state\.db"):
            call()
    with pytest.raises(StoreFailedError):
        store.save_snapshot(snapshot(2, b"state"))


def test_load_fails_while_there_is_no_room_and_gives_what_was_acknowledged_once_there_is(store: LogStore) -> None:
    fail(store)
    with short_files():
        for _ in range(3):
            with pytest.raises(StoreFailedError, match=r"state\.db"):
                store.load()
    assert store.load() == (SavedState(VOTE, None, FIRST), 1)
    store.write(output(entry(3)), Index(2))
    assert store.load()[0].entries == (*FIRST, entry(3))


def test_after_an_error_of_the_disk_all_is_written_to_a_new_file(store: LogStore) -> None:
    store.save_snapshot(snapshot(2, b"state" * 100_000))
    before = store.path.stat().st_ino
    fail(store)
    store.load()
    assert store.path.stat().st_ino != before
    assert store.load() == (SavedState(VOTE, snapshot(2, b"").meta, FIRST), 1)
    assert store.load_snapshot() == snapshot(2, b"state" * 100_000)
    assert {path.name for path in store.path.parent.iterdir()} <= {
        "state.db",
        "state.db-wal",
        "state.db-shm",
        "state.db-mark",
    }


def test_full_disk_needs_no_copy_of_the_file(store: LogStore) -> None:
    before = store.path.stat().st_ino
    limit_pages(store, 12)
    with pytest.raises(StoreFailedError, match="full"):
        store.write(output(entry(3, data=b"x" * 100_000)), Index(2))
    assert store.load() == (SavedState(VOTE, None, FIRST), 1)
    assert store.path.stat().st_ino == before


def test_snapshot_that_found_no_room_leaves_the_old_one(store: LogStore) -> None:
    store.save_snapshot(snapshot(1, b"old"))
    limit_pages(store, 100)
    with pytest.raises(StoreFailedError):
        store.save_snapshot(snapshot(2, b"new" * 1_000_000))
    store.load()
    assert store.load_snapshot() == snapshot(1, b"old")
    while store.tidy():
        pass
    assert store._database is not None
    assert store._database.one("SELECT count(*) FROM snapshot_chunk") == (1,)


def test_snapshot_that_was_begun_before_the_failure_is_not_finished_after_it(store: LogStore) -> None:
    staging = store.begin_staging(snapshot(2, b"state" * 100_000))
    fail(store)
    store.load()
    with pytest.raises(StoreFailedError, match="anew"):
        store.stage(staging, 0)
    with pytest.raises(StoreFailedError, match="anew"):
        store.switch(staging)
    assert store.load_snapshot() is None
    store.write(output(entry(3)), Index(2))


def test_file_that_went_away_is_not_made_anew_after_a_failure(store: LogStore) -> None:
    fail(store)
    store.path.unlink()
    with pytest.raises(CorruptStoreError, match="missing"):
        store.load()


def test_older_snapshot_does_not_replace_a_newer_one(store: LogStore) -> None:
    older = store.begin_staging(snapshot(1, b"older"))
    store.write(output(install=snapshot(2, b"newer"), compact_to=2), Index(2))
    for first in older.steps():
        store.stage(older, first)
    store.switch(older)
    assert store.load_snapshot() == snapshot(2, b"newer")
    while store.tidy():
        pass
    assert store.load_snapshot() == snapshot(2, b"newer")
