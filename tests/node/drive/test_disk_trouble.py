"""A member whose disk fails: nothing it says depends on what it could not save, and it comes back by itself."""

from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateStack
from node.drive.consensus import Consensus
from node.drive.disk_trouble import FIRST_RETRY, LAST_RETRY, STEADY, DiskTrouble
from node.model import DEFAULT_ENVIRONMENT_ID
from node.ports import Unavailable
from protocol.ids import Index, Term
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    PreVoteRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    decode_message,
    encode_message,
)
from protocol.raft.vocabulary import HardState
from tests.fakes.consensus import ME, OTHER, FakeTransport, Follower, founded_disk, make_consensus, running, two_voters
from tests.fakes.failing_disk import FailingDisk
from tests.sim.cluster_parts import SimDisk

FULL = "database or disk is full"


def failing(disk: SimDisk) -> FailingDisk:
    return FailingDisk(Random(1), disk.disk, disk.commit, 0.0)


def stack(name: str) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name)


def sent(transport: FakeTransport) -> list[object]:
    return [decode_message(payload) for _, payload in transport.sent]


async def lead(consensus: Consensus) -> None:
    with trio.fail_after(10):
        while not consensus.leads_currently:
            await trio.sleep(0.01)


async def test_change_is_refused_with_the_reason_and_reads_go_on_while_the_disk_fails(
    autojump_clock: MockClock,
) -> None:
    disk = failing(founded_disk())
    async with running(make_consensus(disk)) as consensus:
        await lead(consensus)
        await consensus.submit(stack("before"))
        disk.why = FULL
        with pytest.raises(Unavailable, match=FULL):
            await consensus.submit(stack("during"))
        with pytest.raises(Unavailable, match="others may"):
            await consensus.submit(stack("again"))
        assert [row.name for row in consensus.state.stacks.values()] == ["before"]
        assert not consensus.is_leader
        assert consensus.consensus.leader is None
        assert consensus.consensus.stale_since is not None
        assert FULL in consensus.alarms[0]


@pytest.mark.parametrize("lands", [False, True])
async def test_node_goes_on_by_itself_once_the_disk_works(lands: bool, autojump_clock: MockClock) -> None:
    disk = failing(founded_disk())
    disk.lands = lands
    async with running(make_consensus(disk)) as consensus:
        await lead(consensus)
        await consensus.submit(stack("before"))
        disk.why = FULL
        with pytest.raises(Unavailable):
            await consensus.submit(stack("during"))
        await trio.sleep(30)
        loads = disk.loads
        assert loads <= 2 + 30 / FIRST_RETRY
        disk.why = None
        await trio.sleep(LAST_RETRY + 1)
        await consensus.submit(stack("after"))
        # What was neither confirmed nor refused may have happened; nothing else may.
        names = [row.name for row in consensus.state.stacks.values()]
        assert names == (["before", "during", "after"] if lands else ["before", "after"])
        assert consensus.alarms == ()
        assert consensus.consensus.stale_since is None


async def test_vote_that_is_not_saved_is_neither_sent_nor_remembered(autojump_clock: MockClock) -> None:
    follower = Follower(failing(two_voters()))
    disk = follower.disk
    assert isinstance(disk, FailingDisk)
    disk.only = lambda output: output.hard is not None and output.hard.vote is not None
    async with running(follower.consensus) as consensus:
        last = disk.disk.saved.entries[-1]
        disk.why = FULL
        consensus.deliver(OTHER, encode_message(VoteRequest(Term(2), last.index, last.term)))
        await trio.sleep(0.2)
        assert not [m for m in sent(follower.transport) if isinstance(m, VoteReply)]
        consensus.deliver(OTHER, encode_message(VoteRequest(Term(2), last.index, last.term)))
        await trio.sleep(0.2)
        disk.why = None
        assert disk.disk.saved.hard == HardState(Term(1), ME)
        await trio.sleep(LAST_RETRY)
        assert not [m for m in sent(follower.transport) if isinstance(m, VoteReply) and m.granted and not m.pre]


