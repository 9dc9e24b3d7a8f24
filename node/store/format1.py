"""Reads the format of the first release, so that its files open for ever; writes nothing.

It differs from format 2 (node.store.records) in that one checksum covered a whole snapshot and none its configuration.
"""

from zlib import crc32

from node.store.database import Database
from node.store.errors import CorruptStoreError
from node.store.records import MISMATCH, checksum, load_entries
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import SnapshotMeta, decode_config
from protocol.raft.vocabulary import HardState, SavedState, Snapshot


def load(database: Database) -> tuple[SavedState, Index, Snapshot | None]:
    """Return all that a file of format 1 holds, verified."""
    snapshot = _load_snapshot(database)
    saved = SavedState(_load_hard(database), snapshot.meta if snapshot else None, load_entries(database))
    return saved, _load_commit(database), snapshot


def _load_hard(database: Database) -> HardState:
    row = database.one("SELECT term, vote, crc FROM hard")
    if row is None:
        return HardState()
    term, vote, crc = row
    if checksum((vote or "").encode(), term) != crc:
        raise CorruptStoreError(database.path, "the record of term and vote", MISMATCH)
    return HardState(Term(term), NodeId(vote) if vote else None)


def _load_commit(database: Database) -> Index:
    found = dict(database.execute("SELECT key, value FROM meta WHERE key IN ('commit', 'commit crc')"))
    if not found:
        return Index(0)
    commit, crc = found.get("commit"), found.get("commit crc")
    if commit is None or checksum(b"commit", commit) != crc:
        raise CorruptStoreError(database.path, "the record of what is committed", MISMATCH)
    return Index(commit)


def _load_snapshot(database: Database) -> Snapshot | None:
    row = database.one("SELECT idx, term, config, size, crc FROM snapshot")
    if row is None:
        return None
    index, term, config, size, crc = row
    state = b"".join(data for (data,) in database.execute("SELECT data FROM snapshot_chunk ORDER BY number"))
    if len(state) != size or checksum(b"", index, term) ^ crc32(state) != crc:
        raise CorruptStoreError(database.path, f"the snapshot at index {index}", MISMATCH)
    return Snapshot(SnapshotMeta(Index(index), Term(term), decode_config(config)), state)
