"""From what services are to be to commands: fill free slots, remove the newest extra, stop, settle, finish removals.

Level-triggered: the plan depends on the state alone; applied and planned again it is empty until a host reports
something new.  Nothing is moved off a host that is down.
"""

from collections.abc import Iterable

from node.commands import (
    AddContainer,
    FinishStackRemoval,
    PlaceContainer,
    SetContainerDesired,
    SetServiceState,
)
from node.model import Container, Service, ServiceState
from node.plan.draft import Draft
from node.plan.scheduler import NoPlace, place
from node.state.containers import service_container_name
from node.state.services import ACTIVE_STATES

START_ONCE = "io.rancher.container.start_once"


def plan_services(draft: Draft) -> None:
    """Plan for every service that is not removed, in the order of their ids, until the draft is full."""
    for service in draft.state.services.values():
        if draft.is_full:
            return
        plan_service(draft, service)


def plan_service(draft: Draft, service: Service) -> bool:
    """Plan for one service; return whether it has settled, so that only a change of something makes it worth a look."""
    if service.removed is not None:
        return True
    before = len(draft.commands)
    rows = sorted(draft.taken.by_service.get(service.id, {}).values(), key=lambda row: row.create_index)
    if service.state in ACTIVE_STATES:
        _run(draft, service, rows)
    elif service.state == "removing":
        _remove(draft, service, rows)
    else:
        _stop(draft, service, rows)
    is_quiet = len(draft.commands) == before and service.message is None
    return is_quiet and service.state in ("active", "inactive")


def plan_stacks(draft: Draft) -> None:
    """Finish the removal of stacks whose services are all removed."""
    if all(stack.state != "removing" for stack in draft.state.stacks.values()):
        return
    busy = {service.stack_id for service in draft.state.services.values() if service.removed is None}
    for stack in draft.state.stacks.values():
        if stack.state == "removing" and stack.id not in busy:
            draft.emit(FinishStackRemoval(id=stack.id))


def plan_standalone(draft: Draft, rows: Iterable[Container] | None = None) -> None:
    """Give containers that people asked for their host, or the reason why there is none.

    `rows` may leave out those that have no need of it.
    """
    for row in draft.state.containers.values() if rows is None else rows:
        if draft.is_full:
            return
        if row.service_id is not None or row.host_id is not None or row.removed is not None:
            continue
        placement = place(draft.state, draft.taken, environment_id=row.environment_id, launch=row.launch)
        if isinstance(placement, NoPlace):
            if row.message != placement.why:
                draft.emit(PlaceContainer(id=row.id, placement=None, why=placement.why))
            continue
        draft.emit(PlaceContainer(id=row.id, placement=placement, why=f"{row.name} has no host yet"))
        draft.reserve(row, placement)


def _run(draft: Draft, service: Service, rows: list[Container]) -> None:
    staying = [row for row in rows if row.desired != "removed"]
    for extra in reversed(staying[service.scale :]):
        draft.emit(_removal(extra, f"scale of {service.name} is {service.scale}: the newest go first"))
    staying = staying[: service.scale]
    for row in staying:
        if row.desired == "stopped":
            draft.emit(SetContainerDesired(id=row.id, desired="running", why=f"service {service.name} is active"))
    kept = {row.id for row in staying}
    leaving = [row for row in rows if row.id not in kept and _is_reachable(draft, row)]
    missing = service.scale - len(staying)
    problem = _fill(draft, service, missing - len(leaving)) if missing > len(leaving) else None
    settled = not missing and not leaving and all(row.desired == "running" and _has_settled(row) for row in staying)
    if settled:
        _settle(draft, service, "active", None)
    elif service.state == "active":
        if missing or leaving:
            _settle(draft, service, "updating-active", problem)
    else:
        _settle(draft, service, service.state, problem or _trouble(draft, staying))


def _fill(draft: Draft, service: Service, count: int) -> str | None:
    """Add containers in the lowest free slots; returns why it could not add all."""
    stack = draft.state.stacks[service.stack_id]
    held = draft.taken.numbers(service.id)
    number = 0
    for _ in range(count):
        if draft.is_full:
            return None
        number = _next_free(number, held)
        name = service_container_name(stack, service, number)
        holder = draft.taken.names.get((service.environment_id, name.lower()))
        if holder is not None:
            return f"the name {name} is taken by container {holder}: remove that or rename the service"
        placement = place(
            draft.state,
            draft.taken,
            environment_id=service.environment_id,
            launch=service.launch,
            service_id=service.id,
        )
        if isinstance(placement, NoPlace):
            return placement.why
        uuid = draft.new_uuid()
        why = f"slot {number} of {service.name} is free"
        draft.emit(AddContainer(uuid=uuid, service_id=service.id, number=number, placement=placement, why=why))
        draft.reserve(_sketch(service, name, number, uuid), placement)
    return None


def _next_free(number: int, held: set[int]) -> int:
    number += 1
    while number in held:
        number += 1
    return number


def _sketch(service: Service, name: str, number: int, uuid: str) -> Container:
    return Container(
        id=0,
        uuid=uuid,
        created=0,
        environment_id=service.environment_id,
        name=name,
        launch=service.launch,
        service_id=service.id,
        number=number,
    )


def _stop(draft: Draft, service: Service, rows: list[Container]) -> None:
    """An inactive service keeps its containers, stopped."""
    for row in rows:
        if row.desired == "running":
            draft.emit(SetContainerDesired(id=row.id, desired="stopped", why=f"service {service.name} is stopped"))
    if service.state == "inactive":
        return
    running = [row for row in rows if row.desired != "stopped" or row.seen.status in ("running", "pulling")]
    if running:
        _settle(draft, service, service.state, _unreachable(draft, running))
    else:
        _settle(draft, service, "inactive", None)


def _remove(draft: Draft, service: Service, rows: list[Container]) -> None:
    for row in rows:
        if row.desired != "removed":
            draft.emit(_removal(row, f"service {service.name} is removed"))
    if rows:
        _settle(draft, service, "removing", _unreachable(draft, rows))
    else:
        _settle(draft, service, "removed", None)


def _removal(row: Container, why: str) -> SetContainerDesired:
    return SetContainerDesired(id=row.id, desired="removed", why=why)


def _settle(draft: Draft, service: Service, state: ServiceState, message: str | None) -> None:
    if (service.state, service.message) != (state, message):
        draft.emit(SetServiceState(id=service.id, state=state, message=message))


def _has_settled(row: Container) -> bool:
    if row.seen.status == "running":
        return True
    return row.seen.status == "exited" and row.launch.labels.get(START_ONCE) == "true"


def _is_reachable(draft: Draft, row: Container) -> bool:
    host = draft.state.hosts.get(row.host_id) if row.host_id is not None else None
    return host is not None and host.up


def _trouble(draft: Draft, rows: Iterable[Container]) -> str | None:
    """The first thing that keeps a service from settling: errors, then hosts that are down, then pulls."""
    waiting = [row for row in rows if not _has_settled(row)]
    for row in waiting:
        if row.seen.message and row.seen.status in ("error", "exited"):
            return f"{row.name}: {row.seen.message}"
    down = _unreachable(draft, waiting)
    if down:
        return down
    return next((f"{row.name}: {row.seen.message}" for row in waiting if row.seen.message), None)


def _unreachable(draft: Draft, rows: Iterable[Container]) -> str | None:
    for row in rows:
        if row.host_id is not None and not _is_reachable(draft, row):
            name = draft.state.hosts[row.host_id].name
            return f"{row.name} is on {name}, which is down: bring it back or remove it with `node host rm {name}`"
    return None
