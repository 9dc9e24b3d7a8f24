"""Planning in rounds: what is remembered is right, and in the end there is as little to do as for the whole plan."""

from random import Random

import pytest
from hypothesis import given, note, settings, strategies as st

from node.commands import Batch, CreateContainer, CreateService, SetHostState, UpdateService
from node.model import State
from node.plan import rounds
from node.plan.everything import Picture, plan
from node.plan.rounds import Planner
from node.state import Taken, apply
from tests.fakes.states import carried_out, done, launch, node_id, with_service
from tests.node.plan.test_services import NOW, commands_of_a_day, live, shop
from tests.node.state.test_many import contents

ROUNDS = 300


def play(planner: Planner, state: State, rng: Random, *, now: int = NOW, carry_out: bool = True) -> State:
    """Make rounds and apply what they say until there is nothing more to do."""
    for _ in range(ROUNDS):
        planned = planner.round(state, Picture(), now, rng)
        if planned.commands:
            state = apply(state, Batch(commands=planned.commands), at=now).state
            state = carried_out(state) if carry_out else state
        elif not planned.more:
            return state
    raise AssertionError(f"the plan does not end: {planned.commands[:3]}")


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "SERVICES_PER_ROUND", 1)
    monkeypatch.setattr(rounds, "ROWS_PER_ROUND", 2)


@pytest.mark.usefixtures("_small")
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 25))
def test_any_day_planned_in_small_rounds_ends_where_the_whole_plan_has_nothing_to_do(seed: int, steps: int) -> None:
    note(f"seed {seed}")
    rng, planner = Random(seed), Planner()
    state = with_service(shop(hosts=3, scale=2), "other", launch=launch(ports=("10086:80",)))
    for _ in range(steps):
        state = apply(state, commands_of_a_day(rng, state), at=NOW).state
        if rng.random() < 0.5:
            commands = planner.round(state, Picture(), NOW, rng).commands
            state = apply(state, Batch(commands=commands), at=NOW).state
        if rng.random() < 0.5:
            state = carried_out(state)
    state = play(planner, carried_out(state), rng)
    assert plan(state, Picture(), NOW, rng) == ()
    assert contents(planner._taken) == contents(Taken(state.containers.values()))


def test_what_a_round_reserves_is_free_again_in_the_next() -> None:
    planner, state = Planner(), shop(hosts=2, scale=4)
    first = planner.round(state, Picture(), NOW, Random(1))
    again = Planner().round(state, Picture(), NOW, Random(1))
    assert first.commands == again.commands
    assert contents(planner._taken) == contents(Taken(state.containers.values()))


def test_standalone_container_gets_its_host_once() -> None:
    planner, rng = Planner(), Random(1)
    state = play(planner, shop(hosts=2), rng)
    command = CreateContainer(uuid="u", environment_id=5, name="alone", launch=launch())
    state = done(state, command)
    planned = planner.round(state, Picture(), NOW, rng)
    assert [type(each).__name__ for each in planned.commands] == ["PlaceContainer"]
    state = play(planner, state, rng)
    assert [row.host_id for row in live(state) if row.name == "alone"] != [None]


def test_service_without_room_is_looked_at_again_when_a_host_may_take_it() -> None:
    planner, rng = Planner(), Random(1)
    state = done(shop(hosts=1, scale=0), SetHostState(id=1, state="inactive"))
    state = play(planner, done(state, UpdateService(id=1, scale=2)), rng)
    assert state.services[1].message is not None
    state = play(planner, done(state, SetHostState(id=1, state="active")), rng)
    assert len(live(state)) == 2
    assert state.services[1].message is None


def test_settled_services_are_not_looked_at_again_until_it_is_time() -> None:
    planner, rng = Planner(), Random(1)
    state = play(planner, shop(hosts=2, scale=2), rng)
    assert planner._due == {}
    assert not planner.round(state, Picture(), NOW, rng).more
    assert planner._everything_at == NOW + rounds.EVERYTHING_EVERY_MS
    planner.round(state, Picture(), NOW + rounds.EVERYTHING_EVERY_MS, rng)
    assert planner._everything_at == NOW + 2 * rounds.EVERYTHING_EVERY_MS


@pytest.mark.usefixtures("_small")
def test_nothing_is_planned_before_all_is_taken_in() -> None:
    planner, state = Planner(), play(Planner(), shop(hosts=2, scale=9), Random(1))
    planned = [planner.round(state, Picture(), NOW, Random(1)) for _ in range(3)]
    assert [each.more for each in planned] == [True, True, True]
    assert all(each.commands == () for each in planned)
    assert play(planner, state, Random(1)) == state


def test_round_is_bounded_and_the_next_goes_on() -> None:
    state = shop(hosts=2, scale=0)
    for number in range(rounds.SERVICES_PER_ROUND + 10):
        command = CreateService(uuid=f"u{number}", stack_id=1, name=f"s{number}", launch=launch(), scale=0)
        state = done(state, command)
    planner = Planner()
    assert planner.round(state, Picture(), NOW, Random(1)).more
    assert not planner.round(state, Picture(), NOW, Random(1)).more


def test_hosts_are_judged_in_every_round() -> None:
    planner = Planner()
    state = play(planner, shop(hosts=2), Random(1))
    planned = planner.round(state, Picture(dead_for={node_id(2): 60.0}), NOW, Random(1))
    assert [type(each).__name__ for each in planned.commands] == ["MarkHostDown"]
