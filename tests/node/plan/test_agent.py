"""What an agent does and reports: wanted and absent, exited, deleted by hand, strays, failures, restarts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from node.commands import RemoveHost, ReportContainers, RestartContainer, SetContainerDesired
from node.model import Change, Container, State
from node.plan.agent import STEADY_MS, HostPlan, concerns_host, plan_host
from node.plan.agent_steps import (
    Action,
    AgentMemory,
    AnyAction,
    Create,
    Pull,
    Remove,
    Restart,
    Start,
    Stop,
    backoff_ms,
    note_begun,
    note_done,
    note_failed,
    note_report_lost,
    note_reported,
    pruned,
)
from node.ports import EngineContainer
from tests.fakes.states import carried_out, done, grown, launch, with_service, with_stack
from tests.node.plan.test_services import planned, shop
from tests.node.state.test_containers import standalone

NOW = 1_000_000
FRESH = AgentMemory()


def make(row: Container, status: str = "running", **fields: Any) -> EngineContainer:
    there = EngineContainer(
        external_id=f"docker-{row.id}",
        uuid=row.uuid,
        name=f"r-{row.name}",
        given_name=row.name,
        status="running",
        exit_code=None,
        started=NOW - 1000,
        finished=None,
    )
    return msgspec.structs.replace(there, status=status, **fields)


def exited(row: Container, *, ran: int = 100, ago: int = 0) -> EngineContainer:
    return make(row, "exited", exit_code=1, started=NOW - ago - ran, finished=NOW - ago)


def one(hosts: int = 1, **fields: Any) -> tuple[State, Container]:
    """A placed container of a service of scale 1."""
    state = planned(shop(hosts=hosts, scale=1, **fields))
    return state, state.containers[1]


def desired(state: State, value: str) -> State:
    command = SetContainerDesired(id=1, desired="running", why="test")
    return done(state, msgspec.structs.replace(command, desired=value))


def planned_steps(
    state: State, *have: EngineContainer, memory: AgentMemory = FRESH, now: int = NOW, current: bool = True
) -> HostPlan:
    return plan_host(state, 1, have, memory, now, state_is_current=current)


def reported(state: State, plan: HostPlan) -> State:
    return done(state, ReportContainers(node=state.hosts[1].node, observations=plan.observations))


def kinds(plan: HostPlan) -> list[type[Action]]:
    return [type(action) for action in plan.actions]


def only(plan: HostPlan) -> AnyAction:
    (action,) = plan.actions
    return action


def test_container_is_created_when_it_is_wanted_and_absent() -> None:
    state, row = one()
    plan = planned_steps(state)
    action = only(plan)
    assert isinstance(action, Create)
    assert (action.key, action.spec.name) == (row.uuid, "r-shop_web_1")
    assert plan.observations == ()


def test_nothing_is_left_to_do_or_say_once_it_runs_and_is_reported() -> None:
    state, row = one()
    plan = planned_steps(state, make(row))
    assert plan.actions == ()
    assert [(said.seen.status, said.seen.starts) for said in plan.observations] == [("running", 1)]
    assert planned_steps(reported(state, plan), make(row)) == HostPlan()


def test_containers_of_other_hosts_are_not_ours() -> None:
    state = planned(shop(hosts=2, scale=2))
    assert len(planned_steps(state).actions) == 1


def test_host_need_not_look_when_only_containers_of_others_changed() -> None:
    state, row = one(hosts=2)
    mine = row.host_id or 0
    other = next(id for id in state.hosts if id != mine)
    assert concerns_host(state, mine, [Change("containers", row.id)])
    assert not concerns_host(state, other, [Change("containers", row.id), Change("tokens", 1)])
    assert concerns_host(state, other, [Change("containers", row.id), Change("services", 1)])
    assert concerns_host(state, other, [Change("containers", 999)])
    assert concerns_host(state, other, [])


def test_nothing_is_planned_for_a_container_while_a_step_is_under_way() -> None:
    state, _ = one()
    action = only(planned_steps(state))
    assert planned_steps(state, memory=note_begun(FRESH, action)).actions == ()


def test_container_deleted_by_hand_comes_back() -> None:
    state, row = one()
    state = reported(state, planned_steps(state, make(row)))
    plan = planned_steps(state)
    assert kinds(plan) == [Create]
    assert plan.observations[0].seen.status == "none"
    assert plan.observations[0].seen.starts == 1


def test_container_to_be_removed_is_stopped_then_removed_then_reported_gone() -> None:
    state, row = one()
    state = desired(state, "removed")
    assert kinds(planned_steps(state, make(row))) == [Stop]
    assert kinds(planned_steps(state, exited(row))) == [Remove]
    plan = planned_steps(state)
    assert plan.actions == ()
    assert plan.observations[0].seen.status == "gone"
    assert reported(state, plan).containers[1].removed is not None


def test_container_is_not_called_gone_while_its_creation_is_under_way() -> None:
    state, _ = one()
    memory = note_begun(FRESH, only(planned_steps(state)))
    assert planned_steps(desired(state, "removed"), memory=memory).observations == ()


def test_container_to_be_stopped_is_stopped_and_not_made_when_absent() -> None:
    state, row = one()
    state = desired(state, "stopped")
    assert kinds(planned_steps(state, make(row))) == [Stop]
    assert planned_steps(state, exited(row)).actions == ()
    assert planned_steps(state).actions == ()


def test_container_left_created_is_started() -> None:
    state, row = one()
    assert kinds(planned_steps(state, make(row, "created", started=None))) == [Start]


def test_exited_service_container_starts_again_later_each_time() -> None:
    state, row = one()
    state = reported(state, planned_steps(state, make(row)))
    memory, waits = FRESH, []
    for _ in range(9):
        there = exited(row)
        plan = planned_steps(state, there, memory=memory)
        waits.append((plan.wake_at or NOW) - NOW)
        assert plan.actions == () or plan.wake_at is None
        action = only(planned_steps(state, there, memory=memory, now=plan.wake_at or NOW))
        memory = note_done(memory, action)
    assert waits == [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


def test_exited_service_container_starts_at_once_after_a_long_run() -> None:
    state, row = one()
    state = reported(state, planned_steps(state, make(row)))
    memory = FRESH
    for _ in range(5):
        action = only(planned_steps(state, exited(row, ago=60_000), memory=memory))
        memory = note_done(memory, action)
    action = only(planned_steps(state, exited(row, ran=STEADY_MS), memory=memory))
    assert isinstance(action, Start)
    assert action.quick_exits == 1


def test_exit_in_the_future_of_a_clock_set_back_holds_nobody() -> None:
    state, row = one()
    state = reported(state, planned_steps(state, make(row)))
    memory = note_done(FRESH, only(planned_steps(state, exited(row))))
    assert kinds(planned_steps(state, exited(row, ago=-3_600_000), memory=memory)) == [Start]


def test_exited_container_says_its_exit_code() -> None:
    state, row = one()
    seen = planned_steps(state, exited(row)).observations[0].seen
    assert (seen.status, seen.exit_code, seen.message) == ("exited", 1, "exited with code 1")


def test_start_once_container_stays_ended() -> None:
    state, row = one(launch=launch(labels={"io.rancher.container.start_once": "true"}))
    state = reported(state, planned_steps(state, make(row)))
    there = make(row, "exited", exit_code=0, finished=NOW)
    assert planned_steps(state, there).actions == ()


def test_standalone_container_that_ended_is_left_to_its_restart_policy_until_somebody_starts_it() -> None:
    state = planned(done(grown(1), standalone()))
    row = state.containers[1]
    state = reported(state, planned_steps(state, make(row)))
    there = make(row, "exited", exit_code=0, finished=NOW)
    plan = planned_steps(state, there)
    assert plan.actions == ()
    state = desired(reported(state, plan), "running")
    assert kinds(planned_steps(state, there)) == [Start]
    again = make(row, started=NOW + 5)
    plan = planned_steps(state, again)
    assert plan.actions == ()
    assert plan.observations[0].seen.starts == 2


def test_restart_happens_once_and_not_again_when_the_memory_is_lost() -> None:
    state, row = one()
    state = reported(state, planned_steps(state, make(row)))
    state = done(state, RestartContainer(id=1))
    assert kinds(planned_steps(state, make(row))) == [Restart]
    plan = planned_steps(state, make(row, started=NOW))
    assert plan.actions == ()
    assert planned_steps(reported(state, plan), make(row, started=NOW)) == HostPlan()


def test_missing_image_is_pulled_once_for_all_then_they_are_created() -> None:
    state = planned(shop(hosts=1, scale=2))
    plan, memory = planned_steps(state), FRESH
    for action in plan.actions:
        memory = note_failed(memory, action, "image-missing", "no such image", NOW)
    plan = planned_steps(state, memory=memory)
    pull = only(plan)
    assert isinstance(pull, Pull)
    assert pull.image == "nginx:1.8-alpine"
    assert [said.seen.message for said in plan.observations] == ["pulling nginx:1.8-alpine"] * 2
    assert planned_steps(state, memory=note_begun(memory, pull)).actions == ()
    assert kinds(planned_steps(state, memory=note_done(memory, pull))) == [Create, Create]


def test_failed_pull_is_said_and_tried_again_later() -> None:
    state, _ = one()
    memory = note_failed(FRESH, only(planned_steps(state)), "image-missing", "no such image", NOW)
    for delay in (1_000, 2_000):
        memory = note_failed(
            memory, only(planned_steps(state, memory=memory, now=NOW + 9_000)), "failed", "denied", NOW
        )
        plan = planned_steps(state, memory=memory)
        assert plan.actions == ()
        assert plan.wake_at == NOW + delay
        assert (plan.observations[0].seen.status, plan.observations[0].seen.message) == ("error", "denied")


def test_image_is_pulled_first_when_the_label_says_always() -> None:
    state, _ = one(launch=launch(labels={"io.rancher.container.pull_image": "always"}))
    pull = only(planned_steps(state))
    assert isinstance(pull, Pull)
    assert kinds(planned_steps(state, memory=note_done(FRESH, pull))) == [Create]


def test_docker_name_falls_back_to_the_uuid_when_somebody_else_has_it() -> None:
    state, row = one()
    memory = note_failed(FRESH, only(planned_steps(state)), "name-taken", "in use", NOW)
    action = only(planned_steps(state, memory=memory))
    assert isinstance(action, Create)
    assert action.spec.name == row.uuid


def test_failed_start_is_an_error_with_its_reason_and_holds_up_nothing_else() -> None:
    state, row = one()
    there = make(row, "created", started=None)
    memory = note_failed(FRESH, only(planned_steps(state, there)), "port-taken", "port 80 is in use", NOW)
    plan = planned_steps(state, there, memory=memory)
    assert (plan.actions, plan.wake_at) == ((), NOW + 1_000)
    assert (plan.observations[0].seen.status, plan.observations[0].seen.message) == ("error", "port 80 is in use")
    assert kinds(planned_steps(desired(state, "removed"), there, memory=memory)) == [Remove]


def test_container_of_an_image_committed_from_one_of_ours_is_left_alone() -> None:
    state, row = one()
    committed = make(row, external_id="theirs", name="elegant_curie")
    assert planned_steps(state, make(row), committed).actions == ()
    assert kinds(planned_steps(state, committed)) == [Create], "it does not stand in for the one that is gone"
    forgotten = make(msgspec.structs.replace(row, id=9, uuid="unknown"), name="elegant_curie")
    assert planned_steps(state, make(row), forgotten).actions == ()


def test_container_of_ours_is_known_when_it_was_renamed_by_hand() -> None:
    state, row = one()
    seen = msgspec.structs.replace(row.seen, external_id="docker-1", status="running")
    state = msgspec.structs.replace(state, containers={1: msgspec.structs.replace(row, seen=seen)})
    assert planned_steps(state, make(row, name="renamed")).actions == ()


def test_stray_that_bears_the_uuid_as_its_name_is_ours() -> None:
    state, row = one()
    stray = make(msgspec.structs.replace(row, id=9, uuid="unknown"), name="unknown")
    assert kinds(planned_steps(state, make(row), stray)) == [Stop]


def test_stray_is_removed_only_if_the_state_is_current() -> None:
    state, row = one()
    stray = make(msgspec.structs.replace(row, id=9, uuid="unknown"))
    assert planned_steps(state, make(row), stray, current=False).actions == ()
    assert kinds(planned_steps(state, make(row), stray)) == [Stop]
    ended = msgspec.structs.replace(stray, status="exited")
    assert kinds(planned_steps(state, make(row), ended)) == [Remove]


def test_second_container_of_one_row_is_removed_and_the_running_one_kept() -> None:
    state, row = one()
    twin = msgspec.structs.replace(exited(row), external_id="another")
    action = only(planned_steps(state, twin, make(row)))
    assert isinstance(action, Remove)
    assert action.external_id == "another"


def test_host_that_is_no_member_any_more_leaves_its_containers_alone() -> None:
    state, row = one()
    assert planned_steps(done(state, RemoveHost(id=1)), make(row)) == HostPlan()


def test_observation_is_not_said_twice_while_it_is_on_its_way() -> None:
    state, row = one()
    plan = planned_steps(state, make(row))
    memory = note_reported(FRESH, plan.observations)
    assert planned_steps(state, make(row), memory=memory).observations == ()
    assert planned_steps(state, make(row), memory=note_report_lost(memory)).observations == plan.observations
    assert planned_steps(state, exited(row), memory=memory).observations != ()


def test_memory_forgets_what_is_gone_but_not_what_is_under_way() -> None:
    state, row = one()
    action = only(planned_steps(state))
    failed = note_failed(FRESH, action, "failed", "no", NOW)
    assert pruned(failed, {row.uuid}, {1}).attempts == failed.attempts
    assert pruned(failed, set(), set()) == FRESH
    assert pruned(note_begun(FRESH, action), set(), set()).attempts != {}


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 1), (2, 2), (6, 32), (7, 60), (1000, 60)])
def test_backoff_doubles_from_a_second_to_a_minute(failures: int, seconds: int) -> None:
    assert backoff_ms(failures) == seconds * 1000


def carry_out(have: dict[str, EngineContainer], action: AnyAction, now: int) -> None:
    """An engine that does what it is told."""
    match action:
        case Create():
            fresh = EngineContainer(
                external_id=f"e-{action.key}-{now}",
                uuid=action.key,
                name=action.spec.name,
                given_name=action.spec.labels["io.rancher.container.name"],
                status="running",
                exit_code=None,
                started=now,
                finished=None,
            )
            have[fresh.external_id] = fresh
        case Start() | Restart():
            old = have[action.external_id]
            have[action.external_id] = msgspec.structs.replace(old, status="running", started=now, finished=None)
        case Stop():
            old = have[action.external_id]
            have[action.external_id] = msgspec.structs.replace(old, status="exited", exit_code=0, finished=now)
        case Remove():
            del have[action.external_id]
        case Pull():
            pass


STATUSES = st.sampled_from(["absent", "created", "running", "exited"])


@settings(max_examples=60, deadline=None)
@given(
    wants=st.lists(st.sampled_from(["running", "stopped", "removed"]), min_size=6, max_size=6),
    statuses=st.lists(STATUSES, min_size=6, max_size=6),
    strays=st.lists(STATUSES, max_size=3),
)
def test_any_host_settles_within_five_rounds(wants: list[str], statuses: list[str], strays: list[str]) -> None:
    state = planned(with_service(with_stack(grown(1)), scale=6))
    have: dict[str, EngineContainer] = {}
    for row, want, status in zip(list(state.containers.values()), wants, statuses, strict=True):
        command = SetContainerDesired(id=row.id, desired="running", why="test")
        state = done(state, msgspec.structs.replace(command, desired=want))
        if status != "absent":
            have[f"docker-{row.id}"] = make(row, status)
    for place, status in enumerate(strays):
        stray = msgspec.structs.replace(state.containers[1], id=100 + place, uuid=f"stray-{place}")
        if status != "absent":
            have[f"docker-{stray.id}"] = make(stray, status)
    memory, now = FRESH, NOW
    for _ in range(5):
        now += 100_000
        plan = plan_host(state, 1, tuple(have.values()), memory, now, state_is_current=True)
        for action in plan.actions:
            carry_out(have, action, now)
            memory = note_done(note_begun(memory, action), action)
        state = reported(state, plan)
    assert plan_host(state, 1, tuple(have.values()), memory, now, state_is_current=True) == HostPlan()
    running = {there.uuid for there in have.values() if there.status == "running"}
    assert running == {row.uuid for row in state.containers.values() if row.desired == "running"}
    assert {row.id for row in state.containers.values() if row.removed is not None} == {
        row.id for row in state.containers.values() if row.desired == "removed"
    }


def test_ideal_hosts_of_the_other_tests_agree_with_the_agent() -> None:
    state, row = one()
    state = carried_out(state)
    assert planned_steps(state, make(row, started=state.containers[1].seen.started)) == HostPlan()
