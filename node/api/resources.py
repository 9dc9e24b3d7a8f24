"""Reading and changing resources of any type: what the methods of API.md 1.3 to 1.5 mean, whatever the type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from node.api.call import Call, Operations
from node.api.definition import Action, Creation, Deferred, Definition, Input
from node.api.definitions import BY_ID, definition_of_row
from node.api.errors import ApiError
from node.api.ids import format_id
from node.api.inputs import read_input
from node.api.listing import Params, list_rows
from node.api.output import (
    Json,
    as_role,
    embed,
    id_of,
    is_visible,
    link_named,
    offered,
    render,
    rights,
    role_for,
)
from node.api.roles import may_act
from node.commands import AnyCommand


@dataclass(frozen=True, slots=True)
class Change:
    """A command to submit, and how to answer once it took effect."""

    command: AnyCommand | Deferred
    definition: Definition
    row: Any
    """The row it changes; None if it makes one."""
    status: int
    reveal: Mapping[str, Any]
    identity: str | None = None
    """What finds the row that it makes, where that is no number."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something this node is to do itself; what it returns is the answer, or the resource if that is empty."""

    action: Action
    data: Input
    definition: Definition
    row: Any


def find_row(call: Call, definition: Definition, text: str) -> Any:
    """Return the row with an id as written in a path; 404 also for one that is not the caller's to see."""
    row = None if definition.find is None else definition.find(call, text)
    if row is None or not definition.may_see(call, row):
        raise ApiError("Not Found", f"there is no {definition.id} {text[:60]}")
    return row


async def read_collection(call: Call, definition: Definition, params: Params) -> Json:
    """GET /TYPE."""
    require(call, definition, "r", "GET")
    if definition.rows is None:
        raise ApiError("Not Found")
    return await list_rows(call, definition, definition.rows(call), params, call.urls.collection(definition.plural))


def read_one(call: Call, definition: Definition, text: str, params: Params) -> Json:
    """GET /TYPE/ID."""
    require(call, definition, "r", "GET")
    row = find_row(call, definition, text)
    includes = [value for name, value in params if name == "include"]
    return {**render(call, definition, row), **embed(call, definition_of_row(row, definition), row, includes)}


async def read_link(call: Call, definition: Definition, text: str, name: str, params: Params) -> Json:
    """GET /TYPE/ID/LINK: the linked resource, or the list of them."""
    require(call, definition, "r", "GET")
    row = find_row(call, definition, text)
    link = link_named(definition_of_row(row, definition), name)
    if link is None or not is_visible(call, BY_ID[link.type]):
        raise ApiError("Not Found", f"a {definition.id} has no link {name[:60]}")
    target, followed = BY_ID[link.type], link.follow(call, row)
    if link.many:
        self_url = f"{render(call, definition, row)['links']['self']}/{link.name.lower()}"
        return await list_rows(call, target, followed, params, self_url)
    if followed is None or not target.may_see(call, followed):
        raise ApiError("Not Found")
    return render(call, target, followed)


def plan_create(call: Call, definition: Definition, data: Mapping[str, Any]) -> Change:
    """POST /TYPE."""
    require(call, definition, "c", "POST")
    if definition.create is None:
        not_allowed("POST", definition)
    creation: Creation = definition.create(call, read_input(definition, data, "create", as_role(call, definition)))
    return Change(creation.command, definition, None, 201, creation.reveal, creation.identity)


def plan_create_child(call: Call, definition: Definition, text: str, name: str, data: Mapping[str, Any]) -> Change:
    """POST /TYPE/ID/LINK: a child with its reference set to the parent."""
    row = find_row(call, definition, text)
    link = link_named(definition, name)
    if link is None:
        raise ApiError("Not Found", f"a {definition.id} has no link {name[:60]}")
    if link.reference is None:
        not_allowed("POST", BY_ID[link.type])
    return plan_create(call, BY_ID[link.type], {**data, link.reference: str(render(call, definition, row)["id"])})


def plan_update(call: Call, definition: Definition, text: str, data: Mapping[str, Any]) -> Change | Json:
    """PUT /TYPE/ID; a resource unchanged is answered at once."""
    require(call, definition, "u", "PUT")
    row = find_row(call, definition, text)
    if definition.update is None:
        not_allowed("PUT", definition)
    _check_may_change(call, definition, row)
    wanted = read_input(definition, data, "update", as_role(call, definition))
    if not wanted:
        return render(call, definition, row)
    return Change(definition.update(call, row, wanted), definition, row, 200, {})


