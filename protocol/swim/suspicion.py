"""How long a suspicion lasts before it becomes a death: long for one accuser, short once others confirm.

Rules: Lifeguard (arXiv 1707.00788), LHA-Suspicion. The number of confirmations waited for follows the number of
members that could still give one, so that the last members standing need not wait for the dead to confirm.
"""

import math

from protocol.ids import Incarnation, NodeId


def suspicion_timeout(confirmed: int, needed: int, shortest: float, longest: float) -> float:
    """Return the span for `confirmed` of `needed` independent confirmations."""
    if confirmed >= needed:
        return shortest
    decay = math.log(confirmed + 1) / math.log(needed + 1)
    return max(shortest, longest - (longest - shortest) * decay)


class Suspicion:
    """One running suspicion."""

    __slots__ = ("accusers", "hastened", "incarnation", "started_at")

    def __init__(self, incarnation: Incarnation, accuser: NodeId, started_at: float, *, hastened: bool = False) -> None:
        """`hastened`: somebody waited out a suspicion already, confirmations are not waited for again."""
        self.incarnation = incarnation
        self.accusers: dict[NodeId, None] = {accuser: None}
        self.started_at = started_at
        self.hastened = hastened

    @property
    def accuser(self) -> NodeId:
        """Who accused first."""
        return next(iter(self.accusers))

    def confirm(self, accuser: NodeId, enough: int) -> bool:
        """Note another accuser; return whether it is news worth passing on."""
        if accuser in self.accusers or len(self.accusers) > enough:
            return False
        self.accusers[accuser] = None
        return True

    def ends_at(self, needed: int, shortest: float, longest: float) -> float:
        """When the accused is dead, as things stand."""
        confirmed = needed if self.hastened else len(self.accusers) - 1
        return self.started_at + suspicion_timeout(confirmed, needed, shortest, longest)
