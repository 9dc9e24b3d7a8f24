"""Collections: which rows match the filters, in which order, on which page (API.md 1.3)."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import trio

from node.api.call import Call
from node.api.definition import Definition, Field, Values
from node.api.definitions import definition_of_row
from node.api.ids import parse_id
from node.api.output import Json, embed, id_of, is_shown, render
from node.api.schemas import modifiers_of
from node.api.times import parse_date

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
ROWS_AT_A_TIME = 100
"""About 4 ms of work."""

Params = Sequence[tuple[str, str]]

_MARKER = re.compile(r"m([0-9]{1,9})\Z")


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of a query."""

    field: str
    modifier: str
    value: str


async def list_rows(call: Call, definition: Definition, rows: Iterable[Any], params: Params, self_url: str) -> Json:
    """Return the collection of those of `rows` that the caller may see and the query asks for."""
    filters = parse_filters(definition, params)
    chosen = [row async for row in _in_turns(rows) if is_shown(call, definition, row)]
    if filters:
        chosen = [row async for row in _in_turns(chosen) if _matches(call, definition, row, filters)]
    sort = _sort_of(definition, params)
    if sort is not None:
        name, is_reverse = sort
        keyed = [(_sort_key(_values(call, definition, row).get(name)), row) async for row in _in_turns(chosen)]
        keyed.sort(key=lambda pair: pair[0], reverse=is_reverse)
        chosen = [row for _, row in keyed]
    page, pagination = _page(chosen, params, self_url)
    includes = [value for name, value in params if name == "include"]
    return {
        "type": "collection",
        "resourceType": definition.id,
        "links": {"self": self_url},
        "createTypes": {},
        "actions": {},
        "data": [
            {**render(call, definition, row), **embed(call, definition_of_row(row, definition), row, includes)}
            async for row in _in_turns(page)
        ],
        "sortLinks": {name: _with(self_url, [("sort", name)]) for name in _filterable(definition)},
        "pagination": pagination,
        "sort": None if sort is None else _sort_shape(sort, params, self_url),
        "filters": _filters_shape(definition, filters),
        "createDefaults": {},
    }


async def _in_turns(rows: Iterable[Any]) -> AsyncIterator[Any]:
    """Go through many rows without keeping others from the event loop for long."""
    for place, row in enumerate(rows):
        if place % ROWS_AT_A_TIME == ROWS_AT_A_TIME - 1:
            await trio.lowlevel.checkpoint()
        yield row


def empty_collection(resource_type: str, self_url: str) -> Json:
    """Return the list of a type of which there can be nothing here."""
    return {
        "type": "collection",
        "resourceType": resource_type,
        "links": {"self": self_url},
        "createTypes": {},
        "actions": {},
        "data": [],
        "sortLinks": {},
        "pagination": _pagination(DEFAULT_LIMIT),
        "sort": None,
        "filters": {},
        "createDefaults": {},
    }


def _filterable(definition: Definition) -> list[str]:
    return sorted(name for name, spec in definition.fields.items() if modifiers_of(spec))


def parse_filters(definition: Definition, params: Params) -> list[Filter]:
    """Return the conditions of a query; what names no field or modifier of the type is ignored."""
    found = []
    for key, value in params:
        name, _, modifier = key.rpartition("_")
        if key in definition.fields:
            name, modifier = key, "eq"
        spec = definition.fields.get(name)
        if spec is not None and modifier in modifiers_of(spec):
            found.append(Filter(name, modifier, value))
    return found


def _values(call: Call, asked: Definition, row: Any) -> Values:
    definition = definition_of_row(row, asked)
    assert definition.values is not None
    return {**definition.values(call, row), "id": id_of(definition, row)}


def _matches(call: Call, definition: Definition, row: Any, filters: Sequence[Filter]) -> bool:
    values = _values(call, definition, row)
    return all(_holds(item, definition.fields[item.field], values.get(item.field)) for item in filters)


def _holds(condition: Filter, spec: Field, value: Any) -> bool:
    have = comparable(spec, condition.field, value)
    if condition.modifier in ("null", "notnull"):
        return (have is None) == (condition.modifier == "null")
    want = comparable(spec, condition.field, condition.value)
    if have is None or want is None:
        return False
    return _COMPARE[condition.modifier](have, want)


