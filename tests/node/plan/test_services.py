"""How services fill, shrink, stop, settle and go; and why they do not."""

from random import Random
from typing import Any

import msgspec
import pytest

from node.commands import (
    ActivateService,
    AddContainer,
    AnyCommand,
    Batch,
    CreateContainer,
    CreateService,
    DeactivateService,
    MarkHostDown,
    Observation,
    RemoveHost,
    RemoveService,
    RemoveStack,
    ReportContainers,
    SetContainerDesired,
    UpdateService,
    UpdateStack,
)
from node.model import Container, Seen, State
from node.plan.draft import MAX_COMMANDS
from node.plan.everything import Picture, plan
from tests.fakes.states import carried_out, done, grown, launch, node_id, with_service, with_stack

NOW = 10_000


def planned(state: State, rng: Random | None = None) -> State:
    """Apply what is planned, all of which must be taken, until nothing is."""
    rng = rng or Random(1)
    for _ in range(20):
        commands = plan(state, Picture(), NOW, rng)
        if not commands:
            return state
        state = done(state, Batch(commands=commands), at=NOW)
    raise AssertionError(f"the plan does not come to an end: {commands}")


def settled(state: State, rng: Random | None = None) -> State:
    """Plan, let the hosts do it, and so on until both have nothing to do."""
    rng = rng or Random(1)
    for _ in range(10):
        before = state
        state = carried_out(planned(state, rng))
        if state is before:
            return state
    raise AssertionError("the cluster does not settle")


def live(state: State) -> list[Container]:
    return [row for row in state.containers.values() if row.removed is None]


def numbers(state: State) -> list[int | None]:
    return sorted((row.number for row in live(state)), key=str)


def shop(hosts: int = 3, scale: int = 2, **fields: Any) -> State:
    return with_service(with_stack(grown(hosts)), scale=scale, **fields)


def report(state: State, row: Container, seen: Seen) -> State:
    observation = Observation(container_id=row.id, seen=seen)
    assert row.host_id is not None
    return done(state, ReportContainers(node=state.hosts[row.host_id].node, observations=(observation,)))


def test_service_fills_its_slots_on_different_hosts_and_becomes_active() -> None:
    state = settled(shop(scale=3))
    assert numbers(state) == [1, 2, 3]
    assert {row.host_id for row in live(state)} == {1, 2, 3}
    assert state.services[1].state == "active"


def test_service_stays_activating_until_all_its_containers_run() -> None:
    state = planned(shop(scale=2))
    assert state.services[1].state == "activating"
    state = planned(report(state, live(state)[0], Seen(status="running", starts=1)))
    assert state.services[1].state == "activating"


def test_new_uuids_are_version_4_and_follow_the_rng() -> None:
    commands = plan(shop(), Picture(), NOW, Random(3))
    assert commands == plan(shop(), Picture(), NOW, Random(3))
    uuids = [command.uuid for command in commands if isinstance(command, AddContainer)]
    assert len(set(uuids)) == 2
    assert all(uuid[14] == "4" and uuid[19] in "89ab" and len(uuid) == 36 for uuid in uuids)


def test_scaling_down_removes_the_newest_and_up_fills_the_lowest_free_number() -> None:
    rng = Random(1)
    state = settled(shop(scale=3), rng)
    gone = next(row for row in live(state) if row.number == 1)
    state = settled(done(state, SetContainerDesired(id=gone.id, desired="removed", why="test")), rng)
    assert numbers(state) == [1, 2, 3]
    state = settled(done(state, UpdateService(id=1, scale=2)), rng)
    assert numbers(state) == [2, 3], "number 1 was the newest"
    state = settled(done(state, UpdateService(id=1, scale=4)), rng)
    assert numbers(state) == [1, 2, 3, 4]
    assert state.services[1].state == "active"


def test_slot_waits_for_its_old_container_to_be_gone_so_that_the_name_stays() -> None:
    state = settled(shop(scale=2))
    state = done(state, SetContainerDesired(id=live(state)[0].id, desired="removed", why="test"))
    state = planned(state)
    assert numbers(state) == [1, 2]
    assert state.services[1].state == "updating-active"


def test_slot_of_a_container_on_a_dead_host_is_passed_over() -> None:
    rng = Random(1)
    state = settled(shop(hosts=2, scale=2), rng)
    state = done(state, MarkHostDown(id=1, why="test"))
    lost = next(row for row in live(state) if row.host_id == 1)
    dead = Picture(dead_for={node_id(1): 100.0})
    state = done(state, SetContainerDesired(id=lost.id, desired="removed", why="test"))
    state = done(state, Batch(commands=plan(state, dead, NOW, rng)))
    assert numbers(state) == [1, 2, 3]


def test_nothing_moves_off_a_host_that_is_only_down() -> None:
    state = settled(shop(hosts=2, scale=2))
    state = done(state, MarkHostDown(id=1, why="test"))
    assert plan(state, Picture(dead_for={node_id(1): 100.0}), NOW, Random(1)) == ()


def test_containers_of_a_removed_host_are_replaced_elsewhere() -> None:
    rng = Random(1)
    state = done(settled(shop(hosts=2, scale=2), rng), RemoveHost(id=1))
    state = settled(state, rng)
    assert numbers(state) == [1, 2]
    assert {row.host_id for row in live(state)} == {2}
    assert state.services[1].state == "active"


