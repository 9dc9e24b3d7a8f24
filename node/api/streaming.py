"""The websockets behind `logs`, `execute` and the stats links: from a ticket to a stream of the host that has it.

What a ticket says was decided when it was given; here only whether it is still so.  Frames as in API.md section 7.
Beyond it, `?control=true` makes a command's socket tell outputs apart (`01 BASE64`), take `:resize COLUMNS ROWS` and
`:eof`, and say `:exit CODE` at the end: no base64 begins with a colon.
"""

import base64
import binascii
import logging
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec
import trio

from node.api.call import Call
from node.api.definitions.streams import EXEC, LOGS, STATS, figures_wanted
from node.api.ids import format_id
from node.api.listing import Params
from node.api.sockets import SocketRoute, SocketRoutes
from node.api.websocket import Socket, SocketClosed
from node.drive.stream_records import (
    Ended,
    Figures,
    Input,
    InputEnd,
    Lines,
    Opening,
    Output,
    ReadFigures,
    ReadLog,
    Resize,
    RunCommand,
)
from node.drive.streams import StreamFailed
from node.drive.wires import Wire, WireCut
from node.model import Container, State

INPUT_BYTES = 32 * 1024
COLUMNS, ROWS = 80, 24
"""Of a terminal whose client says nothing of its size."""
GATHER = 1.0
LOOK_AGAIN = 2.0
"""How often the containers and hosts behind a service or an environment are looked up."""
GONE, BROKEN = 1008, 1011
_RESIZE = re.compile(r":resize ([0-9]{1,4}) ([0-9]{1,4})\Z")

log = logging.getLogger(__name__)


class Opens(Protocol):
    """What is needed of node.drive.streams."""

    def open(self, host_id: int, opening: Opening) -> AbstractAsyncContextManager[Wire]: ...


class HasState(Protocol):
    """What is needed of a replica."""

    @property
    def state(self) -> State: ...


def stream_routes(streams: Opens, replica: HasState) -> SocketRoutes:
    """Return the routes of these websockets."""
    serving = _Serving(streams, replica)
    stats = SocketRoute(serving.stats, STATS)
    return {
        "logs": SocketRoute(serving.logs, LOGS),
        "exec": SocketRoute(serving.exec, EXEC),
        "stats": stats,
        "containerstats": stats,
        "hoststats": stats,
    }


