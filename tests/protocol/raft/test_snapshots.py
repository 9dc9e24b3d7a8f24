"""Snapshots, compaction and restarts, by chapter 5 of Ongaro's dissertation."""

from random import Random

import msgspec
import pytest

from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    Config,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    make_config,
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
    D,
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


def compacted_leader(receive_at_once: int = 2) -> Raft:
    limits = Limits(chunk_bytes=4, keep_entries=0, snapshot_receivers=receive_at_once)
    raft = make_leader(1, config=make_config([A, B, C], [D]), limits=limits)
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


def test_chunk_that_fails_its_own_checksum_is_asked_for_again() -> None:
    raft = make_raft(1)
    chunk = OutgoingSnapshot(make_snapshot(9, 3)).cut_chunk(Term(3), 0, 4)
    raft.handle_message(B, msgspec.structs.replace(chunk, data=b"0124"), 2.0)
    assert sent(raft.take_output(), B) == [SnapshotReply(Term(3), Index(9), 0, False)]
    raft.handle_message(B, chunk, 2.0)
    assert sent(raft.take_output(), B) == [SnapshotReply(Term(3), Index(9), 4, False)]


def test_chunk_of_an_earlier_version_carries_no_checksum_of_its_own() -> None:
    raft = make_raft(1)
    chunk = OutgoingSnapshot(make_snapshot(9, 3)).cut_chunk(Term(3), 0, 10)
    raft.handle_message(B, msgspec.structs.replace(chunk, piece_crc=None), 2.0)
    assert raft.take_output().install is not None


def test_snapshot_goes_on_where_it_was_when_another_leader_sends_the_same() -> None:
    raft = make_raft(1)
    give(raft, make_snapshot(9, 3), 3, 0, 4)
    raft.handle_message(C, OutgoingSnapshot(make_snapshot(9, 3)).cut_chunk(Term(4), 0, 4), 2.0)
    assert sent(raft.take_output(), C) == [SnapshotReply(Term(4), Index(9), 8, False)]


def test_snapshot_goes_on_from_where_the_receiver_is_after_the_link_broke() -> None:
    raft = sending_leader(C)
    raft.handle_peer_lost(C, 2.1)
    now = 2.0
    while not (chunks := [m for m in sent(raft.take_output(), C) if isinstance(m, SnapshotChunk)]):
        now = raft.wake_at
        raft.handle_message(B, accepted(2, 4), now)
        raft.handle_timer(now)
    assert chunks[0].offset == 0
    raft.handle_message(C, SnapshotReply(Term(2), Index(4), 8, False), now)
    assert [m.offset for m in sent(raft.take_output(), C) if isinstance(m, SnapshotChunk)] == [8]


def sending_leader(*receivers: NodeId, receive_at_once: int = 2) -> Raft:
    """Return A, which has begun to send its snapshot to these."""
    raft = compacted_leader(receive_at_once)
    for peer in receivers:
        raft.handle_message(peer, AppendReply(Term(2), False, Index(1), Index(0), Term(0), 99), 2.0)
    raft.handle_snapshot_loaded(make_snapshot(4, 2), 2.0)
    return raft


def receiving(raft: Raft) -> list[NodeId]:
    return [each.to for each in raft.take_output().send if isinstance(each.message, SnapshotChunk)]


def test_snapshot_goes_to_so_many_at_a_time_and_then_to_the_others() -> None:
    raft = sending_leader(C, D, receive_at_once=1)
    assert receiving(raft) == [C]
    raft.handle_message(C, SnapshotReply(Term(2), Index(4), 0, True), 2.0)
    now = 2.0
    while D not in (chosen := receiving(raft)):
        now = raft.wake_at
        raft.handle_message(B, accepted(2, 4), now)
        raft.handle_timer(now)
    assert chosen == [D]


def test_receiver_that_answers_nothing_gives_up_its_turn() -> None:
    raft = sending_leader(C, D, receive_at_once=1)
    chosen: list[NodeId] = []
    while D not in chosen:
        raft.handle_message(B, accepted(2, 4), raft.wake_at)
        raft.handle_timer(raft.wake_at)
        chosen += receiving(raft)


def test_log_behind_a_snapshot_that_is_being_sent_stays() -> None:
    raft = sending_leader(C)
    raft.propose((b"x", b"y"), 2.0)
    raft.handle_message(B, accepted(2, 6), 2.0)
    raft.take_output()
    raft.handle_snapshot_made(raft.snapshot_meta(Index(6)), 2.0)
    assert raft.take_output().compact_to is None
    assert raft.term_at(Index(5)) == 2


def test_log_behind_a_snapshot_that_is_being_sent_stays_within_a_bound() -> None:
    raft = sending_leader(C)
    raft._limits = Limits(hold_entries=1, keep_entries=0)
    assert raft._leading is not None
    raft._leading._limits = raft._limits
    raft.propose((b"x", b"y"), 2.0)
    raft.handle_message(B, accepted(2, 6), 2.0)
    raft.take_output()
    raft.handle_snapshot_made(raft.snapshot_meta(Index(6)), 2.0)
    assert raft.take_output().compact_to == 6


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
