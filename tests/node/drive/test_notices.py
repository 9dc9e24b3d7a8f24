"""Notices of what is committed: held for a moment, dropped for what says as much, never lost otherwise."""

from math import inf

from node.drive.notices import HOLD, Notices
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import AppendRequest, Entry, EntryKind, VoteReply
from protocol.raft.vocabulary import Envelope

B, C = NodeId("b" * 32), NodeId("c" * 32)
ENTRY = Entry(Index(8), Term(2), EntryKind.COMMAND, b"x")


def request(to: NodeId, commit: int, *entries: Entry) -> Envelope:
    return Envelope(to, AppendRequest(Term(2), Index(7), Term(2), entries, Index(commit), 1))


def test_entries_leave_at_once() -> None:
    notices = Notices()
    assert notices.sift([request(B, 5, ENTRY)], 0.0) == [request(B, 5, ENTRY)]
    assert notices.due == inf


def test_notice_leaves_after_its_time_when_nothing_else_comes() -> None:
    notices = Notices()
    assert notices.sift([request(B, 5)], 10.0) == []
    assert notices.due == 10.0 + HOLD
    assert notices.take_due(10.0 + HOLD / 2) == ()
    assert notices.take_due(notices.due) == (request(B, 5),)
    assert notices.due == inf
    assert notices.take_due(20.0) == ()


def test_entries_for_the_same_follower_take_the_place_of_a_notice_and_of_no_others() -> None:
    notices = Notices()
    notices.sift([request(B, 5), request(C, 5)], 10.0)
    assert notices.sift([request(B, 5, ENTRY)], 10.001) == [request(B, 5, ENTRY)]
    assert notices.take_due(10.0 + HOLD) == (request(C, 5),)


def test_later_notice_takes_the_place_of_an_earlier_one_and_does_not_put_it_off() -> None:
    notices = Notices()
    notices.sift([request(B, 5)], 10.0)
    notices.sift([request(B, 6)], 10.003)
    assert notices.take_due(10.0 + HOLD) == (request(B, 6),)


def test_heartbeat_that_says_nothing_new_is_not_held_back() -> None:
    notices = Notices()
    notices.sift([request(B, 5, ENTRY)], 10.0)
    assert notices.sift([request(B, 5)], 10.1) == [request(B, 5)]


def test_heartbeat_after_a_notice_left_is_not_held_back() -> None:
    notices = Notices()
    notices.sift([request(B, 5)], 10.0)
    notices.take_due(11.0)
    assert notices.sift([request(B, 5)], 11.1) == [request(B, 5)]


def test_other_messages_leave_at_once_and_change_nothing() -> None:
    notices = Notices()
    reply = Envelope(B, VoteReply(Term(2), True, False))
    notices.sift([request(B, 5)], 10.0)
    assert notices.sift([reply], 10.001) == [reply]
    assert notices.take_due(10.0 + HOLD) == (request(B, 5),)
