"""Websockets of the API, from the CLI's side: one connection that sends and receives, in one thread, with deadlines.

Knows TCP, TLS and the unix socket, and refuses what the API would: messages without bound.  Says in words why a
handshake was refused.  Rules: RFC 6455, by wsproto.
"""

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from node.cli.errors import CliError
from node.cli.reach import Target

CONNECT_TIMEOUT = 10.0
RECEIVE_BYTES = 64 * 1024
MAX_MESSAGE = 4 * 1024 * 1024
MAX_REFUSAL = 64 * 1024
_NOT_NOW = (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class SocketEnded(Exception):
    """The other side closed, or is gone; `code` is 1006 when it said nothing."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason or f"the connection ended (code {code})")
        self.code = code


class ClientSocket:
    """One open websocket, for one thread."""

    def __init__(self, connection: socket.socket, trailing: bytes = b"") -> None:
        from wsproto.connection import CLIENT, Connection

        self._connection = connection
        self._ws = Connection(CLIENT, trailing_data=trailing)
        self._outgoing = bytearray()
        self._parts: list[Any] = []
        self._size = 0

    def fileno(self) -> int:
        """Return what `select` waits on."""
        return self._connection.fileno()

    @property
    def is_behind(self) -> bool:
        """Whether something posted has not been taken yet."""
        return bool(self._outgoing)

    def post(self, message: str) -> None:
        """Send a text message as far as it can be without waiting; `flush` sends the rest."""
        from wsproto.events import TextMessage

        self._outgoing += self._ws.send(TextMessage(message))
        self.flush()

    def flush(self) -> None:
        """Send what is left of what was posted, as far as it is taken now."""
        self._connection.settimeout(0)
        try:
            while self._outgoing:
                del self._outgoing[: self._connection.send(self._outgoing)]
        except _NOT_NOW:
            return
        except OSError as error:
            raise SocketEnded(1006, str(error)) from None

    def receive(self, timeout: float | None = None) -> str | bytes:
        """Return the next message; TimeoutError when none comes in time (0: is there now), SocketEnded at the end."""
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while (message := self._next_message()) is None:
            self.flush()
            self._connection.settimeout(None if give_up_at is None else max(0.0, give_up_at - time.monotonic()))
            try:
                chunk = self._connection.recv(RECEIVE_BYTES)
            except _NOT_NOW:
                raise TimeoutError from None
            except OSError as error:
                raise SocketEnded(1006, str(error)) from None
            if not chunk:
                raise SocketEnded(1006, "the connection was cut")
            self._ws.receive_data(chunk)
        return message

    def hang_up(self) -> None:
        """End the connection under another thread that receives: it has SocketEnded."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Say goodbye and hang up."""
        from wsproto.events import CloseConnection
        from wsproto.utilities import LocalProtocolError

        with contextlib.suppress(SocketEnded, LocalProtocolError):
            self._outgoing += self._ws.send(CloseConnection(1000))
            self.flush()
        self._connection.close()

    def _next_message(self) -> str | bytes | None:
        from wsproto.events import CloseConnection, Message, Ping

        for event in self._ws.events():
            match event:
                case Message(data=piece, message_finished=is_whole):
                    self._parts.append(piece)
                    self._size += len(piece)
                    if self._size > MAX_MESSAGE:
                        raise SocketEnded(1009, f"a message is larger than {MAX_MESSAGE} bytes")
                    if is_whole:
                        return self._take_message()
                case Ping():
                    self._outgoing += self._ws.send(event.response())
                case CloseConnection(code=code, reason=reason):
                    raise SocketEnded(int(code), reason or "")
        return None

    def _take_message(self) -> str | bytes:
        parts, self._parts, self._size = self._parts, [], 0
        return "".join(parts) if isinstance(parts[0], str) else b"".join(parts)


def connect_with(target: Target, access: Mapping[str, Any], more: str = "") -> ClientSocket:
    """Open the websocket that an action gave access to, at the API that was asked."""
    return connect(target, f"{urlsplit(str(access['url'])).path}?token={access['token']}{more}")


def connect(target: Target, path: str, headers: Mapping[str, str] | None = None) -> ClientSocket:
    """Open the websocket at `path`; CliError says why it cannot be."""
    import base64
    import os

    key = base64.b64encode(os.urandom(16)).decode()
    lines = {
        "Host": urlsplit(target.base).netloc,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "X-API-No-Challenge": "true",
        **_authorization(target),
        **(headers or {}),
    }
    request = "".join([f"GET {path} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in lines.items()), "\r\n"])
    connection = _dial(target)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.sendall(request.encode("latin-1"))
        head, rest = _read_head(connection)
        _check(target, head, rest, key)
    except OSError as error:
        connection.close()
        raise CliError(
            f"cannot open a websocket at {target.place}", str(error), "check host, port and network"
        ) from None
    except BaseException:
        connection.close()
        raise
    return ClientSocket(connection, rest)


def _authorization(target: Target) -> dict[str, str]:
    if target.session is not None:
        return {"Authorization": f"Bearer {target.session}"}
    if target.access_key is None and target.secret_key is None:
        return {}
    import base64

    pair = f"{target.access_key or ''}:{target.secret_key or ''}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _dial(target: Target) -> socket.socket:
    try:
        if target.socket is not None:
            return _dial_unix(target.socket)
        url = urlsplit(target.base)
        port = url.port or (443 if url.scheme == "https" else 80)
        plain = socket.create_connection((url.hostname or "", port), CONNECT_TIMEOUT)
        if url.scheme != "https":
            return plain
        return ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)
    except OSError as error:
        raise CliError(f"cannot reach {target.place}", str(error), "check host, port and network") from None


def _dial_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_head(connection: socket.socket) -> tuple[str, bytes]:
    data = bytearray()
    while b"\r\n\r\n" not in data and len(data) <= MAX_REFUSAL:
        chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            break
        data += chunk
    head, _, rest = bytes(data).partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _check(target: Target, head: str, rest: bytes, key: str) -> None:
    """Refuse an answer that does not accept this handshake."""
    from wsproto.utilities import generate_accept_token

    first, *lines = head.split("\r\n")
    answered = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if " 101 " in f"{first} " and answered.get("sec-websocket-accept") == generate_accept_token(key.encode()).decode():
        return
    try:
        detail = str(json.loads(rest).get("detail") or json.loads(rest).get("code"))
    except (ValueError, AttributeError):
        detail = first[:100] or "no answer"
    raise CliError(
        f"{target.place} refuses the websocket", detail, "see that the key may do this, and what listens there"
    )
