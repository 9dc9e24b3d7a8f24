"""Handing over leadership through the driver."""

from dataclasses import dataclass, field
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.commands import SetHostState
from node.drive.consensus import Consensus
from node.drive.leading import Leading
from node.drive.link import Caller
from node.model import host_of_node
from node.ports import RefusedError, Unavailable
from protocol.errors import DecodeError
from protocol.ids import Index, NodeId, Term
from protocol.messages import Kind, TransferReply, decode_transfer_reply, encode as encode_record
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    PreVoteRequest,
    RaftMessage,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    decode_message,
    encode_message,
)
from tests.fakes.consensus import (
    ME,
    OTHER,
    FakeTransport,
    Follower,
    leading_alone,
    make_consensus,
    now_ms,
    running,
    two_voters,
)

CALLER = Caller(OTHER, "192.0.2.2")


async def test_sole_voter_cannot_hand_over(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        with pytest.raises(RefusedError, match="no other voter"):
            await consensus.transfer_leadership()
        assert await consensus.transfer_leadership(ME) == ME


async def test_nothing_is_handed_over_while_no_leader_is_known(autojump_clock: MockClock) -> None:
    async with running(make_consensus(two_voters())) as consensus:
        with pytest.raises(Unavailable, match="no leader"):
            await consensus.transfer_leadership()
        with pytest.raises(Unavailable, match="does not lead"):
            await consensus.group.handover.answer(CALLER, b"")


async def test_follower_has_the_leader_hand_over(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]

    async def agree(kind: Kind, payload: bytes) -> bytes:
        assert (kind, payload) == (Kind.TRANSFER, ME.encode())
        return encode_record(TransferReply(ME))

    follower.transport.answer = agree
    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), int(last.index))
        assert await consensus.transfer_leadership(OTHER) == OTHER
        assert await consensus.transfer_leadership(ME) == ME


async def test_refusal_is_the_same_through_a_follower_as_at_the_leader(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with leading_alone() as leader, running(follower.consensus) as consensus:

        async def pass_on(kind: Kind, payload: bytes) -> bytes:
            return await leader.group.handover.answer(CALLER, b"f" * 32)

        follower.transport.answer = pass_on
        await follower.hear(last, (), int(last.index))
        with pytest.raises(RefusedError) as there:
            await leader.transfer_leadership(NodeId("f" * 32))
        with pytest.raises(RefusedError) as here:
            await consensus.transfer_leadership(ME)
        assert (here.value.code, str(here.value)) == (there.value.code, str(there.value))


async def test_leader_that_answers_with_junk_did_not_hand_over(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]

    async def answer(kind: Kind, payload: bytes) -> bytes:
        return b"junk"

    follower.transport.answer = answer
    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), int(last.index))
        with pytest.raises(Unavailable, match="did not hand over"):
            await consensus.transfer_leadership(ME)


async def test_leader_asked_for_a_stranger_refuses(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        reply = decode_transfer_reply(await consensus.group.handover.answer(CALLER, b"f" * 32))
        assert reply.leader is None
        assert "cannot be handed over" in reply.refusal
        with pytest.raises(DecodeError, match="not a node"):
            await consensus.group.handover.answer(CALLER, b"x")


@dataclass(eq=False)
class Voter(FakeTransport):
    """The other voter of two: grants and acknowledges all; takes over when it is told to, if it likes."""

    last: Entry = field(default_factory=lambda: two_voters().disk.saved.entries[-1])
    is_willing: bool = True
    consensus: Consensus | None = None

    def send(self, node: NodeId, payload: bytes) -> None:
        message = decode_message(payload)
        match message:
            case PreVoteRequest():
                self.say(VoteReply(message.term, True, True))
            case VoteRequest():
                self.say(VoteReply(message.term, True, False))
            case TimeoutNow() if self.is_willing:
                term = Term(message.term + 1)
                self.say(VoteRequest(term, self.last.index, self.last.term, True))
                self.say(AppendRequest(term, self.last.index, self.last.term, (), Index(0), 1))
            case AppendRequest():
                self.last = message.entries[-1] if message.entries else self.last
                index = Index(message.prev_index + len(message.entries))
                self.say(AppendReply(message.term, True, index, Index(0), Term(0), message.seq))

    def say(self, message: RaftMessage) -> None:
        assert self.consensus is not None
        self.consensus.deliver(OTHER, encode_message(message))


@pytest.mark.parametrize("is_willing", [True, False])
async def test_leader_waits_until_the_other_leads_or_goes_on_itself(
    autojump_clock: MockClock, is_willing: bool
) -> None:
    transport = Voter(is_willing=is_willing)
    transport.consensus = consensus = make_consensus(two_voters(), transport)
    async with running(consensus):
        with trio.fail_after(10):
            while not consensus.leads_currently:
                await trio.sleep(0.01)
        if is_willing:
            assert await consensus.transfer_leadership() == OTHER
        else:
            with pytest.raises(Unavailable, match="goes on leading"):
                await consensus.transfer_leadership()
            assert consensus.is_leader


async def test_drained_leader_that_nobody_replaces_goes_on_taking_changes_meanwhile(
    autojump_clock: MockClock,
) -> None:
    transport = Voter(is_willing=False)
    transport.consensus = consensus = make_consensus(two_voters(), transport)
    leading = Leading(
        ME, consensus, dead_since=dict, plan_seals=lambda state: (), now_ms=now_ms, rng=Random(1), wanted_voters=2
    )
    async with running(consensus), trio.open_nursery() as nursery:
        nursery.start_soon(leading.run)
        with trio.fail_after(10):
            while not consensus.leads_currently:
                await trio.sleep(0.01)
        host = host_of_node(consensus.state, ME)
        assert host is not None
        await consensus.submit(SetHostState(id=host.id, state="inactive"))
        closed = 0
        for _ in range(200):
            await trio.sleep(0.1)
            closed += consensus.raft.heir is not None
        assert 5 < closed < 50, "tenths of a second of twenty seconds"
        nursery.cancel_scope.cancel()
