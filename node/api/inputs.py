"""A request's body against a type's fields: unknown fields dropped, values converted, rules checked, defaults filled.

Conversions are as lenient as Rancher's: numbers may come as text, a single value stands for an array of one.
References become row numbers.  Rules and codes: API.md 1.4 and 1.5.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from node.api.call import Call
from node.api.definition import Definition, Field, Input
from node.api.definitions import BY_ID
from node.api.errors import ApiError
from node.api.roles import ADMIN_ROLES
from node.api.times import parse_date

Mode = Literal["create", "update"]

MAX_ITEMS = 4096
"""Of one array or map."""
MAX_TEXT = 64 * 1024
"""Characters of a text whose field names no smaller bound."""
LATEST_MS = 253_402_300_799_000
"""The last second that has a year of four digits."""
_INT = re.compile(r"-?[0-9]{1,18}\Z")
_WRAPPED = re.compile(r"(array|map|reference)\[(.*)\]\Z")


def read_input(definition: Definition, data: Mapping[str, Any], mode: Mode, call: Call) -> Input:
    """Return what `data` says that the caller may say, or raise the ApiError of the first rule it breaks."""
    wanted: Input = {}
    for name, spec in definition.fields.items():
        if not may_set(spec, mode, call.role):
            continue
        if name in data:
            _take(name, spec, data[name], wanted, call)
        elif mode == "create" and spec.default is not None:
            wanted[name] = spec.default
        if mode == "create" and spec.required and wanted.get(name) is None:
            raise ApiError("MissingRequired", f"{name} is needed", field=name)
    return wanted


def may_set(spec: Field, mode: Mode, role: str) -> bool:
    """Whether a role's schema lets the field be set."""
    if mode == "update":
        return spec.update
    return spec.create and (role in ADMIN_ROLES or not spec.admin_create)


def _take(name: str, spec: Field, value: Any, wanted: Input, call: Call) -> None:
    if value is None:
        if not spec.nullable:
            raise ApiError("NotNullable", f"{name} cannot be null", field=name)
        wanted[name] = None
    elif spec.later is None:
        wanted[name] = convert(spec.type, value, name, spec, call)
    elif value not in (spec.default, "", [], {}, False):
        raise ApiError("InvalidOption", f"{name}: {spec.later}", field=name)


def convert(type_: str, value: Any, name: str, spec: Field, call: Call) -> Any:
    """Return `value` as a `type_`, or raise ApiError."""
    if match := _WRAPPED.match(type_):
        return _convert_wrapped(match[1], match[2], value, name, spec, call)
    if type_ in _SCALARS:
        return _SCALARS[type_](value, name, spec)
    definition = BY_ID.get(type_)
    if definition is None or not isinstance(value, Mapping):
        raise _wrong(name, f"an object of type {type_}", value)
    return read_input(definition, value, "create", call)


def _convert_wrapped(wrapper: str, inner: str, value: Any, name: str, spec: Field, call: Call) -> Any:
    if wrapper == "reference":
        return _to_reference(inner, value, name, call)
    if wrapper == "array":
        items = value if isinstance(value, list) else [value]
        _check_size(items, name)
        return [convert(inner, item, name, spec, call) for item in items]
    if not isinstance(value, Mapping):
        raise _wrong(name, "an object", value)
    _check_size(value, name)
    if inner == "json":
        return _to_json(value, name, spec)
    return {key: "" if item is None else convert(inner, item, name, spec, call) for key, item in value.items()}


def _to_reference(target: str, value: Any, name: str, call: Call) -> int:
    for kind in ("project", "account") if target == "account" else (target,):
        definition = BY_ID.get(kind)
        if definition is None or definition.find is None or not isinstance(value, str):
            continue
        row = definition.find(call, value)
        if row is not None and definition.may_see(call, row) and row.removed is None:
            return int(row.id)
    raise ApiError("InvalidReference", f"{name}: there is no {target} {str(value)[:40]}", field=name)


def _to_text(value: Any, name: str, spec: Field) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    longest = spec.max_length or MAX_TEXT
    if len(value) > longest:
        raise ApiError("MaxLengthExceeded", f"{name} has more than {longest} characters", field=name)
    if spec.min_length is not None and len(value) < spec.min_length:
        raise ApiError("MinLengthExceeded", f"{name} needs at least {spec.min_length} characters", field=name)
    if "\0" in value or (spec.valid_chars and not _pattern(spec.valid_chars).match(value)):
        allowed = spec.valid_chars or "text without NUL characters"
        raise ApiError("InvalidCharacters", f"{name} may hold {allowed}", field=name)
    return value


@lru_cache(maxsize=64)
def _pattern(valid_chars: str) -> re.Pattern[str]:
    return re.compile(f"[{valid_chars}]*\\Z")


def _to_int(value: Any, name: str, spec: Field) -> int:
    is_digits = isinstance(value, str) and _INT.match(value) is not None
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    if is_digits or is_whole:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise _wrong(name, "a whole number", value)
    if spec.min is not None and value < spec.min:
        raise ApiError("MinLimitExceeded", f"{name} is at least {spec.min}", field=name)
    if spec.max is not None and value > spec.max:
        raise ApiError("MaxLimitExceeded", f"{name} is at most {spec.max}", field=name)
    return value


def _to_boolean(value: Any, name: str, spec: Field) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _to_option(value: Any, name: str, spec: Field) -> str:
    if value not in spec.options:
        raise ApiError("InvalidOption", f"{name} is one of {', '.join(spec.options)}", field=name)
    return str(value)


def _to_json(value: Any, name: str, spec: Field) -> Any:
    """Refuse numbers that replicas could not exchange; depth was bounded when the body was read."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case Mapping() as inner:
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
            case bool() | None | str():
                pass
            case int() as number if -(2**63) <= number < 2**63:
                pass
            case float() as number if math.isfinite(number):
                pass
            case other:
                raise _wrong(name, "numbers of at most 64 bits", other)
    return value


def _to_date(value: Any, name: str, spec: Field) -> int:
    """Milliseconds since the epoch, written so or as `2016-04-12T08:00:00Z`."""
    moment = parse_date(value)
    if moment is None or not 0 <= moment <= LATEST_MS:
        raise ApiError("InvalidDateFormat", f"{name}: expected a time such as 2016-04-12T08:00:00Z", field=name)
    return moment


_SCALARS = {
    "date": _to_date,
    "string": _to_text,
    "password": _to_text,
    "int": _to_int,
    "boolean": _to_boolean,
    "enum": _to_option,
    "json": _to_json,
}


def _check_size(items: Any, name: str) -> None:
    if len(items) > MAX_ITEMS:
        raise ApiError("MaxLimitExceeded", f"{name} has more than {MAX_ITEMS} entries", field=name)


def _wrong(name: str, expected: str, value: Any) -> ApiError:
    return ApiError("InvalidFormat", f"{name}: expected {expected}, got {str(value)[:60]!r}", field=name)
