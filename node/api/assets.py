"""The explorer's style sheet and script, which anybody may read: they say nothing of the cluster."""

from functools import lru_cache
from pathlib import Path

from node.api.http import Request, Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {"explorer.css": "text/css; charset=utf-8", "explorer.js": "text/javascript; charset=utf-8"}
_PREFIX = "/static/"


def find_asset(request: Request) -> Response | None:
    """Return the file that a path names, None where it names none of them."""
    name = request.path.removeprefix(_PREFIX)
    if request.path != _PREFIX + name or name not in _TYPES or request.method not in ("GET", "HEAD"):
        return None
    headers = (
        ("Content-Type", _TYPES[name]),
        ("Cache-Control", "max-age=300"),
        ("X-Content-Type-Options", "nosniff"),
    )
    return Response(200, _content(name), headers)


@lru_cache(maxsize=len(_TYPES))
def _content(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