class _Serving:
    def __init__(self, streams: Opens, replica: HasState) -> None:
        self._streams = streams
        self._replica = replica

    async def logs(self, call: Call, socket: Socket, params: Params) -> None:
        claims = call.ticket or {}
        wanted, row = claims[LOGS], _container(call.state, claims)
        if row is None or row.host_id is None:
            await socket.close(GONE, "the container is gone")
            return
        since = wanted.get("Since")
        opening = ReadLog(
            row.id,
            follow=bool(wanted.get("Follow")),
            lines=wanted.get("Lines"),
            since=None if since is None else since / 1000,
        )
        await self._talk(socket, row.host_id, opening, _send_log)

    async def exec(self, call: Call, socket: Socket, params: Params) -> None:
        claims = call.ticket or {}
        wanted, row = claims[EXEC], _container(call.state, claims)
        if row is None or row.host_id is None:
            await socket.close(GONE, "the container is gone")
            return
        has_control = dict(params).get("control") == "true"
        opening = RunCommand(
            row.id,
            tuple(wanted["Cmd"]),
            tty=wanted["Tty"],
            stdin=wanted["AttachStdin"],
            output=wanted["AttachStdout"],
        )

        async def talk(socket: Socket, wire: Wire) -> Ended | None:
            if opening.tty and not has_control:
                await wire.send(Resize(COLUMNS, ROWS))
            ended: Ended | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_input, socket, wire, nursery.cancel_scope)
                ended = await _send_output(socket, wire, has_control=has_control)
                nursery.cancel_scope.cancel()
            return ended

        await self._talk(socket, row.host_id, opening, talk, reads=False)

    async def stats(self, call: Call, socket: Socket, params: Params) -> None:
        claim = (call.ticket or {})[STATS]
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_when_closed, socket, nursery.cancel_scope)
                nursery.start_soon(self._gather, claim, rows)
                while True:
                    await trio.sleep(GATHER)
                    fresh = [rows.pop(key) for key in sorted(rows)]
                    if fresh:
                        await socket.send_text(msgspec.json.encode(fresh).decode())
        except* SocketClosed:
            pass

    async def _gather(self, claim: Mapping[str, Any], rows: dict[tuple[str, int], dict[str, Any]]) -> None:
        """Keep a stream of figures to each host that has some, and the latest row of each container and host."""
        running: dict[int, tuple[ReadFigures, trio.CancelScope]] = {}
        async with trio.open_nursery() as nursery:
            while True:
                wanted = {
                    host_id: ReadFigures(containers, host)
                    for host_id, (containers, host) in figures_wanted(self._replica.state, claim).items()
                }
                for host_id, (opening, scope) in tuple(running.items()):
                    if wanted.get(host_id) != opening or scope.cancel_called:
                        scope.cancel()
                        del running[host_id]
                for host_id, opening in wanted.items():
                    if host_id not in running:
                        running[host_id] = (opening, trio.CancelScope())
                        nursery.start_soon(self._gather_of_host, host_id, *running[host_id], rows)
                await trio.sleep(LOOK_AGAIN)

    async def _gather_of_host(
        self, host_id: int, opening: ReadFigures, scope: trio.CancelScope, rows: dict[tuple[str, int], dict[str, Any]]
    ) -> None:
        with scope:
            try:
                async with self._streams.open(host_id, opening) as wire:
                    while isinstance(piece := await wire.receive(), Figures):
                        row = msgspec.json.decode(piece.row, type=dict[str, Any])
                        rows[piece.kind, piece.id] = {
                            "id": format_id(piece.kind, piece.id),
                            "resourceType": piece.kind,
                            **row,
                        }
            except* (StreamFailed, msgspec.MsgspecError) as errors:
                log.debug("no figures of host %d: %s", host_id, errors.exceptions[0])
        scope.cancel()  # It ended by itself: have it begun again.

    async def _talk(self, socket: Socket, host_id: int, opening: Opening, talk: Any, *, reads: bool = True) -> None:
        """Open a stream and have `talk` pass it on until either side is gone; `reads`: drop what the client says."""
        ended: Ended | None = None
        try:
            async with self._streams.open(host_id, opening) as wire, trio.open_nursery() as nursery:
                if reads:
                    nursery.start_soon(_cancel_when_closed, socket, nursery.cancel_scope)
                ended = await talk(socket, wire)
                nursery.cancel_scope.cancel()
        except* StreamFailed as errors:
            ended = Ended(error=str(errors.exceptions[0]))
        except* (SocketClosed, WireCut):
            ended = Ended()
        if ended is not None and ended.error:
            await socket.close(BROKEN, ended.error)


def _container(state: State, claims: Mapping[str, Any]) -> Container | None:
    """Return the row that a ticket is for, if it is still there and still of the same environment."""
    row = state.containers.get(claims.get("containerId") or 0)
    if row is None or row.removed is not None or row.environment_id != claims.get("environmentId"):
        return None
    return row


async def _cancel_when_closed(socket: Socket, scope: trio.CancelScope) -> None:
    await socket.drain()
    scope.cancel()


async def _send_log(socket: Socket, wire: Wire) -> Ended:
    while (piece := await wire.receive()) is not None:
        match piece:
            case Lines(lines=lines):
                for line in lines:
                    await socket.send_text(f"{line.kind:02d} {line.at} {line.line.decode('utf-8', 'replace')}")
            case Ended():
                return piece
    return Ended(error="the container's host broke off")


async def _send_output(socket: Socket, wire: Wire, *, has_control: bool) -> Ended:
    while (piece := await wire.receive()) is not None:
        match piece:
            case Output(kind=kind, data=data):
                text = base64.b64encode(data).decode()
                await socket.send_text(f"{kind:02d} {text}" if has_control else text)
            case Ended(exit_code=code):
                if has_control and code is not None:
                    await socket.send_text(f":exit {code}")
                return piece
    return Ended(error="the container's host broke off")


async def _pass_input(socket: Socket, wire: Wire, scope: trio.CancelScope) -> None:
    """Hand on what the client types; its going away ends the command."""
    try:
        while (message := await socket.receive()) is not None:
            text = message if isinstance(message, str) else message.decode("ascii", "replace")
            if text.startswith(":"):
                await _obey(text, wire)
                continue
            data = base64.b64decode(text, validate=True)
            for at in range(0, len(data), INPUT_BYTES):
                await wire.send(Input(data[at : at + INPUT_BYTES]))
    except (binascii.Error, ValueError):
        await socket.close(1007, "what a command reads comes in base64")
    except WireCut:
        return  # The end is told by what comes the other way.
    scope.cancel()


async def _obey(text: str, wire: Wire) -> None:
    if text == ":eof":
        await wire.send(InputEnd())
    elif match := _RESIZE.match(text):
        await wire.send(Resize(int(match[1]), int(match[2])))
