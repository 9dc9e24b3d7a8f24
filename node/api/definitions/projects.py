"""Projects: environments under the API's name for them."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    DEFAULT_STATES,
    common_fields,
    common_values,
    find_in,
    none_yet,
    rows_of,
    text_or_keep,
)
from node.api.definitions.links import maps_of
from node.api.definitions.members import members_of
from node.api.definitions.networking import machine_of
from node.api.definitions.storage import pool_of
from node.api.definitions.streams import PROJECT_LINKS
from node.api.derived import Derived, HostPart, addresses_of, in_order, mounts_of, network_of, ports_of
from node.api.ids import format_id
from node.commands import CreateEnvironment, RemoveEnvironment, SetEnvironmentState, SetMembers, UpdateEnvironment
from node.model import DEFAULT_ENVIRONMENT_ID, Container, Environment, Host, Table
from node.state.members import roles_in

Follow = Callable[[Call, Environment], Iterable[Any]]

_CATTLE_ONLY = "Corral runs its own scheduler only"


def owned(table: Table) -> Any:
    """Follow a link to the rows of an environment."""

    def follow(call: Call, row: Environment) -> list[Any]:
        return [child for child in rows_of(table)(call) if child.environment_id == row.id]

    return follow


def _derived(rows: Callable[[Call], Iterable[Derived]]) -> Follow:
    return lambda call, row: (one for one in rows(call) if one.environment_id == row.id)


def _parts(parts: Callable[[Container], Iterable[Derived]]) -> Follow:
    """What each container of an environment has some of."""
    containers = owned("containers")
    return lambda call, row: (part for container in containers(call, row) for part in parts(container))


def _of_hosts(part: Callable[[Host], HostPart]) -> Follow:
    """What each host of an environment has one of."""
    hosts = owned("hosts")
    return lambda call, row: [part(host) for host in hosts(call, row)]


def _consumed(call: Call, row: Environment) -> list[Any]:
    return [one for service in owned("services")(call, row) for one in maps_of(call, service)]


def _exposed(call: Call, row: Environment) -> list[Any]:
    return [child for child in owned("containers")(call, row) if child.service_id is not None]


def _may_see(call: Call, row: Environment) -> bool:
    """Members lose sight of a project that is not active, its owners keep it."""
    if call.caller.kind == "admin" or row.id == call.caller.environment_id:
        return True
    if call.caller.account_id is None:
        return False
    roles = roles_in(call.state, call.caller.account_id, row.id)
    return "owner" in roles or (bool(roles) and row.state == "active")


def _rows(call: Call) -> list[Environment]:
    """An administrator with an account of its own sees its memberships, and with `all=true` every project."""
    rows: list[Environment] = list(rows_of("environments")(call))
    mine = call.caller.account_id
    if mine is None or call.query.get("all", "").lower() == "true":
        return rows
    return [row for row in rows if roles_in(call.state, mine, row.id)]


def _may_change(call: Call, row: Environment) -> bool:
    if call.caller.kind == "admin":
        return True
    return call.caller.account_id is not None and "owner" in roles_in(call.state, call.caller.account_id, row.id)


def _values(call: Call, row: Environment) -> Values:
    values = common_values(row, kind="project", owner=row.id, state=row.state)
    values["accountId"] = None
    return values


def _create(call: Call, data: Input) -> Creation:
    members = data.get("members")
    if not members:
        mine = call.caller.account_id
        members = [] if mine is None else [{"externalId": format_id("account", mine), "role": "owner"}]
    command = CreateEnvironment(
        uuid=call.draw_uuid(),
        name=data.get("name") or "",
        description=data.get("description"),
        members=members_of(call, members),
    )
    return Creation(command)


def _update(call: Call, row: Environment, data: Input) -> UpdateEnvironment:
    return UpdateEnvironment(id=row.id, name=data.get("name"), description=text_or_keep(data, "description"))


def _remove(call: Call, row: Environment, data: Input | None = None) -> RemoveEnvironment:
    return RemoveEnvironment(id=row.id)


def _set_members(call: Call, row: Environment, data: Input) -> SetMembers:
    return SetMembers(environment_id=row.id, members=members_of(call, data["members"]))


def _set_state(state: Literal["active", "inactive"]) -> Any:
    return lambda call, row, data: SetEnvironmentState(id=row.id, state=state)


_FIELDS = {
    **common_fields(DEFAULT_STATES),
    "allowSystemRole": define("boolean", "cu", default=False, admin_only=True, later="there are no system roles"),
    "kubernetes": define("boolean", "cu", default=False, later=_CATTLE_ONLY),
    "members": define("array[projectMember]", "cN", is_filter=False),
    "publicDns": define("boolean", "cu", default=False, later="names are served inside the cluster only"),
    "servicesPortRange": define("servicesPortRange", "cuN", later="ports are chosen from 49153 to 65535"),
    "swarm": define("boolean", "cu", default=False, later=_CATTLE_ONLY),
}
del _FIELDS["accountId"]

_EMPTY_LINKS = (
    ("auditLogs", "auditLog"),
    ("certificates", "certificate"),
    ("containerEvents", "containerEvent"),
    ("externalEvents", "externalEvent"),
    ("healthcheckInstanceHostMaps", "healthcheckInstanceHostMap"),
    ("instanceLinks", "instanceLink"),
    ("serviceEvents", "serviceEvent"),
    ("snapshots", "snapshot"),
)

PROJECT = Definition(
    id="project",
    plural="projects",
    fields=_FIELDS,
    links=(
        *(Link(name, type_, none_yet, many=True) for name, type_ in _EMPTY_LINKS),
        Link("environments", "environment", owned("stacks"), many=True),
        Link("hosts", "host", owned("hosts"), many=True),
        Link("images", "image", _derived(lambda call: in_order(call.index.images)), many=True),
        Link("instances", "instance", owned("containers"), many=True),
        Link("ipAddresses", "ipAddress", _derived(lambda call: addresses_of(call.state)), many=True),
        Link("labels", "label", _derived(lambda call: in_order(call.index.labels)), many=True),
        Link("mounts", "mount", _parts(mounts_of), many=True),
        Link("networks", "network", lambda call, row: [network_of(row)], many=True),
        Link("physicalHosts", "physicalHost", _of_hosts(machine_of), many=True),
        Link("ports", "port", _parts(ports_of), many=True),
        Link(
            "projectMembers",
            "projectMember",
            lambda call, row: [one for one in rows_of("members")(call) if one.environment_id == row.id],
            many=True,
        ),
        Link("serviceConsumeMaps", "serviceConsumeMap", _consumed, many=True),
        Link("serviceExposeMaps", "serviceExposeMap", _exposed, many=True),
        Link("services", "service", owned("services"), many=True),
        Link("storagePools", "storagePool", _of_hosts(pool_of), many=True),
        Link("volumes", "volume", _derived(lambda call: call.index.volumes()), many=True),
        *PROJECT_LINKS,
    ),
    actions=(
        Action("update", frozenset({"active", "inactive"}), output="account", command=_update),
        Action(
            "remove",
            frozenset({"active", "inactive"}),
            output="account",
            command=_remove,
            when=lambda call, row: row.id != DEFAULT_ENVIRONMENT_ID,
        ),
        Action("activate", frozenset({"inactive"}), output="account", command=_set_state("active")),
        Action("deactivate", frozenset({"active"}), output="account", command=_set_state("inactive")),
        Action(
            "setmembers",
            frozenset({"active", "inactive"}),
            input="setProjectMembersInput",
            output="setProjectMembersInput",
            command=_set_members,
        ),
    ),
    acl={"admin": "crud", "project": "r", "user": "crud"},
    rows=_rows,
    find=find_in("environments"),
    may_see=_may_see,
    may_change=_may_change,
    values=_values,
    create=_create,
    update=_update,
    delete=_remove,
    is_admins=True,
)
