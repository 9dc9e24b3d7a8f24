"""Handing over leadership: asks the core of whoever leads, and waits until another member does.

Chooses nobody itself unless told whom; 3.10 of Ongaro's dissertation is in the core.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.drive.barriers import Call
from node.drive.consensus_ports import Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.ports import RefusedError, Unavailable
from protocol.errors import DecodeError, ProtocolError
from protocol.ids import NodeId
from protocol.messages import Kind, TransferReply, decode_transfer_reply, encode as encode_record
from protocol.raft.core import Raft
from protocol.raft.vocabulary import NotLeader, TransferRefused

TRANSFER_TIMEOUT = 3.0
"""Longer than the core tries, so that its giving up is seen."""
POLL = 0.05
CANNOT_BE = "Conflict"
"""The code of a refusal, from whichever node it comes."""

log = logging.getLogger("corral.handover")


@dataclass(slots=True, eq=False)
class Begun:
    """The core's answer to a wish to hand over."""

    heir: NodeId | None = None
    refusal: ProtocolError | None = None
    answered: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True, eq=False)
class Handover:
    """Both ends: what is asked here, and what others ask of this node as the leader."""

    me: NodeId
    transport: Transport
    raft: Callable[[], Raft | None]
    call: Call

    async def transfer(self, to: NodeId | None) -> NodeId:
        """Have the voter `to`, or whoever is furthest, lead; return who leads then.

        RefusedError if it cannot be that one, Unavailable if it did not come to pass; whichever node leads.
        """
        raft = self.raft()
        leader = None if raft is None else raft.leader
        if leader is None:
            raise Unavailable("no leader is known here; see `node cluster status`")
        if leader == to:
            return leader
        if leader != self.me:
            return await self._ask_there(leader, to)
        return await self._transfer_here(to)

    async def try_transfer(self, to: NodeId | None = None) -> None:
        """If this node leads, have somebody else lead, or `to`; it is no error if nobody can."""
        raft = self.raft()
        if raft is None or not raft.is_leader:
            return
        try:
            await self._transfer_here(to)
        except (RefusedError, Unavailable) as error:
            log.info("%s", error)

    async def answer(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.TRANSFER."""
        raft = self.raft()
        if raft is None or not raft.is_leader:
            raise Unavailable("this node does not lead")
        try:
            return encode_record(TransferReply(await self._transfer_here(_read_node(payload))))
        except RefusedError as refused:
            return encode_record(TransferReply(None, str(refused)))

    async def _ask_there(self, leader: NodeId, to: NodeId | None) -> NodeId:
        payload = (to or "").encode()
        try:
            data = await self.transport.request(leader, Kind.TRANSFER, payload, timeout=TRANSFER_TIMEOUT + 1.0)
            reply = decode_transfer_reply(data)
        except (LinkDownError, RequestFailedError, DecodeError) as error:
            raise Unavailable(f"the leader {leader[:8]} did not hand over: {error}") from None
        if reply.leader is None:
            raise RefusedError(CANNOT_BE, reply.refusal)
        return reply.leader

    async def _transfer_here(self, to: NodeId | None) -> NodeId:
        begun = Begun()

        def begin(raft: Raft, now: float) -> None:
            try:
                begun.heir = raft.transfer(to, now)
            except ProtocolError as error:
                begun.refusal = error
            begun.answered.set()

        with trio.move_on_after(TRANSFER_TIMEOUT):
            self.call(begin)
            await begun.answered.wait()
            if isinstance(begun.refusal, TransferRefused):
                raise RefusedError(CANNOT_BE, f"leadership cannot be handed over: {begun.refusal}")
            if begun.refusal is None or isinstance(begun.refusal, NotLeader):
                return await self._wait_for_another(begun.heir)
        raise Unavailable("nobody has taken over in time; this node goes on leading, see `node cluster status`")

    async def _wait_for_another(self, heir: NodeId | None) -> NodeId:
        """Look until another member leads, or the core has given up."""
        while True:
            raft = self.raft()
            if raft is None or (raft.is_leader and raft.heir is None):
                raise Unavailable(f"{heir} has not taken over; this node goes on leading, see `node cluster status`")
            if not raft.is_leader and raft.leader is not None:
                log.info("handed leadership over to %s", raft.leader[:8])
                return raft.leader
            await trio.sleep(POLL)


def _read_node(payload: bytes) -> NodeId | None:
    if payload and (len(payload) != 32 or not payload.isalnum()):
        raise DecodeError("not a node")
    return NodeId(payload.decode("ascii")) if payload else None
