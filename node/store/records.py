"""The tables of format 2 and the records in them, each with a CRC-32 over all that it says.

Writes and reads rows, and names the first one that is not what was written; opens nothing, decides nothing.  What must
be stable, and in which order, is the business of node.store.log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from node.store.database import Database
from node.store.errors import CorruptStoreError
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, decode_config, encode_config
from protocol.raft.vocabulary import HardState, Snapshot

FORMAT_VERSION = 2
CHUNK_BYTES = 256 * 1024
CHUNKS = 1 << 20
"""Numbers that one snapshot's chunks may take: chunk n of generation g has the number g * CHUNKS + n."""
MISMATCH = "its checksum does not match"

_NONE = Index(0)
_NUMBERS = tuple(Struct(f">{count}Q") for count in range(6))
_TABLES = (
    "meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "position (one INTEGER PRIMARY KEY CHECK (one = 1), writes INTEGER NOT NULL, committed INTEGER NOT NULL,"
    " first INTEGER NOT NULL, last INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT",
    "hard (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, vote TEXT, crc INTEGER NOT NULL) STRICT",
    "log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL,"
    " crc INTEGER NOT NULL) STRICT",
    "snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL, term INTEGER NOT NULL,"
    " config BLOB NOT NULL, size INTEGER NOT NULL, generation INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT",
    "snapshot_chunk (number INTEGER PRIMARY KEY, data BLOB NOT NULL, crc INTEGER NOT NULL) STRICT",
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the file stands: how many writes it has taken, what is committed, which entries it holds (0: none)."""

    writes: int = 0
    committed: Index = _NONE
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Stored:
    """The record of a snapshot; its chunks are those of `generation`."""

    meta: SnapshotMeta
    size: int
    generation: int


def checksum(data: bytes, *numbers: int) -> int:
    """CRC-32 over a record's numbers and bytes: neither may change unnoticed, nor move to another index."""
    return crc32(data, crc32(_NUMBERS[len(numbers)].pack(*numbers)))


def create_tables(database: Database) -> None:
    """Make the tables of an empty file; every record that is always there is there from now on."""
    for table in _TABLES:
        database.execute(f"CREATE TABLE {table}")
    crc = checksum(b"format", FORMAT_VERSION)
    database.execute("INSERT INTO meta VALUES ('format', ?, ?)", (FORMAT_VERSION, crc))
    put_hard(database, HardState())
    put_position(database, Position())


def check_format(database: Database) -> None:
    row = database.one("SELECT value, crc FROM meta WHERE key = 'format'")
    if row is None or checksum(b"format", row[0]) != row[1]:
        raise CorruptStoreError(database.path, "its format version", MISMATCH)


def put_hard(database: Database, hard: HardState) -> None:
    crc = checksum((hard.vote or "").encode(), hard.term)
    database.execute("INSERT OR REPLACE INTO hard VALUES (1, ?, ?, ?)", (hard.term, hard.vote, crc))


def load_hard(database: Database) -> HardState:
    row = database.one("SELECT term, vote, crc FROM hard")
    if row is None or checksum((row[1] or "").encode(), row[0]) != row[2]:
        raise CorruptStoreError(database.path, "the record of term and vote", MISMATCH if row else "it is missing")
    return HardState(Term(row[0]), NodeId(row[1]) if row[1] else None)


def put_position(database: Database, position: Position) -> None:
    numbers = (position.writes, position.committed, position.first, position.last)
    row = (*numbers, checksum(b"position", *numbers))
    database.execute("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?, ?, ?)", row)


def load_position(database: Database) -> Position:
    row = database.one("SELECT writes, committed, first, last, crc FROM position")
    if row is None or checksum(b"position", *row[:4]) != row[4]:
        why = MISMATCH if row else "it is missing"
        raise CorruptStoreError(database.path, "the record of what is committed", why)
    return Position(row[0], Index(row[1]), row[2], row[3])


def put_entries(database: Database, entries: Sequence[Entry]) -> None:
    rows = [(e.index, e.term, int(e.kind), e.data, checksum(e.data, e.index, e.term, e.kind)) for e in entries]
    database.execute_many("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)


def load_entries(database: Database) -> tuple[Entry, ...]:
    """Return the whole log, of either format."""
    entries: list[Entry] = []
    wanted, kinds = None, {int(kind): kind for kind in EntryKind}
    for index, term, kind, data, crc in database.execute("SELECT idx, term, kind, data, crc FROM log ORDER BY idx"):
        if checksum(data, index, term, kind) != crc:
            raise CorruptStoreError(database.path, f"log entry {index}", MISMATCH)
        if index != (wanted or index):
            raise CorruptStoreError(database.path, f"log entry {wanted}", "it is missing")
        entries.append(Entry(index, term, kinds[kind], data))
        wanted = index + 1
    return tuple(entries)


def log_span(database: Database) -> tuple[int, int]:
    """Return the first and last index in the log, 0 and 0 of an empty one."""
    first, last = database.one("SELECT (SELECT min(idx) FROM log), (SELECT max(idx) FROM log)")
    return first or 0, last or 0


def put_stored(database: Database, stored: Stored) -> None:
    meta = stored.meta
    config = encode_config(meta.config)
    crc = checksum(config, meta.index, meta.term, stored.size, stored.generation)
    row = (meta.index, meta.term, config, stored.size, stored.generation, crc)
    database.execute("INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?, ?, ?)", row)


def load_stored(database: Database) -> Stored | None:
    row = database.one("SELECT idx, term, config, size, generation, crc FROM snapshot")
    if row is None:
        return None
    index, term, config, size, generation, crc = row
    if checksum(config, index, term, size, generation) != crc:
        raise CorruptStoreError(database.path, f"the record of the snapshot at index {index}", MISMATCH)
    return Stored(SnapshotMeta(Index(index), Term(term), decode_config(config)), size, generation)


def put_chunks(database: Database, snapshot: Snapshot, generation: int, first: int, count: int) -> None:
    """Write `count` of the snapshot's chunks from the one with the number `first` on."""
    rows = []
    for number in range(first, first + count):
        data = snapshot.state[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        key = generation * CHUNKS + number
        rows.append((key, data, checksum(data, key, snapshot.meta.index)))
    database.execute_many("INSERT INTO snapshot_chunk VALUES (?, ?, ?)", rows)


def chunk_count(size: int) -> int:
    return -(-size // CHUNK_BYTES)


def load_state(database: Database, stored: Stored) -> bytes:
    """Return a snapshot's state, every chunk of it checked."""
    what, state, start = f"the snapshot at index {stored.meta.index}", bytearray(), stored.generation * CHUNKS
    for number, (key, data, crc) in enumerate(_chunks(database, start)):
        if key != start + number:
            raise CorruptStoreError(database.path, f"chunk {number} of {what}", "it is missing")
        if checksum(data, key, stored.meta.index) != crc:
            raise CorruptStoreError(database.path, f"chunk {number} of {what}", MISMATCH)
        state += data
    if len(state) != stored.size:
        raise CorruptStoreError(database.path, what, f"it has {len(state)} bytes instead of {stored.size}")
    return bytes(state)


def _chunks(database: Database, start: int) -> Iterator[tuple[int, bytes, int]]:
    yield from database.execute(
        "SELECT number, data, crc FROM snapshot_chunk WHERE number BETWEEN ? AND ? ORDER BY number",
        (start, start + CHUNKS - 1),
    )


def drop_chunks(database: Database, keep: Sequence[int], count: int) -> bool:
    """Delete up to `count` chunks of generations that are not to be kept; False when there is none."""
    ranges = " AND ".join("number NOT BETWEEN ? AND ?" for _ in keep) or "1"
    bounds = [bound for generation in keep for bound in (generation * CHUNKS, (generation + 1) * CHUNKS - 1)]
    cursor = database.execute(
        f"DELETE FROM snapshot_chunk WHERE number IN (SELECT number FROM snapshot_chunk WHERE {ranges} LIMIT ?)",
        (*bounds, count),
    )
    return cursor.rowcount > 0
