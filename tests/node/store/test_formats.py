"""What a released version wrote opens for ever: the samples in fixtures/ were made by those versions' formats."""

import shutil
from pathlib import Path

import pytest

from node.state import decode_state
from node.store.errors import CorruptStoreError, StoreFailedError
from node.store.identity import DataFolder
from node.store.log import LogStore
from node.store.records import FORMAT_VERSION
from protocol.raft.vocabulary import HardState
from tests.node.store.make_fixtures import COMMIT, FIXTURES, SAVED, SNAPSHOT, write_format1
from tests.node.store.outputs import entry, output
from tests.node.store.test_identity import identity


def copied(name: str, folder: Path) -> Path:
    """Copy a sample as a daemon finds it."""
    for end in ("", "-wal", "-mark"):
        source = FIXTURES / (name + end)
        if source.exists():
            shutil.copy(source, folder / ("state.db" + end))
    return folder / "state.db"


@pytest.mark.parametrize("name", ["state-1.db", "killed-1.db", "state-2.db", "killed-2.db"])
def test_file_of_each_released_format_opens_with_all_that_is_in_it(name: str, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    for _ in range(2):  # The second time it is of the present format.
        store = LogStore(path, must_exist=True)
        assert store.load() == (SAVED, COMMIT)
        assert store.load_snapshot() == SNAPSHOT
        store.close()


def test_there_is_a_sample_of_every_format() -> None:
    for number in range(1, FORMAT_VERSION + 1):
        assert (FIXTURES / f"state-{number}.db").exists()
        assert (FIXTURES / f"killed-{number}.db-wal").exists()


def test_migrated_file_takes_writes(tmp_path: Path) -> None:
    store = LogStore(copied("killed-1.db", tmp_path), must_exist=True)
    store.load()
    store.write(output(entry(60, 7), hard=HardState(SAVED.hard.term, SAVED.hard.vote)), COMMIT)
    store.close()
    store = LogStore(store.path, must_exist=True)
    assert store.load()[0].entries == (*SAVED.entries, entry(60, 7))
    store.close()


@pytest.mark.parametrize("left", ["state.db.new", "state.db.next"])
def test_migration_that_was_cut_off_is_made_again_or_finished(left: str, tmp_path: Path) -> None:
    path = copied("killed-1.db", tmp_path)
    source = "state-1.db" if left.endswith(".new") else "state-2.db"
    shutil.copy(FIXTURES / source, tmp_path / left)
    store = LogStore(path, must_exist=True)
    assert store.load() == (SAVED, COMMIT)
    store.close()
    assert not (tmp_path / left).exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE snapshot_chunk SET data = x'01'",
        "UPDATE hard SET term = 99",
        "UPDATE log SET data = x'01' WHERE idx = 44",
        "UPDATE meta SET value = 3 WHERE key = 'commit'",
    ],
)
def test_damaged_file_of_format_1_is_not_migrated(damage: str, tmp_path: Path) -> None:
    database = write_format1(tmp_path / "state.db")
    database.execute(damage)
    database.close()
    with pytest.raises(CorruptStoreError):
        LogStore(tmp_path / "state.db", must_exist=True)


def test_migration_without_room_leaves_the_old_file_as_it_was(tmp_path: Path) -> None:
    path = copied("state-1.db", tmp_path)
    (tmp_path / "state.db.new").mkdir()  # Stands for any reason why a new file cannot be made.
    with pytest.raises(StoreFailedError, match=r"state\.db"):
        LogStore(path, must_exist=True)
    (tmp_path / "state.db.new").rmdir()
    store = LogStore(path, must_exist=True)
    assert store.load() == (SAVED, COMMIT)
    store.close()


def test_identity_of_each_released_format_opens(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "identity-1", tmp_path / "identity")
    assert DataFolder(tmp_path).load() == identity()


def test_state_in_a_snapshot_of_each_released_format_opens() -> None:
    state = decode_state((FIXTURES / "state-codec-1").read_bytes())
    assert sorted(host.name for host in state.hosts.values()) == ["h1", "h2", "h3"]
    assert [service.name for service in state.services.values()] == ["web"]
    assert [stack.name for stack in state.stacks.values()] == ["shop"]
