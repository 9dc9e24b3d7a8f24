"""The rules of the core, each by the section of Ongaro's dissertation that states it."""

from random import Random

import pytest

from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    PreVoteRequest,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    VoteReply,
    VoteRequest,
    encode_config,
    make_config,
)
from protocol.raft.snapshots import OutgoingSnapshot
from protocol.raft.vocabulary import (
    DEFAULT_LIMITS,
    ConfigChanged,
    ConfigInFlight,
    ConfigRefused,
    HardState,
    LeaderChanged,
    Limits,
    NotLeader,
    Output,
    ProgressState,
    ProposalsFull,
    Role,
    SavedState,
    Snapshot,
    Timing,
    bootstrap,
)

A, B, C, D = (NodeId(letter * 32) for letter in "abcd")
ABC = make_config([A, B, C])
TIMING = Timing()


def make_entries(*terms: int, config: Config = ABC) -> tuple[Entry, ...]:
    """Return a log of entries of these terms, the first of which is `config`."""
    first = Entry(Index(1), Term(terms[0]), EntryKind.CONFIG, encode_config(config))
    return (first, *(command(index, term) for index, term in enumerate(terms[1:], 2)))


def command(index: int, term: int, text: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.COMMAND, text)


def make_raft(
    *terms: int, me: NodeId = A, vote: NodeId | None = None, config: Config = ABC, limits: Limits = DEFAULT_LIMITS
) -> Raft:
    log = make_entries(*terms, config=config)
    saved = SavedState(HardState(log[-1].term, vote), None, log)
    return Raft(me, saved=saved, rng=Random(1), now=0.0, timing=TIMING, limits=limits)


def make_leader(*terms: int, config: Config = ABC, limits: Limits = DEFAULT_LIMITS) -> Raft:
    """Return A, elected at time 2.0 by everybody, with its first output taken."""
    raft = make_raft(*terms, config=config, limits=limits)
    raft.handle_timer(2.0)
    for pre in (True, False):
        for peer in config.voters:
            raft.handle_message(peer, VoteReply(Term(terms[-1] + 1), True, pre), 2.0)
    assert raft.is_leader
    raft.take_output()
    return raft


def make_follower(*terms: int, leader: NodeId = B, now: float = 2.0) -> Raft:
    """Return A, which heard `leader` at `now`."""
    raft = make_raft(*terms)
    raft.handle_message(leader, heartbeat(terms[-1], len(terms), terms[-1]), now)
    raft.take_output()
    return raft


def heartbeat(term: int, prev: int, prev_term: int, commit: int = 0) -> AppendRequest:
    return AppendRequest(Term(term), Index(prev), Term(prev_term), (), Index(commit), 1)


def append(term: int, prev: int, prev_term: int, *entries: Entry, commit: int = 0) -> AppendRequest:
    return AppendRequest(Term(term), Index(prev), Term(prev_term), entries, Index(commit), 1)


def accepted(term: int, index: int, seq: int = 99) -> AppendReply:
    return AppendReply(Term(term), True, Index(index), Index(0), Term(0), seq)


def sent(output: Output, to: NodeId) -> list[RaftMessage]:
    return [envelope.message for envelope in output.send if envelope.to == to]


def commit_first(raft: Raft) -> None:
    raft.handle_message(B, accepted(raft.term, raft.last_index), 2.0)
    raft.take_output()


# Elections.


def test_follower_waits_while_the_timer_has_not_passed() -> None:
    raft = make_raft(1)
    raft.handle_timer(0.9)
    assert raft.role is Role.FOLLOWER
    assert raft.take_output().send == ()


def test_follower_asks_before_it_raises_the_term_9_6() -> None:
    raft = make_raft(1)
    raft.handle_timer(raft.wake_at)
    output = raft.take_output()
    assert raft.role is Role.PRE_CANDIDATE
    assert output.hard is None
    assert sent(output, B) == [PreVoteRequest(Term(2), Index(1), Term(1))]


