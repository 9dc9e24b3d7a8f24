"""What opens a websocket: access to logs and commands of a container, and to figures of containers and hosts.

Nothing of it is kept.  The ticket names what it opens, by the claims that Rancher's clients look at and by ours, which
the socket's route reads (API.md section 7).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from node.api.call import Call
from node.api.definition import Action, Definition, Input, Link, Values, define
from node.api.errors import ApiError
from node.auth import tickets
from node.model import Container, State

LOGS, EXEC, STATS = "logs", "exec", "stats"
"""The claims, each of which opens one kind of socket."""
MAX_LINES = 100_000

CONTAINER_LOGS = Definition(
    id="containerLogs",
    plural="containerLogses",
    fields={
        "follow": define("boolean", "c", default=True),
        "lines": define("int", "cN", default=100, min=0, max=MAX_LINES),
        "since": define("int", "cN", min=0, description="Only lines since then, in milliseconds since the epoch."),
    },
    acl={"admin": "c", "project": "c"},
)
CONTAINER_EXEC = Definition(
    id="containerExec",
    plural="containerExecs",
    fields={
        "attachStdin": define("boolean", "c", default=True),
        "attachStdout": define("boolean", "c", default=True),
        "command": define("array[string]", "cR"),
        "tty": define("boolean", "c", default=True),
    },
    acl={"admin": "c", "project": "c"},
)


@dataclass(frozen=True, slots=True)
class Access:
    """A place to connect to, and what the ticket is to say that lets in there."""

    path: str
    claims: Mapping[str, Any]
    id: None = None


def _access_values(call: Call, row: Access) -> Values:
    if call.keys is None:
        raise ApiError("Service Unavailable", "this node gives no tickets")
    token = tickets.issue(call.keys, row.claims, call.now)
    if len(token) > tickets.MAX_TOKEN_CHARS:
        raise ApiError("MaxLengthExceeded", "the command is too long for a ticket", field="command")
    # `https` becomes `wss`.
    return {"url": f"{call.urls.base.replace('http', 'ws', 1)}/v1/{row.path}", "token": token, "state": None}


def _access(name: str, plural: str) -> Definition:
    return Definition(
        id=name,
        plural=plural,
        fields={"token": define("string"), "url": define("string")},
        acl={"admin": "r", "project": "r"},
        values=_access_values,
        is_fleeting=True,
    )


HOST_ACCESS = _access("hostAccess", "hostAccesses")
STATS_ACCESS = _access("statsAccess", "statsAccesses")


def _claims(call: Call, row: Container) -> dict[str, Any]:
    host = call.state.hosts.get(row.host_id or 0)
    return {"containerId": row.id, "environmentId": row.environment_id, "hostUuid": host.uuid if host else None}


def _logs(call: Call, row: Container, data: Input) -> Access:
    lines, since = data.get("lines"), data.get("since")
    opened = {"Container": row.seen.external_id, "Lines": lines, "Follow": data["follow"], "Since": since}
    return Access("logs/", {**_claims(call, row), LOGS: opened})


def _exec(call: Call, row: Container, data: Input) -> Access:
    if not data["command"]:
        raise ApiError("MinLengthExceeded", "a command has at least one word", field="command")
    opened = {
        "AttachStdin": data["attachStdin"],
        "AttachStdout": data["attachStdout"],
        "Tty": data["tty"],
        "Cmd": data["command"],
        "Container": row.seen.external_id,
    }
    return Access("exec/", {**_claims(call, row), EXEC: opened})


def _has_log(call: Call, row: Container) -> bool:
    return row.seen.external_id is not None and row.host_id is not None


CONTAINER_STREAMS = (
    Action(
        "logs",
        frozenset({"running", "stopping", "stopped"}),
        input="containerLogs",
        output="hostAccess",
        access=_logs,
        when=_has_log,
    ),
    Action("execute", frozenset({"running"}), input="containerExec", output="hostAccess", access=_exec, when=_has_log),
)


def _stats(path: str, kind: str, what: str) -> Callable[[Call, Any], Access | None]:
    """Figures of a row's containers or hosts; which those are is looked up while they are watched."""

    def follow(call: Call, row: Any) -> Access | None:
        is_gone = getattr(row, "removed", None) is not None
        return None if is_gone else Access(path, {STATS: {"kind": kind, "id": row.id, "of": what}})

    return follow


def _links(kind: str, **paths: tuple[str, str]) -> tuple[Link, ...]:
    return tuple(Link(name, "statsAccess", _stats(path, kind, what)) for name, (path, what) in paths.items())


CONTAINER_LINKS = _links("container", stats=("stats/", "containers"), containerStats=("containerstats/", "containers"))
SERVICE_LINKS = _links("service", stats=("stats/", "containers"), containerStats=("containerstats/", "containers"))
HOST_LINKS = _links(
    "host",
    stats=("stats/", "hosts"),
    hostStats=("hoststats/", "hosts"),
    containerStats=("containerstats/", "containers"),
)
PROJECT_LINKS = _links("project", stats=("stats/", "hosts"), hostStats=("hoststats/", "hosts"))


def figures_wanted(state: State, claim: Mapping[str, Any]) -> dict[int, tuple[tuple[int, ...], bool]]:
    """Return what a ticket for figures asks of each host now: of which containers, and whether of itself."""
    kind, row_id = claim.get("kind"), claim.get("id")
    if claim.get("of") == "hosts":
        return {
            host.id: ((), True)
            for host in state.hosts.values()
            if host.removed is None and row_id == (host.id if kind == "host" else host.environment_id)
        }
    placed: dict[int, list[int]] = {}
    owner = {"container": "id", "service": "service_id", "host": "host_id"}[str(kind)]
    for row in state.containers.values():
        if row.host_id is not None and row.removed is None and getattr(row, owner) == row_id:
            placed.setdefault(row.host_id, []).append(row.id)
    return {host_id: (tuple(rows), False) for host_id, rows in placed.items()}
