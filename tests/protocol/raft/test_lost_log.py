"""A member whose disk was wiped or put back is told apart from its former self: 3.8, 4.2.1 of Ongaro's dissertation."""

from random import Random

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import AppendReply, AppendRequest, PreVoteRequest, VoteReply, VoteRequest, make_config
from protocol.raft.vocabulary import HardState, LogLost, SavedState, TransferRefused
from tests.protocol.raft.members import A, B, C, accepted, commit_first, heartbeat, make_leader, make_raft, sent


def refuse(raft: Raft, prev: int, hint: int = 0) -> None:
    """Let B refuse what was sent to it last."""
    requests = [m for m in sent(raft.take_output(), B) if isinstance(m, AppendRequest)]
    seq = requests[-1].seq
    raft.handle_message(B, AppendReply(Term(2), False, Index(prev), Index(hint), Term(hint and 1), seq), 2.1)


def wiped_follower(found: int = 0) -> Raft:
    """Return the leader A, to which B has acknowledged entry 2 and then refused it."""
    raft = make_leader(1)
    commit_first(raft)
    raft.handle_timer(raft.wake_at)
    refuse(raft, 2, found)
    return raft


@pytest.mark.parametrize("request_type", [PreVoteRequest, VoteRequest])
def test_member_without_a_log_never_votes_4_2_1(request_type: type[PreVoteRequest] | type[VoteRequest]) -> None:
    blank = Raft(A, saved=SavedState(), rng=Random(1), now=0.0)
    blank.handle_message(B, request_type(Term(2), Index(9), Term(1)), 5.0)
    reply = sent(blank.take_output(), B)[0]
    assert isinstance(reply, VoteReply)
    assert not reply.granted


def test_member_that_follows_a_leader_votes_for_nobody_else_in_that_term_3_4() -> None:
    # Wiped and restarted, it may have voted for that leader before.
    raft = make_raft(1)
    raft.handle_message(B, heartbeat(2, 1, 1), 2.0)
    assert raft.take_output().hard == HardState(Term(2), B)
    raft.handle_message(C, VoteRequest(Term(2), Index(9), Term(1)), 9.0)
    assert sent(raft.take_output(), C) == [VoteReply(Term(2), False, False)]


@pytest.mark.parametrize("found", [0, 1])
def test_leader_tells_of_a_member_that_refuses_what_it_had_acknowledged(found: int) -> None:
    raft = wiped_follower(found)
    assert LogLost(B, Index(2), Index(found)) in raft.take_output().events
    assert raft.peers(2.1)[B].has_lost_log


def test_refusal_of_what_was_sent_before_the_acknowledgement_is_no_loss() -> None:
    raft = make_leader(1)
    raft.handle_timer(raft.wake_at)
    early = [m for m in sent(raft.take_output(), B) if isinstance(m, AppendRequest)][-1].seq
    raft.handle_message(B, accepted(2, 2, seq=0), 2.0)
    raft.handle_message(B, AppendReply(Term(2), False, Index(2), Index(1), Term(1), early), 2.1)
    assert not raft.peers(2.1)[B].has_lost_log


def test_refusal_of_an_earlier_terms_request_is_no_loss() -> None:
    raft = make_leader(1)
    raft.handle_message(B, AppendReply(Term(2), False, Index(0), Index(0), Term(0), 0), 2.1)
    assert not raft.peers(2.1)[B].has_lost_log


def test_voter_that_has_lost_its_log_commits_nothing_3_8() -> None:
    raft = wiped_follower()
    index, _ = raft.propose((b"x",), 2.1)
    raft.handle_message(B, accepted(2, index), 2.2)
    assert raft.commit_index < index
    raft.handle_message(C, accepted(2, index), 2.2)
    assert raft.commit_index == index


def test_voter_that_has_lost_its_log_confirms_no_leadership_6_2() -> None:
    raft = wiped_follower()
    raft.read_index(2.1)
    raft.handle_message(B, accepted(2, 2, seq=6), 2.2)
    assert raft.take_output().reads == ()
    raft.handle_message(B, accepted(2, 2), 3.4)
    raft.handle_timer(3.6)
    assert not raft.is_leader


def test_voter_that_has_lost_its_log_is_no_heir() -> None:
    raft = wiped_follower()
    assert raft.transfer(None, 2.2) == C
    with pytest.raises(TransferRefused):
        raft.transfer(B, 2.2)


def test_member_that_has_lost_its_log_is_trusted_again_after_it_was_a_learner_4_2_1() -> None:
    raft = wiped_follower()
    raft.propose_config(make_config([A, C], [B]), 2.2)
    raft.handle_message(C, accepted(2, 3), 2.2)
    assert not raft.peers(2.2)[B].has_lost_log
    raft.handle_message(B, accepted(2, 3), 2.3)
    raft.handle_message(B, accepted(2, 3), 2.3)
    raft.propose_config(make_config([A, B, C]), 2.4)
    raft.handle_message(B, accepted(2, 4), 2.5)
    assert raft.commit_index == 4


def test_learner_that_has_lost_its_log_is_trusted_with_what_it_has_now_4_2_1() -> None:
    # It counts for nothing in any case: nobody has to take a vote away before it may be caught up and get one.
    raft = make_leader(1, config=make_config([A, C], [B]))
    raft.handle_message(C, accepted(2, 2), 2.0)
    commit_first(raft)
    raft.handle_timer(raft.wake_at)
    refuse(raft, 2)
    assert LogLost(B, Index(2), Index(0)) in raft.take_output().events
    assert not raft.peers(2.1)[B].has_lost_log
    assert not raft.peers(2.1)[B].is_caught_up


def test_voter_that_comes_without_a_log_has_lost_it_even_to_a_new_leader_3_8() -> None:
    # Whatever it had acknowledged, and to whom: a voter was a learner first, and had a log then.
    raft = make_leader(1)
    raft.handle_timer(raft.wake_at)
    refuse(raft, 1)
    assert LogLost(B, Index(1), Index(0)) in raft.take_output().events
    raft.handle_message(B, accepted(2, 2), 2.2)
    assert raft.commit_index == 0
    raft.handle_message(C, accepted(2, 2), 2.2)
    assert raft.commit_index == 2
