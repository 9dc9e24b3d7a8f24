"""Networks, addresses, published ports, labels and machines, as they follow from hosts and containers."""

from collections.abc import Callable
from typing import Any

from node.api.call import Call
from node.api.definition import Definition, Link, Values, define
from node.api.definitions.common import (
    CREATED_STATES,
    DEFAULT_PROCESSES,
    DEFAULT_STATES,
    MACHINE_STATES,
    account_of,
    common_fields,
    common_values,
    may_see_owned,
    refused,
    rows_of,
)
from node.api.definitions.storage import find_place
from node.api.derived import (
    Address,
    HostPart,
    Label,
    Network,
    Port,
    addresses_of,
    container_address,
    host_address,
    host_part,
    in_order,
    label_id,
    network_of,
    ports_of,
)
from node.api.ids import format_id, parse_id
from node.api.states import container_state
from node.model import Container, Host

_ADDRESS_STATES = tuple(sorted((*DEFAULT_STATES, "associated", "associating", "disassociating")))
_PORTS = "ports are published by a container's launch configuration"
_ADDRESSES = "addresses are chosen by the cluster"
_NETWORKS = "an environment has one managed network for as long as it exists"
_LABELS = "labels belong to their host (PUT its labels) or to a container's launch configuration"
_MACHINES = "hosts join by running the command of a registrationToken; Corral makes no machines"


def _state_of_container(row: Container) -> str:
    """Of what exists with a container: in force while it runs."""
    state = container_state(row)
    if state in ("removing", "removed"):
        return state
    return "active" if state == "running" else "inactive"


def _port_values(call: Call, row: Port) -> Values:
    values = common_values(row, kind="userPort", owner=row.environment_id, state=_state_of_container(row.container))
    private, public = _private(call, row), _public(call, row)
    return {
        **values,
        "bindAddress": row.binding.bind or None,
        "instanceId": format_id("instance", row.container.id),
        "privateIpAddressId": None if private is None else format_id("ipAddress", private.id),
        "privatePort": row.binding.private,
        "protocol": row.binding.protocol,
        "publicIpAddressId": None if public is None else format_id("ipAddress", public.id),
        "publicPort": row.binding.public,
    }


def _private(call: Call, row: Port) -> Address | None:
    return container_address(row.container)


def _public(call: Call, row: Port) -> Address | None:
    host = call.state.hosts.get(row.container.host_id or 0)
    return None if host is None else host_address(host)


def _find_port(call: Call, text: str) -> Port | None:
    container, place = find_place(call, text)
    ports = [] if container is None else ports_of(container)
    return ports[place - 1] if 0 < place <= len(ports) else None


PORT = Definition(
    id="port",
    plural="ports",
    fields={
        **common_fields(DEFAULT_STATES),
        "bindAddress": define("string", "N", is_filter=False),
        "instanceId": define("reference[instance]", "N", max_length=255),
        "privateIpAddressId": define("reference[ipAddress]", "N", max_length=255),
        "privatePort": define("int", "N", max_length=255),
        "protocol": define("string", "N", max_length=128),
        "publicIpAddressId": define("reference[ipAddress]", "N", max_length=255),
        "publicPort": define("int", "uN", max_length=255),
    },
    links=(
        Link("account", "project", account_of),
        Link("instance", "instance", lambda call, row: row.container),
        Link("privateIpAddress", "ipAddress", _private),
        Link("publicIpAddress", "ipAddress", _public),
    ),
    actions=refused("port", _PORTS, *DEFAULT_PROCESSES),
    acl={"admin": "r", "project": "r"},
    later=_PORTS,
    rows=lambda call: (port for row in rows_of("containers")(call) for port in ports_of(row)),
    find=_find_port,
    may_see=may_see_owned,
    values=_port_values,
)


def _address_state(row: Address) -> str:
    if isinstance(row.owner, Container) and container_state(row.owner) in ("removing", "removed"):
        return container_state(row.owner)
    return "active" if row.removed is None else "removed"


def _address_values(call: Call, row: Address) -> Values:
    values = common_values(row, kind="ipAddress", owner=row.environment_id, state=_address_state(row))
    network = _network(call, row)
    return {
        **values,
        "address": row.text,
        "networkId": None if network is None else format_id("network", network.id),
    }


def _network(call: Call, row: Address) -> Network | None:
    environment = call.state.environments.get(row.environment_id)
    return network_of(environment) if environment is not None and isinstance(row.owner, Container) else None


