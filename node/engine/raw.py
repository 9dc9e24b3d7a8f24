"""One exchange with Docker whose answer has no end: logs, stats, the two directions of a command that runs.

The client library reads such answers in a thread each, and cannot end all of them.  Here they are a socket of the event
loop: cancelled at once, held up by a slow reader, and gone without a trace.  Speaks just enough HTTP for that: asked in
version 1.0 an answer has no chunks and ends with its connection; an upgraded one is bytes both ways (RFC 9110, 7.8).
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import trio

from node.engine.errors import code_of_words
from node.ports import EngineError, EngineErrorCode

HEAD_BYTES = 64 * 1024
READ_BYTES = 32 * 1024
ERROR_BYTES = 64 * 1024
HEAD_TIMEOUT = 30.0
ERROR_TIMEOUT = 5.0
_CODES: dict[int, EngineErrorCode] = {400: "invalid", 404: "not-found"}


class RawAnswer:
    """What Docker sends after the head of its answer, and what is sent to it."""

    def __init__(self, stream: trio.SocketStream, rest: bytes) -> None:
        self._stream = stream
        self._rest = rest

    async def receive(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        try:
            return bytes(await self._stream.receive_some(READ_BYTES))
        except trio.BrokenResourceError:
            return b""

    async def send(self, data: bytes) -> None:
        """Send on an upgraded connection."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise EngineError("failed", "the command reads no input any more") from None

    async def end_input(self) -> None:
        """Say that nothing more will be sent."""
        try:
            await self._stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return


@asynccontextmanager
async def ask_raw(url: str, path: str, query: Mapping[str, str]) -> AsyncIterator[RawAnswer]:
    """Read an answer that goes on."""
    target = f"{path}?{urlencode(query)}" if query else path
    head = f"GET {target} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii")
    async with _exchange(url, head) as answer:
        yield answer


@asynccontextmanager
async def upgrade_raw(url: str, path: str, body: Mapping[str, object]) -> AsyncIterator[RawAnswer]:
    """Have a connection become the two directions of a command."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode("ascii")
    async with _exchange(url, head + content) as answer:
        yield answer


@asynccontextmanager
async def _exchange(url: str, request: bytes) -> AsyncIterator[RawAnswer]:
    stream = await _connect(url)
    try:
        with trio.move_on_after(HEAD_TIMEOUT) as waiting:
            answer = await _begin(stream, request)
        if waiting.cancelled_caught:
            raise EngineError("unavailable", f"Docker did not answer within {HEAD_TIMEOUT:g} s")
        yield answer
    finally:
        await trio.aclose_forcefully(stream)


async def _connect(url: str) -> trio.SocketStream:
    scheme, _, place = url.partition("://")
    if scheme != "unix":
        raise EngineError("invalid", f"logs and commands need Docker's socket on this host, not {url}")
    try:
        return await trio.open_unix_socket(place)
    except OSError as error:
        raise EngineError(
            "unavailable", f"Docker does not answer ({error}): is it running? `systemctl status docker`"
        ) from error


async def _begin(stream: trio.SocketStream, request: bytes) -> RawAnswer:
    try:
        await stream.send_all(request)
        head, rest = await _read_head(stream)
    except trio.BrokenResourceError as error:
        raise EngineError("unavailable", f"Docker broke off ({error.__cause__ or error})") from error
    status = _status_of(head)
    if status >= 300:
        raise await _failure(stream, status, rest)
    return RawAnswer(stream, rest)


async def _read_head(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    data = bytearray()
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEAD_BYTES:
            raise EngineError("failed", "Docker's answer begins with more than anybody can read")
        chunk = await stream.receive_some(READ_BYTES)
        if not chunk:
            raise EngineError("unavailable", "Docker ended the connection without an answer")
        data += chunk
    return bytes(data[:end]), bytes(data[end + 4 :])


def _status_of(head: bytes) -> int:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
        raise EngineError("failed", f"Docker's answer is no HTTP: {head[:100]!r}")
    return int(words[1])


async def _failure(stream: trio.SocketStream, status: int, body: bytes) -> EngineError:
    """Read the reason, in a JSON object; chunks and other wrapping around it do no harm."""
    with trio.move_on_after(ERROR_TIMEOUT):
        while b"}" not in body and len(body) < ERROR_BYTES:
            try:
                chunk = await stream.receive_some(READ_BYTES)
            except trio.BrokenResourceError:
                break
            if not chunk:
                break
            body += chunk
    text = _message_in(body) or f"Docker answered with status {status}"
    return EngineError(code_of_words(text) or _CODES.get(status, "failed"), text[:1000])


def _message_in(body: bytes) -> str:
    try:
        found = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])
        return str(found["message"]).strip()
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
