"""docs/processes.md: the state machines of node.api.processes as tables and drawings."""

from node.api.processes import PROCESSES, Process

_HEAD = """# Processes

What a resource of the v1 API goes through. A process starts *from* one of some states, goes *through* another, with
`transitioning: yes` while it goes on, and comes *to* a last one. A call to a process that cannot be done yet is
answered with 422 `ActionNotAvailable` and the reason. `scripts/docs` draws this page from the tables in
`node/api/processes.py`; a test holds the states in which each action is offered against them.
"""


def render_processes() -> str:
    """Return the whole page; resources with equal machines share a section."""
    groups: dict[tuple[Process, ...], list[str]] = {}
    for name, machine in PROCESSES.items():
        groups.setdefault(machine, []).append(name)
    return "\n".join([_HEAD, *(_section(names, machine) for machine, names in groups.items())])


def _section(names: list[str], machine: tuple[Process, ...]) -> str:
    lines = [f"## {', '.join(names)}", "", "| process | from | through | to | |", "|---|---|---|---|---|"]
    lines += [_row(process) for process in machine]
    arrows = dict.fromkeys(line for process in machine if process.later is None for line in _arrows(process))
    if not arrows:
        return "\n".join([*lines, ""])
    lines += ["", "```mermaid", "stateDiagram-v2", *arrows]
    return "\n".join([*lines, "```", ""])


def _row(process: Process) -> str:
    columns = (", ".join(states) for states in (process.start, process.through, process.done))
    return f"| {process.name} | {' | '.join(columns)} | {process.later or ''} |"


def _arrows(process: Process) -> list[str]:
    way = process.through[0]
    drawn = [f"    {_id(state)} --> {_id(way)}: {process.name}" for state in process.start if state != way]
    return drawn + [f"    {_id(way)} --> {_id(state)}" for state in process.done]


def _id(state: str) -> str:
    return state.replace("-", "_")
