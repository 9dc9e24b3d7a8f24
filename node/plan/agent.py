"""What one host's agent does next: steps that make its engine match the state, and what to report of it.

Level-triggered: the plan depends on the state, the engine's list, the memory and `now`, never on what prompted it.
One step per container at a time; the next follows once the first shows in the engine's list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from node.commands import Observation
from node.model import Change, Container, Seen, State
from node.plan.agent_steps import (
    AgentMemory,
    AnyAction,
    Attempt,
    Create,
    Pull,
    Remove,
    Restart,
    Start,
    Stop,
    backoff_ms,
)
from node.plan.services import START_ONCE
from node.plan.spec import DOCKER_NAME_PREFIX, render_spec
from node.ports import EngineContainer

STEADY_MS = 30_000
"""A run of this length makes earlier quick exits forgotten."""
PULL_LABEL = "io.rancher.container.pull_image"


@dataclass(frozen=True, slots=True)
class HostPlan:
    """The agent's next steps; carried out and planned again, nothing is left but waiting."""

    actions: tuple[AnyAction, ...] = ()
    observations: tuple[Observation, ...] = ()
    """Only what differs from the state's rows and is not on its way already."""

    wake_at: int | None = None
    """When to plan again although nothing happened."""


@dataclass(frozen=True, slots=True)
class _Wait:
    """Nothing before `until`."""

    until: int


def concerns_host(state: State, host_id: int, changes: Sequence[Change]) -> bool:
    """Whether the plan of a host may differ after `changes`, which led to `state`; no changes: anything may have.

    A container's row stays with its host, so that a row of another host says nothing to this one.
    """
    for change in changes:
        if change.table == "containers":
            row = state.containers.get(change.id)
            if row is None or row.host_id == host_id:
                return True
        elif change.table in ("services", "stacks", "hosts"):
            return True
    return not changes


def plan_host(
    state: State,
    host_id: int,
    have: tuple[EngineContainer, ...],
    memory: AgentMemory,
    now: int,
    *,
    state_is_current: bool,
) -> HostPlan:
    """Plan for host `host_id`, whose engine has `have` of this cluster.

    `have` must have been listed after the last action that the memory knows to have ended.  What the state does not
    know is removed only if the state is current: a replica that lags does not know what was placed since.  A host
    that is no member any more leaves its containers alone.
    """
    host = state.hosts.get(host_id)
    if host is None or host.removed is not None:
        return HostPlan()
    rows = {row.uuid: row for row in state.containers.values() if row.host_id == host_id}
    known, strays = _sort(rows, pick_own(state, have))
    steps = _Steps(memory, now)
    observations: list[Observation] = []
    for uuid, row in rows.items():
        there = known.get(uuid)
        attempt = memory.attempt(uuid)
        step = _next_step(state, row, there, attempt, now)
        steps.take(step)
        seen = observe(row, there, attempt, pulls=isinstance(step, Pull))
        if row.removed is None and seen != row.seen and memory.reported.get(row.id) != seen:
            observations.append(Observation(container_id=row.id, seen=seen))
    for stray in strays if state_is_current else ():
        steps.take(_away(stray.external_id, stray, "the cluster does not know it"))
    return HostPlan(tuple(steps.actions), tuple(observations), min(steps.waits, default=None))


class _Steps:
    """Collects the steps that may be taken now, and when the others may."""

    def __init__(self, memory: AgentMemory, now: int) -> None:
        self.actions: list[AnyAction] = []
        self.waits: list[int] = []
        self._memory = memory
        self._now = now
        self._pulling = {one.missing_image for one in memory.attempts.values() if one.busy is Pull}

    def take(self, step: AnyAction | _Wait | None) -> None:
        if step is None:
            return
        if isinstance(step, _Wait):
            self.waits.append(step.until)
            return
        attempt = self._memory.attempt(step.key)
        if attempt.busy is not None:
            return
        if attempt.failed is type(step) and self._now < attempt.retry_at:
            self.waits.append(attempt.retry_at)
            return
        if isinstance(step, Pull):
            # One pull of an image serves all who miss it.
            if step.image in self._pulling:
                return
            self._pulling.add(step.image)
        self.actions.append(step)


def pick_own(state: State, have: Iterable[EngineContainer]) -> tuple[EngineContainer, ...]:
    """Leave out what somebody runs from an image that was committed from one of ours.

    Such a container has all our labels, and neither a name that we give nor an id that we have seen.
    """
    seen = {row.seen.external_id for row in state.containers.values()}
    return tuple(
        one
        for one in have
        if one.name in (one.uuid, f"{DOCKER_NAME_PREFIX}{one.given_name}") or one.external_id in seen
    )


