"""Putting a snapshot together from its chunks, and cutting one into chunks.

Hands over only what passes its CRC-32; never touches a disk.  5.2 of Ongaro's dissertation.
"""

from zlib import crc32

from protocol.ids import Term
from protocol.raft.messages import SnapshotChunk
from protocol.raft.vocabulary import Snapshot


class OutgoingSnapshot:
    """A snapshot that a leader holds in memory while some follower needs it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.meta = snapshot.meta
        self.state = snapshot.state
        self._crc = crc32(snapshot.state)

    def cut_chunk(self, term: Term, offset: int, chunk_bytes: int, *, replaces: bool = False) -> SnapshotChunk:
        piece = self.state[offset : offset + chunk_bytes]
        return SnapshotChunk(term, self.meta, len(self.state), self._crc, offset, piece, crc32(piece), replaces)


class IncomingSnapshot:
    """At most one snapshot on its way to us; a different one starts anew."""

    def __init__(self) -> None:
        self._of: object = None
        self._pieces = bytearray()
        self._crc = 0
        self.spoilt_pieces = self.spoilt_wholes = 0
        """What arrived and failed its CRC-32: a fault of memory, disk or network beyond what TLS covers."""

    @property
    def offset(self) -> int:
        """Where the next chunk must begin."""
        return len(self._pieces)

    def accept(self, chunk: SnapshotChunk) -> Snapshot | None:
        """Add a chunk if it is the next one; return the whole once it is complete and correct."""
        of = (chunk.meta, chunk.size, chunk.crc)
        if of != self._of:
            self._forget()
            self._of = of
        if chunk.offset != self.offset:
            return None
        if chunk.piece_crc is not None and chunk.piece_crc != crc32(chunk.data):
            self.spoilt_pieces += 1
            return None
        self._pieces += chunk.data
        self._crc = crc32(chunk.data, self._crc)
        if self.offset < chunk.size:
            return None
        whole = Snapshot(chunk.meta, bytes(self._pieces)) if self._crc == chunk.crc else None
        self.spoilt_wholes += whole is None
        self._forget()
        return whole

    def _forget(self) -> None:
        self._of, self._pieces, self._crc = None, bytearray(), 0
