"""Which websockets the API has: a table from the name in a path to who talks there, and what lets a caller in.

A socket is opened like any call is made, by whoever `node.auth` knows; or, where its route names a claim, by a ticket
in the query that has it.  Decides who gets in; what is said is the business of each route (API.md section 7).
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from node.api.call import Call, Urls
from node.api.errors import ApiError
from node.api.http import Request
from node.api.listing import Params
from node.api.websocket import Socket

Serve = Callable[[Call, Socket, Params], Awaitable[None]]
"""Talk on a socket until it ends; `call` is of the moment when it was opened, `call.again()` of now."""

_PATH = re.compile(r"/v1(?:/projects?/([^/]+))?/([a-z]+)(?:/[A-Za-z0-9]*)?/?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SocketRoute:
    """One kind of websocket."""

    serve: Serve
    claim: str | None = None
    """The claim of the ticket that opens it; `call.ticket` has them all.  None: authenticated as any call."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the path of a handshake leads to."""

    route: SocketRoute
    scope: str | None
    """The project that the path names."""


SocketRoutes = Mapping[str, SocketRoute]
"""By the name in the path, lower case."""


def find_socket(routes: SocketRoutes, path: str) -> Found:
    """Return what a path leads to; ApiError when no websocket is there."""
    match = _PATH.match(path)
    route = None if match is None else routes.get(match[2].lower())
    if match is None or route is None:
        raise ApiError("Not Found", "there is no websocket at this path")
    return Found(route, match[1])


def check_origin(request: Request, urls: Urls) -> None:
    """Refuse a page of another site: browsers send what they hold of ours, cookies and passwords, along with it."""
    origin = request.header("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != urlsplit(urls.base).netloc.lower():
        raise ApiError("Forbidden", "a page of another site may not open a websocket here")
