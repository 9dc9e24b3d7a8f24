"""Raft's log, vote and snapshot in one SQLite file: what was promised here is on disk.

One write is one transaction with a full fsync (WAL, synchronous=FULL); a torn tail of the WAL is dropped whole by
SQLite.  It does not notice later rot, so each record carries a CRC-32 of its own and a bad one is named, never
skipped.  Blocking: the consensus driver calls it from one thread.  Rules from chapter 3.8 and 5 of Ongaro's
dissertation (what must be stable), and STACK's measurements (why SQLite).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from node.store.errors import CorruptStoreError, StoreFailedError
from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, decode_config, encode_config
from protocol.raft.vocabulary import HardState, Output, SavedState, Snapshot

FORMAT_VERSION = 1
CHUNK_BYTES = 256 * 1024

_TABLES = (
    "meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "hard (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, vote TEXT, crc INTEGER NOT NULL) STRICT",
    "log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL,"
    " crc INTEGER NOT NULL) STRICT",
    "snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL, term INTEGER NOT NULL,"
    " config BLOB NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT",
    "snapshot_chunk (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
)


class LogStore:
    """The open file.  `load` first, once; then `write` per output of the core."""

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        """Open the file, and make it unless it `must_exist`: a member that forgot its vote could vote twice."""
        self.path = path
        if must_exist and not (path.exists() and path.stat().st_size):
            raise CorruptStoreError(path, "the file", "it is missing or empty")
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise StoreFailedError(path, str(error)) from error
        try:
            self._open(must_exist)
        except BaseException:
            self._db.close()
            raise

    @classmethod
    def anew(cls, path: Path) -> "LogStore":
        """Open an empty file in place of whatever another cluster left here, its write-ahead log included."""
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        return cls(path)

    def _open(self, must_exist: bool) -> None:
        with self._reading():
            self._db.execute("PRAGMA journal_mode = WAL")
            self.path.chmod(0o600)
            self._db.execute("PRAGMA synchronous = FULL")
            if self._db.execute("PRAGMA synchronous").fetchone() != (2,):
                raise StoreFailedError(self.path, "SQLite refuses synchronous=FULL, so nothing could be promised")
            if not self._db.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchone():
                if must_exist:
                    raise CorruptStoreError(self.path, "the file", "it has no tables")
                self._create_tables()
            (version,) = self._db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() or (0,)
        if version != FORMAT_VERSION:
            raise CorruptStoreError(self.path, "its format version", f"{version} instead of {FORMAT_VERSION}")

    def _create_tables(self) -> None:
        with self._transaction():
            for table in _TABLES:
                self._db.execute(f"CREATE TABLE {table}")
            self._db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT_VERSION,))

    def close(self) -> None:
        """Close the file; every finished write is in it already."""
        self._db.close()

    def load(self) -> tuple[SavedState, Index]:
        """Return what the core starts from, and the highest index known to be committed when it was last written."""
        with self._reading():
            # Of a page whose header is damaged SQLite may read too few rows without a word.
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise CorruptStoreError(self.path, "the file", str(found))
            hard = self._load_hard()
            meta = self._load_snapshot_meta()
            entries = self._load_entries()
            commit = self._load_commit()
        after = meta.index if meta else 0
        if entries and entries[0].index > after + 1:
            raise CorruptStoreError(self.path, f"log entry {after + 1}", "it is missing")
        return SavedState(hard, meta, entries), commit

    def write(self, output: Output, commit: Index) -> None:
        """Make one output durable, in the order its fields name; `commit` is a hint that costs no promise."""
        with self._transaction():
            if output.hard is not None:
                self._put_hard(output.hard)
            if output.install is not None:
                self._put_snapshot(output.install)
            if output.truncate_from is not None:
                self._db.execute("DELETE FROM log WHERE idx >= ?", (output.truncate_from,))
            if output.compact_to is not None:
                self._db.execute("DELETE FROM log WHERE idx <= ?", (output.compact_to,))
            self._put_entries(output.append)
            row = (commit, _crc(b"commit", commit))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('commit', ?), ('commit crc', ?)", row)

    def write_saved(self, saved: SavedState) -> None:
        """Write the start of a new group, before its first member starts."""
        with self._transaction():
            self._put_hard(saved.hard)
            self._put_entries(saved.entries)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot; the log is trimmed later, when the core says so."""
        with self._transaction():
            self._put_snapshot(snapshot)

    def load_snapshot(self) -> Snapshot | None:
        """Return the latest snapshot whole, its checksum verified."""
        with self._reading():
            meta = self._load_snapshot_meta()
            if meta is None:
                return None
            size, crc = self._db.execute("SELECT size, crc FROM snapshot").fetchone()
            state = b"".join(row[0] for row in self._db.execute("SELECT data FROM snapshot_chunk ORDER BY number"))
        if len(state) != size or _crc(b"", meta.index, meta.term) ^ crc32(state) != crc:
            raise CorruptStoreError(self.path, f"the snapshot at index {meta.index}", "its checksum does not match")
        return Snapshot(meta, state)

    def _load_hard(self) -> HardState:
        row = self._db.execute("SELECT term, vote, crc FROM hard").fetchone()
        if row is None:
            return HardState()
        term, vote, crc = row
        if _crc((vote or "").encode(), term) != crc:
            raise CorruptStoreError(self.path, "the record of term and vote", "its checksum does not match")
        return HardState(Term(term), NodeId(vote) if vote else None)

    def _load_commit(self) -> Index:
        select = "SELECT value FROM meta WHERE key IN ('commit', 'commit crc') ORDER BY key"
        row = [value for (value,) in self._db.execute(select)]
        if not row:
            return Index(0)
        if len(row) != 2 or _crc(b"commit", row[0]) != row[1]:
            raise CorruptStoreError(self.path, "the record of what is committed", "its checksum does not match")
        return Index(row[0])

    def _load_snapshot_meta(self) -> SnapshotMeta | None:
        row = self._db.execute("SELECT idx, term, config FROM snapshot").fetchone()
        return SnapshotMeta(Index(row[0]), Term(row[1]), decode_config(row[2])) if row else None

    def _load_entries(self) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        for index, term, kind, data, crc in self._db.execute("SELECT idx, term, kind, data, crc FROM log ORDER BY idx"):
            if _crc(data, index, term, kind) != crc:
                raise CorruptStoreError(self.path, f"log entry {index}", "its checksum does not match")
            if entries and entries[-1].index + 1 != index:
                raise CorruptStoreError(self.path, f"log entry {entries[-1].index + 1}", "it is missing")
            entries.append(Entry(Index(index), Term(term), EntryKind(kind), data))
        return tuple(entries)

    def _put_hard(self, hard: HardState) -> None:
        crc = _crc((hard.vote or "").encode(), hard.term)
        self._db.execute("INSERT OR REPLACE INTO hard VALUES (1, ?, ?, ?)", (hard.term, hard.vote, crc))

    def _put_entries(self, entries: Sequence[Entry]) -> None:
        rows = [(e.index, e.term, int(e.kind), e.data, _crc(e.data, e.index, e.term, e.kind)) for e in entries]
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)

    def _put_snapshot(self, snapshot: Snapshot) -> None:
        meta, state = snapshot.meta, snapshot.state
        crc = _crc(b"", meta.index, meta.term) ^ crc32(state)
        row = (meta.index, meta.term, encode_config(meta.config), len(state), crc)
        self._db.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?, ?)", row)
        self._db.execute("DELETE FROM snapshot_chunk")
        chunks = ((start, state[start : start + CHUNK_BYTES]) for start in range(0, len(state), CHUNK_BYTES))
        self._db.executemany("INSERT INTO snapshot_chunk VALUES (?, ?)", chunks)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._named_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_about_content(error):
                raise StoreFailedError(self.path, str(error)) from error
            raise CorruptStoreError(self.path, "the file", str(error)) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            with self._named_errors():
                yield
        except (ValueError, TypeError, AttributeError, OverflowError, ProtocolError) as error:
            # A damaged record header makes SQLite give values of another type.
            raise CorruptStoreError(self.path, "a record", str(error)) from error


def _is_about_content(error: sqlite3.OperationalError) -> bool:
    """Whether SQLite complains of what it read (its schema, its text) and not of the disk."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF == sqlite3.SQLITE_ERROR


def _crc(data: bytes, *numbers: int) -> int:
    """CRC-32 over a record's numbers and bytes: neither may change unnoticed, nor move to another index."""
    return crc32(data, crc32(b"".join(number.to_bytes(8, "big") for number in numbers)))
