"""The tables of processes against the definitions, the state's own rules, and each other."""

import pytest

from node.api.definitions import BY_ID
from node.api.processes import PROCESSES, Process
from node.state.services import SETTLES

DONE_ON_ITS_OWN = {"create", "error"}
"""No actions: what happens when a resource is made, and when something fails."""
ROWS = [(name, process) for name, machine in PROCESSES.items() for process in machine]


@pytest.mark.parametrize(("type_", "process"), ROWS, ids=lambda one: getattr(one, "name", one))
def test_states_of_a_process_are_states_of_the_type(type_: str, process: Process) -> None:
    options = BY_ID[type_].fields["state"].options
    assert {*process.start, *process.through, *process.done} <= {*options}


@pytest.mark.parametrize("type_", sorted(PROCESSES))
def test_action_is_offered_only_where_its_process_starts(type_: str) -> None:
    machine = {process.name: process for process in PROCESSES[type_]}
    for action in BY_ID[type_].actions:
        process = machine.get(action.name)
        if process is None or action.later is not None:
            continue
        assert process.later is None, action.name
        assert action.states <= {*process.start}, action.name


@pytest.mark.parametrize("type_", sorted(PROCESSES))
def test_process_that_is_not_built_is_never_offered(type_: str) -> None:
    later = {process.name for process in PROCESSES[type_] if process.later is not None}
    assert [action.name for action in BY_ID[type_].actions if action.name in later and action.later is None] == []


def test_planner_settles_services_only_along_the_table() -> None:
    ways = {
        (way, end)
        for process in PROCESSES["service"]
        for way in process.through
        for end in (*process.done, *process.through)
    }
    for state, ends in SETTLES.items():
        for end in ends - {state}:
            assert (state, end) in ways or (state, end) == ("active", "updating-active"), (state, end)