def test_own_vote_is_owed_to_disk_in_the_same_output_as_the_requests_3_4() -> None:
    raft = make_raft(1)
    raft.handle_timer(2.0)
    raft.handle_message(B, VoteReply(Term(2), True, True), 2.0)
    output = raft.take_output()
    assert output.hard == HardState(Term(2), A)
    assert sent(output, C)[-1] == VoteRequest(Term(2), Index(1), Term(1))


def test_candidate_does_not_win_with_votes_of_an_earlier_question() -> None:
    raft = make_raft(1)
    raft.handle_timer(2.0)
    raft.handle_message(B, VoteReply(Term(2), True, True), 2.0)
    raft.handle_message(C, VoteReply(Term(2), True, True), 2.0)
    assert raft.role is Role.CANDIDATE


def test_learners_vote_does_not_count_3_4() -> None:
    raft = make_raft(1, config=make_config([A, B], [C]))
    raft.handle_timer(2.0)
    raft.handle_message(C, VoteReply(Term(2), True, True), 2.0)
    assert raft.role is Role.PRE_CANDIDATE


def test_learner_never_campaigns_4_2_1() -> None:
    raft = make_raft(1, me=C, config=make_config([A, B], [C]))
    raft.handle_timer(100.0)
    assert raft.role is Role.FOLLOWER
    assert raft.wake_at == float("inf")


def test_newcomer_is_passive() -> None:
    raft = Raft(A, saved=SavedState(), rng=Random(1), now=0.0)
    raft.handle_timer(100.0)
    assert raft.take_output().send == ()


def test_member_votes_once_a_term_3_4() -> None:
    raft = make_raft(1)
    raft.handle_message(B, VoteRequest(Term(2), Index(1), Term(1)), 2.0)
    output = raft.take_output()
    assert output.hard == HardState(Term(2), B)
    assert sent(output, B) == [VoteReply(Term(2), True, False)]
    raft.handle_message(C, VoteRequest(Term(2), Index(1), Term(1)), 2.0)
    assert sent(raft.take_output(), C) == [VoteReply(Term(2), False, False)]


def test_member_votes_once_a_term_after_a_restart_3_8() -> None:
    raft = make_raft(1, vote=B)
    raft.handle_message(C, VoteRequest(Term(1), Index(1), Term(1)), 2.0)
    assert sent(raft.take_output(), C) == [VoteReply(Term(1), False, False)]


@pytest.mark.parametrize(("last_index", "last_term"), [(2, 2), (9, 1)])
def test_member_does_not_vote_for_an_older_log_3_6_1(last_index: int, last_term: int) -> None:
    raft = make_raft(1, 1, 2)
    for request in (PreVoteRequest, VoteRequest):
        raft.handle_message(B, request(Term(3), Index(last_index), Term(last_term)), 2.0)
        reply = sent(raft.take_output(), B)[0]
        assert isinstance(reply, VoteReply)
        assert not reply.granted


def test_promise_to_vote_changes_neither_term_nor_vote_nor_timer_9_6() -> None:
    raft = make_raft(1)
    before = raft.wake_at
    raft.handle_message(B, PreVoteRequest(Term(2), Index(1), Term(1)), 0.5)
    output = raft.take_output()
    assert sent(output, B) == [VoteReply(Term(2), True, True)]
    assert (output.hard, raft.wake_at) == (None, before)


@pytest.mark.parametrize("request_type", [PreVoteRequest, VoteRequest])
def test_member_with_a_leader_ignores_candidates_4_2_3(request_type: type[PreVoteRequest] | type[VoteRequest]) -> None:
    raft = make_follower(1, now=2.0)
    raft.handle_message(C, request_type(Term(2), Index(9), Term(1)), 2.9)
    assert raft.take_output().send == ()
    assert raft.term == 1
    raft.handle_message(C, request_type(Term(2), Index(9), Term(1)), 3.1)
    assert len(raft.take_output().send) == 1


