"""What commands mean for containers: slots filled, placements checked against what is taken, reports taken in.

The checks of a placement are invariants, not advice: whatever a planner proposes, no name, address, host port or
slot is given twice while its holder is not gone.
"""

import msgspec

from node.commands import (
    AddContainer,
    CreateContainer,
    PlaceContainer,
    Placement,
    ReportContainers,
    RestartContainer,
    SetContainerDesired,
    UpdateContainer,
)
from node.model import Container, Done, Host, LaunchConfig, PortBinding, Seen, Service, Stack
from node.state.addresses import parse_subnet
from node.state.environments import live_environment
from node.state.hosts import host_by_node
from node.state.published import LAST_PORT, fits, overlaps, own_port_name, port_text, wanted_ports
from node.state.rules import MAX_SCALE, check_container_name, check_launch
from node.state.services import ACTIVE_STATES, check_requested_host, live_service
from node.state.txn import Refusal, Txn


def live_container(txn: Txn, container_id: int) -> Container:
    container = txn.containers.get(container_id)
    if container is None or container.removed is not None:
        raise Refusal("Not Found", f"there is no container {container_id}: see `node container ls`")
    return container


def service_container_name(stack: Stack, service: Service, number: int) -> str:
    """How the container of a slot is called for life, whatever its service is renamed to later."""
    return f"{stack.name}_{service.name}_{number}"


def _check_free(txn: Txn, environment_id: int, name: str, uuid: str) -> None:
    holder = txn.taken.names.get((environment_id, name.lower()))
    if holder is not None:
        raise Refusal("NotUnique", f"container {holder} is already called {name}", "name")
    if uuid in txn.taken.uuids:
        raise Refusal("NotUnique", f"a container has the uuid {uuid} already: draw another", "uuid")


