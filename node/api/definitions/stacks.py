"""Stacks, which the API calls environments."""

from collections.abc import Sequence

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    LABEL_CHARS,
    LEAVING,
    STACK_STATES,
    account_of,
    common_fields,
    common_values,
    find_in,
    may_see_owned,
    rows_of,
    text_or_keep,
)
from node.commands import ActivateService, Batch, CreateStack, DeactivateService, RemoveStack, UpdateStack
from node.model import DEFAULT_ENVIRONMENT_ID, Service, Stack

_COMPOSE = "compose files are not read yet; create the services one by one"
_UPGRADES = "upgrades are not built yet"


def environment_for_new(call: Call) -> int:
    """Where a new stack or container goes: the call's scope, else the default environment."""
    return DEFAULT_ENVIRONMENT_ID if call.scope is None else call.scope


def _services(call: Call, row: Stack) -> Sequence[Service]:
    return call.index.services_of_stack.get(row.id, ())


def _values(call: Call, row: Stack) -> Values:
    values = common_values(row, kind="environment", owner=row.environment_id, state=row.state)
    return {
        **values,
        "dockerCompose": row.docker_compose,
        "environment": row.variables or None,
        "externalId": row.external_id,
        "healthState": None,
        "rancherCompose": row.rancher_compose,
    }


def _create(call: Call, data: Input) -> Creation:
    return Creation(
        CreateStack(
            uuid=call.draw_uuid(),
            environment_id=environment_for_new(call),
            name=data["name"],
            description=data.get("description"),
            external_id=data.get("externalId"),
            variables=data.get("environment") or {},
        )
    )


def _update(call: Call, row: Stack, data: Input) -> UpdateStack:
    return UpdateStack(id=row.id, name=data.get("name"), description=text_or_keep(data, "description"))


def _remove(call: Call, row: Stack, data: Input | None = None) -> RemoveStack:
    return RemoveStack(id=row.id)


def _activate_services(call: Call, row: Stack, data: Input) -> Batch:
    chosen = [service for service in _services(call, row) if service.state == "inactive"]
    return Batch(commands=tuple(ActivateService(id=service.id) for service in chosen))


def _deactivate_services(call: Call, row: Stack, data: Input) -> Batch:
    stoppable = ("active", "activating", "updating-active")
    chosen = [service for service in _services(call, row) if service.state in stoppable]
    return Batch(commands=tuple(DeactivateService(id=service.id) for service in chosen))


_FIELDS = {
    **common_fields(STACK_STATES),
    "dockerCompose": define("string", "c", later=_COMPOSE, is_filter=False),
    "environment": define("map[string]", "c"),
    "externalId": define("string", "cN", max_length=128),
    "healthState": define("string", "N", max_length=128),
    "name": define("string", "cuNR", min_length=1, max_length=63, valid_chars=LABEL_CHARS),
    "outputs": define("map[string]", "cuN", later=_UPGRADES),
    "previousEnvironment": define("map[string]", "cuN", later=_UPGRADES),
    "previousExternalId": define("string", "cuN", later=_UPGRADES, is_filter=False),
    "rancherCompose": define("string", "c", later=_COMPOSE, is_filter=False),
    "startOnCreate": define("boolean", "cN", is_filter=False),
}
_ACTIVE = frozenset({"active"})

STACK = Definition(
    id="environment",
    plural="environments",
    fields=_FIELDS,
    links=(
        Link("account", "project", account_of),
        Link("services", "service", _services, many=True, reference="environmentId"),
    ),
    actions=(
        Action("update", _ACTIVE, output="environment", command=_update),
        Action("remove", _ACTIVE, output="environment", command=_remove),
        Action("activateservices", _ACTIVE, output="environment", command=_activate_services),
        Action("deactivateservices", _ACTIVE, output="environment", command=_deactivate_services),
        Action("upgrade", input="environmentUpgrade", output="environment", later=_UPGRADES),
        Action("finishupgrade", output="environment", later=_UPGRADES),
        Action("cancelupgrade", output="environment", later=_UPGRADES),
        Action("rollback", output="environment", later=_UPGRADES),
        Action("cancelrollback", output="environment", later=_UPGRADES),
        Action("addoutputs", input="addOutputsInput", output="environment", later=_UPGRADES),
        Action("exportconfig", input="composeConfigInput", output="composeConfig", later=_COMPOSE),
    ),
    acl={"admin": "crud", "project": "crud"},
    rows=rows_of("stacks"),
    find=find_in("stacks"),
    may_see=may_see_owned,
    values=_values,
    create=_create,
    update=_update,
    delete=_remove,
    delete_states=frozenset(STACK_STATES) - LEAVING,
)
