"""`/v1/schemas`, generated from the definitions for the caller's role (API.md 1.6)."""

from typing import Any

from node.api.call import Call
from node.api.definition import Definition, Field
from node.api.definitions import BY_PATH, DEFINITIONS
from node.api.errors import ApiError
from node.api.inputs import may_set
from node.api.output import Json, is_includeable, is_visible, rights, role_for
from node.api.roles import ADMIN_ROLES, may_act

_ORDERED = ("eq", "ne", "lt", "lte", "gt", "gte", "null", "notnull")
_TEXTUAL = ("eq", "ne", "prefix", "like", "notlike", "null", "notnull")
_EXACT = ("eq", "ne", "null", "notnull")
_MODIFIERS = {
    "int": _ORDERED,
    "date": _ORDERED,
    "float": _ORDERED,
    "string": _TEXTUAL,
    "enum": _EXACT,
    "boolean": _EXACT,
}


def modifiers_of(spec: Field) -> tuple[str, ...]:
    """The filter modifiers of a field; none for what cannot be filtered."""
    if not spec.is_filter:
        return ()
    return _EXACT if spec.type.startswith("reference[") else _MODIFIERS.get(spec.type, ())


def render_schema(call: Call, definition: Definition) -> Json:
    """Return one schema as the caller's role has it."""
    letters = rights(call, definition)
    role = role_for(call, definition)
    links = {"self": f"{call.urls.collection('schemas')}/{definition.id.lower()}"}
    if "r" in letters:
        links["collection"] = call.urls.collection(definition.plural)
    return {
        "id": definition.id,
        "type": "schema",
        "links": links,
        "actions": {},
        "pluralName": definition.plural,
        "resourceFields": {
            name: _field(spec, role)
            for name, spec in sorted(definition.fields.items())
            if role in ADMIN_ROLES or not spec.admin_only
        },
        "collectionFilters": {
            name: {"modifiers": list(modifiers_of(spec))}
            for name, spec in sorted(definition.fields.items())
            if definition.rows is not None and modifiers_of(spec)
        },
        "includeableLinks": [link.name.lower() for link in definition.links if is_includeable(call, link)],
        "resourceActions": {
            action.name: {"input": action.input, "output": action.output}
            for action in definition.actions
            if may_act(definition, action, role)
        },
        "collectionActions": {},
        "collectionFields": {},
        "collectionMethods": [name for letter, name in (("r", "GET"), ("c", "POST")) if letter in letters],
        "resourceMethods": ["GET", *(name for letter, name in (("u", "PUT"), ("d", "DELETE")) if letter in letters)],
    }


def _field(spec: Field, role: str) -> Json:
    described: Json = {
        "type": spec.type,
        "description": spec.description,
        "create": may_set(spec, "create", role),
        "update": may_set(spec, "update", role),
        "readOnCreateOnly": spec.is_once,
    }
    optional: dict[str, Any] = {
        "nullable": spec.nullable or None,
        "required": spec.required or None,
        "unique": spec.unique or None,
        "default": spec.default,
        "options": list(spec.options) or None,
        "min": spec.min,
        "max": spec.max,
        "minLength": spec.min_length,
        "maxLength": spec.max_length,
        "validChars": spec.valid_chars,
    }
    return {**described, **{name: value for name, value in optional.items() if value is not None}}


def render_schemas(call: Call) -> Json:
    """Return the collection of all schemas the caller has, never in pages."""
    return {
        "type": "collection",
        "resourceType": "schema",
        "links": {"self": call.urls.collection("schemas")},
        "createTypes": {},
        "actions": {},
        "data": [render_schema(call, definition) for definition in DEFINITIONS if is_visible(call, definition)],
        "sortLinks": {},
        "pagination": None,
        "sort": None,
        "filters": {},
        "createDefaults": {},
    }


def find_schema(call: Call, name: str) -> Json:
    """Return one schema by its type's name in any case, or 404 if the caller's role does not have it."""
    definition = BY_PATH.get(name.lower())
    if definition is None or not is_visible(call, definition):
        raise ApiError("Not Found", f"there is no type {name[:60]}; see {call.urls.collection('schemas')}")
    return render_schema(call, definition)


def schema_or_none(call: Call | None, name: str) -> Json | None:
    """Return the schema of a type as the caller has it; None where it has none, or nobody knows who calls."""
    definition = BY_PATH.get(name.lower())
    return (
        None
        if call is None or definition is None or not is_visible(call, definition)
        else render_schema(call, definition)
    )