def create_container(txn: Txn, command: CreateContainer) -> Done:
    live_environment(txn, command.environment_id)
    check_container_name(command.name)
    check_launch(command.launch)
    check_requested_host(txn, command.launch, command.environment_id)
    _check_free(txn, command.environment_id, command.name, command.uuid)
    row = Container(
        id=txn.next_id("containers"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=command.environment_id,
        name=command.name,
        launch=command.launch,
        description=command.description,
        deployment_unit=command.uuid,
        desired="running" if command.start else "stopped",
    )
    txn.put(row)
    return Done("container", row.id)


def add_container(txn: Txn, command: AddContainer) -> Done:
    service = live_service(txn, command.service_id)
    _check_slot(txn, service, command.number)
    stack = txn.stacks[service.stack_id]
    name = service_container_name(stack, service, command.number)
    _check_free(txn, service.environment_id, name, command.uuid)
    _check_placement(txn, command.placement, service.launch, service.environment_id)
    row = Container(
        id=txn.next_id("containers"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=service.environment_id,
        name=name,
        launch=service.launch,
        service_id=service.id,
        stack_id=stack.id,
        number=command.number,
        create_index=service.create_index + 1,
        deployment_unit=command.uuid,
        host_id=command.placement.host_id,
        address=command.placement.address,
        ports=command.placement.ports,
    )
    txn.put(row)
    txn.put(msgspec.structs.replace(service, create_index=row.create_index))
    return Done("container", row.id)


def _check_slot(txn: Txn, service: Service, number: int) -> None:
    if service.state not in ACTIVE_STATES:
        raise Refusal("Conflict", f"service {service.name} is {service.state} and takes no new containers")
    if not 1 <= number <= 2 * MAX_SCALE:
        raise Refusal("InvalidOption", f"expected a slot from 1 to {2 * MAX_SCALE}, got {number}", "number")
    holders = txn.taken.by_service.get(service.id, {}).values()
    if any(holder.number == number for holder in holders):
        raise Refusal("NotUnique", f"slot {number} of service {service.name} is not free", "number")
    staying = sum(holder.desired != "removed" for holder in holders)
    if staying >= service.scale:
        raise Refusal("Conflict", f"service {service.name} has its {service.scale} containers")


def place_container(txn: Txn, command: PlaceContainer) -> Done:
    row = live_container(txn, command.id)
    if row.host_id is not None or row.desired == "removed":
        raise Refusal("Conflict", f"container {row.name} is placed already or to be removed")
    if command.placement is None:
        txn.put(msgspec.structs.replace(row, message=command.why))
        return Done("container", row.id)
    _check_placement(txn, command.placement, row.launch, row.environment_id)
    txn.put(
        msgspec.structs.replace(
            row,
            host_id=command.placement.host_id,
            address=command.placement.address,
            ports=command.placement.ports,
            message=None,
        )
    )
    return Done("container", row.id)


def _check_placement(txn: Txn, placement: Placement, launch: LaunchConfig, environment_id: int) -> None:
    host = txn.hosts.get(placement.host_id)
    if host is None or host.removed is not None or host.environment_id != environment_id:
        raise Refusal("InvalidReference", f"the environment has no host {placement.host_id}", "hostId")
    if host.state != "active" or not host.up:
        raise Refusal("Conflict", f"host {host.name} takes no new containers: it is inactive or down", "hostId")
    if launch.requested_host_id not in (None, host.id):
        raise Refusal("InvalidOption", f"host {launch.requested_host_id} was asked for, not {host.id}", "hostId")
    _check_address(txn, host, placement.address, managed=launch.network_mode == "managed")
    _check_ports(txn, host, placement.ports, launch)


def _check_address(txn: Txn, host: Host, address: str | None, *, managed: bool) -> None:
    if not managed:
        if address is not None:
            raise Refusal("InvalidOption", "only a container on the managed network has an overlay address", "address")
        return
    if address is None:
        raise Refusal("MissingRequired", "a container on the managed network needs an overlay address", "address")
    if parse_subnet(host.subnet).offset_of(address) is None:
        raise Refusal("InvalidOption", f"{address} is no container's address in {host.subnet}", "address")
    holder = txn.taken.addresses.get(host.id, {}).get(address)
    if holder is not None:
        raise Refusal("NotUnique", f"container {holder.name} has the address {address}", "address")


def _check_ports(txn: Txn, host: Host, ports: tuple[PortBinding, ...], launch: LaunchConfig) -> None:
    specs = wanted_ports(launch)
    if len(specs) != len(ports) or not all(fits(port, spec) for port, spec in zip(ports, specs, strict=True)):
        raise Refusal("InvalidOption", "the placement publishes other ports than were asked for", "ports")
    for position, port in enumerate(ports):
        own = own_port_name(host, port)
        holder = txn.taken.port_holder(host.id, port)
        if not 1 <= port.public <= LAST_PORT:
            raise Refusal("InvalidOption", f"expected a public port up to {LAST_PORT}, got {port.public}", "ports")
        if own is not None:
            raise Refusal("NotUnique", f"port {port_text(port)} of {host.name} is {own} of Corral", "ports")
        if holder is not None:
            raise Refusal("NotUnique", f"container {holder} has port {port_text(port)} of {host.name}", "ports")
        if any(overlaps(port, other) for other in ports[:position]):
            raise Refusal("NotUnique", f"port {port_text(port)} is published twice", "ports")


def set_container_desired(txn: Txn, command: SetContainerDesired) -> Done:
    """`removed` is for good; the row is gone when its host says so, or at once if it never had a host."""
    row = live_container(txn, command.id)
    if row.desired == "removed" and command.desired != "removed":
        raise Refusal("Conflict", f"container {row.name} is being removed")
    wanted = row.restarts_wanted
    ended = row.seen.status == "exited"
    if command.desired == "running" and (row.desired == "stopped" or ended):
        # The agent starts a container whose starts are not above this; else an ended one would look finished.
        wanted = max(wanted, row.seen.starts)
    unplaced = command.desired == "removed" and row.host_id is None
    txn.put(
        msgspec.structs.replace(
            row, desired=command.desired, restarts_wanted=wanted, removed=txn.at if unplaced else None
        )
    )
    return Done("container", row.id)


def restart_container(txn: Txn, command: RestartContainer) -> Done:
    """Ask for one start more than were counted so far; asked twice before it happened, it happens once."""
    row = live_container(txn, command.id)
    if row.desired != "running":
        raise Refusal("Conflict", f"container {row.name} is to be {row.desired}: only a running one can be restarted")
    txn.put(msgspec.structs.replace(row, restarts_wanted=max(row.restarts_wanted, row.seen.starts)))
    return Done("container", row.id)


def update_container(txn: Txn, command: UpdateContainer) -> Done:
    row = live_container(txn, command.id)
    if command.description is not None:
        txn.put(msgspec.structs.replace(row, description=command.description))
    return Done("container", row.id)


def report_containers(txn: Txn, command: ReportContainers) -> Done:
    """Take in what a host saw of its own containers; of others, and of gone ones, it has nothing to say."""
    host = host_by_node(txn, command.node)
    for observation in command.observations:
        row = txn.containers.get(observation.container_id)
        if row is None or row.removed is not None or row.host_id != host.id:
            continue
        txn.put(_observed(row, observation.seen, txn.at))
    return Done("host", host.id)


def _observed(row: Container, seen: Seen, at: int) -> Container:
    if seen.status != "gone":
        return msgspec.structs.replace(row, seen=seen)
    if row.desired == "removed":
        return msgspec.structs.replace(row, seen=seen, removed=at)
    # Gone is an end; one that is still wanted will be made again, so for now there is none.
    return msgspec.structs.replace(row, seen=msgspec.structs.replace(seen, status="none"))
