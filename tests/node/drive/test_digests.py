"""Comparing the states of all replicas at one index: who asks, who answers, who is judged to differ."""

import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateStack
from node.drive.consensus import Consensus
from node.drive.digests import ANSWER_TIMEOUT, EVERY, LOOK_EVERY, pick_deviants
from node.drive.link import Caller
from node.model import DEFAULT_ENVIRONMENT_ID
from node.state import state_digest
from protocol.ids import Index, NodeId
from protocol.messages import encode_index
from tests.fakes.consensus import OTHER, leading_alone
from tests.fakes.states import node_id

CALLER = Caller(OTHER, "192.0.2.2")
A, B, C, D = (node_id(number) for number in range(1, 5))


def stack(name: str) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name, docker_compose=None)


@pytest.mark.parametrize(
    ("digests", "deviants", "is_clear"),
    [
        ({}, set(), True),
        ({A: "x", B: "x", C: "x"}, set(), True),
        ({A: "x", B: "y", C: "x"}, {B}, True),
        ({A: "y", B: "x", C: "x"}, {A}, True),
        ({A: "x", B: "y"}, {A, B}, False),
        ({A: "x", B: "y", C: "z", D: "x"}, {A, B, C, D}, False),
    ],
)
def test_replica_differs_when_most_of_the_others_agree(
    digests: dict[NodeId, str], deviants: set[NodeId], is_clear: bool
) -> None:
    assert pick_deviants(digests) == (frozenset(deviants), is_clear)


async def test_digest_is_that_of_the_state_at_exactly_that_entry(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        taken: list[bytes] = []

        async def take(index: int) -> None:
            taken.append(await consensus.group.digests.answer(CALLER, encode_index(Index(index))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, consensus.raft.last_index + 1)
            await trio.sleep(0.1)
            # Applied in one go, were it not for the digest that is waited for.
            async with trio.open_nursery() as writers:
                for name in ("one", "two", "three"):
                    writers.start_soon(consensus.submit, stack(name))
            await trio.sleep(0.1)
        assert len(taken[0]) == 64
        assert taken[0].decode() != state_digest(consensus.state)


async def test_digest_of_now_is_taken_at_once_and_of_the_past_never(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        await consensus.submit(stack("shop"))
        last = consensus.raft.last_index
        now = await consensus.group.digests.answer(CALLER, encode_index(last))
        assert now.decode() == state_digest(consensus.state)
        assert await consensus.group.digests.answer(CALLER, encode_index(Index(last - 1))) == b""


async def test_digest_of_what_does_not_come_is_given_up(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        start = trio.current_time()
        ahead = Index(consensus.raft.last_index + 9)
        assert await consensus.group.digests.answer(CALLER, encode_index(ahead)) == b""
        assert trio.current_time() - start == pytest.approx(ANSWER_TIMEOUT, abs=0.1)


async def wait_for_comparison(consensus: Consensus) -> None:
    await trio.sleep(EVERY + LOOK_EVERY + 1)


async def test_leader_compares_after_a_while_and_then_only_when_something_has_changed(
    autojump_clock: MockClock,
) -> None:
    async with leading_alone() as consensus:
        await wait_for_comparison(consensus)
        first = consensus.group.digests.compared
        assert first == consensus.raft.last_index
        await consensus.submit(stack("shop"))
        await wait_for_comparison(consensus)
        assert consensus.group.digests.compared == first + 1


async def test_leader_names_the_replica_that_differs_and_has_its_state_replaced(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        replaced: list[NodeId] = []

        async def replace(node: NodeId) -> None:
            await trio.lowlevel.checkpoint()
            replaced.append(node)

        digests = consensus.group.digests
        digests.replace = replace
        await digests._judge(Index(9), {A: "x", B: "y", C: "x"})
        assert replaced == [B]
        assert f"the state of {B[:8]} differs" in " ".join(consensus.alarms)
        await digests._judge(Index(10), {A: "x", B: "x", C: "x"})
        assert consensus.alarms == ()
        await digests._judge(Index(11), {A: "x", B: "y"})
        assert replaced == [B]
        assert len(consensus.alarms) == 2


async def test_leader_whose_own_state_differs_goes_on_if_nobody_else_can_lead(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        await consensus.group.digests._judge(Index(9), {A: "y", B: "x", C: "x"})
        assert consensus.raft.me == A
        assert f"the state of {A[:8]} differs" in " ".join(consensus.alarms)


async def test_member_that_does_not_answer_is_not_judged(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        assert await consensus.group.digests._ask(OTHER, Index(1)) is None
