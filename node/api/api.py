"""The v1 API of one node: every request answered from the local replica, every change handed to the leader.

It authenticates before it looks anything up, and turns whatever goes wrong into the API's error shape.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any

import msgspec

from node.api import assets, browser, explorer, registering, resources, schemas
from node.api.access import Access
from node.api.call import Call, Operations, Urls
from node.api.context import Scope, caller_of, role_of, scope_of, unauthorized, urls_of
from node.api.definition import Definition, Role
from node.api.definitions import BY_PATH, DEFINITIONS, LINKED_ONLY
from node.api.errors import JSON, ApiError
from node.api.http import Request, Response
from node.api.ids import ADMIN_ACCOUNT, format_id
from node.api.index import Index
from node.api.listing import Params, empty_collection
from node.api.output import Json, is_listable, is_visible
from node.api.parse import Route, method_of, parse_body, parse_params, parse_route
from node.api.sockets import SocketRoutes, check_origin, find_socket
from node.api.times import format_time
from node.api.tokens import answer_token
from node.api.transform import transform
from node.api.websocket import SocketServer
from node.auth import tickets
from node.auth.access import ANONYMOUS, Caller
from node.auth.ring import ClusterKeys
from node.ports import RefusedError, Replica, Unavailable

READ_TIMEOUT = 5.0
"""How long a linearizable read waits for a majority."""
Answer = tuple[int, Json]


OPEN_WARNING = "Access control is off: whoever reaches this page administers the cluster."


@dataclass(slots=True)
class _Exchange:
    """What becomes known of a request while it is answered."""

    headers: dict[str, str]
    is_html: bool = False
    call: Call | None = None


class Api:
    """Handles requests; one object per node, safe for many at once."""

    def __init__(
        self,
        replica: Replica,
        *,
        now_ms: Callable[[], int],
        rng: Random,
        join_info: Callable[[], bytes],
        operations: Operations | None = None,
        alarms: Callable[[], Sequence[str]] = tuple,
        read_barrier: Callable[[float], Awaitable[None]] | None = None,
        refusals: Mapping[str, int] | None = None,
        keys: ClusterKeys | None = None,
        sockets: SocketRoutes | None = None,
        access: Access | None = None,
    ) -> None:
        self._replica = replica
        self._now_ms = now_ms
        self._rng = rng
        self._join_info = join_info
        self._operations = operations
        self._alarms = alarms
        self._read_barrier = read_barrier
        self._refusals = {} if refusals is None else refusals
        self._keys = keys
        self._sockets = sockets or {}
        # Without keys no session is valid, and nobody can log in.
        self._access = access or Access(replica, (), now_ms=now_ms, clock=lambda: now_ms() / 1000, rng=rng)
        self._index = Index(replica.state)

    async def upgrade(self, request: Request) -> Response | SocketServer:
        """Decide on a websocket's handshake."""
        try:
            return self._open_socket(request)
        except ApiError as error:
            return error.response()

    def _open_socket(self, request: Request) -> SocketServer:
        found, params = find_socket(self._sockets, request.path), parse_params(request.query)
        if found.route.claim is not None:
            call = self._ticketed(request, found.route.claim, dict(params).get("token", ""))
        else:
            check_origin(request, urls_of(request, Scope()))
            query = dict(params)

            def again() -> Call:
                return self._scoped(request, self._caller(request, query), found.scope, query)

            call = replace(again(), again=again)
        return lambda socket: found.route.serve(call, socket, params)

    def _ticketed(self, request: Request, claim: str, token: str) -> Call:
        claims = None if self._keys is None else tickets.read(self._keys, token, self._now_ms())
        if claims is None or claim not in claims:
            raise ApiError(
                "Unauthorized", "this needs a token of the last five minutes, as the resource's action gives it"
            )
        return replace(self._call(ANONYMOUS, Scope(), urls_of(request, Scope()), "admin"), ticket=claims)

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        if (file := assets.find_asset(request)) is not None:
            return file
        exchange = _Exchange({"X-API-Client-IP": request.client})
        headers = exchange.headers
        try:
            response = await self._answer(request, exchange)
        except ApiError as error:
            response = error.response()
        except RefusedError as refused:
            response = ApiError(refused.code, str(refused), field=refused.field).response()
        except Unavailable as missing:
            retry = ("Retry-After", str(max(1, round(missing.retry_after))))
            response = ApiError("ServiceUnavailable", str(missing), headers=(retry,)).response()
        if (stale_since := self._replica.consensus.stale_since) is not None:
            headers["X-Corral-Stale-Since"] = format_time(stale_since)
        response = Response(response.status, response.body, (*response.headers, *headers.items()))
        return self._page(request, response, exchange.call) if exchange.is_html else response

    def _page(self, request: Request, response: Response, call: Call | None) -> Response:
        """The same answer for a person."""
        body = msgspec.json.decode(response.body)
        if not isinstance(body, dict):
            return response
        warning = OPEN_WARNING if self._replica.state.cluster.open_access else None
        url = f"{request.path}?{request.query}" if request.query else request.path
        find = partial(schemas.schema_or_none, call)
        page = explorer.Page(urls_of(request, Scope()).base, url, body, find, warning)
        return explorer.render_page(page, response.status, response.headers)

    async def _answer(self, request: Request, exchange: "_Exchange") -> Response:
        urls, headers = urls_of(request, Scope()), exchange.headers
        headers["X-API-Schemas"] = f"{urls.base}/v1/schemas"
        if (cookie := browser.new_cookie(request, urls, self._rng)) is not None:
            headers[cookie[0]] = cookie[1]
        params = parse_params(request.query)
        query = dict(params)
        exchange.is_html = browser.wants_html(request, params)
        route = parse_route(request.path)
        method = method_of(request, params)
        browser.check_intent(request, method, urls)
        if (route.type, route.scope, route.id) == ("join", None, None) and method == "GET":
            return _json(200, self._join_info())
        if (script := self._script(request, route, method, urls)) is not None:
            exchange.is_html = False
            return script
        if (route.type or "").lower() in ("token", "tokens") and (route.scope, route.id) == (None, None):
            asker = self._whoever(request, query)
            status, answer = await answer_token(request, method, urls, self._replica.state, asker, self._access)
            return _json(status, msgspec.json.encode(answer))
        caller = self._caller(request, query)
        if await self._waits_for_latest(request):
            caller = self._caller(request, query)
        call = exchange.call = self._scoped(request, caller, route.scope, query, is_unscoped=_is_project(route))
        if exchange.is_html:
            # A form sends its empty inputs too.
            params = [(name, value) for name, value in params if value]
        headers["X-API-Schemas"] = call.urls.collection("schemas")
        headers["X-API-Account-Id"] = format_id("project", call.scope or caller.account_id) or ADMIN_ACCOUNT
        status, body = await self._dispatch(call, route, method, params, request)
        return _json(status, msgspec.json.encode(body))

    def _script(self, request: Request, route: Route, method: str, urls: Urls) -> Response | None:
        """The script for a host that is to join; its token stands in for a key."""
        if (route.type or "").lower() != "scripts" or method != "GET" or route.link is not None:
            return None
        token = route.id or ""
        if not registering.is_welcome(self._replica.state, token, self._now_ms()):
            raise ApiError("Not Found")
        text = registering.render_script(urls.base, token, request.client)
        headers = (("Content-Type", "text/x-sh; charset=utf-8"), ("Cache-Control", "no-store"))
        return Response(200, text.encode(), headers)

    def _whoever(self, request: Request, query: Mapping[str, str]) -> Caller:
        return caller_of(request, query, self._replica.state, self._access.keys, self._now_ms())

    def _caller(self, request: Request, query: Mapping[str, str]) -> Caller:
        caller = self._whoever(request, query)
        if caller.kind == "anonymous":
            raise unauthorized(request)
        return caller

    def _scoped(
        self,
        request: Request,
        caller: Caller,
        path_scope: str | None,
        query: Mapping[str, str],
        *,
        is_unscoped: bool = False,
    ) -> Call:
        """Return the call in the environment that is asked for; `is_unscoped`: by the path alone."""
        state = self._replica.state
        asked = None if is_unscoped else request.header("x-api-project-id") or query.get("projectId") or None
        scope = scope_of(path_scope, asked, caller, state)
        role = role_of(caller, scope, query.get("_role"), state)
        call = self._call(caller, scope, urls_of(request, scope), role)
        return replace(call, query=query, client=request.client, is_viewed="_role" in query)

    async def _waits_for_latest(self, request: Request) -> bool:
        """Wait, if the client wants that, until this node knows all that anybody was told before it asked."""
        wish = request.header("x-corral-read")
        if wish in (None, "local"):
            return False
        if wish != "linearizable":
            raise ApiError("InvalidOption", "X-Corral-Read is `local` or `linearizable`", field="X-Corral-Read")
        if self._read_barrier is not None:
            await self._read_barrier(READ_TIMEOUT)
        return True

    def _call(self, caller: Caller, scope: Scope, urls: Urls, role: Role) -> Call:
        state = self._replica.state
        if self._index.state is not state:
            self._index = Index(state)
        return Call(
            state=state,
            now=self._now_ms(),
            caller=caller,
            scope=scope.environment_id,
            role=role,
            consensus=self._replica.consensus,
            members=self._replica.members,
            urls=urls,
            rng=self._rng,
            index=self._index,
            alarms=self._alarms(),
            refusals=self._refusals,
            keys=self._keys,
        )

    async def _dispatch(self, call: Call, route: Route, method: str, params: Params, request: Request) -> Answer:
        if route.type is None:
            return 200, _read_root(call, route, method)
        if route.type.lower() in ("schemas", "schema"):
            return 200, _read_schemas(call, route, method)
        if route.type.lower() == "scripts":
            return 200, _run_script(route, method, request)
        if route.type.lower() in self._sockets:
            raise ApiError("Upgrade Required", f"{route.type} is a websocket", headers=(("Upgrade", "websocket"),))
        definition = BY_PATH.get(route.type.lower())
        if _linked_only(route.type) is not None and (definition is None or not is_visible(call, definition)):
            return 200, _read_linked_only(call, route, method)
        if definition is None:
            raise ApiError("Not Found", f"there is no type {route.type[:60]}; see {call.urls.collection('schemas')}")
        if method == "GET":
            return 200, await _read(call, definition, route, params)
        data = parse_body(request, list(params))
        action = next((value for name, value in params if name == "action"), None)
        planned = _plan(call, definition, route, method, data, action)
        if isinstance(planned, resources.Operation):
            answer = await resources.operate(call, planned, self._operations)
            return (200 if planned.action.output != definition.id else 202), answer
        if isinstance(planned, resources.Change):
            return await self._submit(call, planned)
        return 200, planned

    async def _submit(self, call: Call, change: resources.Change) -> Answer:
        command = await change.command(self._access) if callable(change.command) else change.command
        done = await self._replica.submit(command)
        scope = Scope(call.scope, call.urls.scope)
        after = self._call(call.caller, scope, call.urls, call.role)
        return change.status, resources.render_changed(after, change, done.id)