def test_leader_cut_off_from_the_majority_steps_down_6_2() -> None:
    raft = make_leader(1)
    raft.handle_message(B, accepted(2, 2), 2.5)
    raft.handle_timer(3.4)
    assert raft.is_leader
    raft.handle_timer(3.6)
    assert raft.role is Role.FOLLOWER
    assert LeaderChanged(None, Term(2)) in raft.take_output().events


def test_leader_counts_only_voters_as_contact_6_2() -> None:
    raft = make_leader(1, config=make_config([A, B, C], [D]))
    raft.handle_message(D, accepted(2, 1), 3.4)
    raft.handle_timer(3.5)
    assert not raft.is_leader


def test_follower_campaigns_soon_after_the_link_to_its_leader_broke() -> None:
    raft = make_follower(1, leader=B, now=2.0)
    raft.handle_peer_lost(C, 2.1)
    assert raft.wake_at >= 3.0
    raft.handle_peer_lost(B, 2.1)
    assert raft.wake_at <= 2.1 + TIMING.lost_delay + TIMING.lost_spread
    raft.handle_timer(raft.wake_at)
    assert raft.role is Role.PRE_CANDIDATE


def test_follower_whose_leader_is_lost_answers_others_at_once() -> None:
    raft = make_follower(1, leader=B, now=2.0)
    raft.handle_peer_lost(B, 2.1)
    raft.handle_message(C, PreVoteRequest(Term(2), Index(1), Term(1)), 2.15)
    assert sent(raft.take_output(), C) == [VoteReply(Term(2), True, True)]


def test_any_message_of_a_higher_term_unseats_a_leader_3_3() -> None:
    raft = make_leader(1)
    raft.handle_message(B, AppendReply(Term(7), False, Index(1), Index(0), Term(0), 1), 2.1)
    assert (raft.role, raft.term) == (Role.FOLLOWER, 7)
    assert raft.take_output().hard == HardState(Term(7), None)


def test_former_leader_is_told_the_newer_term_3_3() -> None:
    raft = make_raft(1, 5)
    raft.handle_message(B, heartbeat(4, 1, 1), 2.0)
    reply = sent(raft.take_output(), B)[0]
    assert reply.term == 5
    assert raft.leader is None


# Replication.


def test_sole_voter_commits_in_the_output_of_the_proposal() -> None:
    raft = Raft(A, saved=bootstrap(A), rng=Random(1), now=0.0)
    raft.handle_timer(0.0)
    raft.take_output()
    assert raft.propose((b"one", b"two"), 0.1) == (3, 2)
    output = raft.take_output()
    assert [entry.data for entry in output.append] == [b"one", b"two"]
    assert output.apply == output.append


def test_new_leader_appends_an_empty_entry_6_4() -> None:
    raft = make_raft(1)
    raft.handle_timer(2.0)
    for pre in (True, False):
        raft.handle_message(B, VoteReply(Term(2), True, pre), 2.0)
    assert raft.take_output().append == (Entry(Index(2), Term(2), EntryKind.NOOP, b""),)


def test_proposal_at_a_follower_names_the_leader() -> None:
    raft = make_follower(1, leader=B)
    with pytest.raises(NotLeader) as refusal:
        raft.propose((b"x",), 2.0)
    assert refusal.value.leader == B


def test_leader_refuses_proposals_beyond_the_bound() -> None:
    raft = make_leader(1, limits=Limits(uncommitted_entries=4))
    raft.propose((b"x", b"y"), 2.0)
    with pytest.raises(ProposalsFull):
        raft.propose((b"z",), 2.0)


def test_entry_is_committed_once_a_majority_has_it_3_5() -> None:
    raft = make_leader(1)
    commit_first(raft)
    index, _ = raft.propose((b"x",), 2.0)
    assert raft.take_output().apply == ()
    raft.handle_message(C, accepted(2, index), 2.0)
    assert [entry.index for entry in raft.take_output().apply] == [index]


