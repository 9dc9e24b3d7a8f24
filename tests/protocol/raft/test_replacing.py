"""A replica whose state differs is given a snapshot although its log lacks nothing; 5.2 of Ongaro's dissertation."""

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import SnapshotChunk, SnapshotMeta, SnapshotReply
from protocol.raft.snapshots import OutgoingSnapshot
from protocol.raft.vocabulary import Limits, NotLeader, ProgressState, Snapshot
from tests.protocol.raft.members import ABC, B, accepted, append, commit_first, make_follower, make_leader, sent

LIMITS = Limits(chunk_bytes=4, keep_entries=0)


def make_snapshot(index: int, term: int) -> Snapshot:
    return Snapshot(SnapshotMeta(Index(index), Term(term), ABC), b"0123456789")


def caught_up_leader() -> Raft:
    """Return A, to which B has acknowledged all, with a snapshot at 2."""
    raft = make_leader(1, limits=LIMITS)
    commit_first(raft)
    raft.propose((b"x",), 2.0)
    raft.handle_message(B, accepted(2, 3), 2.0)
    raft.handle_snapshot_made(raft.snapshot_meta(Index(2)), 2.0)
    raft.take_output()
    return raft


def follower(commit: int) -> Raft:
    """Return A with four entries, of which so many are committed and applied."""
    raft = make_follower(1, 1, 1, 1)
    raft.handle_message(B, append(1, 4, 1, commit=commit), 2.0)
    raft.take_output()
    return raft


def test_leader_sends_its_snapshot_until_it_is_taken_and_then_entries_again() -> None:
    raft = caught_up_leader()
    raft.replace_state(B, 2.1)
    assert raft.take_output().load_snapshot
    raft.handle_snapshot_loaded(make_snapshot(2, 2), 2.1)
    chunk = sent(raft.take_output(), B)[0]
    assert isinstance(chunk, SnapshotChunk)
    assert chunk.replaces
    raft.handle_message(B, accepted(2, 3), 2.2)
    assert raft.peers(2.2)[B].state is ProgressState.SNAPSHOT
    raft.handle_message(B, SnapshotReply(Term(2), Index(2), 0, True), 2.3)
    assert raft.peers(2.3)[B].state is ProgressState.PROBE
    assert raft.peers(2.3)[B].match == 3


def test_only_a_leader_replaces_states() -> None:
    with pytest.raises(NotLeader):
        make_follower(1).replace_state(B, 2.0)


def test_follower_goes_back_to_the_snapshot_and_applies_again_what_follows() -> None:
    raft = follower(3)
    snapshot = make_snapshot(2, 1)
    raft.handle_message(B, OutgoingSnapshot(snapshot).cut_chunk(Term(1), 0, 10, replaces=True), 2.1)
    output = raft.take_output()
    assert output.install == snapshot
    assert [entry.index for entry in output.apply] == [3]
    assert sent(output, B) == [SnapshotReply(Term(1), Index(2), 0, True)]
    assert (raft.commit_index, raft.last_index, raft.snapshot_index) == (3, 4, 2)


def test_follower_takes_no_snapshot_of_the_past_unless_it_is_to_replace() -> None:
    raft = follower(3)
    raft.handle_message(B, OutgoingSnapshot(make_snapshot(2, 1)).cut_chunk(Term(1), 0, 10), 2.1)
    output = raft.take_output()
    assert output.install is None
    assert sent(output, B) == [SnapshotReply(Term(1), Index(2), 0, True)]


def test_follower_takes_no_snapshot_from_before_its_own() -> None:
    raft = follower(3)
    raft.handle_snapshot_made(raft.snapshot_meta(Index(3)), 2.0)
    raft.handle_message(B, OutgoingSnapshot(make_snapshot(2, 1)).cut_chunk(Term(1), 0, 10, replaces=True), 2.1)
    assert raft.take_output().install is None
