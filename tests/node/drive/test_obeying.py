"""What of an output waits for the disk, and what may be done meanwhile (10.2.1 of the dissertation)."""

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from node.drive.beside import beside
from node.drive.consensus_ports import StoreFailedError
from node.drive.obeying import APPLY_BYTES_PER_STEP, APPLY_PER_STEP, cut_piece, durable_before, split_sends
from protocol.ids import Index, Term
from protocol.raft.messages import AppendRequest, Entry, EntryKind, SnapshotMeta, VoteReply, make_config
from protocol.raft.vocabulary import Envelope, HardState, Output, Snapshot
from tests.fakes.consensus import OTHER


def entries(*indexes: int, size: int = 10) -> tuple[Entry, ...]:
    return tuple(Entry(Index(index), Term(2), EntryKind.COMMAND, bytes(size)) for index in indexes)


def output(**parts: Any) -> Output:
    nothing: dict[str, Any] = dict.fromkeys(("hard", "install", "truncate_from", "compact_to"))
    nothing |= {"append": (), "send": (), "apply": (), "load_snapshot": False, "events": (), "wake_at": 0.0}
    return Output(**(nothing | parts))


def request(commit: int, *carried: Entry) -> Envelope:
    return Envelope(OTHER, AppendRequest(Term(2), Index(4), Term(2), carried, Index(commit), 1))


REPLY = Envelope(OTHER, VoteReply(Term(2), True, False))
SNAPSHOT = Snapshot(SnapshotMeta(Index(4), Term(2), make_config([OTHER])), b"")


def test_leader_sends_new_entries_while_its_own_disk_works() -> None:
    owed = output(append=entries(5), send=(request(4, *entries(5)),))
    assert split_sends(owed, is_leader=True) == (owed.send, ())


@pytest.mark.parametrize(
    ("parts", "is_leader"),
    [
        pytest.param({"send": (request(5, *entries(5)),)}, True, id="it says that a new entry is committed"),
        pytest.param({"send": (request(4), REPLY)}, True, id="a vote is among them"),
        pytest.param({"send": (request(4),), "hard": HardState(Term(2))}, True, id="the term is new"),
        pytest.param({"send": (request(4),), "install": SNAPSHOT}, True, id="a snapshot is installed"),
        pytest.param({"send": (request(4),)}, False, id="it leads no more"),
    ],
)
def test_what_promises_something_waits_for_the_disk(parts: dict[str, Any], is_leader: bool) -> None:
    owed = output(append=entries(5), **parts)
    assert split_sends(owed, is_leader=is_leader) == ((), owed.send)


def test_what_is_committed_is_applied_meanwhile_only_if_it_was_durable_before() -> None:
    assert durable_before(output(append=entries(5, 6), apply=entries(3, 4, 5))) == list(entries(3, 4))
    assert durable_before(output(append=entries(5), apply=entries(5))) == []


def test_nothing_is_applied_meanwhile_when_there_is_nothing_to_write_or_a_snapshot_comes_first() -> None:
    assert not durable_before(output(apply=entries(3, 4)))
    assert not durable_before(output(append=entries(5), apply=entries(4), install=SNAPSHOT))


def test_piece_is_bounded_by_entries_and_by_bytes() -> None:
    assert len(cut_piece(entries(*range(1, APPLY_PER_STEP * 2)))) == APPLY_PER_STEP
    assert len(cut_piece(entries(1, 2, 3, 4, size=APPLY_BYTES_PER_STEP // 2))) == 2
    assert len(cut_piece(entries(1, 2, size=APPLY_BYTES_PER_STEP * 2))) == 1


async def test_both_are_done_and_the_disks_error_comes_bare_and_last(autojump_clock: MockClock) -> None:
    done = []

    async def write() -> None:
        await trio.sleep(1)
        raise StoreFailedError(Path("/x"), "no room")

    async def work() -> None:
        await trio.sleep(2)
        done.append("applied")

    with pytest.raises(StoreFailedError, match="no room"):
        await beside(write, work)
    assert done == ["applied"]


async def test_both_run_at_the_same_time(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    await beside(lambda: trio.sleep(2), lambda: trio.sleep(2))
    assert trio.current_time() - start == 2
