"""Replies as ready bytes, so that a question asked again costs two look-ups.

Pure but for its memory, which is bounded by bytes.  Keyed by search list and by the query's bytes after the id: no part
of the query is read again.  A zone's change makes a new `ReadyReplies`.  Addresses rotate, and are shuffled anew after
some turns: every address stands first equally often.
"""

from random import Random
from typing import Protocol

from dns.answer import Reply

MAX_READY_BYTES = 2 << 20
MAX_TURN = 256
"""Addresses in one turn; a name with more of them takes others into the next turn."""

TAKES_PER_SHUFFLE = 32
"""Replies taken, at least, before the next shuffle: it costs as much as ten of them."""

ENTRY_BYTES = 400
"""What one entry costs besides its bytes, roughly."""


class Ready(Protocol):
    """One reply after its id, each time it is taken."""

    def take(self) -> bytes:
        """Return the bytes that follow the id."""


class Fixed:
    """A reply that is always the same."""

    __slots__ = ("body",)

    def __init__(self, body: bytes) -> None:
        self.body = body

    def take(self) -> bytes:
        """Return the bytes that follow the id."""
        return self.body


class Rotation:
    """A reply whose addresses come in another order each time."""

    __slots__ = ("_end", "_head", "_offset", "_records", "_ring", "_rng", "_size", "_span", "_tail", "_turns")

    def __init__(self, reply: Reply, rng: Random) -> None:
        self._head = reply.head
        self._tail = reply.tail
        self._records = reply.records
        self._rng = rng
        self._size = len(reply.records[0])
        self._span = reply.shown * self._size
        self._end = self._offset = self._turns = 0
        self._ring = b""

    def take(self) -> bytes:
        """Return the bytes that follow the id."""
        at = self._offset
        if at == self._end:
            at = 0
            if not self._turns:
                self._shuffle()
            self._turns -= 1
        self._offset = at + self._size
        return self._head + self._ring[at : at + self._span] + self._tail

    def _shuffle(self) -> None:
        shown = self._span // self._size
        turn = self._rng.sample(self._records, min(len(self._records), max(MAX_TURN, shown)))
        self._end = len(turn) * self._size
        self._turns = -(-TAKES_PER_SHUFFLE // len(turn))
        self._ring = b"".join(turn + turn[:shown])


def make_ready(reply: Reply, rng: Random) -> Ready:
    """Return `reply` in the form in which it is sent."""
    if len(reply.records) > 1 and reply.shown:
        return Rotation(reply, rng)
    return Fixed(reply.head + b"".join(reply.records[: reply.shown]) + reply.tail)


class ReadyReplies:
    """All replies that are ready for one zone."""

    def __init__(self, rng: Random, max_bytes: int = MAX_READY_BYTES) -> None:
        self._rng = rng
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tables: dict[tuple[str, ...], dict[bytes, Ready]] = {}

    def table(self, suffixes: tuple[str, ...]) -> dict[bytes, Ready]:
        """Return the table of all askers with this search list, to look up `query[2:]` in."""
        return self._tables.setdefault(suffixes, {})

    def keep(self, suffixes: tuple[str, ...], key: bytes, reply: Reply) -> Ready:
        """Keep `reply` for the next query with these bytes, and return it ready to send."""
        ready = make_ready(reply, self._rng)
        if not reply.is_repeatable:
            return ready
        turn = min(len(reply.records), MAX_TURN) + reply.shown
        size = len(reply.records[0]) if reply.records else 0
        cost = ENTRY_BYTES + len(key) + len(reply.head) + turn * size + len(reply.records) * (size + 40)
        if self._bytes + cost > self._max_bytes:
            self._bytes = 0
            for table in self._tables.values():
                table.clear()
        self._bytes += cost
        self.table(suffixes)[key] = ready
        return ready
