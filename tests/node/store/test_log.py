"""The log store keeps what it promised, and names what is damaged."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from node.store.errors import CorruptStoreError, StoreFailedError
from node.store.log import LogStore
from protocol.ids import Index, Term
from protocol.raft.vocabulary import HardState, SavedState, bootstrap
from tests.node.store.outputs import A, entry, output, snapshot


def reopened(store: LogStore) -> LogStore:
    store.close()
    return LogStore(store.path)


def test_fresh_file_is_an_empty_newcomer(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    assert store.load() == (SavedState(), 0)
    assert store.load_snapshot() is None
    assert (tmp_path / "state.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_written_output_is_found_after_reopening(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.write(output(entry(1), entry(2), hard=HardState(Term(3), A)), Index(1))
    store = reopened(store)
    assert store.load() == (SavedState(HardState(Term(3), A), None, (entry(1), entry(2))), 1)
    store.close()


def test_bootstrapped_group_is_found_as_it_was_written(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.write_saved(bootstrap(A))
    assert store.load() == (bootstrap(A), 0)
    store.close()


def test_truncation_comes_before_the_entries_that_replace_it(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.write(output(entry(1), entry(2), entry(3)), Index(0))
    store.write(output(entry(2, 2), truncate_from=2), Index(0))
    assert store.load()[0].entries == (entry(1), entry(2, 2))
    store.close()


@settings(max_examples=20, deadline=None)
@given(state=st.binary(max_size=700_000))
def test_snapshot_comes_back_whole(state: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = LogStore(tmp_path_factory.mktemp("store") / "state.db")
    store.save_snapshot(snapshot(7, b"older"))
    store.save_snapshot(snapshot(9, state))
    assert store.load_snapshot() == snapshot(9, state)
    store.close()


def test_installed_snapshot_and_compaction_are_one_write(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.write(output(entry(1), entry(2)), Index(0))
    store.write(output(install=snapshot(5, b"state"), compact_to=5), Index(5))
    saved, commit = store.load()
    assert saved.snapshot == snapshot(5, b"").meta
    assert (saved.entries, commit) == ((), 5)
    store.close()


@pytest.mark.parametrize(
    ("damage", "record"),
    [
        ("UPDATE log SET data = x'00' WHERE idx = 2", "log entry 2"),
        ("UPDATE log SET term = 9 WHERE idx = 2", "log entry 2"),
        ("DELETE FROM log WHERE idx = 2", "log entry 2"),
        ("UPDATE hard SET term = 9", "term and vote"),
        ("DELETE FROM log WHERE idx = 1", "log entry 1"),
    ],
)
def test_damaged_record_is_named_and_not_skipped(tmp_path: Path, damage: str, record: str) -> None:
    path = tmp_path / "state.db"
    store = LogStore(path)
    store.write(output(entry(1), entry(2), entry(3), hard=HardState(Term(1), A)), Index(0))
    store.close()
    with sqlite3.connect(path) as database:
        database.execute(damage)
    database.close()
    store = LogStore(path)
    with pytest.raises(CorruptStoreError, match=record):
        store.load()
    store.close()


def test_damaged_snapshot_is_named(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.save_snapshot(snapshot(9, b"state"))
    store.close()
    with sqlite3.connect(store.path) as database:
        database.execute("UPDATE snapshot_chunk SET data = x'01'")
    database.close()
    store = LogStore(store.path)
    with pytest.raises(CorruptStoreError, match="snapshot at index 9"):
        store.load_snapshot()
    store.close()


def test_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(CorruptStoreError, match=r"state\.db"):
        LogStore(path)


def test_later_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    LogStore(path).close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE meta SET value = 3 WHERE key = 'format'")
    database.close()
    with pytest.raises(CorruptStoreError, match="format version"):
        LogStore(path)


def test_write_that_fails_promises_nothing(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "state.db")
    store.write(output(entry(1)), Index(0))
    with pytest.raises((StoreFailedError, CorruptStoreError)):
        store.write(output(entry(2), entry(1)), Index(0))
    assert store.load()[0].entries == (entry(1),)
    store.close()


def test_missing_or_emptied_file_of_a_member_is_named_and_not_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.raises(CorruptStoreError, match="missing or empty"):
        LogStore(path, must_exist=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(CorruptStoreError, match="missing or empty"):
        LogStore(path, must_exist=True)
    assert path.stat().st_size == 0
    path.unlink()
    LogStore(path).close()
    LogStore(path, must_exist=True).close()


@pytest.mark.parametrize("kept", [1, 100, 4096, 10_000])
def test_truncated_file_is_named(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "state.db"
    store = LogStore(path)
    store.write(output(*(entry(index, data=b"x" * 200) for index in range(1, 100))), Index(1))
    store.close()
    with path.open("r+b") as file:
        file.truncate(kept)
    with pytest.raises(CorruptStoreError, match=r"state\.db"):
        LogStore(path, must_exist=True).load()


def test_new_file_takes_nothing_over_from_what_lay_there(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    old = LogStore(path)
    old.write(output(entry(1)), Index(1))
    # A daemon that was killed leaves its write-ahead log behind.
    wal = path.with_name("state.db-wal").read_bytes()
    old.close()
    path.with_name("state.db-wal").write_bytes(wal)
    fresh = LogStore.anew(path)
    assert fresh.load() == (SavedState(), 0)
    fresh.close()


def test_opening_and_reading_a_file_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = LogStore(path)
    store.write(output(entry(1), hard=HardState(Term(1), A)), Index(1))
    store.save_snapshot(snapshot(1, b"state"))
    store.close()
    before = path.read_bytes()
    store = LogStore(path, must_exist=True)
    store.load()
    store.load_snapshot()
    store.close()
    assert path.read_bytes() == before
