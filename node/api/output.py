"""Rows as JSON: `id`, `type`, `links`, `actions`, then the fields by name (API.md 1.2)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from node.api.call import Call
from node.api.definition import Action, Definition, Link, Values
from node.api.definitions import BY_ID, DEFINITIONS, LINKED_ONLY, definition_of_row
from node.api.definitions.projects import PROJECT
from node.api.ids import format_id
from node.api.roles import ADMIN_ROLES, letters_of, may_act
from node.api.times import format_time

Json = dict[str, Any]


def render(call: Call, asked: Definition, row: Any, reveal: Mapping[str, Any] | None = None) -> Json:
    """Return one resource; `reveal` overrides values for this answer only."""
    definition = definition_of_row(row, asked)
    assert definition.values is not None
    values = {**definition.values(call, row), **(reveal or {})}
    resource: Json
    if definition.is_fleeting:
        resource = {"id": None, "type": definition.id, "links": {}, "actions": {}}
    else:
        identity = id_of(definition, row)
        self_url = collection_url(call, definition)
        if identity is not None:
            self_url = f"{self_url}/{identity}"
        resource = {
            "id": identity,
            "type": definition.id,
            "links": _links(call, definition, row, self_url),
            "actions": _action_urls(call, definition, row, values.get("state", "active"), self_url),
        }
    for name, source, is_text, default in _columns(definition.id, role_for(call, definition)):
        value = values.get(source, default)
        resource[name] = format_time(value) if is_text and isinstance(value, int) else value
    return resource


def collection_url(call: Call, definition: Definition) -> str:
    """Where a type is listed; projects lie outside of every scope."""
    if definition is PROJECT:
        return f"{call.urls.base}/v1/projects"
    return call.urls.collection(definition.plural)


def id_of(definition: Definition, row: Any) -> str | None:
    """Return the id under which a row shows as that type."""
    if definition.identify is not None:
        return definition.identify(row)
    return format_id(definition.id, row.id) or "" if isinstance(row.id, int) else definition.id


@lru_cache(maxsize=256)
def _columns(type_id: str, role: str) -> tuple[tuple[str, str, bool, Any], ...]:
    """Names in the order of output, where each value comes from, whether it is a date to write as text, the default."""
    columns: list[tuple[str, str, bool, Any]] = []
    for name, spec in BY_ID[type_id].fields.items():
        if name == "id" or (spec.admin_only and role not in ADMIN_ROLES):
            continue
        is_date = spec.type == "date"
        columns.append((name, name, is_date, spec.default))
        if is_date:
            columns.append((f"{name}TS", name, False, None))
    return tuple(sorted(columns, key=lambda column: column[0]))


def _links(call: Call, definition: Definition, row: Any, self_url: str) -> Json:
    links: Json = {"self": self_url}
    if definition is PROJECT:
        return {**links, **_project_links(call, self_url)}
    for link in sorted(definition.links, key=lambda link: link.name):
        if is_visible(call, BY_ID[link.type]) and (link.many or link.follow(call, row) is not None):
            links[link.name] = f"{self_url}/{link.name.lower()}"
    return links


def _project_links(call: Call, self_url: str) -> Json:
    """A project's relationships, then what else can be listed inside of it."""
    relations = {*LINKED_ONLY, *(link.name for link in PROJECT.links)}
    listable = {definition.plural for definition in DEFINITIONS if is_listable(call, definition)} - relations
    names = [*sorted(relations), *sorted(listable)]
    return {name: f"{self_url}/{name.lower()}" for name in names}


def is_visible(call: Call, definition: Definition) -> bool:
    """Whether the caller's schemas have the type."""
    return letters_of(definition, role_for(call, definition)) is not None


def is_listable(call: Call, definition: Definition) -> bool:
    return "r" in rights(call, definition) and (definition.rows is not None or definition.id == "schema")


def rights(call: Call, definition: Definition) -> str:
    """The letters of the caller's rights on a type."""
    return letters_of(definition, role_for(call, definition)) or ""


def role_for(call: Call, definition: Definition) -> Any:
    """An administrator keeps its role on types that are its own, such as projects, inside of any scope."""
    keeps = definition.is_admins and call.caller.kind == "admin" and not call.is_viewed
    return "admin" if keeps else call.role


def offered(call: Call, definition: Definition, action: Action, row: Any, state: str) -> bool:
    """Whether an action may start now, for this caller."""
    if action.later is not None or state not in action.states or not action.when(call, row):
        return False
    if action.local_only:
        return call.caller.is_local
    return definition.may_change(call, row) and may_act(definition, action, role_for(call, definition))


def _action_urls(call: Call, definition: Definition, row: Any, state: str, self_url: str) -> Json:
    return {
        action.name: f"{self_url}/?action={action.name}"
        for action in sorted(definition.actions, key=lambda action: action.name)
        if offered(call, definition, action, row, state)
    }


def link_named(definition: Definition, name: str) -> Link | None:
    """The link with that name, compared without case."""
    return next((link for link in definition.links if link.name.lower() == name.lower()), None)


def visible_rows(call: Call, definition: Definition, rows: Iterable[Any]) -> list[Any]:
    """Those rows that are the caller's to see and still belong into lists."""
    return [row for row in rows if is_shown(call, definition, row)]


def is_shown(call: Call, definition: Definition, row: Any) -> bool:
    """Whether a row is the caller's to see and still belongs into lists."""
    return definition.may_see(call, row) and call.shows(getattr(row, "removed", None))


def is_includeable(call: Call, link: Link) -> bool:
    """Whether `include=` may name it: what stands behind it is a resource, and not made for the one who asks."""
    target = BY_ID[link.type]
    return is_visible(call, target) and not target.is_fleeting


def embed(call: Call, definition: Definition, row: Any, names: Iterable[str]) -> Values:
    """Return the linked resources that `include=` asked for, under their links' names."""
    embedded: Values = {}
    for name in names:
        link = link_named(definition, name)
        if link is None or not is_includeable(call, link):
            continue
        target = BY_ID[link.type]
        followed = link.follow(call, row)
        if link.many:
            embedded[link.name] = [render(call, target, child) for child in visible_rows(call, target, followed)]
        else:
            embedded[link.name] = None if followed is None else render(call, target, followed)
    return embedded


def as_role(call: Call, definition: Definition) -> Call:
    """The call with the rights its caller has on a type."""
    return replace(call, role=role_for(call, definition))
