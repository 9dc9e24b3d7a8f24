"""The two ends of a stream: in one process, or over a connection of the peer link that carries nothing else.

A connection apart, so that no log holds up a heartbeat.  Each side may send as many pieces as the other has room for
and says so again as it takes them: a slow reader costs bounded memory on both sides and never stops the connection,
which the kernel would take for dead.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import trio

from node.drive.channel import Channel
from node.drive.link import LinkDownError, RequestFailedError
from node.drive.outbox import NETWORK_ERRORS
from node.drive.stream_records import Credit, Opening, Piece, decode_piece, encode_stream
from protocol.errors import ProtocolError
from protocol.messages import Kind
from protocol.wire import Frame, FrameReader, encode_frame

WINDOW = 4
"""Pieces that may be under way in one direction."""
MAX_FRAME_BYTES = 512 * 1024
OPEN_TIMEOUT = 10.0


class WireCut(Exception):
    """The other side is gone."""


class Wire(Protocol):
    """One end of a stream."""

    async def send(self, piece: Piece) -> None:
        """Send a piece once the other side has room for it; WireCut when it is gone."""

    async def receive(self) -> Piece | None:
        """Return the next piece, None when the other side is gone."""


class MemoryWire:
    """One end of a stream that does not leave the process."""

    def __init__(self, out: trio.MemorySendChannel[Piece], come: trio.MemoryReceiveChannel[Piece]) -> None:
        self._out = out
        self._come = come

    async def send(self, piece: Piece) -> None:
        try:
            await self._out.send(piece)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise WireCut from None

    async def receive(self) -> Piece | None:
        try:
            return await self._come.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            return None

    def close(self) -> None:
        """Be gone."""
        self._out.close()
        self._come.close()


def memory_pair() -> tuple[MemoryWire, MemoryWire]:
    """Return both ends of a stream."""
    there, here = trio.open_memory_channel[Piece](WINDOW), trio.open_memory_channel[Piece](WINDOW)
    return MemoryWire(there[0], here[1]), MemoryWire(here[0], there[1])


class ChannelWire:
    """One end of a stream over a connection; `run` reads it."""

    def __init__(self, channel: Channel, reader: FrameReader, early: Iterable[Frame] = ()) -> None:
        """`early` came with what made the connection a stream."""
        self._channel = channel
        self._reader = reader
        self._come: deque[Piece] = deque()
        self._credit = WINDOW
        self._changed = trio.Event()
        self._is_cut = False
        self._writing = trio.Lock()
        self._owed = 0
        self._early = early

    async def send(self, piece: Piece) -> None:
        while self._credit == 0 and not self._is_cut:
            await self._changed.wait()
        if self._is_cut:
            raise WireCut
        self._credit -= 1
        await self._write(encode_stream(piece))

    async def receive(self) -> Piece | None:
        while not self._come:
            if self._is_cut:
                return None
            await self._changed.wait()
        piece = self._come.popleft()
        self._owed += 1
        if self._owed >= WINDOW // 2 and not self._is_cut:
            owed, self._owed = self._owed, 0
            with suppress(WireCut):
                await self._write(encode_stream(Credit(owed)))
        return piece

    async def run(self) -> None:
        """Read until the other side is gone, or says what nobody can read."""
        try:
            with suppress(ProtocolError, *NETWORK_ERRORS):
                for frame in self._early:
                    self._take(frame)
                while data := await self._channel.receive():
                    for frame in self._reader.feed(data):
                        self._take(frame)
        finally:
            self._is_cut = True
            self._wake()

    def _take(self, frame: Frame) -> None:
        match decode_piece(frame.payload):
            case Credit(pieces=pieces):
                if not 0 < pieces <= WINDOW - self._credit:
                    raise ProtocolError("more credit than there is")
                self._credit += pieces
            case piece:
                if len(self._come) + self._owed >= WINDOW:
                    raise ProtocolError("more pieces than there is room for")
                self._come.append(piece)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _write(self, payload: bytes) -> None:
        async with self._writing:
            try:
                await self._channel.send_all(encode_frame(Frame(Kind.STREAM, 0, payload)))
            except NETWORK_ERRORS:
                self._is_cut = True
                self._wake()
                raise WireCut from None


@asynccontextmanager
async def run_wire(channel: Channel, reader: FrameReader, early: Iterable[Frame] = ()) -> AsyncIterator[ChannelWire]:
    """Read a connection as long as the block lasts, then close it."""
    wire = ChannelWire(channel, reader, early)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.run)
            yield wire
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await channel.close()


async def ask_for_stream(channel: Channel, opening: Opening) -> tuple[FrameReader, list[Frame]]:
    """Have a connection become a stream, and return what goes on reading it and what has come already."""
    reader = FrameReader(MAX_FRAME_BYTES)
    with trio.move_on_after(OPEN_TIMEOUT):
        try:
            await channel.send_all(encode_frame(Frame(Kind.STREAM, 1, encode_stream(opening))))
            while data := await channel.receive():
                if not (frames := reader.feed(data)):
                    continue
                if frames[0].kind == Kind.FAILED:
                    raise RequestFailedError(frames[0].payload.decode("utf-8", "replace"))
                return reader, frames[1:]
        except (ProtocolError, *NETWORK_ERRORS) as error:
            raise LinkDownError(f"the host broke off: {error!r}") from None
    raise LinkDownError("the host did not begin to answer; is its release older than this one?")
