"""Containers, and `instance`, the base type under which lists show them.

A container's state is derived: from what is wanted of it and what its host's agent last saw.
"""

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    CONTAINER_STATES,
    LEAVING,
    account_of,
    common_fields,
    common_values,
    find_in,
    may_see_owned,
    none_yet,
    rows_of,
    text_or_keep,
)
from node.api.definitions.launch import CONFIG_FIELDS, launch_of, launch_values
from node.api.definitions.networking import labels_named
from node.api.definitions.stacks import environment_for_new
from node.api.definitions.streams import CONTAINER_LINKS, CONTAINER_STREAMS
from node.api.derived import Label, Volume, mounts_of, ports_of
from node.api.errors import ApiError
from node.api.ids import format_id
from node.api.states import container_state
from node.commands import AnyCommand, CreateContainer, RestartContainer, SetContainerDesired, UpdateContainer
from node.model import Container, Host, PortBinding, Service
from node.plan.spec import render_labels


def _message(row: Container, state: str) -> str | None:
    if state == "requested":
        return row.message
    if row.seen.message:
        return row.seen.message
    if row.seen.status == "pulling" and state == "creating":
        return "Pulling image"
    if row.seen.status == "exited" and row.desired == "running" and row.seen.exit_code is not None:
        return f"Exited with code {row.seen.exit_code}"
    return None


def _values(call: Call, row: Container) -> Values:
    state = container_state(row)
    values = common_values(
        row,
        kind="container",
        owner=row.environment_id,
        state=state,
        message=_message(row, state),
        failed=state == "error",
    )
    return {
        **launch_values(row.launch),
        **values,
        "createIndex": row.create_index or None,
        "deploymentUnitUuid": row.deployment_unit or None,
        "externalId": row.seen.external_id,
        "firstRunning": None,
        "hostId": format_id("host", row.host_id),
        "labels": {**row.launch.labels, **render_labels(row, call.state)},
        "nativeContainer": False,
        "ports": [_port_text(port) for port in row.ports] or list(row.launch.ports),
        "primaryIpAddress": row.address,
        "startCount": row.seen.starts,
    }


def _port_text(port: PortBinding) -> str:
    """A published port as decided, `10086:80/tcp`."""
    bound = f"{port.bind}:" if port.bind else ""
    return f"{bound}{port.public}:{port.private}/{port.protocol}"


def _create(call: Call, data: Input) -> Creation:
    if not data.get("name"):
        raise ApiError("MissingRequired", "a container needs a name", field="name")
    return Creation(
        CreateContainer(
            uuid=call.draw_uuid(),
            environment_id=environment_for_new(call),
            name=data["name"],
            launch=launch_of(data),
            description=data.get("description"),
            start=data["startOnCreate"],
        )
    )


def _update(call: Call, row: Container, data: Input) -> UpdateContainer:
    if data.get("name") not in (None, row.name):
        raise ApiError("InvalidOption", "a container keeps its name for life: it is Docker's name too", field="name")
    return UpdateContainer(id=row.id, description=text_or_keep(data, "description"))


def _remove(call: Call, row: Container, data: Input | None = None) -> SetContainerDesired:
    return SetContainerDesired(id=row.id, desired="removed", why="removed by a person")


def _stop(call: Call, row: Container, data: Input) -> AnyCommand:
    if data.get("remove"):
        return _remove(call, row)
    return SetContainerDesired(id=row.id, desired="stopped", why="stopped by a person")


def _start(call: Call, row: Container, data: Input) -> SetContainerDesired:
    return SetContainerDesired(id=row.id, desired="running", why="started by a person")


def _host(call: Call, row: Container) -> list[Host]:
    host = None if row.host_id is None else call.state.hosts.get(row.host_id)
    return [] if host is None else [host]


def _services(call: Call, row: Container) -> list[Service]:
    service = None if row.service_id is None else call.state.services.get(row.service_id)
    return [] if service is None else [service]


def _maps(call: Call, row: Container) -> list[Container]:
    return [] if row.service_id is None else [row]


def _labels(call: Call, row: Container) -> list[Label]:
    return labels_named(call, row.environment_id, row.launch.labels)


def _volumes(call: Call, row: Container) -> list[Volume]:
    numbers = dict.fromkeys(mount.volume_id for mount in mounts_of(row))
    return [volume for number in numbers if (volume := call.index.volume(number)) is not None]


