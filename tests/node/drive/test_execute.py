"""Commands executed for others on the peer link: ordered by the leader, answered with what they did."""

import pytest
import trio
from trio.testing import MockClock

from node.commands import AddContainer, CreateStack, Placement, encode_command
from node.drive.consensus import Consensus
from node.drive.link import Caller
from node.drive.proposals import decode_result
from node.model import DEFAULT_ENVIRONMENT_ID, Done, Refused, Result
from protocol.errors import AuthenticityError, DecodeError
from protocol.messages import ExecuteReply, Submit, decode_execute_reply, encode as encode_record
from protocol.raft.messages import MAX_ENTRY_BYTES
from tests.fakes.consensus import ME, OTHER, Follower, leading_alone, two_voters

CALLER = Caller(OTHER, "192.0.2.2")


def stack(name: str, compose: str | None = None) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name, docker_compose=compose)


def submit_of(command: CreateStack | AddContainer, proposal: str = "f" * 32) -> bytes:
    return encode_record(Submit(proposal, encode_command(command)))


def nobody(payload: bytes) -> None:
    raise AssertionError(f"nothing was to be answered, got {payload!r}")


async def execute(consensus: Consensus, payload: bytes) -> ExecuteReply:
    replies: list[bytes] = []
    consensus.execute(CALLER, payload, replies.append)
    with trio.fail_after(10):
        while not replies:
            await trio.sleep(0.01)
    return decode_execute_reply(replies[0])


def result_of(reply: ExecuteReply) -> Result:
    assert reply.result is not None
    return decode_result(reply.result)


async def test_execute_is_answered_once_the_change_is_applied(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        done = result_of(await execute(consensus, submit_of(stack("shop"))))
        assert isinstance(done, Done)
        assert consensus.state.stacks[done.id].name == "shop"


async def test_execute_tells_the_states_refusal(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        await consensus.submit(stack("shop"))
        refused = result_of(await execute(consensus, submit_of(stack("SHOP"))))
        assert isinstance(refused, Refused)
        assert refused.code == "NotUnique"


async def test_execute_again_tells_the_same_result_and_changes_nothing(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        first = await execute(consensus, submit_of(stack("shop")))
        state = consensus.state
        assert await execute(consensus, submit_of(stack("shop"))) == first
        assert consensus.state is state


async def test_execute_handed_in_twice_at_once_is_answered_twice_and_applied_once(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        replies: list[bytes] = []
        for _ in range(2):
            consensus.execute(CALLER, submit_of(stack("shop")), replies.append)
        await consensus.submit(stack("later"))
        assert len(replies) == 2
        assert replies[0] == replies[1]
        assert [row.name for row in consensus.state.stacks.values()] == ["shop", "later"]


async def test_execute_of_what_fits_no_entry_is_answered_without_a_result(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        reply = await execute(consensus, submit_of(stack("big", "x" * (MAX_ENTRY_BYTES - 150))))
        assert reply.result is None
        assert "more than a log entry holds" in reply.detail
        assert reply.leader == ME


async def test_execute_at_a_follower_is_answered_with_who_leads(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    replies: list[bytes] = []
    follower.consensus.execute(CALLER, submit_of(stack("shop")), replies.append)
    assert decode_execute_reply(replies[0]) == ExecuteReply(None, None, "this node does not lead")


async def test_execute_of_the_leaders_own_command_is_refused(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        command = AddContainer(
            uuid="u", service_id=1, number=1, placement=Placement(host_id=1, address=None), why="theft"
        )
        with pytest.raises(AuthenticityError, match="leader's own"):
            consensus.execute(CALLER, submit_of(command), nobody)


async def test_execute_of_junk_is_no_command(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        with pytest.raises(DecodeError, match="cannot read"):
            consensus.execute(CALLER, encode_record(Submit("f" * 32, b"\x81\xa4type\xa1X")), nobody)


async def test_what_waits_is_answered_when_the_leader_changes(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        replies: list[bytes] = []
        consensus.execute(CALLER, submit_of(stack("shop")), replies.append)
        consensus._proposals.note_leader()
        reply = decode_execute_reply(replies[0])
        assert reply.result is None
        assert "may still happen" in reply.detail
