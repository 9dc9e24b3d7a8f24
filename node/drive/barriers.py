"""Linearizable reads: waits until this node has applied all that anybody may have been told before the question.

The leader's core says up to which entry that is (6.4 of Ongaro's dissertation); a follower asks the leader over the
link.  Writes nothing to the log.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from node.drive.consensus_ports import Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.ports import Unavailable
from protocol.errors import DecodeError
from protocol.ids import Index, NodeId
from protocol.messages import Kind, decode_index, encode_index
from protocol.raft.core import Raft
from protocol.raft.vocabulary import NotLeader, ReadAnswer

MAX_WAITING = 4096
ASK_TIMEOUT = 2.0
"""How long one attempt to have the leader answer may take before it is made again."""
Call = Callable[[Callable[[Raft, float], None]], None]


@dataclass(slots=True, eq=False)
class Question:
    """Somebody who waits for the leader's core to say up to where a read must have applied."""

    answered: trio.Event = field(default_factory=trio.Event)
    index: Index | None = None

    def answer(self, index: Index | None) -> None:
        self.index = index
        self.answered.set()


@dataclass(slots=True, eq=False)
class Barriers:
    """Both ends: who waits here, and what others ask of this node as the leader."""

    me: NodeId
    transport: Transport
    leader: Callable[[], NodeId | None]
    applied: Callable[[], Index]
    call: Call
    """Has a function called with the core, by the task that owns it."""
    retry_interval: float
    _waiting: int = 0
    _gathered: list[Question] = field(default_factory=list)
    """Questions that the core has not been asked yet; all of them are one to it."""
    _asked: dict[int, list[Question]] = field(default_factory=dict)
    _progressed: trio.Event = field(default_factory=trio.Event)
    """Something was applied, or who leads has changed."""

    async def wait(self, timeout: float) -> Index:
        """Return once a read here is linearizable; Unavailable if no quorum has said so in time."""
        if self._waiting >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} reads wait for a majority already; try again shortly")
        self._waiting += 1
        try:
            with trio.move_on_after(timeout):
                index = await self._find_index()
                while self.applied() < index:
                    await self._progressed.wait()
                return index
        finally:
            self._waiting -= 1
        raise Unavailable(
            f"no majority has confirmed within {timeout:g} s that this is the latest state; a read without "
            "X-Corral-Read shows what this node knows"
        )

    async def answer(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.READ_INDEX."""
        index = await self._ask_here() if self.leader() == self.me else None
        if index is None:
            raise Unavailable("this node does not lead")
        return encode_index(index)

    def note_reads(self, reads: Iterable[ReadAnswer]) -> None:
        """The core has answered."""
        for read in reads:
            for question in self._asked.pop(read.number, ()):
                question.answer(read.index)

    def note_progress(self) -> None:
        """Something was applied here, or who leads has changed."""
        self._progressed.set()
        self._progressed = trio.Event()

    def fail(self) -> None:
        """The core that was asked is gone."""
        questions = [*self._gathered, *(each for asked in self._asked.values() for each in asked)]
        self._gathered, self._asked = [], {}
        for question in questions:
            question.answer(None)

    async def _find_index(self) -> Index:
        while True:
            progressed = self._progressed
            leader = self.leader()
            index = None
            if leader == self.me:
                index = await self._ask_here()
            elif leader is not None:
                index = await self._ask_there(leader)
            if index is not None:
                return index
            with trio.move_on_after(self.retry_interval):
                await progressed.wait()

    async def _ask_here(self) -> Index | None:
        question = Question()
        if not self._gathered:
            self.call(self._ask_core)
        self._gathered.append(question)
        await question.answered.wait()
        return question.index

    def _ask_core(self, raft: Raft, now: float) -> None:
        gathered, self._gathered = self._gathered, []
        try:
            self._asked[raft.read_index(now)] = gathered
        except NotLeader:
            for question in gathered:
                question.answer(None)

    async def _ask_there(self, leader: NodeId) -> Index | None:
        try:
            return decode_index(await self.transport.request(leader, Kind.READ_INDEX, b"", timeout=ASK_TIMEOUT))
        except (LinkDownError, RequestFailedError, DecodeError):
            return None
