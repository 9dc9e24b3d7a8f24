"""Compares the states of all replicas at one index: every so many entries, or after a while if anything has changed.

The leader asks, each member takes the digest of its state exactly at that index, in a thread, and the leader judges.
A replica that differs from a majority is given a snapshot; without a majority that agrees there is only an alarm.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from node.drive.consensus_ports import Offload, Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.model import State
from node.state import state_digest
from protocol.ids import Index, NodeId
from protocol.messages import Kind, decode_index, encode_index
from protocol.raft.core import Raft
from protocol.raft.messages import Entry

EVERY_ENTRIES = 4096
EVERY = 60.0
LOOK_EVERY = 5.0
ANSWER_TIMEOUT = 20.0
MAX_WANTED = 16
"""Indexes whose digests are waited for at one time."""

log = logging.getLogger("corral.digests")


@dataclass(slots=True, eq=False)
class Wanted:
    """A digest that is to be taken once this node has applied so much, and no more."""

    state: State | None = None
    reached: trio.Event = field(default_factory=trio.Event)


def pick_deviants(digests: Mapping[NodeId, str]) -> tuple[frozenset[NodeId], bool]:
    """Return who differs from the rest, and whether a majority of those who answered says so."""
    if len(set(digests.values())) < 2:
        return frozenset(), True
    digest, count = Counter(digests.values()).most_common(1)[0]
    deviants = frozenset(node for node, each in digests.items() if each != digest)
    return (deviants, True) if 2 * count > len(digests) else (frozenset(digests), False)


@dataclass(slots=True, eq=False)
class Digests:
    """Both ends: what is asked of this node, and what this node asks as the leader."""

    me: NodeId
    transport: Transport
    offload: Offload
    raft: Callable[[], Raft | None]
    applied: Callable[[], Index]
    state: Callable[[], State | None]
    replace: Callable[[NodeId], Awaitable[None]]
    """Has a member's state replaced by the leader's, or, asked of the leader itself, lets another lead."""
    alarms: dict[NodeId, str] = field(default_factory=dict)
    compared: Index = Index(0)  # noqa: RUF009
    """The last index at which all that answered agreed."""
    _compared_at: float = 0.0
    _wanted: dict[Index, Wanted] = field(default_factory=dict)

    def cut(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Shorten what is applied in one go so that a state whose digest is wanted exists for a moment."""
        if not self._wanted:
            return entries
        stop = min((index for index in self._wanted if index >= entries[0].index), default=entries[-1].index)
        return entries[: max(1, stop - entries[0].index + 1)]

    def note_applied(self) -> None:
        """Something was applied: keep the states that are waited for."""
        for index in [index for index in self._wanted if index <= self.applied()]:
            wanted = self._wanted.pop(index)
            wanted.state = self.state() if index == self.applied() else None
            wanted.reached.set()

    async def answer(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.DIGEST."""
        return (await self._take(decode_index(payload)) or "").encode()

    async def run(self) -> None:
        """Compare whenever this node leads and it is time, until cancelled."""
        while True:
            await trio.sleep(LOOK_EVERY)
            raft = self.raft()
            if raft is None or not raft.is_leader:
                self.alarms.clear()
            elif self._is_due(raft):
                await self._compare(raft)

    def _is_due(self, raft: Raft) -> bool:
        entries = raft.last_index - self.compared
        return entries >= EVERY_ENTRIES or (entries > 0 and trio.current_time() - self._compared_at >= EVERY)

    async def _compare(self, raft: Raft) -> None:
        """Ask everybody at an index that all of them are yet to reach, or have just reached."""
        index, digests = raft.last_index, dict[NodeId, str]()

        async def ask(node: NodeId) -> None:
            if (digest := await self._ask(node, index)) is not None:
                digests[node] = digest

        async with trio.open_nursery() as nursery:
            for node in raft.config.members:
                nursery.start_soon(ask, node)
        self._compared_at = trio.current_time()
        if self.me in digests:
            await self._judge(index, digests)

    async def _judge(self, index: Index, digests: Mapping[NodeId, str]) -> None:
        deviants, is_clear = pick_deviants(digests)
        if not deviants:
            self.compared = index
            self.alarms = {node: text for node, text in self.alarms.items() if node not in digests}
            return
        for node in sorted(deviants):
            advice = "it is given a snapshot" if is_clear else "no majority agrees on what is right"
            self.alarms[node] = f"the state of {node[:8]} differs from the others' at entry {index}: {advice}"
            log.error("%s", self.alarms[node])
        for node in sorted(deviants) if is_clear else ():
            await self.replace(node)

    async def _ask(self, node: NodeId, index: Index) -> str | None:
        if node == self.me:
            return await self._take(index)
        try:
            reply = await self.transport.request(node, Kind.DIGEST, encode_index(index), timeout=ANSWER_TIMEOUT)
        except (LinkDownError, RequestFailedError):
            return None
        return reply.decode("ascii", "replace") or None

    async def _take(self, index: Index) -> str | None:
        """Return the digest of the state at `index`, None if it has passed or does not come in time."""
        if index < self.applied() or (index not in self._wanted and len(self._wanted) >= MAX_WANTED):
            return None
        wanted = self._wanted.setdefault(index, Wanted())
        self.note_applied()
        with trio.move_on_after(ANSWER_TIMEOUT):
            await wanted.reached.wait()
        if not wanted.reached.is_set():
            self._wanted.pop(index, None)
        return None if wanted.state is None else str(await self.offload(state_digest, wanted.state))
