"""What a handler sees of HTTP: one request in, one response out, and the limits both are held to.

Records only; node.api.server does the talking.  Header names are lower case and their values text (latin-1, RFC 9110).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

KIB = 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server; what exceeds them is answered or cut off, never buffered."""

    head_bytes: int = 32 * KIB
    body_bytes: int = 1024 * KIB
    buffered_bytes: int = 32 * 1024 * KIB
    """Per listener, of all bodies read or answered at one moment: nobody has shown a key yet while a body arrives."""
    connections: int = 1024
    """Per listener.  When it is reached the connection that has been idle longest makes room for the new one."""
    connections_per_client: int = 128
    """Of one address over TCP: half-sent heads cannot be told from slow ones, and must not keep everybody else out."""
    head_timeout: float = 10.0
    """From the first byte of a request (for a new connection, from the start) to the end of its head."""
    body_timeout: float = 30.0
    idle_timeout: float = 75.0
    """Between two requests on one connection."""
    write_timeout: float = 30.0
    sockets: int = 4096
    """Websockets per listener.  They do not count as connections any more: all of them have shown who they are."""
    sockets_per_client: int = 2048
    """Of one address over TCP, which may be a proxy."""
    stop_timeout: float = 3.0
    """What requests under way get to finish once the server is told to stop."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole."""

    method: str
    path: str
    """Percent-encoded as sent, without the query."""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    client: str = ""
    """The peer's IP address; empty over the unix socket."""
    is_local: bool = False
    """True over the unix socket, which only root can open."""
    scheme: str = "http"

    def header(self, name: str) -> str | None:
        """Return the first value of a header, named in lower case."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Response:
    """One response; the server adds Content-Length and Date."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]