def plan_delete(call: Call, definition: Definition, text: str) -> Change | Json:
    """DELETE /TYPE/ID; what is leaving already is answered as it is."""
    require(call, definition, "d", "DELETE")
    row = find_row(call, definition, text)
    if definition.delete is None:
        not_allowed("DELETE", definition)
    _check_may_change(call, definition, row)
    resource = render(call, definition, row)
    if resource.get("state") in ("removing", "removed"):
        return resource
    if definition.delete_states is not None and resource["state"] not in definition.delete_states:
        allowed = ", ".join(sorted(definition.delete_states))
        detail = f"this {definition.id} is {resource['state']}; it can be deleted when it is {allowed}"
        raise ApiError("Method not allowed", detail)
    return Change(definition.delete(call, row), definition, row, 200, {})


def plan_action(
    call: Call, definition: Definition, text: str, name: str, data: Mapping[str, Any]
) -> Change | Operation | Json:
    """POST /TYPE/ID?action=NAME."""
    require(call, definition, "r", "GET")
    row = find_row(call, definition, text)
    definition = definition_of_row(row, definition)
    action = next((one for one in definition.actions if one.name == name.lower()), None)
    if action is None:
        raise ApiError("InvalidAction", f"a {definition.id} has no action {name[:60]}")
    if action.later is not None:
        raise ApiError("ActionNotAvailable", f"{name}: {action.later}")
    _check_offered(call, definition, action, row, render(call, definition, row).get("state", "active"))
    wanted = _action_input(call, definition, action, data)
    if action.command is not None:
        return Change(action.command(call, row, wanted), definition, row, action.status, {})
    if action.access is not None:
        return render(call, BY_ID[action.output or ""], action.access(call, row, wanted))
    return Operation(action, wanted, definition, row)


def _check_offered(call: Call, definition: Definition, action: Action, row: Any, state: str) -> None:
    if action.local_only and not call.caller.is_local:
        raise ApiError("Forbidden", f"{action.name} is possible on the host itself only, over the unix socket")
    _check_may_change(call, definition, row)
    if not may_act(definition, action, role_for(call, definition)):
        raise ApiError("Forbidden", f"your role here does not include {action.name} of {definition.plural}")
    if not offered(call, definition, action, row, state):
        states = ", ".join(sorted(action.states))
        detail = f"{action.name} is possible on some {definition.plural} in state {states}; this one is {state}"
        raise ApiError("Conflict", detail)


def _check_may_change(call: Call, definition: Definition, row: Any) -> None:
    if not definition.may_change(call, row):
        raise ApiError("Forbidden", f"this {definition.id} is changed by its owners and by administrators only")


def _action_input(call: Call, definition: Definition, action: Action, data: Mapping[str, Any]) -> Input:
    if action.name == "update":
        return read_input(definition, data, "update", as_role(call, definition))
    if action.input is not None:
        return read_input(BY_ID[action.input], data, "create", as_role(call, definition))
    return {}


async def operate(call: Call, operation: Operation, operations: Operations | None) -> Json:
    """Have the node do it."""
    if operations is None or operation.action.operate is None:
        raise ApiError("ActionNotAvailable", f"this node cannot {operation.action.name} while it runs like this")
    answer = await operation.action.operate(operations, operation.data)
    return answer or render(call, operation.definition, operation.row)


def render_changed(call: Call, change: Change, made_id: int) -> Json:
    """Return the resource after a change, from the state that has it; its last form if it is gone for good."""
    find = change.definition.find
    assert find is not None
    row = change.row
    if row is None:
        row = find(call, change.identity or format_id(change.definition.id, made_id) or "")
    else:
        row = find(call, str(id_of(definition_of_row(row, change.definition), row))) or row
    return render(call, change.definition, row, change.reveal)


def require(call: Call, definition: Definition, letter: str, method: str) -> None:
    """404 for a type the caller's schemas do not have, 405 for a right it does not have on it."""
    if not is_visible(call, definition):
        raise ApiError("Not Found")
    if letter not in rights(call, definition):
        not_allowed(method, definition)


def not_allowed(method: str, definition: Definition) -> NoReturn:
    reason = "for you" if definition.later is None else f"here: {definition.later}"
    raise ApiError("Method not allowed", f"{method} is not permitted on {definition.plural} {reason}")