async def test_entries_that_are_not_saved_are_not_acknowledged(autojump_clock: MockClock) -> None:
    follower = Follower(failing(two_voters()))
    disk = follower.disk
    assert isinstance(disk, FailingDisk)
    async with running(follower.consensus) as consensus:
        last = disk.disk.saved.entries[-1]
        await follower.hear(last, (), 3)
        disk.why = FULL
        follower.transport.sent.clear()
        new = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (new,), 3)
        assert sent(follower.transport) == []
        disk.why = None
        await trio.sleep(FIRST_RETRY * 2)
        # The leader sends again what was not acknowledged.
        await follower.hear(last, (new,), 3)
        replies = [m for m in sent(follower.transport) if isinstance(m, AppendReply)]
        assert replies[-1].ok
        assert replies[-1].index == new.index
        assert disk.disk.saved.entries[-1] == new
        assert consensus.consensus.leader == OTHER


async def test_leader_that_must_stop_names_its_heir(autojump_clock: MockClock) -> None:
    follower = Follower(failing(two_voters()))
    disk, transport = follower.disk, follower.transport
    assert isinstance(disk, FailingDisk)
    async with running(follower.consensus) as consensus:
        with trio.fail_after(20):
            while not consensus.is_leader:
                await trio.sleep(0.01)
                for message in sent(transport):
                    if isinstance(message, VoteRequest | PreVoteRequest):
                        granted = VoteReply(message.term, True, isinstance(message, PreVoteRequest))
                        consensus.deliver(OTHER, encode_message(granted))
                transport.sent.clear()
        term = consensus.raft.term
        disk.why = FULL
        transport.sent.clear()
        with pytest.raises(Unavailable, match=FULL):
            await consensus.submit(stack("during"), timeout=1)
        assert sent(transport)[-1] == TimeoutNow(term)
        appended = [m for m in sent(transport) if isinstance(m, AppendRequest) and m.entries]
        assert not [m for m in appended if any(b"during" in entry.data for entry in m.entries)]


async def test_snapshot_that_cannot_be_saved_stops_the_member_too(autojump_clock: MockClock) -> None:
    disk = failing(founded_disk())
    disk.only = lambda output: False
    async with running(make_consensus(disk, snapshot_every=5)) as consensus:
        await lead(consensus)
        disk.why = FULL

        async def write_on() -> None:
            for number in range(20):
                await consensus.submit(stack(f"s{number}"))

        with pytest.raises(Unavailable, match=FULL):
            await write_on()
        assert consensus.alarms
        disk.why = None
        await trio.sleep(LAST_RETRY)
        await consensus.submit(stack("after"))
        await trio.sleep(1)
        assert disk.disk.snapshot is not None


async def test_state_is_not_taken_back_by_an_older_snapshot_when_the_disk_is_loaded_again(
    autojump_clock: MockClock,
) -> None:
    disk = failing(founded_disk())
    async with running(make_consensus(disk, snapshot_every=5)) as consensus:
        await lead(consensus)
        for number in range(8):
            await consensus.submit(stack(f"s{number}"))
        seen = []
        consensus.listen(lambda state, changes: seen.append(len(state.stacks)))
        disk.why = FULL
        with pytest.raises(Unavailable):
            await consensus.submit(stack("during"))
        disk.why = None
        await trio.sleep(LAST_RETRY)
        await consensus.submit(stack("after"))
        assert seen == sorted(seen)
        assert len(consensus.state.stacks) == 9


def test_disk_that_goes_on_failing_is_tried_ever_less_often() -> None:
    trouble = DiskTrouble()
    trouble.note_failed(FULL, now=1.0)
    waits = []
    for _ in range(10):
        waits.append(trouble.retry_in)
        trouble.note_still_failing(FULL)
    assert waits[:3] == [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4]
    assert waits[-1] == LAST_RETRY


def test_disk_that_fails_again_soon_is_left_alone_for_longer_than_one_that_worked_for_a_while() -> None:
    trouble = DiskTrouble()
    for now, expected in ((1.0, FIRST_RETRY), (3.0, FIRST_RETRY * 2), (5.0, FIRST_RETRY * 4), (500.0, FIRST_RETRY)):
        trouble.note_failed(FULL, now=now)
        assert trouble.retry_in == expected
        trouble.note_mended(now + 1)
    assert STEADY <= 500.0 - 6.0
