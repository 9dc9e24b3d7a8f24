"""Projects: environments under the API's name for them."""

from typing import Any

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import DEFAULT_STATES, common_fields, common_values, find_in, rows_of, text_or_keep
from node.commands import CreateEnvironment, RemoveEnvironment, UpdateEnvironment
from node.model import DEFAULT_ENVIRONMENT_ID, Environment, Table

_ACCOUNTS = "members need accounts, which this version does not have; use API keys of the environment"
_CATTLE_ONLY = "Corral runs its own scheduler only"


def owned(table: Table) -> Any:
    """Follow a link to the rows of an environment."""

    def follow(call: Call, row: Environment) -> list[Any]:
        return [child for child in rows_of(table)(call) if child.environment_id == row.id]

    return follow


def _exposed(call: Call, row: Environment) -> list[Any]:
    return [child for child in owned("containers")(call, row) if child.service_id is not None]


def _may_see(call: Call, row: Environment) -> bool:
    return call.caller.kind == "admin" or row.id == call.caller.environment_id


def _values(call: Call, row: Environment) -> Values:
    values = common_values(row, kind="project", owner=row.id, state=row.state)
    values["accountId"] = None
    return values


def _create(call: Call, data: Input) -> Creation:
    command = CreateEnvironment(uuid=call.draw_uuid(), name=data.get("name") or "", description=data.get("description"))
    return Creation(command)


def _update(call: Call, row: Environment, data: Input) -> UpdateEnvironment:
    return UpdateEnvironment(id=row.id, name=data.get("name"), description=text_or_keep(data, "description"))


def _remove(call: Call, row: Environment, data: Input | None = None) -> RemoveEnvironment:
    return RemoveEnvironment(id=row.id)


_FIELDS = {
    **common_fields(DEFAULT_STATES),
    "allowSystemRole": define("boolean", "cu", default=False, admin_only=True, later="there are no system roles"),
    "kubernetes": define("boolean", "cu", default=False, later=_CATTLE_ONLY),
    "members": define("array[projectMember]", "cN", later=_ACCOUNTS),
    "publicDns": define("boolean", "cu", default=False, later="names are served inside the cluster only"),
    "servicesPortRange": define("servicesPortRange", "cuN", later="ports are chosen from 49153 to 65535"),
    "swarm": define("boolean", "cu", default=False, later=_CATTLE_ONLY),
}
del _FIELDS["accountId"]

_NO_DEACTIVATION = "environments are removed without being deactivated first"

PROJECT = Definition(
    id="project",
    plural="projects",
    fields=_FIELDS,
    links=(
        Link("environments", "environment", owned("stacks"), many=True),
        Link("hosts", "host", owned("hosts"), many=True),
        Link("instances", "instance", owned("containers"), many=True),
        Link("serviceExposeMaps", "serviceExposeMap", _exposed, many=True),
        Link("services", "service", owned("services"), many=True),
    ),
    actions=(
        Action("update", frozenset({"active"}), output="account", command=_update),
        Action(
            "remove",
            frozenset({"active"}),
            output="account",
            command=_remove,
            when=lambda call, row: row.id != DEFAULT_ENVIRONMENT_ID,
        ),
        Action("activate", output="account", later=_NO_DEACTIVATION),
        Action("deactivate", output="account", later=_NO_DEACTIVATION),
        Action("setmembers", input="setProjectMembersInput", output="setProjectMembersInput", later=_ACCOUNTS),
    ),
    acl={"admin": "crud", "project": "r"},
    rows=rows_of("environments"),
    find=find_in("environments"),
    may_see=_may_see,
    values=_values,
    create=_create,
    update=_update,
    delete=_remove,
    is_admins=True,
)
