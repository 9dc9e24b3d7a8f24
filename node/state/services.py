"""What commands mean for services: which state follows which (section 3 of the v1 API), and when each may."""

import msgspec

from node.commands import (
    ActivateService,
    CreateService,
    DeactivateService,
    RemoveService,
    SetServiceState,
    UpdateService,
)
from node.model import Done, LaunchConfig, Service, ServiceState
from node.state.rules import check_launch, check_metadata, check_name, check_scale
from node.state.txn import Refusal, Txn

ACTIVE_STATES: frozenset[ServiceState] = frozenset({"activating", "active", "updating-active"})
"""States in which a service's containers are to run."""

SETTLES: dict[ServiceState, frozenset[ServiceState]] = {
    "activating": frozenset({"activating", "active"}),
    "active": frozenset({"active", "updating-active"}),
    "updating-active": frozenset({"updating-active", "active"}),
    "deactivating": frozenset({"deactivating", "inactive"}),
    "updating-inactive": frozenset({"updating-inactive", "inactive"}),
    "inactive": frozenset({"inactive"}),
    "removing": frozenset({"removing", "removed"}),
    "removed": frozenset(),
}
"""Where the planner may take a service from each state."""


def live_service(txn: Txn, service_id: int) -> Service:
    service = txn.services.get(service_id)
    if service is None or service.removed is not None:
        raise Refusal("Not Found", f"there is no service {service_id}: see `node service ls`")
    return service


def changeable_service(txn: Txn, service_id: int) -> Service:
    """Return a service that may still be changed."""
    service = live_service(txn, service_id)
    if service.state == "removing":
        raise Refusal("Conflict", f"service {service.name} is being removed")
    return service


def _check_unique_name(txn: Txn, stack_id: int, name: str, besides: int = 0) -> None:
    check_name(name, "service")
    holder = txn.named.services.get((stack_id, name.lower()))
    if holder is not None and holder != besides:
        other = txn.services[holder]
        still = ", which is being removed: wait for that" if other.state == "removing" else ""
        raise Refusal("NotUnique", f"the stack has a service {other.name} already{still}", "name")


def check_requested_host(txn: Txn, launch: LaunchConfig, environment_id: int) -> None:
    """A host asked for by id must be one of the environment."""
    if launch.requested_host_id is None:
        return
    host = txn.hosts.get(launch.requested_host_id)
    if host is None or host.removed is not None or host.environment_id != environment_id:
        message = f"the environment has no host {launch.requested_host_id}: see `node host ls`"
        raise Refusal("InvalidReference", message, "requestedHostId")


def create_service(txn: Txn, command: CreateService) -> Done:
    stack = txn.stacks.get(command.stack_id)
    if stack is None or stack.removed is not None:
        message = f"there is no stack {command.stack_id}: see `node stack ls`"
        raise Refusal("InvalidReference", message, "environmentId")
    if stack.state != "active":
        raise Refusal("Conflict", f"stack {stack.name} is being removed")
    _check_unique_name(txn, stack.id, command.name)
    check_scale(command.scale)
    check_metadata(command.metadata)
    check_launch(command.launch)
    check_requested_host(txn, command.launch, stack.environment_id)
    row = Service(
        id=txn.next_id("services"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=stack.environment_id,
        stack_id=stack.id,
        name=command.name,
        description=command.description,
        scale=command.scale,
        launch=command.launch,
        metadata=command.metadata,
        external_id=command.external_id,
        start_on_create=command.start_on_create,
        retain_ip=command.retain_ip,
        state="activating" if command.start_on_create else "inactive",
    )
    txn.put(row)
    return Done("service", row.id)


def update_service(txn: Txn, command: UpdateService) -> Done:
    """An active service whose scale changes is `updating-active` until it has settled again."""
    row = changeable_service(txn, command.id)
    if command.name is not None:
        _check_unique_name(txn, row.stack_id, command.name, besides=row.id)
    if command.scale is not None:
        check_scale(command.scale)
    if command.metadata is not None:
        check_metadata(command.metadata)
    scale = row.scale if command.scale is None else command.scale
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
            scale=scale,
            metadata=row.metadata if command.metadata is None else command.metadata,
            state="updating-active" if row.state == "active" and scale != row.scale else row.state,
        )
    )
    return Done("service", row.id)


def activate_service(txn: Txn, command: ActivateService) -> Done:
    row = changeable_service(txn, command.id)
    if row.state not in ("inactive", "updating-inactive"):
        raise Refusal("Conflict", f"service {row.name} is {row.state}: only an inactive one can be activated")
    txn.put(msgspec.structs.replace(row, state="activating", message=None))
    return Done("service", row.id)


def deactivate_service(txn: Txn, command: DeactivateService) -> Done:
    row = changeable_service(txn, command.id)
    if row.state not in ACTIVE_STATES:
        raise Refusal("Conflict", f"service {row.name} is {row.state}: only an active one can be deactivated")
    txn.put(msgspec.structs.replace(row, state="deactivating", message=None))
    return Done("service", row.id)


def remove_service(txn: Txn, command: RemoveService) -> Done:
    """Begin the removal; asked again, it goes on."""
    row = live_service(txn, command.id)
    if row.state != "removing":
        txn.put(msgspec.structs.replace(row, state="removing", message=None))
    return Done("service", row.id)


def set_service_state(txn: Txn, command: SetServiceState) -> Done:
    """The planner's word; refused when the service has moved on since the planner looked."""
    row = live_service(txn, command.id)
    if command.state not in SETTLES[row.state]:
        raise Refusal("Conflict", f"service {row.name} is {row.state} and cannot become {command.state}")
    if command.state == "removed":
        left = len(txn.taken.by_service.get(row.id, ()))
        if left:
            raise Refusal("Conflict", f"{left} containers of service {row.name} are not gone yet")
    removed = txn.at if command.state == "removed" else None
    txn.put(msgspec.structs.replace(row, state=command.state, message=command.message, removed=removed))
    return Done("service", row.id)
