"""The member table: precedence, and what is counted."""

from itertools import combinations

from protocol.swim import State
from protocol.swim.members import MAX_GONE, MemberTable
from tests.protocol.swim.builders import ME, B, C, member, node


def test_claims_are_in_one_total_order_incarnation_first() -> None:
    order = [(incarnation, state) for incarnation in range(3) for state in State]
    for (low, worse), (high, better) in combinations(order, 2):
        assert member(B, worse, low).yields_to(better, high)
        assert not member(B, better, high).yields_to(worse, low)
    assert not member(B).yields_to(State.ALIVE, 0), "the same claim again is no news"


def test_suspects_count_as_alive_and_the_gone_do_not() -> None:
    table = MemberTable(member(ME))
    table.put(member(B, State.SUSPECT))
    table.put(member(C, State.DEAD))
    assert table.alive == {ME, B}
    assert [row.node for row in table.others()] == [B]
    assert table.healthy_others() == 0
    table.put(member(C, State.ALIVE, 1))
    assert table.alive == {ME, B, C}
    assert table.gone() == []


def test_surplus_is_whoever_went_first_beyond_the_bound() -> None:
    table = MemberTable(member(ME))
    for number in range(2, MAX_GONE + 4):
        table.put(member(node(number), State.DEAD, changed_at=float(number)))
    assert [row.node for row in table.surplus()] == [node(2), node(3)]


def test_own_row_is_never_forgotten() -> None:
    table = MemberTable(member(ME))
    table.forget(ME)
    assert table.mine == member(ME)