def test_entry_at_a_learner_does_not_count_4_2_1() -> None:
    raft = make_leader(1, config=make_config([A, B, C], [D]))
    raft.handle_message(D, accepted(2, 2), 2.0)
    assert raft.commit_index == 0


def test_entry_of_an_earlier_term_is_not_committed_by_counting_3_6_2() -> None:
    raft = make_leader(1, 2)
    raft.handle_message(B, accepted(3, 2), 2.0)
    assert raft.commit_index == 0
    raft.handle_message(B, accepted(3, 3), 2.0)
    assert raft.commit_index == 3


def test_follower_takes_entries_and_drops_what_conflicts_3_5() -> None:
    raft = make_raft(1, 1, 1)
    raft.handle_message(B, append(2, 1, 1, command(2, 2)), 2.0)
    output = raft.take_output()
    assert (output.truncate_from, output.append) == (2, (command(2, 2),))
    assert sent(output, B) == [accepted(2, 2, seq=1)]


def test_follower_keeps_what_an_old_request_does_not_mention_3_5() -> None:
    raft = make_raft(1, 1, 1)
    raft.handle_message(B, append(1, 1, 1, command(2, 1)), 2.0)
    output = raft.take_output()
    assert (output.truncate_from, output.append, raft.last_index) == (None, (), 3)


def test_follower_commits_no_further_than_the_request_reaches_3_5() -> None:
    # Entry 3 is here, but from a leader that may never have had it on a majority.
    raft = make_raft(1, 1, 1)
    raft.handle_message(B, append(2, 1, 1, commit=3), 2.0)
    assert raft.commit_index == 1


def test_refusal_points_to_the_last_entry_that_may_agree_3_5() -> None:
    raft = make_raft(1, 1, 4, 4, 4)
    raft.handle_message(B, append(6, 5, 3), 2.0)
    assert sent(raft.take_output(), B) == [AppendReply(Term(6), False, Index(5), Index(2), Term(1), 1)]


def test_refusal_of_an_older_guess_is_ignored() -> None:
    raft = make_leader(1, 1, 1)
    refusal = AppendReply(Term(2), False, Index(3), Index(1), Term(1), 1)
    raft.handle_message(B, refusal, 2.0)
    assert len(sent(raft.take_output(), B)) == 1
    raft.handle_message(B, refusal, 2.0)
    assert sent(raft.take_output(), B) == []


def test_probe_is_one_request_at_a_time() -> None:
    raft = make_leader(1)
    raft.propose((b"x",), 2.0)
    assert sent(raft.take_output(), B) == []
    assert raft.peers(2.0)[B].state is ProgressState.PROBE


def test_requests_in_flight_are_bounded_by_the_window() -> None:
    raft = make_leader(1, limits=Limits(window=3))
    commit_first(raft)
    for _ in range(5):
        raft.propose((b"x",), 2.0)
    assert len(sent(raft.take_output(), B)) == 3
    raft.handle_message(B, accepted(2, 4), 2.0)
    carried = [m for m in sent(raft.take_output(), B) if isinstance(m, AppendRequest) and m.entries]
    assert [len(m.entries) for m in carried] == [2]


def test_batch_is_bounded_in_entries_and_bytes() -> None:
    raft = make_leader(1, limits=Limits(batch_entries=3, batch_bytes=100))
    commit_first(raft)
    raft.propose((b"x", b"x", b"x", b"x", b"y" * 200, b"z" * 60, b"z" * 60), 2.0)
    batches = [m.entries for m in sent(raft.take_output(), B) if isinstance(m, AppendRequest)]
    assert [len(batch) for batch in batches] == [3, 1, 1, 1, 1]