def _json(status: int, body: bytes) -> Response:
    return Response(status, body, (("Content-Type", JSON),))


def _run_script(route: Route, method: str, request: Request) -> Json:
    if (route.id or "").lower() != "transform" or route.link is not None:
        raise ApiError("Not Found")
    if method != "POST":
        raise ApiError("Method not allowed")
    return transform(parse_body(request, []))


def _is_project(route: Route) -> bool:
    """Projects themselves are read outside of any scope (API.md 1.8)."""
    return route.scope is None and (route.type or "").lower() in ("projects", "project")


async def _read(call: Call, definition: Definition, route: Route, params: Params) -> Json:
    if route.id is None:
        return await resources.read_collection(call, definition, params)
    if route.link is None:
        return resources.read_one(call, definition, route.id, params)
    return await resources.read_link(call, definition, route.id, route.link, params)


def _plan(
    call: Call, definition: Definition, route: Route, method: str, data: Mapping[str, Any], action: str | None
) -> resources.Change | resources.Operation | Json:
    if method == "POST" and route.id is None:
        return resources.plan_create(call, definition, data)
    if route.id is None:
        resources.not_allowed(method, definition)
    if method == "POST" and route.link is None and action is not None:
        return resources.plan_action(call, definition, route.id, action, data)
    if method == "POST" and route.link is not None:
        return resources.plan_create_child(call, definition, route.id, route.link, data)
    if route.link is not None or method == "POST":
        resources.not_allowed(method, definition)
    if method == "PUT":
        return resources.plan_update(call, definition, route.id, data)
    return resources.plan_delete(call, definition, route.id)


