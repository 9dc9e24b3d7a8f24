"""Handing over leadership: 3.10 of Ongaro's dissertation, and the exception it makes to 4.2.3."""

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import AppendRequest, TimeoutNow, VoteRequest, make_config
from protocol.raft.vocabulary import HandingOver, HardState, NotLeader, Output, Role, TransferRefused
from tests.protocol.raft.members import (
    TIMING,
    A,
    B,
    C,
    D,
    accepted,
    commit_first,
    make_follower,
    make_leader,
    make_raft,
    sent,
)


def has_told(output: Output) -> bool:
    return TimeoutNow(Term(2)) in sent(output, B)


def test_heir_with_the_whole_log_is_told_at_once_3_10() -> None:
    raft = make_leader(1)
    commit_first(raft)
    assert raft.transfer(B, 2.0) == B
    assert has_told(raft.take_output())


def test_heir_that_lags_is_told_once_it_has_the_whole_log_3_10() -> None:
    raft = make_leader(1)
    commit_first(raft)
    index, _ = raft.propose((b"x",), 2.0)
    raft.transfer(B, 2.0)
    assert not has_told(raft.take_output())
    raft.handle_message(B, accepted(2, index), 2.1)
    assert has_told(raft.take_output())


def test_leader_takes_no_proposals_while_it_hands_over_3_10() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.transfer(B, 2.0)
    with pytest.raises(HandingOver):
        raft.propose((b"x",), 2.1)
    with pytest.raises(HandingOver):
        raft.propose_config(make_config([A, B]), 2.1)


def test_leader_leads_on_if_the_heir_has_not_taken_over_within_an_election_timeout_3_10() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.transfer(B, 2.0)
    until = 2.0 + TIMING.election_timeout
    while raft.wake_at < until:
        now = raft.wake_at
        raft.handle_timer(now)
        raft.handle_message(C, accepted(2, 2), now)
    assert (raft.heir, raft.wake_at) == (B, until)
    raft.handle_timer(until)
    assert raft.heir is None
    raft.propose((b"x",), until)


def test_asking_again_for_the_same_heir_does_not_prolong_the_attempt_3_10() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.transfer(B, 2.0)
    for now in (2.4, 2.8):
        raft.handle_timer(now)
        assert raft.transfer(B, now) == B
        raft.handle_message(C, accepted(2, 2), now)
    raft.handle_timer(2.0 + TIMING.election_timeout)
    assert raft.heir is None


def test_word_to_the_heir_is_repeated_with_the_heartbeat() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.transfer(B, 2.0)
    raft.take_output()
    raft.handle_timer(raft.wake_at)
    assert has_told(raft.take_output())


def test_heir_is_the_voter_that_is_furthest_when_none_is_named() -> None:
    raft = make_leader(1)
    raft.handle_message(C, accepted(2, 2), 2.0)
    assert raft.transfer(None, 2.0) == C


def test_heir_is_one_that_was_heard_lately_when_none_is_named() -> None:
    raft = make_leader(1, config=make_config([A, B, C]))
    for peer in (B, C):
        raft.handle_message(peer, accepted(2, 2), 2.0)
    raft.propose((b"x",), 2.0)
    raft.handle_message(B, accepted(2, 3), 2.1)
    raft.handle_message(C, accepted(2, 2), 3.5)
    assert raft.transfer(None, 3.6) == C


@pytest.mark.parametrize("to", [A, D])
def test_leadership_goes_to_another_voter_only(to: str) -> None:
    raft = make_leader(1, config=make_config([A, B, C], [D]))
    with pytest.raises(TransferRefused):
        raft.transfer(A if to == A else D, 2.0)
    alone = make_leader(1, config=make_config([A], [D]))
    with pytest.raises(TransferRefused):
        alone.transfer(None, 2.0)


def test_follower_cannot_hand_over() -> None:
    with pytest.raises(NotLeader):
        make_follower(1).transfer(C, 2.0)


def test_heir_campaigns_at_once_and_without_pre_vote_3_10() -> None:
    raft = make_follower(1, leader=B)
    raft.handle_message(B, TimeoutNow(Term(1)), 2.1)
    output = raft.take_output()
    assert output.hard == HardState(Term(2), A)
    assert sent(output, C) == [VoteRequest(Term(2), Index(1), Term(1), True)]


@pytest.mark.parametrize(("sender", "term"), [(C, 1), (B, 0)])
def test_only_the_present_leader_can_choose_an_heir(sender: str, term: int) -> None:
    raft = make_follower(1, leader=B)
    raft.handle_message(B if sender == B else C, TimeoutNow(Term(term)), 2.1)
    assert raft.role is Role.FOLLOWER


def test_learner_does_not_take_over_4_2_1() -> None:
    raft = make_raft(1, config=make_config([B, C], [A]))
    raft.handle_message(B, AppendRequest(Term(1), Index(1), Term(1), (), Index(1), 1), 2.0)
    raft.handle_message(B, TimeoutNow(Term(1)), 2.0)
    assert raft.role is Role.FOLLOWER


def test_member_with_a_leader_votes_for_the_heir_4_2_3() -> None:
    raft = make_follower(1, leader=B, now=2.0)
    raft.handle_message(C, VoteRequest(Term(2), Index(1), Term(1), True), 2.1)
    assert raft.take_output().hard == HardState(Term(2), C)


def test_former_leader_votes_for_its_heir_4_2_3() -> None:
    raft: Raft = make_leader(1)
    commit_first(raft)
    raft.transfer(B, 2.0)
    raft.handle_message(B, VoteRequest(Term(3), Index(2), Term(2), True), 2.1)
    assert (raft.role, raft.take_output().hard) == (Role.FOLLOWER, HardState(Term(3), B))
