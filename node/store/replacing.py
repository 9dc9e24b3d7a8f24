"""Writes the log's content once more, to a new file that takes the old one's place whole, and says whether it has room.

The new file is flushed before it has a name that counts; from then on it is the one that is opened, whatever a crash
leaves of the rest.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from node.store import records
from node.store.database import Database
from node.store.errors import StoreFailedError
from node.store.files import sync_directory
from node.store.records import Position, Stored
from protocol.ids import Index
from protocol.raft.vocabulary import SavedState, Snapshot

ROOM_BYTES = 8 * 1024 * 1024
"""What must be free before a node that had no room goes on: with less it would be full again at once."""
CHUNKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Content:
    """All that a log file holds."""

    saved: SavedState
    commit: Index
    snapshot: Snapshot | None
    writes: int


def check_room(path: Path) -> None:
    """Raise StoreFailedError unless there is some room beside `path`."""
    probe = path.with_name(f"{path.name}.room")
    try:
        descriptor = os.open(probe, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, ROOM_BYTES)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreFailedError(path, error.strerror or str(error)) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def replace_file(path: Path, content: Content) -> None:
    """Write `content` to a new file in the present format and put it in the place of `path`, which is closed."""
    new = path.with_name(f"{path.name}.new")
    try:
        _remove(new)
        _fill(new, content)
        if new.with_name(f"{new.name}-wal").exists():
            raise StoreFailedError(path, "a copy of it could not be finished")
        with new.open("rb") as file:
            os.fsync(file.fileno())
        new.rename(path.with_name(f"{path.name}.next"))
        sync_directory(path.parent)
        finish_replacement(path)
    except OSError as error:
        raise StoreFailedError(path, error.strerror or str(error)) from error


def finish_replacement(path: Path) -> None:
    """Put a file that is to replace `path` in its place, if there is one; the old one's write-ahead log goes first."""
    following = path.with_name(f"{path.name}.next")
    if following.exists():
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        following.rename(path)
        sync_directory(path.parent)
    _remove(path.with_name(f"{path.name}.new"))


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _fill(path: Path, content: Content) -> None:
    database = Database(path)
    try:
        saved, entries = content.saved, content.saved.entries
        with database.transaction():
            records.create_tables(database)
            records.put_hard(database, saved.hard)
            records.put_entries(database, entries)
            first, last = (entries[0].index, entries[-1].index) if entries else (0, 0)
            records.put_position(database, Position(content.writes, content.commit, first, last))
        if content.snapshot is not None:
            _put_snapshot(database, content.snapshot)
    finally:
        database.close()


def _put_snapshot(database: Database, snapshot: Snapshot) -> None:
    chunks = records.chunk_count(len(snapshot.state))
    for first in range(0, chunks, CHUNKS_AT_ONCE):
        with database.transaction():
            records.put_chunks(database, snapshot, 0, first, min(CHUNKS_AT_ONCE, chunks - first))
    with database.transaction():
        records.put_stored(database, Stored(snapshot.meta, len(snapshot.state), 0))