def _sort(
    rows: dict[str, Container], have: Iterable[EngineContainer]
) -> tuple[dict[str, EngineContainer], list[EngineContainer]]:
    """Split into the container of each row, a running one if there are two, and those of no row."""
    known: dict[str, EngineContainer] = {}
    strays: list[EngineContainer] = []
    for one in sorted(have, key=lambda one: (one.status != "running", one.external_id)):
        if one.uuid in rows and one.uuid not in known:
            known[one.uuid] = one
        else:
            strays.append(one)
    return known, strays


def _next_step(
    state: State, row: Container, there: EngineContainer | None, attempt: Attempt, now: int
) -> AnyAction | _Wait | None:
    if row.desired == "removed" or row.removed is not None:
        return None if there is None else _away(row.uuid, there, f"{row.name} is removed")
    if row.desired == "stopped":
        if there is None or there.status != "running":
            return None
        return Stop(key=row.uuid, external_id=there.external_id, why=f"{row.name} is to be stopped")
    if there is None:
        return _make(state, row, attempt)
    return _keep_running(row, there, attempt, now)


def _away(key: str, there: EngineContainer, why: str) -> AnyAction:
    if there.status == "running":
        return Stop(key=key, external_id=there.external_id, why=why)
    return Remove(key=key, external_id=there.external_id, why=why)


def _make(state: State, row: Container, attempt: Attempt) -> AnyAction:
    image = row.launch.image
    if attempt.missing_image is not None:
        return Pull(key=row.uuid, image=image, why=f"{row.name} needs {image}, which is not here")
    if not attempt.pulled and row.launch.labels.get(PULL_LABEL) == "always":
        return Pull(key=row.uuid, image=image, why=f"{row.name} asks for a pull each time")
    spec = render_spec(row, state, by_uuid=attempt.name_taken)
    return Create(key=row.uuid, spec=spec, why=f"{row.name} is placed here and absent")


def _keep_running(row: Container, there: EngineContainer, attempt: Attempt, now: int) -> AnyAction | _Wait | None:
    due = row.restarts_wanted >= count_starts(row, there)
    match there.status:
        case "running":
            if not due:
                return None
            return Restart(key=row.uuid, external_id=there.external_id, why=f"a restart of {row.name} was asked for")
        case "created":
            return Start(key=row.uuid, external_id=there.external_id, why=f"{row.name} has not started yet")
        case "exited":
            if due:
                return Start(key=row.uuid, external_id=there.external_id, why=f"{row.name} is to run again")
            return _start_again(row, there, attempt, now)


def _start_again(row: Container, there: EngineContainer, attempt: Attempt, now: int) -> AnyAction | _Wait | None:
    """A service's container that ended is started again, later each time if it ended soon."""
    if row.service_id is None or row.launch.labels.get(START_ONCE) == "true":
        return None
    steady = there.started is not None and there.finished is not None and there.finished - there.started >= STEADY_MS
    quick_exits = 0 if steady else attempt.quick_exits
    start_at = (there.finished or 0) + backoff_ms(quick_exits)
    # A clock that was set back must not hold a container for longer than the back-off itself.
    if now < start_at <= now + backoff_ms(quick_exits):
        return _Wait(start_at)
    why = f"{row.name} {_ending(there)}"
    return Start(key=row.uuid, external_id=there.external_id, quick_exits=quick_exits + 1, why=why)


def count_starts(row: Container, there: EngineContainer) -> int:
    """How often the container has started: what was reported, and one more if it has started since."""
    is_new = there.started is not None and there.started != row.seen.started
    return row.seen.starts + is_new


def observe(row: Container, there: EngineContainer | None, attempt: Attempt, *, pulls: bool = False) -> Seen:
    """Return what there is to report of a container."""
    if there is None:
        return _observe_absent(row, attempt, pulls=pulls)
    message = attempt.error
    if message is None and there.status == "exited" and row.desired == "running":
        message = _ending(there)
    return Seen(
        status="error" if attempt.error and there.status == "created" else there.status,
        external_id=there.external_id,
        exit_code=there.exit_code if there.status == "exited" else None,
        message=message,
        started=there.started,
        starts=count_starts(row, there),
    )


def _observe_absent(row: Container, attempt: Attempt, *, pulls: bool) -> Seen:
    before = Seen(started=row.seen.started, starts=row.seen.starts)
    if row.desired == "removed":
        # A step under way may yet make it: only its end tells.
        return msgspec.structs.replace(before, status="gone") if attempt.busy is None else row.seen
    if row.desired == "stopped":
        return before
    if attempt.error is not None:
        return msgspec.structs.replace(before, status="error", message=attempt.error)
    if pulls or attempt.busy is Pull or attempt.missing_image is not None:
        return msgspec.structs.replace(before, status="pulling", message=f"pulling {row.launch.image}")
    return before


def _ending(there: EngineContainer) -> str:
    return f"exited with code {there.exit_code}" if there.exit_code is not None else "exited"
