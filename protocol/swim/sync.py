"""Push/pull: cutting a member table into datagrams, and knocking at seeds until one answers.

Heals what gossip missed. Never sends; rules from memberlist, over datagrams instead of a stream.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from protocol.ids import NodeId
from protocol.swim.members import MemberTable
from protocol.swim.messages import (
    BODY_BUDGET_BYTES,
    MAX_PACKET_MESSAGES,
    MAX_SYNC_DATAGRAMS,
    SYNC_OVERHEAD_BYTES,
    Address,
    Record,
    SyncReply,
    SyncRequest,
    encode_message,
    encode_sync,
)

MAX_SEEDS: Final = 32
"""Addresses knocked at in one join; more of them are cut off."""
MAX_RETRY_INTERVALS: Final = 8
"""How many intervals lie between two knocks at most, when nobody answers for long."""
MAX_PARTIAL_ANSWERS: Final = 4
"""Knocks after which answers that lost parts on the way are good enough; later push/pulls bring the rest."""


def encode_table(
    kind: type[SyncRequest] | type[SyncReply], seq: int, table: MemberTable, peer: NodeId | None, rng: Random
) -> list[bytes]:
    """Return the table as messages for one datagram each; what we and `peer` are believed to be goes first."""
    rest = [row.node for row in table.rows.values() if row.node not in (table.me, peer)]
    rng.shuffle(rest)
    first = list(dict.fromkeys(node for node in (table.me, peer) if node is not None and node in table.rows))
    parts: list[list[bytes]] = [[]]
    room = BODY_BUDGET_BYTES - SYNC_OVERHEAD_BYTES
    left = room
    for node in first + rest:
        row = table.rows[node]
        body = encode_message(Record(node, row.state, row.incarnation, row.meta))
        if len(body) > left or len(parts[-1]) >= MAX_PACKET_MESSAGES:
            if len(parts) == MAX_SYNC_DATAGRAMS:
                break
            parts.append([])
            left = room
        parts[-1].append(body)
        left -= len(body)
    return [encode_sync(kind, seq, part, len(parts), rows) for part, rows in enumerate(parts)]


class Joining:
    """A join under way: seeds to knock at, and which parts of an answer have come."""

    def __init__(self, seeds: Sequence[Address], now: float, interval: float) -> None:
        self.seeds = tuple(dict.fromkeys(seeds))[:MAX_SEEDS]
        self.retry_at = now
        self._interval = interval
        self._knocks = 0
        self._answered = 0
        self._seq = -1
        self._parts: dict[NodeId, set[int]] = {}

    def knock(self, seq: int, now: float) -> None:
        """Note that every seed was just sent a request with `seq`."""
        self._answered += bool(self._parts)
        self._seq, self._parts = seq, {}
        self.retry_at = now + self._interval * min(1 + self._knocks // 4, MAX_RETRY_INTERVALS)
        self._knocks += 1

    def handle_reply(self, reply: SyncReply, sender: NodeId) -> bool:
        """Return whether this completes the join."""
        if reply.seq != self._seq or len(self._parts) >= 2 * MAX_SEEDS:
            return False
        got = self._parts.setdefault(sender, set())
        got.add(reply.part)
        return len(got) >= reply.parts or self._answered >= MAX_PARTIAL_ANSWERS
