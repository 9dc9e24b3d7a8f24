"""The queue of news that rides on other datagrams: one item a member, each sent a limited number of times.

Least sent goes first, newest among equals (SWIM 4.1, 4.4; memberlist's TransmitLimitedQueue). Newer news of a member
replaces older news of it, so the queue is never longer than the member table.
"""

import math

from protocol.ids import NodeId

_MAX_MISFITS = 4
"""Items too long for the room left that are skipped before giving up; a packet need not be perfectly full."""


def transmit_limit(multiplier: int, members: int) -> int:
    """Return how often each item is sent in a group of so many."""
    return multiplier * math.ceil(math.log(members + 1))


class BroadcastQueue:
    """News by member, in tiers by how often they were sent."""

    def __init__(self) -> None:
        self._tiers: list[dict[NodeId, bytes]] = []
        self._tier_of: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return len(self._tier_of)

    def __contains__(self, node: NodeId) -> bool:
        return node in self._tier_of

    def put(self, node: NodeId, body: bytes) -> None:
        """Queue news of `node`, dropping what was queued of it."""
        self.drop(node)
        self._place(node, body, 0)

    def drop(self, node: NodeId) -> None:
        """Forget news of `node`, if any."""
        tier = self._tier_of.pop(node, None)
        if tier is not None:
            del self._tiers[tier][node]

    def take(self, room: int, limit: int) -> list[bytes]:
        """Return what fits into `room` bytes, counting it as sent; what was sent `limit` times is done."""
        picked: list[tuple[int, NodeId, bytes]] = []
        misfits = 0
        for sent, tier in enumerate(self._tiers):
            for node, body in reversed(tier.items()):
                if len(body) <= room:
                    room -= len(body)
                    picked.append((sent, node, body))
                elif (misfits := misfits + 1) >= _MAX_MISFITS:
                    break
            if misfits >= _MAX_MISFITS:
                break
        # Placed back oldest first, so that the order among equals stays newest first.
        for sent, node, body in reversed(picked):
            self.drop(node)
            if sent + 1 < limit:
                self._place(node, body, sent + 1)
        return [body for _, _, body in picked]

    def _place(self, node: NodeId, body: bytes, tier: int) -> None:
        while len(self._tiers) <= tier:
            self._tiers.append({})
        self._tiers[tier][node] = body
        self._tier_of[node] = tier
