"""Linearizable reads through the driver: who leads answers, who follows asks and waits, without a quorum it ends."""

import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateStack
from node.drive.link import Caller
from node.model import DEFAULT_ENVIRONMENT_ID
from node.ports import Unavailable
from protocol.errors import DecodeError
from protocol.ids import Index, Term
from protocol.messages import Kind, decode_index, encode_index
from protocol.raft.messages import Entry, EntryKind
from tests.fakes.consensus import OTHER, Follower, leading_alone, make_consensus, running, two_voters

CALLER = Caller(OTHER, "192.0.2.2")


async def test_read_on_a_leader_passes_at_once_when_it_is_the_only_voter(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        start = trio.current_time()
        await consensus.read_barrier(1.0)
        assert trio.current_time() - start < 0.1


async def test_many_reads_are_one_question_to_the_core(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        before = consensus.raft._asked_reads
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(consensus.read_barrier, 1.0)
        assert consensus.raft._asked_reads == before + 1


async def test_leader_answers_another_node_up_to_what_is_committed(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        await consensus.submit(
            CreateStack(uuid="uuid-shop", environment_id=DEFAULT_ENVIRONMENT_ID, name="shop", docker_compose=None)
        )
        index = decode_index(await consensus.group.barriers.answer(CALLER, b""))
        assert index == consensus.raft.commit_index


async def test_read_without_a_leader_ends_with_the_time(autojump_clock: MockClock) -> None:
    async with running(make_consensus(two_voters())) as consensus:
        start = trio.current_time()
        with pytest.raises(Unavailable, match="no majority"):
            await consensus.read_barrier(2.0)
        assert trio.current_time() - start == pytest.approx(2.0, abs=0.1)
        with pytest.raises(Unavailable, match="does not lead"):
            await consensus.group.barriers.answer(CALLER, b"")


async def test_follower_asks_the_leader_and_waits_until_it_has_applied_as_much(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    entry = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")

    async def tell(kind: Kind, payload: bytes) -> bytes:
        assert kind is Kind.READ_INDEX
        return encode_index(entry.index)

    follower.transport.answer = tell
    done = trio.Event()

    async def read() -> None:
        await follower.consensus.read_barrier(10.0)
        done.set()

    async with running(follower.consensus), trio.open_nursery() as nursery:
        await follower.hear(last, (), int(last.index))
        nursery.start_soon(read)
        await trio.sleep(0.5)
        assert not done.is_set()
        await follower.hear(last, (entry,), int(entry.index))
        with trio.fail_after(1):
            await done.wait()


async def test_follower_asks_again_when_the_leader_could_not_be_reached(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus), trio.open_nursery() as nursery:
        await follower.hear(last, (), int(last.index))
        nursery.start_soon(follower.consensus.read_barrier, 10.0)
        await trio.sleep(0.5)

        async def tell(kind: Kind, payload: bytes) -> bytes:
            return encode_index(last.index)

        follower.transport.answer = tell
        await trio.sleep(0.5)


def test_index_on_the_wire_has_eight_bytes() -> None:
    assert decode_index(encode_index(Index(7))) == 7
    with pytest.raises(DecodeError):
        decode_index(b"7")