_SETTLED = frozenset({"running", "stopped", "error"})
_KEPT = frozenset(CONTAINER_STATES) - LEAVING
_HEALTH = "health checks are not built yet"

_COMMON = common_fields(CONTAINER_STATES)
_LINKS = (
    Link("account", "project", account_of),
    Link("healthcheckInstanceHostMaps", "healthcheckInstanceHostMap", none_yet, many=True),
    Link("hosts", "host", _host, many=True),
    Link("instanceLabels", "label", _labels, many=True),
    Link("instanceLinks", "instanceLink", none_yet, many=True),
    Link("mounts", "mount", lambda call, row: mounts_of(row), many=True),
    Link("ports", "port", lambda call, row: ports_of(row), many=True),
    Link("serviceEvents", "serviceEvent", none_yet, many=True),
    Link("serviceExposeMaps", "serviceExposeMap", _maps, many=True),
    Link("services", "service", _services, many=True),
    Link("targetInstanceLinks", "instanceLink", none_yet, many=True),
    Link("volumes", "volume", _volumes, many=True),
    *CONTAINER_LINKS,
)
_ACTIONS = (
    Action("update", _SETTLED, output="instance", command=_update),
    Action("start", frozenset({"stopped", "error"}), output="instance", command=_start),
    Action(
        "stop",
        frozenset({"running", "starting", "restarting", "creating", "requested"}),
        input="instanceStop",
        output="instance",
        command=_stop,
    ),
    Action(
        "restart",
        frozenset({"running"}),
        output="instance",
        command=lambda call, row, data: RestartContainer(id=row.id),
    ),
    Action("remove", frozenset({"stopped", "error", "requested", "creating"}), output="instance", command=_remove),
    Action("migrate", output="instance", later="containers are not moved between hosts"),
    Action("updatehealthy", output="instance", later=_HEALTH),
    Action("updatereinitializing", output="instance", later=_HEALTH),
    Action("updateunhealthy", output="instance", later=_HEALTH),
    Action("console", input="instanceConsoleInput", output="instanceConsole", later="virtual machines are not built"),
)
_CONTAINER_ACTIONS = (
    *CONTAINER_STREAMS,
    Action("proxy", input="containerProxy", output="hostAccess", later="proxies into containers are not built yet"),
    Action("setlabels", input="setLabelsInput", output="container", later="labels are set when a container is made"),
)

CONTAINER = Definition(
    id="container",
    plural="containers",
    fields={
        **_COMMON,
        **CONFIG_FIELDS,
        "createIndex": define("int", "N", max_length=255),
        "deploymentUnitUuid": define("string", "N", max_length=128),
        "externalId": define("string", "N", max_length=128),
        "firstRunning": define("date", "N", max_length=255),
        "healthState": define(
            "enum",
            "N",
            max_length=128,
            options=("healthy", "unhealthy", "updating-healthy", "updating-unhealthy", "initializing"),
        ),
        "hostId": define("reference[host]", "N"),
        "nativeContainer": define("boolean", max_length=255),
        "primaryIpAddress": define("string"),
        "startCount": define("int", "N", max_length=255),
        "systemContainer": define("enum", "N", max_length=128, options=("NetworkAgent", "LoadBalancerAgent")),
    },
    links=_LINKS,
    actions=(*_ACTIONS, *_CONTAINER_ACTIONS),
    acl={"admin": "crud", "project": "crud"},
    rows=rows_of("containers"),
    find=find_in("containers"),
    may_see=may_see_owned,
    values=_values,
    create=_create,
    update=_update,
    delete=_remove,
    delete_states=_KEPT,
)

INSTANCE = Definition(
    id="instance",
    plural="instances",
    fields={
        **_COMMON,
        "externalId": define("string", "N", max_length=128),
        "hostId": define("reference[host]", "N"),
    },
    links=_LINKS,
    actions=_ACTIONS,
    acl={"admin": "r", "project": "r"},
    rows=rows_of("containers"),
    find=find_in("containers"),
    may_see=may_see_owned,
    values=_values,
    is_base=True,
)

INSTANCE_STOP = Definition(
    id="instanceStop",
    plural="instanceStops",
    fields={
        "remove": define("boolean", "c"),
        "timeout": define("int", "c", later="a container gets 10 seconds to stop"),
    },
    acl={"admin": "c", "project": "c"},
)
