"""One request to a node's API, over TCP or over its unix socket; cheap enough to ask every few milliseconds."""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path_of_socket: str, method: str, path: str, body: object = None, *, timeout: float = TIMEOUT) -> Answer:
    """Send one request to the API behind a unix socket; OSError where nobody listens."""
    connection = SocketConnection(path_of_socket, timeout)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        raw = answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"{path_of_socket}: {error!r}") from error
    finally:
        connection.close()
    return Answer(answer.status, json.loads(raw) if raw else None, dict(answer.getheaders()))