def _find_address(call: Call, text: str) -> Address | None:
    number = parse_id(text) or 0
    if number % 2:
        container = call.state.containers.get(number // 2)
        return None if container is None else container_address(container)
    host = call.state.hosts.get(number // 2)
    return None if host is None else host_address(host)


def _private_ports(call: Call, row: Address) -> list[Port]:
    return ports_of(row.owner) if isinstance(row.owner, Container) else []


def _public_ports(call: Call, row: Address) -> list[Port]:
    containers = call.index.containers_of_host.get(row.owner.id, ()) if isinstance(row.owner, Host) else ()
    return [port for container in containers for port in ports_of(container)]


IP_ADDRESS = Definition(
    id="ipAddress",
    plural="ipAddresses",
    fields={
        **common_fields(_ADDRESS_STATES),
        "address": define("string", "N", max_length=255),
        "networkId": define("reference[network]", "N", max_length=255),
    },
    links=(
        Link("account", "project", account_of),
        Link("hosts", "host", lambda call, row: [row.owner] if isinstance(row.owner, Host) else [], many=True),
        Link("network", "network", _network),
        Link("privatePorts", "port", _private_ports, many=True),
        Link("publicPorts", "port", _public_ports, many=True),
    ),
    actions=(
        *refused("ipAddress", _ADDRESSES, *DEFAULT_PROCESSES, "disassociate"),
        *refused("ipPool", _ADDRESSES, "associate", input="ipAddressAssociateInput"),
    ),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: addresses_of(call.state),
    find=_find_address,
    may_see=may_see_owned,
    values=_address_values,
)


def _network_values(call: Call, row: Network) -> Values:
    state = "active" if row.removed is None else "removed"
    values = common_values(row, kind="network", owner=row.environment_id, state=state)
    return {**values, "name": "managed"}


def _find_network(call: Call, text: str) -> Network | None:
    number = parse_id(text)
    environment = None if number is None else call.state.environments.get(number)
    return None if environment is None else network_of(environment)


def _addresses_in(call: Call, row: Network) -> list[Address]:
    return [
        address
        for address in addresses_of(call.state)
        if address.environment_id == row.id and isinstance(address.owner, Container)
    ]


NETWORK = Definition(
    id="network",
    plural="networks",
    fields=common_fields(DEFAULT_STATES),
    links=(
        Link("account", "project", account_of),
        Link("ipAddresses", "ipAddress", _addresses_in, many=True),
    ),
    actions=refused("network", _NETWORKS, *DEFAULT_PROCESSES),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: [network_of(environment) for environment in rows_of("environments")(call)],
    find=_find_network,
    may_see=may_see_owned,
    values=_network_values,
)


def _label_values(call: Call, row: Label) -> Values:
    values = common_values(row, kind="label", owner=row.environment_id, state="created")
    return {**values, "key": row.name, "name": None, "value": row.value}


def _find_label(call: Call, text: str) -> Label | None:
    number = parse_id(text)
    return None if number is None else call.index.labels.get(number)


LABEL = Definition(
    id="label",
    plural="labels",
    fields={
        **common_fields(CREATED_STATES),
        "key": define("string", "N", max_length=1024),
        "value": define("string", "N", max_length=4096),
    },
    links=(
        Link("account", "project", account_of),
        Link("hosts", "host", lambda call, row: row.hosts, many=True),
        Link("instances", "instance", lambda call, row: row.containers, many=True),
    ),
    actions=refused("label", _LABELS, "create", "remove"),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: in_order(call.index.labels),
    find=_find_label,
    may_see=may_see_owned,
    values=_label_values,
)


def machine_of(host: Host) -> HostPart:
    return host_part(host, "physicalHost")


def _machine_values(call: Call, row: HostPart) -> Values:
    state = "removed" if row.removed is not None else "active"
    values = common_values(row, kind="physicalHost", owner=row.environment_id, state=state)
    return {**values, "externalId": row.host.node, "name": row.host.name}


def _find_machine(call: Call, text: str) -> HostPart | None:
    number = parse_id(text)
    host = None if number is None else call.state.hosts.get(number)
    return None if host is None else machine_of(host)


def _each_host(make: Callable[[Host], HostPart]) -> Callable[[Call], list[HostPart]]:
    return lambda call: [make(host) for host in rows_of("hosts")(call)]


PHYSICAL_HOST = Definition(
    id="physicalHost",
    plural="physicalHosts",
    fields={
        **common_fields(MACHINE_STATES),
        "driver": define("string", "N", max_length=128),
        "externalId": define("string", "N", max_length=128),
    },
    links=(
        Link("account", "project", account_of),
        Link("hosts", "host", lambda call, row: [row.host], many=True),
    ),
    actions=refused("physicalHost", _MACHINES, "bootstrap", "create", "error", "remove", "update"),
    acl={"admin": "r", "project": "r"},
    rows=_each_host(machine_of),
    find=_find_machine,
    may_see=may_see_owned,
    values=_machine_values,
)


def labels_named(call: Call, environment_id: int, labels: dict[str, str]) -> list[Any]:
    """The label rows of what carries these labels."""
    found = (call.index.labels.get(label_id(environment_id, name, value)) for name, value in labels.items())
    return sorted((label for label in found if label is not None), key=lambda label: label.id)


NETWORKING = (PORT, IP_ADDRESS, NETWORK, LABEL, PHYSICAL_HOST)
