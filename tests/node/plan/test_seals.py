"""The CA key: every voter gets a copy, and none is taken back before."""

import msgspec

from node.model import State
from node.plan.seals import Seals, plan_seals
from tests.fakes.states import grown, node_id

A, B, C = (node_id(number) for number in (1, 2, 3))


def held(*numbers: int) -> State:
    return msgspec.structs.replace(grown(3), sealed_ca_keys={node_id(number): b"copy" for number in numbers})


def given(state: State, *voters: int, me: int = 1, leads: bool = True) -> list[int]:
    plan = plan_seals(state, [node_id(number) for number in voters], node_id(me), leads=leads)
    assert plan.take_back == ()
    return sorted(host.id for host in plan.give)


def test_each_voter_without_a_copy_is_given_one_by_any_holder() -> None:
    assert given(held(1), 1, 2, 3) == [2, 3]
    assert given(held(1), 1, 2, leads=False) == [2]
    assert given(held(2), 1, 2, me=1) == []


def test_voter_that_is_no_host_any_more_is_given_none() -> None:
    state = held(1)
    gone = msgspec.structs.replace(state.hosts[2], state="removed", removed=1)
    assert given(msgspec.structs.replace(state, hosts={**state.hosts, 2: gone}), 1, 2, 3) == [3]


def test_removed_holder_gives_while_it_still_votes() -> None:
    state = held(1)
    gone = msgspec.structs.replace(state.hosts[1], state="removed", removed=1)
    assert given(msgspec.structs.replace(state, hosts={**state.hosts, 1: gone}), 1, 2) == [2]


def test_copies_of_those_who_do_not_vote_are_taken_back_by_the_leader_once_each_voter_has_one() -> None:
    assert plan_seals(held(1, 2, 3), [A], A, leads=True) == Seals(take_back=tuple(sorted([B, C])))
    assert plan_seals(held(1, 2, 3), [A], A, leads=False) == Seals()
    assert given(held(1, 3), 1, 2) == [2]
