"""Claims: what beats what, what is refuted, what is passed on, and what is told to the owner."""

from random import Random

import pytest

from protocol.ids import Incarnation, NodeId
from protocol.swim import (
    Member,
    MemberCleared,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRevived,
    MemberSuspected,
    MemberUpdated,
    State,
)
from protocol.swim.claims import MAX_EVENTS, Membership
from protocol.swim.members import MAX_GONE, MAX_MEMBERS
from protocol.swim.messages import Alive, Claim, Dead, Left, Record, Suspect
from tests.protocol.swim.builders import ME, B, C, D, E, member, membership, meta, node


def alive(who: NodeId, incarnation: int = 0) -> Alive:
    return Alive(who, Incarnation(incarnation), meta(int(who, 16)))


def suspect(who: NodeId, incarnation: int = 0, accuser: NodeId = C) -> Suspect:
    return Suspect(who, Incarnation(incarnation), accuser)


def dead(who: NodeId, incarnation: int = 0) -> Dead:
    return Dead(who, Incarnation(incarnation), C)


def left(who: NodeId, incarnation: int = 0) -> Left:
    return Left(who, Incarnation(incarnation))


def group_with(*others: NodeId) -> Membership:
    group = membership()
    for other in others:
        group.hear(alive(other), 0.0)
    group.take_events()
    return group


def state_of(group: Membership, who: NodeId) -> tuple[State, int]:
    return group.table.rows[who].state, group.table.rows[who].incarnation


def bury(group: Membership, who: NodeId, incarnation: int = 0) -> None:
    group.hear(dead(who, incarnation), -1e6)
    group.expire(0.0)


def test_unknown_member_joins_by_its_own_word_only() -> None:
    group = membership()
    for claim in (suspect(B), dead(B), left(B)):
        group.hear(claim, 0.0)
    assert B not in group.table.rows
    group.hear(alive(B), 1.0)
    assert group.take_events() == (MemberJoined(Member(B, meta(2), State.ALIVE, Incarnation(0), 1.0)),)


def test_same_claim_again_changes_nothing() -> None:
    group = membership()
    for claim in (alive(B), suspect(B), dead(B), left(B)):
        group.hear(claim, 1.0)
        group.expire(1.0 if isinstance(claim, Suspect) else 1e9)
        before = group.table.rows[B]
        group.take_events()
        group.hear(claim, 2.0)
        assert group.take_events() == ()
        assert group.table.rows[B] == before


def test_suspicion_is_cleared_by_a_higher_incarnation_and_not_by_the_same() -> None:
    group = membership()
    group.hear(alive(B, 3), 0.0)
    group.hear(suspect(B, 3), 0.0)
    group.hear(alive(B, 3), 0.0)
    assert state_of(group, B) == (State.SUSPECT, 3)
    group.hear(alive(B, 4), 0.0)
    assert state_of(group, B) == (State.ALIVE, 4)
    assert group.suspicions == {}
    assert [type(event) for event in group.take_events()] == [MemberJoined, MemberSuspected, MemberCleared]


def test_suspicion_of_an_old_incarnation_is_ignored() -> None:
    group = membership()
    group.hear(alive(B, 3), 0.0)
    group.hear(suspect(B, 2), 0.0)
    assert state_of(group, B) == (State.ALIVE, 3)


def test_confirmed_suspicion_becomes_a_death_after_the_shortest_time() -> None:
    group = group_with(B, C, D, E)
    shortest = group.timing.shortest_suspicion(5)
    group.hear(suspect(B, accuser=C), 10.0)
    group.hear(suspect(B, accuser=D), 10.1)
    assert group.next_expiry() > 10.0 + shortest
    group.hear(suspect(B, accuser=ME), 10.2)
    assert group.next_expiry() == 10.0 + shortest
    group.expire(10.0 + shortest)
    assert state_of(group, B) == (State.DEAD, 0)
    assert [type(event) for event in group.take_events()] == [MemberSuspected, MemberDied]


def test_unconfirmed_suspicion_lasts_longest() -> None:
    group = group_with(B, C, D, E)
    group.hear(suspect(B), 10.0)
    longest = group.timing.shortest_suspicion(5) * group.timing.max_suspicion_factor
    assert group.next_expiry() == 10.0 + longest


def test_confirmations_are_not_waited_for_when_everybody_else_is_suspect_too() -> None:
    group = group_with(B, C)
    group.hear(suspect(B, accuser=ME), 10.0)
    group.hear(suspect(C, accuser=ME), 10.0)
    assert group.next_expiry() == 10.0 + group.timing.shortest_suspicion(3)


def test_death_that_was_not_suspected_is_suspected_first() -> None:
    group = group_with(B, C, D, E)
    group.hear(dead(B), 10.0)
    assert state_of(group, B) == (State.SUSPECT, 0)
    assert group.next_expiry() == 10.0 + group.timing.shortest_suspicion(5)


def test_death_of_a_suspect_hastens_its_suspicion_and_is_passed_on() -> None:
    group = group_with(B, C, D, E)
    group.hear(suspect(B), 10.0)
    group.queue.drop(B)
    group.hear(dead(B), 10.5)
    assert state_of(group, B) == (State.SUSPECT, 0)
    assert group.next_expiry() == 10.0 + group.timing.shortest_suspicion(5)
    assert B in group.queue
    group.queue.drop(B)
    group.hear(dead(B), 10.6)
    assert B not in group.queue, "the same news is passed on once"


