"""One request of a client, told apart by what is known of it afterwards: answered, never sent, or nobody knows."""

import http.client
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

CLUSTER = "/v1/clusters/cluster"
HAND_OVER_TIMEOUT = 5.0


class NotSentError(OSError):
    """Nobody listened: the request cannot have had an effect."""


class Nodes(Protocol):
    """The nodes as clients see them."""

    hosts: tuple[str, ...]

    def connect(self, host: str, timeout: float) -> http.client.HTTPConnection:
        """Return a connection, not yet open, to a node's API; OSError where there is none."""

    def session(self, host: str) -> str:
        """Return the node and how often it was started."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of a list."""
        found: list[dict[str, Any]] = self.body["data"]
        return found

    @property
    def code(self) -> str:
        """The error's code; empty where there is none."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None, read: str | None = None
) -> Answer:
    """Send one request; NotSentError where nobody listens, another OSError where nobody knows what became of it."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if read is not None:
        headers["X-Corral-Read"] = read
    try:
        try:
            connection.connect()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise NotSentError(*error.args) from error
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
        return Answer(answer.status, json.loads(raw) if raw else None, dict(answer.getheaders()))
    except (http.client.HTTPException, json.JSONDecodeError) as error:
        raise ConnectionError(repr(error)) from error
    finally:
        connection.close()


def picture(nodes: Nodes, host: str, timeout: float = 5.0) -> dict[str, Any] | None:
    """Return the cluster as a node sees it; None where it does not say."""
    with suppress(OSError):
        answer = ask(nodes.connect(host, timeout), "GET", CLUSTER)
        return answer.body if answer.status == 200 else None
    return None


def serves(nodes: Nodes, host: str) -> bool:
    """Tell whether a node answers at once and follows a leader."""
    found = picture(nodes, host, 0.5)
    return found is not None and bool(found["leader"]) and not found["staleSince"]


def hand_over(nodes: Nodes, host: str) -> None:
    """Have another voter lead, if this host can be asked and leads."""
    with suppress(OSError):
        ask(nodes.connect(host, HAND_OVER_TIMEOUT), "POST", f"{CLUSTER}?action=transferleader", {})


def leader_of(nodes: Nodes) -> str | None:
    """Return the host that says that it leads; None where none does at once."""
    return next((host for host in nodes.hosts if (picture(nodes, host, 0.5) or {}).get("role") == "leader"), None)
