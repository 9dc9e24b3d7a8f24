"""The member table: who is believed to be what, which claim beats which, and who is forgotten when.

Holds our own row too. Never decides what to do about a change; `claims` does. Rules: SWIM 4.2, with one total order
(incarnation first, then alive < suspect < dead < left) and revival by a higher incarnation, as memberlist has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from protocol.ids import Incarnation, NodeId
from protocol.swim.messages import Address, Meta, State

MAX_MEMBERS: Final = 4096
"""Rows in the table, the gone included; newcomers beyond are ignored unless somebody gone can be forgotten."""
MAX_GONE: Final = 512
"""Dead and departed members remembered; the longest gone is forgotten first."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is believed of one member since `changed_at`."""

    node: NodeId
    meta: Meta
    state: State
    incarnation: Incarnation
    changed_at: float

    @property
    def address(self) -> Address:
        return Address(self.meta.address, self.meta.port)

    @property
    def is_gone(self) -> bool:
        return self.state >= State.DEAD

    def yields_to(self, state: State, incarnation: int) -> bool:
        """Whether a claim of `state` in `incarnation` beats what is believed."""
        return (incarnation, state) > (self.incarnation, self.state)


class MemberTable:
    """Members by identity, ours included."""

    def __init__(self, mine: Member) -> None:
        self.me = mine.node
        self._rows: dict[NodeId, Member] = {mine.node: mine}
        self._gone: dict[NodeId, None] = {}
        """In the order in which they went."""
        self._alive: frozenset[NodeId] | None = None
        self.rows: Mapping[NodeId, Member] = MappingProxyType(self._rows)

    @property
    def mine(self) -> Member:
        return self._rows[self.me]

    @property
    def alive(self) -> frozenset[NodeId]:
        """Everybody alive or merely suspect."""
        if self._alive is None:
            self._alive = frozenset(node for node, row in self._rows.items() if not row.is_gone)
        return self._alive

    def others(self) -> list[Member]:
        """Everybody alive or suspect but us, in a stable order."""
        return [row for row in self._rows.values() if row.state < State.DEAD and row.node != self.me]

    def healthy_others(self) -> int:
        """How many but us are alive beyond suspicion."""
        return sum(row.state is State.ALIVE for row in self._rows.values()) - (self.mine.state is State.ALIVE)

    def gone(self) -> list[Member]:
        """The dead and departed, longest gone first."""
        return [self._rows[node] for node in self._gone]

    def put(self, member: Member) -> None:
        """Write one row."""
        self._rows[member.node] = member
        self._alive = None
        if not member.is_gone:
            self._gone.pop(member.node, None)
        elif member.node != self.me:
            self._gone.setdefault(member.node)

    def surplus(self) -> list[Member]:
        """The gone beyond MAX_GONE, who are to be forgotten."""
        return self.gone()[: max(0, len(self._gone) - MAX_GONE)]

    def overdue(self, before: float) -> list[Member]:
        """The gone whose last change lies before `before`."""
        return [row for row in self.gone() if row.changed_at < before]

    def is_full(self) -> bool:
        return len(self._rows) >= MAX_MEMBERS

    def forget(self, node: NodeId) -> None:
        """Drop a row; never ours."""
        if node != self.me:
            self._rows.pop(node, None)
            self._gone.pop(node, None)
            self._alive = None
