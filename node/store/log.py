"""Raft's log, vote and snapshot in one SQLite file: what was promised here is on disk.

One write is one transaction with a full flush; every record carries a checksum of its own, and a bad one is named,
never skipped.  After a failure the file counts for nothing until `load` has opened it anew.  Blocking: the consensus
driver calls it from one thread.  Rules from chapters 3.8 and 5 of Ongaro's dissertation (what must be stable).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from node.crashing import crash_at
from node.store import format1, records
from node.store.database import Database
from node.store.errors import CorruptStoreError, StoreFailedError
from node.store.files import sync_directory, sync_file
from node.store.mark import Mark
from node.store.records import FORMAT_VERSION, Position, Stored
from node.store.replacing import Content, check_room, finish_replacement, replace_file
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot

CHUNKS_PER_STEP = 4
"""Chunks written, or deleted, in one transaction: others wait no longer than for a megabyte."""
VACUUM_PAGES = 256
MANY_FREE_PAGES = 2048
"""Unused pages (of 4 KB) that a file may keep although they are more than half of it."""


@dataclass(frozen=True, slots=True)
class Staging:
    """A snapshot whose chunks are being written; it counts once the store has switched to it."""

    snapshot: Snapshot
    generation: int
    opening: int
    """Which opening of the file it belongs to."""

    def steps(self) -> range:
        """Return the first chunk of each step."""
        return range(0, records.chunk_count(len(self.snapshot.state)), CHUNKS_PER_STEP)


class LogStore:
    """The open file.  `load` first; then `write` per output of the core; after a StoreFailedError `load` again."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """Open the file, and make it unless it `must_exist`: a member that forgot its vote could vote twice."""
        self.path = path
        self._database: Database | None = None
        self._mark: Mark | None = None
        self._why = ""
        self._is_doubtful = False
        """A flush failed, or something else that leaves open what the disk really has."""
        self._position = Position()
        self._generation = self._next_generation = 0
        self._staged: set[int] = set()
        self._opening = 0
        self._open(must_exist)

    @classmethod
    def anew(cls, path: Path) -> "LogStore":
        """Open an empty file in place of whatever another cluster left here, its write-ahead log included."""
        for end in ("", "-wal", "-shm", "-mark", ".new", ".next"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        return cls(path)

    def close(self) -> None:
        """Close the file; every finished write is in it already."""
        database, mark, self._database, self._mark = self._database, self._mark, None, None
        self._why = self._why or "it is closed"
        if database is not None:
            database.close()
        if mark is not None:
            mark.close()

    def load(self) -> tuple[SavedState, Index]:
        """Return what the core starts from, and the highest index known to be committed when it was last written."""
        if self._database is None:
            self._open_again()
        with self._guarded() as database:
            loaded = self._load(database)
            self._flush()
            return loaded

    def load_snapshot(self) -> Snapshot | None:
        """Return the latest snapshot whole, its checksums verified."""
        with self._guarded() as database, database.reading():
            stored = records.load_stored(database)
            return Snapshot(stored.meta, records.load_state(database, stored)) if stored else None

    def write(self, output: Output, commit: Index, staging: Staging | None = None) -> None:
        """Make one output durable, in the order its fields name; `commit` is a hint that costs no promise.

        `staging` is that of `output.install`, if its chunks are written already.
        """
        crash_at("store.before-write")
        if output.install is not None and staging is None:
            staging = self.stage_all(output.install)
        if staging is not None:
            self._check_opening(staging)
        with self._counted() as database:
            if output.hard is not None:
                records.put_hard(database, output.hard)
            if staging is not None:
                self._put_stored(database, staging)
            if output.truncate_from is not None:
                database.execute("DELETE FROM log WHERE idx >= ?", (output.truncate_from,))
            if output.compact_to is not None:
                database.execute("DELETE FROM log WHERE idx <= ?", (output.compact_to,))
            records.put_entries(database, output.append)
            first, last = self._span_after(database, output)
            self._position = replace(self._position, committed=commit, first=first, last=last)
        if staging is not None:
            self._generation = staging.generation
            self._staged.discard(staging.generation)

    def write_saved(self, saved: SavedState) -> None:
        """Write the start of a new group, before its first member starts."""
        with self._counted() as database:
            records.put_hard(database, saved.hard)
            records.put_entries(database, saved.entries)
            first, last = records.log_span(database)
            self._position = replace(self._position, first=first, last=last)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot; the log is trimmed later, when the core says so."""
        self.switch(self.stage_all(snapshot))
        while self.tidy():
            pass

    # A large snapshot is written in steps, so that other writes can come in between.

    def begin_staging(self, snapshot: Snapshot) -> Staging:
        """Begin to write a snapshot that does not count yet."""
        crash_at("snapshot.begun")
        with self._guarded():
            staging = Staging(snapshot, self._next_generation, self._opening)
            self._staged.add(staging.generation)
            self._next_generation += 1
            return staging

    def stage(self, staging: Staging, first: int) -> None:
        """Write the chunks of one step."""
        count = min(CHUNKS_PER_STEP, records.chunk_count(len(staging.snapshot.state)) - first)
        self._check_opening(staging)
        with self._guarded() as database, database.transaction():
            records.put_chunks(database, staging.snapshot, staging.generation, first, count)
        crash_at("snapshot.mid-save")

    def stage_all(self, snapshot: Snapshot) -> Staging:
        staging = self.begin_staging(snapshot)
        for first in staging.steps():
            self.stage(staging, first)
        return staging

    def switch(self, staging: Staging) -> None:
        """Have a staged snapshot count, unless a later one does by now."""
        crash_at("snapshot.before-switch")
        self._check_opening(staging)
        with self._guarded() as database, database.reading():
            stored = records.load_stored(database)
        if stored is None or stored.meta.index < staging.snapshot.meta.index:
            with self._counted() as database:
                self._put_stored(database, staging)
            self._generation = staging.generation
        self._staged.discard(staging.generation)
        crash_at("snapshot.after-switch")

    def tidy(self) -> bool:
        """Give back a little of the space that older snapshots took; False when there is none to give back."""
        with self._guarded() as database:
            with database.transaction():
                if records.drop_chunks(database, (self._generation, *sorted(self._staged)), CHUNKS_PER_STEP):
                    return True
            with database.reading():
                (free,), (pages,) = database.one("PRAGMA freelist_count"), database.one("PRAGMA page_count")
                if free < MANY_FREE_PAGES or free * 2 < pages:
                    return False
                database.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})").fetchall()
            return True

    # Opening.

    def _open(self, must_exist: bool) -> None:
        try:
            finish_replacement(self.path)
            if must_exist and not (self.path.exists() and self.path.stat().st_size):
                raise CorruptStoreError(self.path, "the file", "it is missing or empty")
            database = Database(self.path)
        except OSError as error:
            raise StoreFailedError(self.path, error.strerror or str(error)) from error
        try:
            if self._find_format(database, must_exist) != FORMAT_VERSION:
                database = self._migrate(database)
            self._mark = Mark(self.path.with_name(f"{self.path.name}-mark"))
            self._database = database
        except OSError as error:
            database.close()
            raise StoreFailedError(self.path, error.strerror or str(error)) from error
        except BaseException:
            database.close()
            raise
        self._opening += 1
        self._staged.clear()

    def _find_format(self, database: Database, must_exist: bool) -> int:
        if not database.has_table("meta"):
            if must_exist:
                raise CorruptStoreError(self.path, "the file", "it has no tables")
            with database.transaction():
                records.create_tables(database)
            sync_directory(self.path.parent)
        with database.reading():
            (version,) = database.one("SELECT value FROM meta WHERE key = 'format'") or (0,)
            if version == FORMAT_VERSION:
                records.check_format(database)
        if version not in (1, FORMAT_VERSION):
            raise CorruptStoreError(self.path, "its format version", f"{version}, this release reads 1 and 2")
        return int(version)

    def _migrate(self, database: Database) -> Database:
        with database.reading():
            _check_file(database)
            saved, commit, snapshot = format1.load(database)
        database.close()
        replace_file(self.path, Content(saved, commit, snapshot, writes=0))
        return Database(self.path)

    def _open_again(self) -> None:
        """Open the file after a failure; nothing that was held in memory is believed any more."""
        check_room(self.path)
        self._open(must_exist=True)
        if self._is_doubtful:
            # After a failed flush the system's cache shows what the disk may not have, and calls it clean: another
            # flush would succeed and write nothing.  So all of it is written once more, to a new file.
            with self._guarded() as database:
                saved, commit = self._load(database)
            content = Content(saved, commit, self.load_snapshot(), self._position.writes)
            self.close()
            replace_file(self.path, content)
            self._is_doubtful = False
            self._open(must_exist=True)
        self._why = ""

    def _load(self, database: Database) -> tuple[SavedState, Index]:
        with database.reading():
            _check_file(database)
            hard = records.load_hard(database)
            position = self._position = records.load_position(database)
            self._check_mark()
            stored = records.load_stored(database)
            entries = records.load_entries(database)
            self._note_generations(database, stored)
        found = (entries[0].index, entries[-1].index) if entries else (0, 0)
        if found != (position.first, position.last):
            missing = position.first if found[0] != position.first else found[1] + 1
            raise CorruptStoreError(self.path, f"log entry {missing}", "it is missing")
        after = stored.meta.index if stored else 0
        if entries and entries[0].index > after + 1:
            raise CorruptStoreError(self.path, f"log entry {after + 1}", "it is missing")
        return SavedState(hard, stored.meta if stored else None, entries), position.committed

    def _flush(self) -> None:
        """Have on the disk what was read: a daemon that was killed may have left it in the system's cache alone."""
        try:
            for path in (self.path, self.path.with_name(f"{self.path.name}-wal")):
                if path.exists():
                    sync_file(path)
        except OSError as error:
            raise StoreFailedError(self.path, error.strerror or str(error)) from error
        if self._mark is not None and self._mark.read() != self._position.writes:
            self._mark.write(self._position.writes)

    def _check_mark(self) -> None:
        acknowledged = self._mark.read() if self._mark is not None else 0
        if (lost := acknowledged - self._position.writes) > 0:
            wal = self.path.with_name(f"{self.path.name}-wal")
            raise CorruptStoreError(wal, "its end", f"{lost} of {acknowledged} acknowledged writes are missing")

    def _note_generations(self, database: Database, stored: Stored | None) -> None:
        (highest,) = database.one("SELECT max(number) FROM snapshot_chunk")
        self._generation = stored.generation if stored else -1
        self._next_generation = max((highest or 0) // records.CHUNKS, self._generation) + 1

    # Writing.

    @contextmanager
    def _guarded(self) -> Iterator[Database]:
        """Give up the file with the first failure: what it holds now is not known."""
        database = self._database
        if database is None:
            raise StoreFailedError(self.path, self._why)
        try:
            yield database
        except StoreFailedError as error:
            self._why = error.why
            self._is_doubtful = self._is_doubtful or not database.is_full
            self.close()
            raise

    @contextmanager
    def _counted(self) -> Iterator[Database]:
        """One durable write that is acknowledged: it has a number, which the mark keeps."""
        before = self._position
        try:
            with self._guarded() as database, database.transaction():
                yield database
                self._position = replace(self._position, writes=self._position.writes + 1)
                records.put_position(database, self._position)
                crash_at("store.before-flush")
        except BaseException:
            self._position = before
            raise
        if self._mark is not None:
            self._mark.write(self._position.writes)
        crash_at("store.after-flush")

    def _span_after(self, database: Database, output: Output) -> tuple[int, int]:
        """Return the first and last index in the log; where it only grew at its end there is no need to look."""
        if output.truncate_from is not None or output.compact_to is not None or not self._position.last:
            return records.log_span(database)
        return self._position.first, output.append[-1].index if output.append else self._position.last

    def _put_stored(self, database: Database, staging: Staging) -> None:
        snapshot = staging.snapshot
        records.put_stored(database, Stored(snapshot.meta, len(snapshot.state), staging.generation))

    def _check_opening(self, staging: Staging) -> None:
        if staging.opening != self._opening:
            raise StoreFailedError(self.path, "a snapshot was half written when the file had to be opened anew")


def _check_file(database: Database) -> None:
    # Of a page whose header is damaged SQLite may read too few rows without a word.
    (found,) = database.one("PRAGMA quick_check(1)")
    if found != "ok":
        raise CorruptStoreError(database.path, "the file", str(found))
