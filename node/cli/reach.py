"""Where the API is and with which key: flags, then the environment's variables, then a saved context, then the socket.

Pure: reads neither os.environ nor files itself.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from node.cli.contexts import Context, Saved
from node.cli.errors import CliError
from node.cli.options import Settings
from node.config import API_PORT, RUN_DIR

SOCKET = str(RUN_DIR / "api.sock")

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\Z|\[[0-9A-Fa-f:.%a-z0-9]+\]\Z")
_PROJECT = re.compile(r"/v1/projects?/([0-9a-z]{1,32})(/|\Z)")
_EXAMPLE = "give one as http://h1:8080"


@dataclass(frozen=True, slots=True)
class Target:
    """One API, and who asks."""

    base: str
    """`http://h1:8080`; over the socket a name that nobody resolves."""
    socket: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session: str | None = field(default=None, repr=False)
    """Of `login`; sent instead of a key."""
    environment: str | None = None
    """As a person named it, in the order flags, variables, context, URL."""
    why: str = ""
    """What chose this target, for messages."""

    @property
    def place(self) -> str:
        """Return the target as messages name it."""
        return self.socket or self.base


@dataclass(frozen=True, slots=True)
class ApiUrl:
    """A URL as people write it, taken apart."""

    base: str
    project: str | None = None


MAX_LABEL = 63
"""RFC 1035 2.3.4."""


def parse_url(text: str) -> ApiUrl:
    """Read `http://h1:8080`, `https://h1`, `h1`, `h1:8080`, with or without `/v1…`; CliError for anything else."""
    written = text.strip()
    bare = "://" not in written
    if bare and written.count(":") > 1 and not written.startswith("["):
        written = f"[{written}]"
    try:
        parts = urlsplit(f"http://{written}" if bare else written)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise CliError(f"{text[:200]!r} is no URL", str(error), _EXAMPLE) from None
    if parts.scheme not in ("http", "https"):
        raise CliError(f"{text[:200]!r} is no URL of an API", f"{parts.scheme}:// is not spoken here", _EXAMPLE)
    if parts.username is not None or parts.password is not None:
        raise CliError("the URL has a key in it", "it would show in process lists", "use --access-key and --secret-key")
    shown = f"[{host}]" if ":" in host else host
    if not _HOST.match(shown) or ".." in shown or any(len(label) > MAX_LABEL for label in host.split(".")):
        raise CliError(f"{text[:200]!r} is no URL of an API", "there is no host's name or address in it", _EXAMPLE)
    if port is None and bare:
        port = API_PORT
    base = f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")
    project = _PROJECT.match(parts.path)
    return ApiUrl(base, project[1] if project else None)


def pick_target(settings: Settings, variables: Mapping[str, str], saved: Saved) -> Target:
    """Return the API that flags, variables, the chosen context or, last, this host's socket name."""

    def variable(*names: str) -> str | None:
        return next((variables[name] for name in names if variables.get(name)), None)

    context = _context(settings, variable("CORRAL_CONTEXT"), saved)
    named = settings.environment or variable("CORRAL_ENV")
    access = settings.access_key or variable("CORRAL_ACCESS_KEY", "RANCHER_ACCESS_KEY")
    secret = settings.secret_key or variable("CORRAL_SECRET_KEY", "RANCHER_SECRET_KEY")
    url, why = settings.url, "--url"
    if url is None and settings.socket is not None:
        return Target("http://localhost", settings.socket, environment=named, why="--socket")
    if url is None and settings.context is None:
        url = variable("CORRAL_URL", "RANCHER_URL")
        why = "CORRAL_URL or RANCHER_URL"
    if url is None and context is not None:
        # A pair is never put together from two places.
        if access or secret:
            key, session = (access, secret), None
        else:
            key, session = (context.access_key, context.secret_key), context.session
        base = parse_url(context.url).base
        return Target(base, None, *key, session, named or context.environment, f"context {context.name}")
    if url is None:
        path = variable("CORRAL_SOCKET") or SOCKET
        return Target("http://localhost", path, environment=named or saved.local_environment, why="this host's socket")
    parsed = parse_url(url)
    return Target(parsed.base, None, access, secret, environment=named or parsed.project, why=why)


def _context(settings: Settings, variable: str | None, saved: Saved) -> Context | None:
    name = settings.context or variable or saved.current
    if name is None:
        return None
    for context in saved.contexts:
        if context.name == name:
            return context
    known = ", ".join(context.name for context in saved.contexts) or "none"
    raise CliError(f"no context {name!r} is saved", f"saved are: {known}", "add it: `node ctx add NAME --url URL`")