def _read_root(call: Call, route: Route, method: str) -> Json:
    if method != "GET":
        raise ApiError("Method not allowed")
    self_url = f"{call.urls.base}/v1"
    if route.version is not None:
        listable = sorted(definition.plural for definition in DEFINITIONS if is_listable(call, definition))
        links = {name: call.urls.collection(name) for name in listable}
        return {"id": "v1", "type": "apiVersion", "links": {"self": self_url, **links}, "actions": {}}
    version = {"id": "v1", "type": "apiVersion", "links": {"self": self_url}, "actions": {}}
    collection = empty_collection("apiVersion", f"{call.urls.base}/")
    links = {"latest": self_url, "self": f"{call.urls.base}/"}
    return {**collection, "links": links, "data": [version], "pagination": None}


def _read_schemas(call: Call, route: Route, method: str) -> Json:
    if method != "GET":
        raise ApiError("Method not allowed")
    if route.link is not None:
        raise ApiError("Not Found")
    return schemas.render_schemas(call) if route.id is None else schemas.find_schema(call, route.id)


def _linked_only(name: str) -> str | None:
    return next((link for link in LINKED_ONLY if link.lower() == name.lower()), None)


def _read_linked_only(call: Call, route: Route, method: str) -> Json:
    name = _linked_only(route.type or "")
    assert name is not None
    if method != "GET":
        raise ApiError("Method not allowed", f"{name} are not built yet")
    if route.id is not None or route.scope is None:
        raise ApiError("Not Found", f"{name} are not built yet")
    return empty_collection(LINKED_ONLY[name], call.urls.collection(name))