def test_service_says_why_it_waits_when_no_host_fits_and_goes_on_when_one_does() -> None:
    rng = Random(1)
    state = settled(shop(hosts=1, scale=2, launch=launch(ports=("10086:80",))), rng)
    assert state.services[1].state == "activating"
    assert state.services[1].message is not None
    assert "port 10086/tcp taken (h1)" in state.services[1].message
    state = settled(done(state, UpdateService(id=1, scale=1)), rng)
    assert (state.services[1].state, state.services[1].message) == ("active", None)


@pytest.mark.parametrize("status", ["error", "pulling", "exited"])
def test_service_says_what_its_hosts_report_when_a_container_does_not_run(status: str) -> None:
    state = planned(shop(scale=1))
    seen = msgspec.convert({"status": status, "message": "no such image"}, Seen)
    state = planned(report(state, live(state)[0], seen))
    assert state.services[1].message == "shop_web_1: no such image"


def test_service_says_that_a_host_is_down_when_it_waits_for_its_container() -> None:
    state = planned(shop(hosts=1, scale=1))
    state = done(state, MarkHostDown(id=1, why="test"))
    dead = Picture(dead_for={node_id(1): 100.0})
    state = done(state, Batch(commands=plan(state, dead, NOW, Random(1))))
    assert "h1, which is down" in (state.services[1].message or "")


def test_start_once_containers_that_have_ended_count_as_settled() -> None:
    once = launch(labels={"io.rancher.container.start_once": "true"})
    state = planned(shop(scale=1, launch=once))
    state = planned(report(state, live(state)[0], Seen(status="exited", exit_code=0, starts=1)))
    assert state.services[1].state == "active"


def test_deactivated_service_stops_and_keeps_its_containers_and_starts_the_same_again() -> None:
    state = settled(shop(scale=2))
    before = [row.uuid for row in live(state)]
    state = settled(done(state, DeactivateService(id=1)))
    assert state.services[1].state == "inactive"
    assert [row.desired for row in live(state)] == ["stopped", "stopped"]
    state = settled(done(state, ActivateService(id=1)))
    assert state.services[1].state == "active"
    assert [row.uuid for row in live(state)] == before


def test_service_is_not_inactive_while_a_container_may_run_on_a_dead_host() -> None:
    state = settled(shop(hosts=2, scale=2))
    state = done(done(state, MarkHostDown(id=2, why="test")), DeactivateService(id=1))
    for _ in range(4):
        commands = plan(state, Picture(dead_for={node_id(2): 100.0}), NOW, Random(1))
        state = carried_out(done(state, Batch(commands=commands)))
    assert state.services[1].state == "deactivating"
    assert "h2, which is down" in (state.services[1].message or "")


def test_stack_removal_ends_when_everything_in_it_is_gone() -> None:
    state = settled(with_service(shop(scale=2), "other"))
    state = planned(done(state, RemoveStack(id=1)))
    assert state.stacks[1].state == "removing"
    state = settled(state)
    assert state.stacks[1].state == "removed"
    assert [row.state for row in state.services.values()] == ["removed", "removed"]
    assert live(state) == []


def test_service_of_scale_0_is_active_at_once() -> None:
    assert planned(shop(scale=0)).services[1].state == "active"


def test_container_name_taken_by_somebody_is_said_and_never_planned() -> None:
    state = settled(shop(scale=1))
    state = done(state, UpdateService(id=1, name="old"))
    state = planned(with_service(state, "web"))
    assert "shop_web_1 is taken by container 1" in (state.services[2].message or "")
    state = settled(done(state, RemoveService(id=1)), Random(2))
    assert state.services[2].state == "active"


def test_containers_keep_their_name_when_the_stack_is_renamed() -> None:
    state = settled(done(settled(shop(scale=1)), UpdateStack(id=1, name="store")))
    assert live(state)[0].name == "shop_web_1"


def test_standalone_container_is_placed_or_says_why_not() -> None:
    create = CreateContainer(uuid="u", environment_id=5, name="tool", launch=launch())
    assert "node join" in (planned(done(grown(0), create)).containers[1].message or "")
    assert planned(done(grown(1), create)).containers[1].host_id == 1


def test_plan_is_bounded_and_the_next_one_goes_on() -> None:
    rng = Random(1)
    state = shop(hosts=3, scale=300)
    first = plan(state, Picture(), NOW, rng)
    assert len(first) == MAX_COMMANDS
    assert len(live(settled(state, rng))) == 300


def commands_of_a_day(rng: Random, state: State) -> AnyCommand:
    """Something a person might do to service 1 or 2."""
    service_id = rng.choice((1, 2))
    return rng.choice(
        (
            UpdateService(id=service_id, scale=rng.randrange(6)),
            ActivateService(id=service_id),
            DeactivateService(id=service_id),
            SetContainerDesired(id=rng.randrange(1, 12), desired="removed", why="test"),
            CreateService(uuid=f"{rng.random()}", stack_id=1, name=f"s{rng.randrange(9)}", launch=launch()),
            RemoveService(id=service_id + 2),
        )
    )