def test_dead_member_returns_by_a_higher_incarnation_only() -> None:
    group = group_with(B)
    bury(group, B)
    for claim in (alive(B), suspect(B, 7)):
        group.hear(claim, 0.0)
    assert state_of(group, B) == (State.DEAD, 0)
    group.take_events()
    group.hear(alive(B, 1), 0.0)
    assert [type(event) for event in group.take_events()] == [MemberRevived]


def test_departed_member_is_not_held_dead_and_joins_again_by_a_higher_incarnation() -> None:
    group = group_with(B)
    group.hear(left(B), 0.0)
    group.hear(dead(B), 0.0)
    assert state_of(group, B) == (State.LEFT, 0)
    group.hear(alive(B, 1), 0.0)
    assert [type(event) for event in group.take_events()] == [MemberLeft, MemberJoined]


def test_new_address_comes_with_a_higher_incarnation() -> None:
    group = group_with(B)
    group.hear(Alive(B, Incarnation(0), meta(77)), 0.0)
    assert group.table.rows[B].meta == meta(2), "the same incarnation cannot say two things"
    group.hear(Alive(B, Incarnation(1), meta(77)), 0.0)
    assert group.table.rows[B].address == member(node(77)).address
    assert [type(event) for event in group.take_events()] == [MemberUpdated]


@pytest.mark.parametrize("claim", [suspect(ME, 4), dead(ME, 4), left(ME, 4)])
def test_rumour_about_us_is_refuted_above_its_incarnation(claim: Claim) -> None:
    group = group_with(B)
    assert group.hear(claim, 0.0)
    assert group.table.mine.incarnation == 5
    assert group.table.mine.state is State.ALIVE
    assert ME in group.queue
    assert group.health.score == (0 if isinstance(claim, Left) else 1)


def test_old_rumour_about_us_is_corrected_without_a_new_incarnation() -> None:
    group = group_with(B)
    group.hear(suspect(ME, 4), 0.0)
    assert group.hear(suspect(ME, 3), 0.0)
    assert group.table.mine.incarnation == 5


@pytest.mark.parametrize("theirs", [Alive(ME, Incarnation(6), meta(1)), Alive(ME, Incarnation(0), meta(9))])
def test_restarted_member_jumps_above_what_others_remember(theirs: Alive) -> None:
    group = membership()
    assert group.hear(theirs, 0.0)
    assert group.table.mine.incarnation == theirs.incarnation + 1
    assert group.table.mine.meta == meta(1)


def test_our_own_words_coming_back_are_no_rumour() -> None:
    group = membership()
    assert not group.hear(Alive(ME, Incarnation(0), meta(1)), 0.0)
    assert group.table.mine.incarnation == 0


def test_leaving_member_refutes_nothing() -> None:
    group = group_with(B)
    group.leave(0.0)
    group.hear(suspect(ME), 0.0)
    assert state_of(group, ME) == (State.LEFT, 0)
    assert group.my_claim() == left(ME)


def test_gone_members_in_a_table_stay_unknown_to_who_does_not_know_them() -> None:
    group = membership()
    for state in (State.DEAD, State.LEFT):
        group.hear_record(Record(B, state, Incarnation(0), meta(2)), C, 0.0)
    assert B not in group.table.rows
    group.hear_record(Record(B, State.SUSPECT, Incarnation(0), meta(2)), C, 0.0)
    assert state_of(group, B) == (State.SUSPECT, 0)


def test_gone_members_are_forgotten_in_time_and_beyond_the_bound() -> None:
    group = membership()
    for number in range(2, MAX_GONE + 4):
        group.hear(alive(node(number)), 0.0)
        bury(group, node(number))
    assert len(group.table.gone()) == MAX_GONE
    assert B not in group.table.rows
    group.take_events()
    group.forget_overdue(group.timing.forget_timeout + 1)
    assert list(group.table.rows) == [ME]
    assert {type(event) for event in group.take_events()} == {MemberForgotten}


def test_full_table_takes_a_newcomer_only_for_somebody_gone() -> None:
    group = membership()
    for number in range(2, MAX_MEMBERS + 50):
        group.hear(alive(node(number)), 0.0)
    assert len(group.table.rows) == MAX_MEMBERS
    assert len(group.queue) <= MAX_MEMBERS
    group.hear(left(B), 0.0)
    group.hear(alive(node(9999)), 0.0)
    assert len(group.table.rows) == MAX_MEMBERS
    assert node(9999) in group.table.rows
    assert B not in group.table.rows


def test_events_nobody_takes_are_bounded() -> None:
    group = group_with(B)
    for incarnation in range(1, MAX_EVENTS):
        group.hear(suspect(B, incarnation), 0.0)
        group.hear(alive(B, incarnation + 1), 0.0)
    assert len(group.take_events()) <= MAX_EVENTS


@pytest.mark.parametrize("seed", range(20))
def test_members_that_hear_the_same_claims_in_any_order_agree_once_suspicions_end(seed: int) -> None:
    rng = Random(seed)
    kinds = (alive, suspect, dead, left)
    claims: list[Claim] = [rng.choice(kinds)(rng.choice([B, C]), rng.randrange(4)) for _ in range(12)]
    claims += [alive(who, incarnation) for who in (B, C) for incarnation in range(4)]
    views = []
    for _ in range(4):
        rng.shuffle(claims)
        view = group_with(B, C)
        for claim in claims * 2:
            view.hear(claim, 0.0)
        view.expire(1e9)
        views.append({who: state_of(view, who) for who in (B, C)})
    assert all(view == views[0] for view in views)