def test_lost_requests_are_found_out_by_the_heartbeat() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.propose((b"x",), 2.0)
    raft.take_output()
    raft.handle_timer(raft.wake_at)
    beat = sent(raft.take_output(), B)[0]
    assert isinstance(beat, AppendRequest)
    raft.handle_message(B, AppendReply(Term(2), False, beat.prev_index, Index(2), Term(2), beat.seq), 2.3)
    again = sent(raft.take_output(), B)[0]
    assert isinstance(again, AppendRequest)
    assert [entry.index for entry in again.entries] == [3]


# Membership.


def test_config_is_in_force_once_it_is_in_the_log_4_1() -> None:
    raft = make_follower(1)
    wider = make_config([A, B, C], [D])
    entry = Entry(Index(2), Term(1), EntryKind.CONFIG, encode_config(wider))
    raft.handle_message(B, append(1, 1, 1, entry), 2.1)
    assert raft.config == wider
    assert ConfigChanged(wider, Index(2), False) in raft.take_output().events
    raft.handle_message(C, append(2, 1, 1, command(2, 2)), 9.0)
    assert raft.config == ABC


def test_config_waits_for_an_entry_of_the_leaders_own_term_4_1() -> None:
    raft = make_leader(1)
    with pytest.raises(ConfigInFlight):
        raft.propose_config(make_config([A, B]), 2.0)


def test_config_waits_for_the_one_before_4_1() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.propose_config(make_config([A, B, C], [D]), 2.0)
    with pytest.raises(ConfigInFlight):
        raft.propose_config(ABC, 2.0)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(make_config([A]), id="two voters less"),
        pytest.param(make_config([A, B, C, D]), id="a voter that was no learner"),
        pytest.param(make_config([]), id="nobody"),
    ],
)
def test_config_refuses_more_than_one_safe_step_4_1(config: Config) -> None:
    raft = make_leader(1)
    commit_first(raft)
    with pytest.raises(ConfigRefused):
        raft.propose_config(config, 2.0)


def test_learner_gets_a_vote_only_when_caught_up_4_2_1() -> None:
    raft = make_leader(1, config=make_config([A, B], [C]))
    commit_first(raft)
    with pytest.raises(ConfigRefused, match="caught up"):
        raft.propose_config(ABC, 2.1)
    raft.handle_message(C, accepted(2, 2), 2.2)
    raft.propose_config(ABC, 2.3)
    assert raft.config == ABC


def test_learner_that_fell_silent_is_not_caught_up_4_2_1() -> None:
    raft = make_leader(1, config=make_config([A, B], [C]))
    raft.handle_message(C, accepted(2, 2), 2.2)
    assert raft.peers(2.3)[C].is_caught_up
    assert not raft.peers(9.0)[C].is_caught_up


def test_removed_leader_leads_until_the_change_is_committed_4_2_2() -> None:
    raft = make_leader(1)
    commit_first(raft)
    index = raft.propose_config(make_config([B, C]), 2.0)
    raft.handle_message(B, accepted(2, index), 2.0)
    # Our own copy does not count.
    assert raft.is_leader
    assert raft.commit_index < index
    raft.handle_message(C, accepted(2, index), 2.0)
    assert raft.commit_index == index
    assert raft.role is Role.FOLLOWER


def test_voter_whose_removal_may_not_be_committed_still_campaigns_4_2_2() -> None:
    raft = make_raft(1)
    removal = Entry(Index(2), Term(1), EntryKind.CONFIG, encode_config(make_config([B, C])))
    raft.handle_message(B, append(1, 1, 1, removal), 2.0)
    raft.handle_timer(9.0)
    assert sent(raft.take_output(), B)[-1] == PreVoteRequest(Term(2), Index(2), Term(1))
    raft.handle_message(B, append(1, 2, 1, commit=2), 9.0)
    raft.take_output()
    raft.handle_timer(99.0)
    assert raft.take_output().send == ()


# Snapshots.


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
