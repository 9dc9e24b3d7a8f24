"""Snapshots, compaction and restarts, by chapter 5 of Ongaro's dissertation."""

from random import Random

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    Config,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
)
from protocol.raft.snapshots import OutgoingSnapshot
from protocol.raft.vocabulary import (
    HardState,
    Limits,
    SavedState,
    Snapshot,
)
from tests.protocol.raft.members import (
    ABC,
    A,
    B,
    C,
    accepted,
    command,
    commit_first,
    make_leader,
    make_raft,
    sent,
)


def make_snapshot(index: int, term: int, config: Config = ABC) -> Snapshot:
    return Snapshot(SnapshotMeta(Index(index), Term(term), config), b"0123456789")


def give(raft: Raft, snapshot: Snapshot, term: int, *offsets: int) -> list[RaftMessage]:
    outgoing = OutgoingSnapshot(snapshot)
    for offset in offsets:
        raft.handle_message(B, outgoing.cut_chunk(Term(term), offset, 4), 2.0)
    return [envelope.message for envelope in raft._outbox]


def test_follower_installs_a_snapshot_once_all_chunks_are_there_5_2() -> None:
    raft = make_raft(1, 1)
    snapshot = make_snapshot(9, 3)
    replies = give(raft, snapshot, 3, 0, 4, 4, 8)
    assert replies[:3] == [
        SnapshotReply(Term(3), Index(9), 4, False),
        SnapshotReply(Term(3), Index(9), 8, False),
        SnapshotReply(Term(3), Index(9), 8, False),
    ]
    assert replies[3] == SnapshotReply(Term(3), Index(9), 0, True)
    output = raft.take_output()
    assert output.install == snapshot
    assert output.truncate_from == 1
    assert (raft.commit_index, raft.applied_index, raft.last_index) == (9, 9, 9)


def test_follower_keeps_entries_that_follow_the_snapshot_5_2() -> None:
    raft = make_raft(1, 1, 1)
    give(raft, make_snapshot(2, 1), 1, 0, 4, 8)
    output = raft.take_output()
    assert output.truncate_from is None
    assert raft.last_index == 3


def test_follower_starts_anew_when_the_whole_fails_its_checksum() -> None:
    raft = make_raft(1)
    chunk = SnapshotChunk(Term(3), make_snapshot(9, 3).meta, 10, 12345, 0, b"0123456789")
    raft.handle_message(B, chunk, 2.0)
    output = raft.take_output()
    assert output.install is None
    assert sent(output, B) == [SnapshotReply(Term(3), Index(9), 0, False)]


def compacted_leader() -> Raft:
    raft = make_leader(1, limits=Limits(chunk_bytes=4, keep_entries=0))
    commit_first(raft)
    raft.propose((b"x", b"y"), 2.0)
    raft.handle_message(B, accepted(2, 4), 2.0)
    raft.take_output()
    raft.handle_snapshot_made(raft.snapshot_meta(Index(4)), 2.0)
    assert raft.take_output().compact_to == 4
    return raft


def test_leader_asks_for_its_snapshot_when_a_follower_is_behind_the_log_5_2() -> None:
    raft = compacted_leader()
    raft.handle_message(C, AppendReply(Term(2), False, Index(1), Index(0), Term(0), 99), 2.0)
    assert raft.take_output().load_snapshot
    raft.handle_snapshot_loaded(make_snapshot(4, 2), 2.0)
    chunk = sent(raft.take_output(), C)[0]
    assert isinstance(chunk, SnapshotChunk)
    assert (chunk.offset, chunk.data, chunk.size) == (0, b"0123", 10)
    raft.handle_message(C, SnapshotReply(Term(2), Index(4), 4, False), 2.0)
    raft.handle_message(C, SnapshotReply(Term(2), Index(4), 4, False), 2.0)
    assert len(sent(raft.take_output(), C)) == 1
    raft.handle_message(C, SnapshotReply(Term(2), Index(4), 0, True), 2.0)
    assert raft.peers(2.0)[C].match == 4


def test_compaction_keeps_a_tail_for_slow_followers() -> None:
    raft = make_leader(1, limits=Limits(keep_entries=2))
    commit_first(raft)
    raft.propose((b"x", b"y", b"z"), 2.0)
    raft.handle_message(B, accepted(2, 5), 2.0)
    raft.take_output()
    raft.handle_snapshot_made(raft.snapshot_meta(Index(5)), 2.0)
    assert raft.take_output().compact_to == 3
    assert [raft.term_at(Index(n)) for n in (2, 3, 4)] == [None, 2, 2]


def test_member_restarts_from_snapshot_and_log() -> None:
    meta = SnapshotMeta(Index(3), Term(1), ABC)
    saved = SavedState(HardState(Term(2), B), meta, tuple(command(n, 1) for n in (2, 3, 4)))
    raft = Raft(A, saved=saved, rng=Random(1), now=0.0)
    assert (raft.term, raft.commit_index, raft.applied_index, raft.last_index) == (2, 3, 3, 4)
    assert raft.config == ABC
    output = raft.take_output()
    assert (output.hard, output.append, output.apply, output.events) == (None, (), (), ())


@pytest.mark.parametrize(
    ("snapshot", "indexes"), [(None, [2, 3]), (3, [5]), (None, [1, 3])], ids=["no start", "behind a gap", "with a gap"]
)
def test_member_refuses_a_log_with_a_gap(snapshot: int | None, indexes: list[int]) -> None:
    meta = SnapshotMeta(Index(snapshot), Term(1), ABC) if snapshot else None
    saved = SavedState(HardState(Term(1)), meta, tuple(command(n, 1) for n in indexes))
    with pytest.raises(ValueError, match="log"):
        Raft(A, saved=saved, rng=Random(1), now=0.0)
