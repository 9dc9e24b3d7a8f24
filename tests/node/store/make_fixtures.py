"""Makes the samples of each released format in tests/node/store/fixtures: `python -m tests.node.store.make_fixtures`.

It makes only what is not there: a sample of a released format is never made again.  What a release no longer writes is
written here by hand, as that release did.
"""

import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from random import Random
from zlib import crc32

import msgspec

from node.state import encode_state
from node.store.files import write_checked
from node.store.log import LogStore
from protocol.ids import Index, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, encode_config, make_config
from protocol.raft.vocabulary import HardState, SavedState, Snapshot
from tests.fakes.states import grown, node_id, with_service, with_stack
from tests.node.store.outputs import output
from tests.node.store.test_identity import identity

FIXTURES = Path(__file__).parent / "fixtures"
CONFIG = make_config([node_id(1), node_id(2), node_id(3)], [node_id(4)])
STATE = Random(1).randbytes(3000)
SNAPSHOT = Snapshot(SnapshotMeta(Index(40), Term(3), CONFIG), STATE)
ENTRIES = tuple(Entry(Index(n), Term(1 + n // 20), EntryKind.COMMAND, b"%d" % n * (n % 7)) for n in range(30, 60))
SAVED = SavedState(HardState(Term(7), node_id(2)), SNAPSHOT.meta, ENTRIES)
COMMIT = Index(57)


def write_format1(path: Path) -> sqlite3.Connection:
    """Write the sample as the first release did, and return the open file."""
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(
        """PRAGMA journal_mode = WAL;
        BEGIN;
        CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE hard (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, vote TEXT,
            crc INTEGER NOT NULL) STRICT;
        CREATE TABLE log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL,
            crc INTEGER NOT NULL) STRICT;
        CREATE TABLE snapshot (one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER NOT NULL, term INTEGER NOT NULL,
            config BLOB NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
        CREATE TABLE snapshot_chunk (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
        INSERT INTO meta VALUES ('format', 1);"""
    )
    hard, meta = SAVED.hard, SNAPSHOT.meta
    vote = (hard.vote or "").encode()
    database.execute("INSERT INTO hard VALUES (1, ?, ?, ?)", (hard.term, hard.vote, crc1(vote, hard.term)))
    crc = crc1(b"", meta.index, meta.term) ^ crc32(STATE)
    row = (meta.index, meta.term, encode_config(meta.config), len(STATE), crc)
    database.execute("INSERT INTO snapshot VALUES (1, ?, ?, ?, ?, ?)", row)
    database.execute("INSERT INTO snapshot_chunk VALUES (0, ?)", (STATE,))
    rows = [(e.index, e.term, int(e.kind), e.data, crc1(e.data, e.index, e.term, e.kind)) for e in ENTRIES]
    database.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?)", rows)
    commit = (COMMIT, crc1(b"commit", COMMIT))
    database.execute("INSERT OR REPLACE INTO meta VALUES ('commit', ?), ('commit crc', ?)", commit)
    database.execute("COMMIT")
    return database


def crc1(data: bytes, *numbers: int) -> int:
    return crc32(data, crc32(b"".join(number.to_bytes(8, "big") for number in numbers)))


def write_present(path: Path) -> LogStore:
    """Write the sample with this release, and return the open file."""
    store = LogStore(path)
    store.save_snapshot(SNAPSHOT)
    store.write(output(*ENTRIES, hard=SAVED.hard), COMMIT)
    return store


def main() -> None:
    """Make what is missing."""
    FIXTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, write in ((1, write_format1), (2, write_present)):
            path = Path(folder) / f"state-{number}.db"
            database = write(path)
            # As a daemon that was killed leaves it, its write-ahead log beside it.
            _keep(path, f"killed-{number}.db")
            database.close()
            _keep(path, f"state-{number}.db")
        identity_file = FIXTURES / "identity-1"
        if not identity_file.exists():
            write_checked(identity_file, msgspec.json.encode(identity()))
        state_file = FIXTURES / "state-codec-1"
        if not state_file.exists():
            state_file.write_bytes(encode_state(with_service(with_stack(grown()))))


def _keep(path: Path, name: str) -> None:
    if (FIXTURES / name).exists():
        return
    for end in ("", "-wal", "-mark"):
        source = path.with_name(path.name + end)
        if source.exists():
            shutil.copy(source, FIXTURES / (name + end))
            os.chmod(FIXTURES / (name + end), 0o644)
    sys.stdout.write(f"made {name}\n")


if __name__ == "__main__":
    main()
