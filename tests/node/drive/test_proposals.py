"""What a proposal says of its age over all attempts, and how much of what was offered the core takes."""

from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateStack
from node.drive.link import LinkDownError
from node.drive.proposals import Offered, Proposals
from node.model import DEFAULT_ENVIRONMENT_ID, State
from node.ports import Unavailable
from node.state import MAX_RECENT
from protocol.messages import Kind, SubmitReply, decode_submit, encode as encode_record
from protocol.raft.vocabulary import DEFAULT_LIMITS, ProposalsFull
from tests.fakes.consensus import ME, OTHER, FakeTransport
from tests.fakes.states import grown
from tests.protocol.raft.members import A, make_leader

TAKEN = SubmitReply(True, OTHER)
FULL = SubmitReply(False, OTHER, "4000 entries wait for a majority already; try later")


class Sender:
    """A host that hands its change to the leader OTHER; each attempt finds ten more results in its state."""

    def __init__(self, answers: Callable[[int], Awaitable[SubmitReply]]) -> None:
        self._answers = answers
        self.state: State = grown(1)
        self.told: list[int | None] = []
        transport = FakeTransport(answer=self._answer)
        self.proposals = Proposals(
            ME, transport, lambda: OTHER, lambda: self.state, wake=lambda: None, rng=Random(1), retry_interval=0.1
        )

    async def _answer(self, kind: Kind, payload: bytes) -> bytes:
        self.told.append(decode_submit(payload).since)
        self.state = msgspec.structs.replace(self.state, forgotten=self.state.forgotten + 10)
        return encode_record(await self._answers(len(self.told)))

    async def submit(self) -> list[int]:
        """Hand in a change for half a second; return how far what each attempt told of its age lies from the first."""
        with pytest.raises(Unavailable):
            await self.proposals.submit(stack("shop"), timeout=0.55)
        first = self.told[0]
        assert first is not None
        return [since - first for since in self.told if since is not None]


def stack(name: str) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name)


async def test_proposal_that_nobody_took_is_as_young_as_the_latest_attempt(autojump_clock: MockClock) -> None:
    async def answer(attempt: int) -> SubmitReply:
        return FULL

    assert await Sender(answer).submit() == [0, 10, 20, 30, 40, 50]


async def test_proposal_keeps_its_age_from_the_attempt_on_that_may_have_gone_out(autojump_clock: MockClock) -> None:
    async def answer(attempt: int) -> SubmitReply:
        if attempt == 3:
            raise LinkDownError("it went away before it replied")
        return FULL

    assert await Sender(answer).submit() == [0, 10, 20, 20, 20, 20]


async def test_proposal_that_was_taken_keeps_its_age_when_it_is_sent_again(autojump_clock: MockClock) -> None:
    async def answer(attempt: int) -> SubmitReply:
        return TAKEN if attempt == 1 else FULL

    sender = Sender(answer)

    async def change_leader() -> None:
        await trio.sleep(0.05)
        sender.proposals.note_leader()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change_leader)
        assert set(await sender.submit()) == {0}
    assert len(sender.told) > 2


def test_all_that_the_leader_lets_wait_is_still_remembered_when_the_last_of_it_comes() -> None:
    assert DEFAULT_LIMITS.uncommitted_entries <= MAX_RECENT // 2


def test_core_takes_as_much_as_it_has_room_for_and_the_rest_is_refused() -> None:
    raft = make_leader(1)
    waited = raft.last_index - raft.commit_index
    proposals = Proposals(
        A, FakeTransport(), lambda: A, lambda: None, wake=lambda: None, rng=Random(1), retry_interval=0.1
    )
    count = DEFAULT_LIMITS.uncommitted_entries + 1000
    settled: list[Offered] = []
    proposals.offered = [Offered(f"{n:032x}", stack(f"s{n}"), 100, settled.append) for n in range(count)]
    proposals.propose(raft, 1, 2.0)
    assert [offered.proposal for offered in settled] == [f"{n:032x}" for n in range(count)]
    refused = [offered for offered in settled if offered.refusal is not None]
    assert all(isinstance(offered.refusal, ProposalsFull) for offered in refused)
    taken = raft.last_index - raft.commit_index - waited
    assert 1000 <= taken == count - len(refused) <= DEFAULT_LIMITS.uncommitted_entries
