"""From a request to a Call: who asks, in which environment's scope, and under which URLs to answer (API.md 1.8, 2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.api.call import Urls
from node.api.definition import Role
from node.api.errors import ApiError
from node.api.http import Request
from node.api.ids import format_id, parse_id
from node.api.roles import VIEWABLE, strongest
from node.auth.access import Caller, Credentials, decide
from node.model import State
from node.state.members import roles_in

CHALLENGE = ("WWW-Authenticate", 'Basic realm="Enter API access key and secret key as username and password"')

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class Scope:
    """In which environment a call works, and whether its path said so."""

    environment_id: int | None = None
    prefix: str = ""


def caller_of(
    request: Request, query: Mapping[str, str], state: State, keys: Sequence[bytes] = (), now_ms: int = 0
) -> Caller:
    """Return who sent a request with this query; `keys` sign sessions."""
    enforce = (request.header("x-enforce-authentication") or "").lower() == "true"
    token = _cookie_token(request) or query.get("token")
    return decide(Credentials(request.header("authorization"), request.is_local, enforce, token), state, keys, now_ms)


def _cookie_token(request: Request) -> str | None:
    """The session that the UI keeps in the cookie `token`."""
    pairs = (part.strip().partition("=") for part in (request.header("cookie") or "").split(";"))
    return next((value for name, _, value in pairs if name == "token" and value), None)


def unauthorized(request: Request) -> ApiError:
    """The answer to somebody unknown; scripts that ask for it are spared the browser's password box."""
    is_quiet = (request.header("x-api-no-challenge") or "").lower() == "true"
    return ApiError("Unauthorized", headers=() if is_quiet else (CHALLENGE,))


def scope_of(path_scope: str | None, asked: str | None, caller: Caller, state: State) -> Scope:
    """Return the scope that path, header or query ask for, or an environment key's own; 403 for a foreign one."""
    wanted = path_scope or asked or caller.project
    if wanted is None:
        return Scope(caller.environment_id)
    number = parse_id(wanted)
    if number is None:
        raise ApiError("InvalidFormat", f"expected a project id such as 1a5, got {wanted[:40]!r}", status=400)
    environment = state.environments.get(number)
    is_foreign = caller.kind == "environment" and caller.environment_id != number
    if caller.kind == "user" and caller.account_id is not None:
        is_foreign = not roles_in(state, caller.account_id, number)
    if is_foreign or environment is None or environment.state != "active":
        raise ApiError("Forbidden", f"there is no active project {format_id('project', number)} that you may use")
    return Scope(number, f"/projects/{format_id('project', number)}" if path_scope else "")


def role_of(caller: Caller, scope: Scope, viewed: str | None, state: State) -> Role:
    """Return whose schemas a call gets; an administrator may ask to see those of another role."""
    if viewed is not None and caller.kind == "admin":
        for role in VIEWABLE:
            if role.lower() == viewed.lower():
                return role
        raise ApiError("InvalidOption", f"_role is one of {', '.join(VIEWABLE)}", field="_role")
    if scope.environment_id is None:
        return "user" if caller.kind == "user" else "admin"
    roles = () if caller.account_id is None else roles_in(state, caller.account_id, scope.environment_id)
    return strongest(roles) or "project"


def urls_of(request: Request, scope: Scope) -> Urls:
    """Return the URLs as the client sees them, a proxy's X-Forwarded-* headers honoured where they make sense."""
    scheme = (_first(request.header("x-forwarded-proto")) or request.scheme).lower()
    if scheme not in ("http", "https"):
        scheme = request.scheme
    names = (_first(request.header("x-forwarded-host")), request.header("host"))
    host = next((name for name in names if name is not None and _is_host(name)), "localhost")
    port = _first(request.header("x-forwarded-port"))
    if port is not None and _is_port(port):
        name = re.sub(r":[0-9]+\Z", "", host)
        host = name if port == {"http": "80", "https": "443"}[scheme] else f"{name}:{port}"
    return Urls(f"{scheme}://{host}", scope.prefix)


def _is_host(text: str) -> bool:
    match = _HOST.match(text)
    return match is not None and (match[1] is None or _is_port(match[1]))


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 0 < int(text) < 65536


def _first(value: str | None) -> str | None:
    return None if value is None else value.partition(",")[0].strip() or None
