"""Elections and replication, each rule by the section of Ongaro's dissertation that states it."""

from random import Random

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
    make_config,
)
from protocol.raft.vocabulary import (
    HardState,
    LeaderChanged,
    Limits,
    NotLeader,
    ProgressState,
    ProposalsFull,
    Role,
    SavedState,
    bootstrap,
)
from tests.protocol.raft.members import (
    TIMING,
    A,
    B,
    C,
    D,
    accepted,
    append,
    command,
    commit_first,
    heartbeat,
    make_follower,
    make_leader,
    make_raft,
    sent,
)


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


def test_payload_in_flight_is_bounded_in_bytes() -> None:
    raft = make_leader(1, limits=Limits(inflight_bytes=100, batch_bytes=60))
    commit_first(raft)
    for _ in range(5):
        raft.propose((b"x" * 60,), 2.0)
    assert len(sent(raft.take_output(), B)) == 2
    raft.handle_message(B, accepted(2, 3), 2.0)
    assert len([m for m in sent(raft.take_output(), B) if isinstance(m, AppendRequest) and m.entries]) == 1


def test_leader_refuses_proposals_beyond_so_many_bytes_that_wait() -> None:
    raft = make_leader(1, limits=Limits(uncommitted_bytes=100))
    commit_first(raft)
    raft.propose((b"x" * 101,), 2.0)
    with pytest.raises(ProposalsFull):
        raft.propose((b"y",), 2.0)
    raft.handle_message(B, accepted(2, 3), 2.0)
    raft.propose((b"y",), 2.0)


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
