"""Forms for the explorer's pages, made from schemas: filters, creation, editing, actions, deletion.

Pure.  Filters are plain GET forms; the others carry in `data-` attributes what static/explorer.js sends.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from node.api.markup import EMPTY, Markup, join, tag

Json = Mapping[str, Any]
Find = Callable[[str], Json | None]

_SCALARS = {"string": "text", "int": "number", "float": "number", "password": "password", "date": "text"}


def filter_form(url: str, body: Json, schema: Json | None) -> Markup:
    """One input per field that can be filtered; texts take `%` for anything."""
    filters = (schema or {}).get("collectionFilters") or {}
    fields = (schema or {}).get("resourceFields") or {}
    used = body.get("filters") or {}
    rows = [
        _labelled(name, _filter_input(name, fields.get(name) or {}, spec.get("modifiers") or (), used.get(name)))
        for name, spec in filters.items()
    ]
    if not rows:
        return EMPTY
    is_used = any(used.get(name) for name in filters)
    form = tag("form", *rows, tag("button", "Filter"), method="get", action=url.partition("?")[0])
    return tag("details", tag("summary", "Filter"), form, open=is_used)


def _filter_input(name: str, spec: Json, modifiers: Any, used: Any) -> Markup:
    value = str(used[0].get("value") or "") if used else ""
    if spec.get("options"):
        return _choice(name, ["", *spec["options"]], value)
    key = f"{name}_like" if "like" in modifiers else name
    return tag("input", name=key, value=value, placeholder="% for anything" if key != name else None)


def create_form(body: Json, schema: Json | None, find: Find) -> Markup:
    """What a POST to this collection takes, if the caller may send one."""
    if schema is None or "POST" not in schema.get("collectionMethods", ()):
        return EMPTY
    if (schema.get("links") or {}).get("collection") not in (None, body["links"]["self"]):
        return EMPTY  # A list of what belongs to something else: not all of them take new ones.
    fields = {name: spec for name, spec in schema["resourceFields"].items() if spec.get("create")}
    form = _sending("POST", str(body["links"]["self"]), "Create", _inputs(fields, {}, find))
    return tag("details", tag("summary", f"Create {schema['id']}"), form)


def edit_form(body: Json, schema: Json | None, find: Find) -> Markup:
    """What a PUT takes; only fields that were changed are sent."""
    if schema is None or "PUT" not in schema.get("resourceMethods", ()):
        return EMPTY
    fields = {name: spec for name, spec in schema["resourceFields"].items() if spec.get("update")}
    if not fields:
        return EMPTY
    form = _sending("PUT", str(body["links"]["self"]), "Save", _inputs(fields, body, find))
    return tag("details", tag("summary", "Edit"), form)


def delete_form(body: Json, schema: Json | None) -> Markup:
    """A DELETE, which asks whether that is meant."""
    if schema is None or "DELETE" not in schema.get("resourceMethods", ()):
        return EMPTY
    form = _sending("DELETE", str(body["links"]["self"]), f"Delete {body.get('id')}", EMPTY)
    return tag("details", tag("summary", "Delete"), form)


def action_forms(body: Json, schema: Json | None, find: Find) -> Markup:
    """One form per action that is offered now."""
    known = (schema or {}).get("resourceActions") or {}
    found = [
        _action_form(name, str(url), (known.get(name) or {}).get("input"), find)
        for name, url in (body.get("actions") or {}).items()
    ]
    return join(tag("h2", "Actions"), tag("div", *found, class_="actions")) if found else EMPTY


def _action_form(name: str, url: str, input_type: str | None, find: Find) -> Markup:
    taken = None if input_type is None else find(input_type)
    if taken is None:
        return _sending("POST", url, name, EMPTY)
    fields = {key: spec for key, spec in taken["resourceFields"].items() if spec.get("create")}
    return tag("details", tag("summary", name), _sending("POST", url, name, _inputs(fields, {}, find)))


def _sending(method: str, url: str, label: str, inputs: Markup) -> Markup:
    button = tag("button", label)
    result = tag("output", class_="result")
    # Without the script a form could only be read: it has no action of its own.
    return tag("form", inputs, button, result, data_method=method, data_url=url, class_="send")


def _inputs(fields: Json, values: Json, find: Find) -> Markup:
    rows = [_labelled(_label(name, spec), _input(name, spec, values.get(name), find)) for name, spec in fields.items()]
    return join(*rows)


def _label(name: str, spec: Json) -> Markup:
    mark = " *" if spec.get("required") else ""
    return join(f"{name}{mark} ", tag("small", str(spec.get("type") or "")))


def _labelled(label: str | Markup, control: Markup) -> Markup:
    return tag("label", tag("span", label), control)


def _input(name: str, spec: Json, value: Any, find: Find) -> Markup:
    kind = str(spec.get("type") or "string")
    default = spec.get("default")
    if kind == "boolean":
        return _choice(name, ["", "true", "false"], "" if value is None else str(value).lower(), kind="boolean")
    if spec.get("options"):
        return _choice(name, ["", *spec["options"]], "" if value is None else str(value))
    if kind in _SCALARS or kind.startswith("reference["):
        return tag(
            "input",
            name=name,
            type=_SCALARS.get(kind, "text"),
            value="" if value is None else str(value),
            placeholder=None if default is None else str(default),
            data_kind="number" if kind in ("int", "float") else "text",
            autocomplete="off",
        )
    text = "" if value is None else msgspec.json.format(msgspec.json.encode(value)).decode()
    return tag("textarea", text, name=name, data_kind="json", placeholder=_example(kind, find), spellcheck="false")


def _example(kind: str, find: Find) -> str:
    """What a JSON field looks like."""
    if kind.startswith("array["):
        return "[ … ]"
    schema = None if kind.startswith("map[") else find(kind)
    names = [] if schema is None else [name for name, spec in schema["resourceFields"].items() if spec.get("create")]
    return "{ " + ", ".join([*(f'"{name}"' for name in names[:6]), "…"]) + " }"


def _choice(name: str, options: list[str], value: str, kind: str = "text") -> Markup:
    items = [tag("option", option, value=option, selected=option == value) for option in options]
    return tag("select", *items, name=name, data_kind=kind)
