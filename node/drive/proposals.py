"""Proposals on their way: from whoever wants a change to the leader's core, and the result back once it is applied.

A proposal keeps its id over all attempts, so that the state applies it once however often it reaches a log.
Decides nothing about what a command may do; who may hand in which is `node.plan.permits`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec
import trio

from node.commands import AnyCommand, decode_command, encode_command
from node.drive.consensus_ports import Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.model import Done, Refused, Result, State
from node.plan.permits import why_refused
from node.ports import RefusedError, Unavailable
from protocol.errors import AuthenticityError, DecodeError, ProtocolError
from protocol.ids import NodeId
from protocol.messages import Kind, Submit, SubmitReply, decode_submit, decode_submit_reply
from protocol.messages import encode as encode_record
from protocol.raft.messages import MAX_ENTRY_BYTES

MAX_WAITING = 4096
MAX_OFFERED_BYTES = 64 * 1024 * 1024
"""Commands that wait for the core at one time."""
MAX_PROPOSED_BYTES = MAX_ENTRY_BYTES - 1024
"""A command's size; the proposal around it, of which a log entry is made, takes some room too."""
SUBMIT_TIMEOUT = 2.0
"""How long one attempt to reach the leader may take before it is made again."""

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises for bytes that are no command, deeply nested ones and broken text included."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A proposal of this node whose effect somebody waits for."""

    done: trio.Event = field(default_factory=trio.Event)
    result: Result | None = None


@dataclass(slots=True, eq=False)
class Offered:
    """A proposal that this node's core is to take; `refuse` or leave it, then set `taken`."""

    proposal: str
    command: AnyCommand
    size: int
    taken: trio.Event = field(default_factory=trio.Event)
    refusal: ProtocolError | None = None


@dataclass(slots=True, eq=False)
class Proposals:
    """Both ends: what waits here for its effect, and what was offered to this node as the leader."""

    me: NodeId
    transport: Transport
    leader: Callable[[], NodeId | None]
    state: Callable[[], State | None]
    wake: Callable[[], None]
    """Tells the driver that something was offered."""
    rng: Random
    retry_interval: float
    offered: list[Offered] = field(default_factory=list)
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _leader_changed: trio.Event = field(default_factory=trio.Event)

    async def submit(self, command: AnyCommand, *, timeout: float) -> Done:
        """Have the leader order `command` and wait until it is applied here; as node.ports.Replica.submit."""
        encoded = encode_command(command)
        if len(encoded) > MAX_PROPOSED_BYTES:
            raise RefusedError("MaxLengthExceeded", f"the change is {len(encoded)} bytes, more than a log entry holds")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} changes wait for the leader already; try again shortly")
        proposal = f"{self.rng.getrandbits(128):032x}"
        waiting = self._waiting[proposal] = Waiting()
        detail = "no leader is known"
        try:
            with trio.move_on_after(timeout):
                while not waiting.done.is_set():
                    detail = await self._attempt(Submit(proposal, encoded), command, waiting)
        finally:
            del self._waiting[proposal]
        match waiting.result:
            case Done() as done:
                return done
            case Refused() as refused:
                raise RefusedError(refused.code, refused.message, refused.field)
            case None:
                raise Unavailable(f"the change was not confirmed within {timeout:g} s: {detail}; it may still happen")

    async def answer(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.SUBMIT: take another node's proposal if this node leads."""
        submit = decode_submit(payload)
        sender = caller.node or NodeId("")
        try:
            command = decode_command(submit.command)
        except UNREADABLE as error:
            raise DecodeError(f"node {sender[:8]} sent a command this release cannot read: {error}") from None
        if (why := why_refused(command, sender, self.state())) is not None:
            raise AuthenticityError(why)
        return encode_record(await self._offer_here(submit, command))

    def take_offered(self) -> list[Offered]:
        """Hand over what the core is to take, in the order in which it came."""
        offered, self.offered = self.offered, []
        return offered

    def note_applied(self, proposal: str, result: Result) -> None:
        """The proposal took effect here."""
        if waiting := self._waiting.get(proposal):
            waiting.result = result
            waiting.done.set()

    def note_installed(self, state: State) -> None:
        """A whole state came; what waited may have taken effect within it."""
        for proposal in list(self._waiting):
            if (result := state.recent.get(proposal)) is not None:
                self.note_applied(proposal, result)

    def note_leader(self) -> None:
        """Who leads has changed: do not wait out the present attempt."""
        self._leader_changed.set()
        self._leader_changed = trio.Event()

    async def _attempt(self, submit: Submit, command: AnyCommand, waiting: Waiting) -> str:
        """Offer the proposal once to whoever leads and wait for its effect, until it is time to offer it again."""
        leader_changed = self._leader_changed
        reply = await self._offer(submit, command)
        with trio.move_on_after(SUBMIT_TIMEOUT if reply.accepted else self.retry_interval):
            async with trio.open_nursery() as nursery:
                for event in (waiting.done, leader_changed):
                    nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
        return reply.detail or "the leader took it, and a majority has not confirmed it"

    async def _offer(self, submit: Submit, command: AnyCommand) -> SubmitReply:
        leader = self.leader()
        if leader == self.me:
            return await self._offer_here(submit, command)
        if leader is None:
            return SubmitReply(False, None, "no leader is known here; is a majority of the voters up?")
        try:
            reply = await self.transport.request(leader, Kind.SUBMIT, encode_record(submit), timeout=SUBMIT_TIMEOUT)
            return decode_submit_reply(reply)
        except (LinkDownError, RequestFailedError, DecodeError) as error:
            return SubmitReply(False, None, f"the leader {leader[:8]} did not take it: {error}")

    async def _offer_here(self, submit: Submit, command: AnyCommand) -> SubmitReply:
        if self.leader() != self.me:
            return SubmitReply(False, self.leader(), "this node does not lead")
        size = len(submit.command)
        if len(self.offered) >= MAX_WAITING or size + sum(each.size for each in self.offered) > MAX_OFFERED_BYTES:
            return SubmitReply(False, self.me, "the leader has too many changes waiting")
        offered = Offered(submit.proposal, command, size)
        self.offered.append(offered)
        self.wake()
        await offered.taken.wait()
        if offered.refusal is None:
            return SubmitReply(True, self.me)
        return SubmitReply(False, self.leader(), str(offered.refusal))


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
