"""What a request asks for: method, path, parameters and body, before anybody knows who asks (API.md 1.1, 1.8)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from node.api.definitions import BY_PATH, LINKED_ONLY
from node.api.errors import ApiError
from node.api.http import Request

MAX_JSON_DEPTH = 32
MAX_PARAMS = 256
METHODS = ("GET", "POST", "PUT", "DELETE")

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_UNSCOPED = ("projectmember", "projectmembers")
"""What lies below a project without being looked at in its scope."""

_NO_TYPES = ("scripts",)
"""What lies below a scope without being a type."""


@dataclass(frozen=True, slots=True)
class Route:
    """A path taken apart: `[/v1][/projects/SCOPE][/TYPE[/ID[/LINK]]]`."""

    version: str | None = None
    scope: str | None = None
    type: str | None = None
    id: str | None = None
    link: str | None = None


def parse_route(path: str) -> Route:
    """Read a path; ApiError for one that names nothing we could have."""
    segments = [unquote(segment) for segment in path.removesuffix("/").split("/")[1:]]
    if not segments or segments == [""]:
        return Route()
    version, *rest = segments
    if version.lower() != "v1":
        if re.fullmatch(r"v[0-9][\w.-]*", version):
            raise ApiError("UnsupportedVersion", "this node serves /v1")
        raise ApiError("Not Found", "the API is at /v1")
    scope = None
    if len(rest) >= 3 and rest[0].lower() in ("projects", "project") and _is_scoped(rest[2]):
        scope, rest = rest[1], rest[2:]
    if len(rest) > 3 or not all(rest):
        raise ApiError("Not Found")
    type_, identity, link = (*rest, None, None, None)[:3]
    return Route("v1", scope, type_, identity, link)


def _is_scoped(name: str) -> bool:
    lowered = name.lower()
    known = (BY_PATH, _NO_TYPES, [link.lower() for link in LINKED_ONLY])
    return lowered not in _UNSCOPED and any(lowered in names for names in known)


def parse_params(query: str) -> list[tuple[str, str]]:
    """Return the query's parameters in order, blank ones included."""
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMS)
    except ValueError:
        raise ApiError("InvalidFormat", f"a query has at most {MAX_PARAMS} parameters", status=400) from None


def method_of(request: Request, params: list[tuple[str, str]]) -> str:
    """Return the method that is meant: `_method` overrides that of a POST, HEAD reads as GET."""
    given = [*params, *(parse_params(request.body.decode("utf-8", "replace")) if _is_form(request) else ())]
    override = next((value.upper() for name, value in given if name == "_method"), None)
    method = override if override is not None and request.method == "POST" else request.method
    method = "GET" if method == "HEAD" else method
    if method not in METHODS:
        raise ApiError("Method not allowed", f"use one of {', '.join(METHODS)}")
    return method


def parse_body(request: Request, params: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the body's object over the query's parameters; `null` and nothing are an empty object."""
    if _is_form(request):
        return {**_flatten(params), **_flatten(parse_params(request.body.decode("utf-8", "replace")))}
    return {**_flatten(params), **_parse_json(request.body)}


def _is_form(request: Request) -> bool:
    is_form = (request.header("content-type") or "").lower().startswith("application/x-www-form-urlencoded")
    # `curl -d '{…}'` without more says form and means JSON; no field's name begins with a brace.
    return is_form and not request.body.lstrip().startswith((b"{", b"[")) and request.body.strip() != b"null"


def _flatten(params: list[tuple[str, str]]) -> dict[str, Any]:
    """A name given once is a value, given several times a list."""
    found: dict[str, Any] = {}
    for name, value in params:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _parse_json(body: bytes) -> Mapping[str, Any]:
    if not body.strip():
        return {}
    if is_deeper(body, MAX_JSON_DEPTH):
        raise ApiError(
            "InvalidBodyContent",
            f"the JSON is nested deeper than {MAX_JSON_DEPTH} levels, or its brackets do not match",
        )
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError("InvalidBodyContent", f"the body is not JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError("InvalidBodyContent", "the body must be a JSON object")
    return value


def is_deeper(body: bytes, depth: int) -> bool:
    """Whether JSON text is nested deeper than `depth`, told before it is parsed and without walking it in Python."""
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, delete=_OTHERS)
    for _ in range(depth):
        if not brackets:
            return False
        # One pass takes away the innermost level everywhere.
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)
