"""Linearizable reads that need no entry in the log: 6.4 of Ongaro's dissertation."""

from random import Random

import pytest

from protocol.ids import Index, Term
from protocol.raft.core import Raft
from protocol.raft.messages import AppendReply, AppendRequest, make_config
from protocol.raft.vocabulary import NotLeader, ReadAnswer, bootstrap
from tests.protocol.raft.members import A, B, C, D, accepted, commit_first, heartbeat, make_follower, make_leader, sent


def answer_round(raft: Raft, peer: str, number: int) -> None:
    """Let `peer` answer the request with that `seq`."""
    raft.handle_message(B if peer == B else C if peer == C else D, accepted(2, 2, number), 2.1)


def ask(raft: Raft) -> int:
    """Ask for a read index; return the `seq` of the request that goes to B for it."""
    raft.read_index(2.0)
    requests = [message for message in sent(raft.take_output(), B) if isinstance(message, AppendRequest)]
    return requests[-1].seq


def test_read_is_answered_once_a_majority_has_replied_to_a_later_request_6_4() -> None:
    raft = make_leader(1)
    commit_first(raft)
    seq = ask(raft)
    assert raft.take_output().reads == ()
    answer_round(raft, B, seq)
    assert raft.take_output().reads == (ReadAnswer(1, Index(2)),)


def test_reply_to_an_earlier_request_confirms_nothing_6_4() -> None:
    raft = make_leader(1)
    commit_first(raft)
    seq = ask(raft)
    answer_round(raft, B, seq - 2)
    assert raft.take_output().reads == ()


def test_refusal_confirms_as_well_6_4() -> None:
    # Whether logs agree does not matter: the follower follows nobody else in this term.
    raft = make_leader(1)
    raft.handle_message(C, accepted(2, 2), 2.0)
    seq = ask(raft)
    raft.handle_message(B, AppendReply(Term(2), False, Index(2), Index(1), Term(1), seq), 2.1)
    assert len(raft.take_output().reads) == 1


def test_former_leader_is_refused_without_the_number_of_its_request_6_4() -> None:
    # It may lead our term by now: the number would then confirm what it has asked since.
    raft = make_follower(5)
    raft.handle_message(B, AppendRequest(Term(4), Index(1), Term(4), (), Index(1), 77), 2.1)
    reply = sent(raft.take_output(), B)[0]
    assert isinstance(reply, AppendReply)
    assert (reply.term, reply.seq) == (5, 0)


def test_learners_confirm_nothing_6_4() -> None:
    raft = make_leader(1, config=make_config([A, B, C], [D]))
    commit_first(raft)
    raft.read_index(2.0)
    answer_round(raft, D, 99)
    assert raft.take_output().reads == ()


def test_read_covers_the_first_entry_of_the_term_if_that_is_not_committed_yet_6_4() -> None:
    # What an earlier leader has acknowledged lies before it, and is not known here to be committed.
    raft = make_leader(1, 1)
    seq = ask(raft)
    raft.handle_message(B, accepted(2, 2, seq), 2.1)
    assert raft.commit_index == 0
    assert raft.take_output().reads == (ReadAnswer(1, Index(3)),)


def test_read_covers_what_was_committed_when_it_was_asked_6_4() -> None:
    raft = make_leader(1)
    commit_first(raft)
    index, _ = raft.propose((b"x",), 2.0)
    raft.handle_message(C, accepted(2, index), 2.0)
    seq = ask(raft)
    answer_round(raft, B, seq)
    assert raft.take_output().reads == (ReadAnswer(1, index),)


def test_sole_voter_answers_at_once() -> None:
    raft = Raft(A, saved=bootstrap(A), rng=Random(1), now=0.0)
    raft.handle_timer(0.0)
    number = raft.read_index(0.1)
    assert raft.take_output().reads == (ReadAnswer(number, Index(2)),)


def test_read_fails_when_leadership_is_lost() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.read_index(2.0)
    raft.handle_message(B, heartbeat(3, 2, 2), 2.1)
    assert raft.take_output().reads == (ReadAnswer(1, None),)


def test_follower_answers_no_reads() -> None:
    with pytest.raises(NotLeader) as refusal:
        make_follower(1, leader=B).read_index(2.0)
    assert refusal.value.leader == B