def comparable(spec: Field, name: str, value: Any) -> Any:
    """Return a value of the field, stored or written in a query, as something that compares; None for neither."""
    if value is None:
        return None
    if name == "id" or spec.type.startswith("reference["):
        return parse_id(str(value)) or (None if str(value)[:1].isdigit() else str(value))
    match spec.type:
        case "int":
            return _to_int(value)
        case "date":
            return parse_date(value)
        case "boolean":
            return {"true": True, "false": False}.get(str(value).lower())
    return str(value)


def _to_int(value: Any) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def is_like(have: str, pattern: str) -> bool:
    """SQL's LIKE without case: `%` any run, `_` any one character; linear, whatever the pattern."""
    parts = pattern.lower().split("%")
    text = have.lower()
    if len(parts) == 1:
        return len(text) == len(pattern) and _fits(text, 0, parts[0])
    first, *middle, last = parts
    if len(text) < len(first) + len(last) or not _fits(text, 0, first) or not _fits(text, len(text) - len(last), last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        while place + len(part) <= end and not _fits(text, place, part):
            place += 1
        if place + len(part) > end:
            return False
        place += len(part)
    return True


def _fits(text: str, place: int, part: str) -> bool:
    piece = text[place : place + len(part)]
    return len(piece) == len(part) and all(want in ("_", got) for want, got in zip(part, piece, strict=True))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: bool(have == want),
    "ne": lambda have, want: bool(have != want),
    "lt": lambda have, want: _ordered(have, want) and bool(have < want),
    "lte": lambda have, want: _ordered(have, want) and bool(have <= want),
    "gt": lambda have, want: _ordered(have, want) and bool(have > want),
    "gte": lambda have, want: _ordered(have, want) and bool(have >= want),
    "prefix": lambda have, want: str(have).startswith(want),
    "like": is_like,
    "notlike": lambda have, want: not is_like(have, want),
}


def _ordered(have: Any, want: Any) -> bool:
    return isinstance(have, str) == isinstance(want, str)


def _sort_of(definition: Definition, params: Params) -> tuple[str, bool] | None:
    name = _param(params, "sort")
    if name is None or name not in _filterable(definition):
        return None
    return name, (_param(params, "order") or "asc").lower() == "desc"


def _sort_key(value: Any) -> tuple[int, Any]:
    """Nulls first; ids and numbers by value."""
    if value is None:
        return (0, 0)
    if isinstance(value, bool | int):
        return (1, value)
    number = parse_id(str(value))
    return (2, str(value)) if number is None else (1, number)


def _sort_shape(sort: tuple[str, bool], params: Params, self_url: str) -> Json:
    name, is_reverse = sort
    kept = [(key, value) for key, value in params if key not in ("order", "marker")]
    turned = _with(self_url, [*kept, ("order", "asc" if is_reverse else "desc")])
    return {"name": name, "order": "desc" if is_reverse else "asc", "reverse": turned}


def _page(rows: Sequence[Any], params: Params, self_url: str) -> tuple[Sequence[Any], Json | None]:
    limit = _to_int(_param(params, "limit") or DEFAULT_LIMIT)
    if limit is None:
        limit = DEFAULT_LIMIT
    if limit <= 0:
        return rows, None
    limit = min(limit, MAX_LIMIT)
    marker = _MARKER.match(_param(params, "marker") or "")
    start = int(marker[1]) if marker else 0
    kept = [(key, value) for key, value in params if key != "marker"]

    def link(offset: int) -> str:
        return _with(self_url, [*kept, ("marker", f"m{offset}")] if offset else kept)

    is_partial = len(rows) > start + limit
    pagination = _pagination(
        limit,
        first=link(0) if start else None,
        previous=link(max(0, start - limit)) if start else None,
        next_=link(start + limit) if is_partial else None,
    )
    return rows[start : start + limit], {**pagination, "partial": is_partial or start > 0}


def _pagination(limit: int, *, first: str | None = None, previous: str | None = None, next_: str | None = None) -> Json:
    return {"first": first, "previous": previous, "next": next_, "limit": limit, "total": None, "partial": False}


def _filters_shape(definition: Definition, filters: Sequence[Filter]) -> Json:
    shape: Json = dict.fromkeys(_filterable(definition))
    for item in filters:
        shape[item.field] = [*(shape[item.field] or []), {"value": item.value, "modifier": item.modifier}]
    return shape


def _param(params: Params, name: str) -> str | None:
    return next((value for key, value in params if key == name), None)


def _with(url: str, params: Params) -> str:
    return f"{url}?{urlencode(params)}" if params else url
