"""Proposals on their way: from whoever wants a change to the leader's core, and the result back once it is applied.

A proposal keeps its id over all attempts, so that the state applies it once however often it reaches a log.
Decides nothing about what a command may do; who may hand in which is `node.plan.permits`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec
import trio

from node.commands import AnyCommand, Proposal, decode_command, encode_command, encode_proposal
from node.drive.consensus_ports import Transport
from node.drive.link import Caller, LinkDownError, Reply, RequestFailedError
from node.model import Done, Refused, Result, State
from node.plan.permits import why_refused
from node.ports import RefusedError, Unavailable
from node.state import TOO_OLD
from protocol.errors import AuthenticityError, DecodeError, ProtocolError
from protocol.ids import NodeId
from protocol.messages import (
    ExecuteReply,
    Kind,
    Submit,
    SubmitReply,
    decode_submit,
    decode_submit_reply,
    encode as encode_record,
)
from protocol.raft.core import Raft
from protocol.raft.messages import MAX_BATCH_ENTRIES, MAX_ENTRY_BYTES
from protocol.raft.vocabulary import HandingOver, NotLeader, ProposalsFull

MAX_WAITING = 4096
MAX_OFFERED_BYTES = 64 * 1024 * 1024
"""Commands that wait for the core at one time."""
MAX_PROPOSED_BYTES = MAX_ENTRY_BYTES - 1024
"""A command's size; the proposal around it, of which a log entry is made, takes some room too."""
BLOCKED_RETRY = 5.0
SUBMIT_TIMEOUT = 2.0
"""How long one attempt to reach the leader may take before it is made again."""

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises for bytes that are no command, deeply nested ones and broken text included."""


_encode = msgspec.msgpack.Encoder().encode
_results: msgspec.msgpack.Decoder[Result] = msgspec.msgpack.Decoder(Result)


def encode_result(result: Result) -> bytes:
    """Return the bytes in which a reply carries what became of a command."""
    return _encode(result)


def decode_result(data: bytes) -> Result:
    """Read what `encode_result` wrote; msgspec errors for anything else."""
    return _results.decode(data)


@dataclass(slots=True, eq=False)
class Waiting:
    """A proposal of this node whose effect somebody waits for."""

    submit: Submit
    done: trio.Event = field(default_factory=trio.Event)
    result: Result | None = None
    is_out: bool = False
    """Whether a copy may be in a log: one was taken, or nobody knows whether it was."""


@dataclass(slots=True, eq=False)
class Offered:
    """A proposal that this node's core is to take; set `refusal` or leave it, then call `settle`."""

    proposal: str
    command: AnyCommand
    size: int
    settled: Callable[["Offered"], None]
    since: int | None = None
    refusal: ProtocolError | None = None

    def settle(self) -> None:
        self.settled(self)


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
    _offered_bytes: int = 0
    _waiting: dict[str, Waiting] = field(default_factory=dict)
    _executing: dict[str, list[Reply]] = field(default_factory=dict)
    """Who waits on another node, or elsewhere on this host, for the effect of what this leader took."""
    _leader_changed: trio.Event = field(default_factory=trio.Event)
    _blocked: str | None = None

    async def submit(self, command: AnyCommand, *, timeout: float) -> Done:
        """Have the leader order `command` and wait until it is applied here; as node.ports.Replica.submit."""
        encoded = encode_command(command)
        if len(encoded) > MAX_PROPOSED_BYTES:
            raise RefusedError("MaxLengthExceeded", f"the change is {len(encoded)} bytes, more than a log entry holds")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} changes wait for the leader already; try again shortly")
        if self._blocked is not None:
            raise Unavailable(f"this host takes no changes now, others may: {self._blocked}", retry_after=BLOCKED_RETRY)
        proposal = f"{self.rng.getrandbits(128):032x}"
        waiting = self._waiting[proposal] = Waiting(Submit(proposal, encoded))
        detail = "no leader is known"
        try:
            with trio.move_on_after(timeout):
                while not waiting.done.is_set() and self._blocked is None:
                    detail = await self._attempt(waiting, command)
        finally:
            del self._waiting[proposal]
        match waiting.result:
            case Done() as done:
                return done
            case Refused(code=TOO_OLD.code):
                raise Unavailable(f"the change was not confirmed: {TOO_OLD.message}; look whether it did")
            case Refused() as refused:
                raise RefusedError(refused.code, refused.message, refused.field)
            case None if self._blocked is not None:
                raise Unavailable(f"the change was not confirmed: {self._blocked}; it may still happen")
            case None:
                raise Unavailable(f"the change was not confirmed within {timeout:g} s: {detail}; it may still happen")

    def _seen(self) -> int | None:
        """How many results of changes the state here has seen."""
        state = self.state()
        return None if state is None else state.forgotten + len(state.recent)

    async def answer(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.SUBMIT: take another node's proposal if this node leads."""
        submit, command = self._read(caller, payload)
        return encode_record(await self._offer_here(submit, command))

    def execute(self, caller: Caller, payload: bytes, reply: Reply) -> None:
        """Taker of Kind.EXECUTE: order a proposal if this node leads, and reply when it is applied here."""
        submit, command = self._read(caller, payload)
        state = self.state()
        if state is not None and (result := state.recent.get(submit.proposal)) is not None:
            reply(_executed(result))
        elif (why := self._why_not_here(len(submit.command))) is not None:
            reply(self._not_executed(why))
        else:
            self._executing.setdefault(submit.proposal, []).append(reply)
            self._put(Offered(submit.proposal, command, len(submit.command), self._note_taken, submit.since))

    def _read(self, caller: Caller, payload: bytes) -> tuple[Submit, AnyCommand]:
        """Return what another node hands in, if it may."""
        submit = decode_submit(payload)
        sender = caller.node or NodeId("")
        try:
            command = decode_command(submit.command)
        except UNREADABLE as error:
            raise DecodeError(f"node {sender[:8]} sent a command this release cannot read: {error}") from None
        if (why := why_refused(command, sender, self.state())) is not None:
            raise AuthenticityError(why)
        return submit, command

    def take_offered(self) -> list[Offered]:
        """Hand over what the core is to take, in the order in which it came."""
        offered, self.offered, self._offered_bytes = self.offered, [], 0
        return offered

    def propose(self, raft: Raft, at: int, now: float) -> None:
        """Have the core take what was offered; `at` is the time that the entries carry."""
        offered = self.take_offered()
        fitting: list[tuple[Offered, bytes]] = []
        for each in offered:
            entry = encode_proposal(Proposal(id=each.proposal, at=at, command=each.command, since=each.since))
            if len(entry) > MAX_ENTRY_BYTES:
                each.refusal = DecodeError(f"the change is {len(entry)} bytes, more than a log entry holds")
            else:
                fitting.append((each, entry))
        # In pieces: the core takes all of a piece or nothing, and what waits here may be more than it has room for.
        for start in range(0, len(fitting), MAX_BATCH_ENTRIES):
            piece = fitting[start : start + MAX_BATCH_ENTRIES]
            try:
                raft.propose(tuple(entry for _, entry in piece), now)
            except (NotLeader, ProposalsFull, HandingOver) as error:
                for each, _ in piece:
                    each.refusal = error
        for each in offered:
            each.settle()

    def note_applied(self, proposal: str, result: Result) -> None:
        """The proposal took effect here."""
        if waiting := self._waiting.get(proposal):
            waiting.result = result
            waiting.done.set()
        for reply in self._executing.pop(proposal, ()):
            reply(_executed(result))

    def note_installed(self, state: State) -> None:
        """A whole state came; what waited may have taken effect within it."""
        for proposal in [*self._waiting, *self._executing]:
            if (result := state.recent.get(proposal)) is not None:
                self.note_applied(proposal, result)

    def block(self, why: str | None) -> None:
        """Take nothing any more, and let go who waits; None takes that back."""
        self._blocked = why
        if why is not None:
            for offered in self.take_offered():
                offered.refusal = ProtocolError(why)
                offered.settle()
            self.note_leader()

    def note_leader(self) -> None:
        """Who leads has changed: do not wait out the present attempt."""
        self._leader_changed.set()
        self._leader_changed = trio.Event()
        executing, self._executing = self._executing, {}
        for reply in itertools.chain.from_iterable(executing.values()):
            reply(self._not_executed("this node leads no more; the change may still happen"))

    def _note_taken(self, offered: Offered) -> None:
        if offered.refusal is not None:
            for reply in self._executing.pop(offered.proposal, ()):
                reply(self._not_executed(str(offered.refusal)))

    async def _attempt(self, waiting: Waiting, command: AnyCommand) -> str:
        """Offer the proposal once to whoever leads and wait for its effect, until it is time to offer it again."""
        leader_changed = self._leader_changed
        if not waiting.is_out:  # Then none of the results until now is its own.
            waiting.submit = msgspec.structs.replace(waiting.submit, since=self._seen())
        reply = await self._offer(waiting, command)
        with trio.move_on_after(SUBMIT_TIMEOUT if reply.accepted else self.retry_interval):
            async with trio.open_nursery() as nursery:
                for event in (waiting.done, leader_changed):
                    nursery.start_soon(_cancel_after, event, nursery.cancel_scope)
        return reply.detail or "the leader took it, and a majority has not confirmed it"

    async def _offer(self, waiting: Waiting, command: AnyCommand) -> SubmitReply:
        submit, leader = waiting.submit, self.leader()
        if leader == self.me:
            reply = await self._offer_here(submit, command)
            waiting.is_out |= reply.accepted
            return reply
        if leader is None:
            return SubmitReply(False, None, "no leader is known here; is a majority of the voters up?")
        try:
            data = await self.transport.request(leader, Kind.SUBMIT, encode_record(submit), timeout=SUBMIT_TIMEOUT)
            reply = decode_submit_reply(data)
            waiting.is_out |= reply.accepted
            return reply
        except (LinkDownError, RequestFailedError, DecodeError) as error:
            waiting.is_out = True  # It may have gone out, and only the answer have been lost.
            return SubmitReply(False, None, f"the leader {leader[:8]} did not take it: {error}")

    async def _offer_here(self, submit: Submit, command: AnyCommand) -> SubmitReply:
        if (why := self._why_not_here(len(submit.command))) is not None:
            return SubmitReply(False, self.leader(), why)
        taken = trio.Event()
        offered = Offered(submit.proposal, command, len(submit.command), lambda _: taken.set(), submit.since)
        self._put(offered)
        await taken.wait()
        if offered.refusal is None:
            return SubmitReply(True, self.me)
        return SubmitReply(False, self.leader(), str(offered.refusal))

    def _why_not_here(self, size: int) -> str | None:
        if self.leader() != self.me:
            return "this node does not lead"
        if len(self.offered) >= MAX_WAITING or size + self._offered_bytes > MAX_OFFERED_BYTES:
            return "the leader has too many changes waiting"
        return None

    def _put(self, offered: Offered) -> None:
        self.offered.append(offered)
        self._offered_bytes += offered.size
        self.wake()

    def _not_executed(self, why: str) -> bytes:
        return encode_record(ExecuteReply(None, self.leader(), why))


def _executed(result: Result) -> bytes:
    return encode_record(ExecuteReply(encode_result(result), None))


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
