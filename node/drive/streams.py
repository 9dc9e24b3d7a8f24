"""Logs, commands and figures of any container, for whoever asks on this node, from the host that runs it.

Who may ask for what is the API's to decide; a host that is asked by another makes sure that the asker is a host, and
that the container is the cluster's and its own.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from node.drive.channel import Channel
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.drive.outbox import NETWORK_ERRORS
from node.drive.stream_records import (
    Ended,
    Figures,
    Input,
    InputEnd,
    Opening,
    Output,
    ReadFigures,
    ReadLog,
    Resize,
    RunCommand,
    decode_opening,
    split_lines,
)
from node.drive.wires import MAX_FRAME_BYTES, Wire, WireCut, ask_for_stream, memory_pair, run_wire
from node.model import Container, State, host_of_node
from node.plan.figures import Row, container_row, host_row
from node.ports import EngineError, ExecSession, ExecSpec, StreamingEngine
from protocol.errors import DecodeError
from protocol.ids import NodeId
from protocol.messages import Kind
from protocol.wire import Frame, FrameReader, encode_frame

MAX_STREAMS = 1024
"""Streams that this host serves at one time."""
FIGURES_INTERVAL = 1.0
FAREWELL_TIMEOUT = 5.0
"""How long the side that has said all waits until the other has read it."""


class StreamFailed(Exception):
    """There is no stream: the host is not reached, or says no.  The text is for people."""


class HasState(Protocol):
    """What is needed of a replica."""

    @property
    def state(self) -> State: ...


class HasLink(Protocol):
    """What is needed of the link."""

    async def open_apart(self, node: NodeId) -> Channel: ...


@dataclass(slots=True, eq=False)
class Streams:
    """Both sides: opens streams for this node's API, and serves those of others."""

    me: NodeId
    replica: HasState
    engine: StreamingEngine
    link: HasLink
    proc: Path = field(default=Path("/proc"))
    count: int = 0
    """How many are served now."""

    @asynccontextmanager
    async def open(self, host_id: int, opening: Opening) -> AsyncIterator[Wire]:
        """Have a host begin; StreamFailed when it cannot be reached or refuses."""
        host = self.replica.state.hosts.get(host_id)
        if host is None or host.state == "removed":
            raise StreamFailed("its host is no part of the cluster any more")
        if host.node == self.me:
            async with self._open_here(opening) as wire:
                yield wire
            return
        try:
            channel = await self.link.open_apart(host.node)
            try:
                reader, early = await ask_for_stream(channel, opening)
            except BaseException:
                with trio.CancelScope(shield=True):
                    await channel.close()
                raise
        except (LinkDownError, RequestFailedError) as error:
            raise StreamFailed(f"host {host.name}: {error}") from None
        async with run_wire(channel, reader, early) as wire:
            yield wire

    @asynccontextmanager
    async def _open_here(self, opening: Opening) -> AsyncIterator[Wire]:
        self._check(opening)
        ours, theirs = memory_pair()

        async def serve() -> None:
            try:
                await self._run(opening, theirs)
            finally:
                theirs.close()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                yield ours
            finally:
                ours.close()
                nursery.cancel_scope.cancel()

    async def serve(self, caller: Caller, payload: bytes, channel: Channel) -> None:
        """Talk on a connection that another host made a stream; never raises for what it says."""
        with suppress(*NETWORK_ERRORS):
            try:
                opening = decode_opening(payload)
                if caller.node is None or host_of_node(self.replica.state, caller.node) is None:
                    raise StreamFailed("only hosts of the cluster read what runs here")
                self._check(opening)
            except (DecodeError, StreamFailed) as error:
                await channel.send_all(encode_frame(Frame(Kind.FAILED, 1, str(error).encode())))
                return
            await channel.send_all(encode_frame(Frame(Kind.REPLY, 1, b"")))
            async with run_wire(channel, FrameReader(MAX_FRAME_BYTES)) as wire:
                await self._run(opening, wire)
                with trio.move_on_after(FAREWELL_TIMEOUT):
                    while await wire.receive() is not None:
                        pass

    def _check(self, opening: Opening) -> None:
        """Refuse at once what cannot be."""
        if self.count >= MAX_STREAMS:
            raise StreamFailed(f"{MAX_STREAMS} logs and commands are open on this host already")
        if not isinstance(opening, ReadFigures):
            self._external_id(opening.container)

    def _external_id(self, container_id: int) -> str:
        """Return what the engine calls a container of this host."""
        row = self._own(container_id)
        if row is None or row.seen.external_id is None:
            raise StreamFailed("there is no such container on this host")
        return row.seen.external_id

    def _own(self, container_id: int) -> Container | None:
        state = self.replica.state
        host, row = host_of_node(state, self.me), state.containers.get(container_id)
        return row if row is not None and host is not None and row.host_id == host.id else None

    async def _run(self, opening: Opening, wire: Wire) -> None:
        """Serve one stream to its end: until it has no more to say, or nobody listens."""
        self.count += 1
        try:
            ended = await self._run_until_cut(opening, wire)
            if ended is not None:
                await wire.send(ended)
        except WireCut:
            pass
        finally:
            self.count -= 1

    async def _run_until_cut(self, opening: Opening, wire: Wire) -> Ended | None:
        ended: Ended | None = None
        try:
            match opening:
                case ReadLog():
                    async with _while_heard(wire):
                        ended = await self._read_log(opening, wire)
                case RunCommand():
                    ended = await self._run_command(opening, wire)
                case ReadFigures():
                    async with _while_heard(wire):
                        await self._read_figures(opening, wire)
        except* EngineError as errors:
            ended = Ended(error=str(_first(errors)))
        except* StreamFailed as errors:
            ended = Ended(error=str(_first(errors)))
        except* WireCut:
            ended = None
        return ended

    async def _read_log(self, opening: ReadLog, wire: Wire) -> Ended:
        external_id = self._external_id(opening.container)
        async with self.engine.logs(
            external_id, follow=opening.follow, lines=opening.lines, since=opening.since
        ) as batches:
            async for batch in batches:
                for part in split_lines(batch):
                    await wire.send(part)
        return Ended()

    async def _run_command(self, opening: RunCommand, wire: Wire) -> Ended | None:
        spec = ExecSpec(command=opening.command, tty=opening.tty, stdin=opening.stdin, output=opening.output)
        ended: Ended | None = None
        external_id = self._external_id(opening.container)
        async with self.engine.exec(external_id, spec) as session, trio.open_nursery() as nursery:
            nursery.start_soon(_pass_input, wire, session, nursery.cancel_scope)
            while (piece := await session.receive()) is not None:
                await wire.send(Output(*piece))
            ended = Ended(await session.exit_code())
            nursery.cancel_scope.cancel()
        return ended

    async def _read_figures(self, opening: ReadFigures, wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            for container_id in opening.containers:
                nursery.start_soon(self._read_container, container_id, wire)
            if opening.host:
                nursery.start_soon(self._read_host, wire)

    async def _read_container(self, container_id: int, wire: Wire) -> None:
        """Send a container's figures for as long as it is here, also after it was stopped for a while."""
        while (row := self._own(container_id)) is not None:
            if row.seen.status == "running" and row.seen.external_id is not None:
                with suppress(EngineError):
                    async with self.engine.stats(row.seen.external_id) as figures:
                        async for each in figures:
                            if (found := container_row(each, _now())) is None:
                                break
                            await wire.send(_figures("container", container_id, found))
            await trio.sleep(FIGURES_INTERVAL)

    async def _read_host(self, wire: Wire) -> None:
        while (host := host_of_node(self.replica.state, self.me)) is not None:
            await wire.send(_figures("host", host.id, self._host_row()))
            await trio.sleep(FIGURES_INTERVAL)

    def _host_row(self) -> Row:
        stat, memory, net, disks = (
            (self.proc / name).read_text() for name in ("stat", "meminfo", "net/dev", "diskstats")
        )
        return host_row(stat, memory, net, disks, _now())


def _figures(kind: str, row_id: int, row: Row) -> Figures:
    return Figures(kind, row_id, msgspec.json.encode(row))


def _now() -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1e9):09d}Z"


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def _while_heard(wire: Wire) -> AsyncIterator[None]:
    """End the block when the other side is gone; what it says meanwhile is of no interest."""

    async def wait_until_cut(scope: trio.CancelScope) -> None:
        while await wire.receive() is not None:
            pass
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_until_cut, nursery.cancel_scope)
        yield
        nursery.cancel_scope.cancel()


async def _pass_input(wire: Wire, session: ExecSession, scope: trio.CancelScope) -> None:
    """Hand on what the other side says; its end is that of the command."""
    with suppress(EngineError):
        while (piece := await wire.receive()) is not None:
            match piece:
                case Input(data=data):
                    await session.send(data)
                case InputEnd():
                    await session.end_input()
                case Resize(columns=columns, rows=rows) if 0 < columns < 10_000 and 0 < rows < 10_000:
                    await session.resize(columns, rows)
        scope.cancel()
        return
    # It reads no more, and may write on.
    while await wire.receive() is not None:
        pass
    scope.cancel()
