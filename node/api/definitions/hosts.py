"""Hosts, as far as they are known from their row."""

from collections.abc import Sequence

from node.api.call import Call
from node.api.definition import Action, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    DEFAULT_STATES,
    account_of,
    common_fields,
    common_values,
    find_in,
    may_see_owned,
    none_yet,
    rows_of,
    text_or_keep,
)
from node.api.definitions.endpoints import endpoints_of
from node.api.definitions.networking import labels_named, machine_of
from node.api.definitions.storage import pool_of
from node.api.definitions.streams import HOST_LINKS
from node.api.derived import Address, host_address
from node.api.ids import format_id
from node.commands import RemoveHost, SetHostState, UpdateHost
from node.model import Container, Host

MIB = 1024 * 1024


def _containers(call: Call, row: Host) -> Sequence[Container]:
    return call.index.containers_of_host.get(row.id, ())


def _addresses(call: Call, row: Host) -> list[Address]:
    address = host_address(row)
    return [] if address is None else [address]


def _info(row: Host) -> Values:
    """What the host said of itself, in the shape clients know; what it did not say is left out."""
    facts = row.facts
    parts: Values = {
        "osInfo": {
            "dockerVersion": facts.docker_version and f"Docker version {facts.docker_version}",
            "kernelVersion": facts.kernel,
            "operatingSystem": facts.os,
        },
        "cpuInfo": {"count": facts.cpus},
        "memoryInfo": {"memTotal": facts.memory_bytes // MIB},
        "corral": {
            "dockerApi": facts.docker_api,
            "mtu": facts.mtu,
            "overlay": facts.overlay_kind,
            "version": facts.node_version,
        },
    }
    known = {name: {key: value for key, value in part.items() if value} for name, part in parts.items()}
    return {name: part for name, part in known.items() if part}


def _agent_state(row: Host) -> str | None:
    if row.state == "removed":
        return None
    return "active" if row.up else "reconnecting"


def _values(call: Call, row: Host) -> Values:
    values = common_values(row, kind="docker", owner=row.environment_id, state=row.state)
    return {
        **values,
        "agentIpAddress": row.address or None,
        "agentState": _agent_state(row),
        "hostname": row.name,
        "info": _info(row),
        "labels": row.labels,
        "nodeId": row.node,
        "physicalHostId": format_id("physicalHost", row.id),
        "overlaySubnet": row.subnet or None,
        "publicEndpoints": endpoints_of(call, _containers(call, row)),
    }


def _update(call: Call, row: Host, data: Input) -> UpdateHost:
    return UpdateHost(
        id=row.id,
        name=data.get("name"),
        description=text_or_keep(data, "description"),
        labels=data.get("labels"),
    )


def _remove(call: Call, row: Host, data: Input | None = None) -> RemoveHost:
    return RemoveHost(id=row.id)


_INACTIVE = frozenset({"inactive"})
_ACTIVE = frozenset({"active"})

HOST = Definition(
    id="host",
    plural="hosts",
    fields={
        **common_fields(DEFAULT_STATES),
        "agentIpAddress": define("string", "N"),
        "agentState": define("string", "N", max_length=128),
        "computeTotal": define("int", "N", max_length=255),
        "hostname": define("string"),
        "info": define("json"),
        "labels": define("map[string]", "u"),
        "nodeId": define("string"),
        "overlaySubnet": define("string", "N"),
        "physicalHostId": define("reference[physicalHost]", "N", max_length=255),
        "publicEndpoints": define("array[publicEndpoint]", "N"),
    },
    links=(
        Link("account", "project", account_of),
        Link("containerEvents", "containerEvent", none_yet, many=True),
        Link("healthcheckInstanceHostMaps", "healthcheckInstanceHostMap", none_yet, many=True),
        Link("hostLabels", "label", lambda call, row: labels_named(call, row.environment_id, row.labels), many=True),
        Link("instances", "instance", _containers, many=True),
        Link("ipAddresses", "ipAddress", _addresses, many=True),
        Link("physicalHost", "physicalHost", lambda call, row: machine_of(row)),
        Link("serviceEvents", "serviceEvent", none_yet, many=True),
        Link("storagePools", "storagePool", lambda call, row: [pool_of(row)], many=True),
        *HOST_LINKS,
    ),
    actions=(
        Action("update", _ACTIVE | _INACTIVE, output="host", command=_update),
        Action(
            "activate",
            _INACTIVE,
            output="host",
            command=lambda call, row, data: SetHostState(id=row.id, state="active"),
        ),
        Action(
            "deactivate",
            _ACTIVE,
            output="host",
            command=lambda call, row, data: SetHostState(id=row.id, state="inactive"),
        ),
        Action("remove", _INACTIVE, output="host", command=_remove),
        Action("dockersocket", output="hostAccess", later="access to a host's Docker is not built yet"),
    ),
    acl={"admin": "rud", "project": "rud"},
    rows=rows_of("hosts"),
    find=find_in("hosts"),
    may_see=may_see_owned,
    values=_values,
    update=_update,
    delete=_remove,
    delete_states=_INACTIVE,
)
