"""What waits to be written on one connection: put from anywhere, and sent at once, or joined with what comes with it.

Each write costs a TLS record and a system call.  The first frame after a pause leaves where it is put; those of a burst
gather, and leave in one piece by the connection's writer.  Decides nothing about what is sent; whoever puts asks for
room first.
"""

import ssl
from contextlib import suppress
from math import inf
from typing import Protocol

import trio

MAX_FRAMES = 1024
WRITE_BYTES = 256 * 1024
"""What is handed to the TLS library at one time, if there is as much."""
WRITE_TIMEOUT = 30.0
BURST = 0.0005
"""Frames that come within so many seconds of one that left are a burst."""
NETWORK_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, ssl.CertificateError)


class Writable(Protocol):
    """What of a channel is needed to write to it; node.drive.channel has the real one."""

    @property
    def is_clear(self) -> bool: ...

    def write(self, data: bytes) -> bool: ...

    async def flush(self) -> None: ...


class Outbox:
    """Encoded frames in order; they wait while there is no connection."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._filled = trio.Event()
        self._sent = trio.Event()
        self._channel: Writable | None = None
        self._on_failure = trio.CancelScope()
        self._wrote_at = -inf
        """When something left last."""

    @property
    def has_room(self) -> bool:
        return len(self._frames) < MAX_FRAMES

    def put(self, frame: bytes) -> None:
        """Have a frame sent; it is forgotten if the connection ends first."""
        channel, now = self._channel, trio.current_time()
        if channel is None or self._frames or not channel.is_clear or now < self._wrote_at + BURST:
            self._frames.append(frame)
            self._filled.set()
            return
        self._wrote_at = now
        try:
            if not channel.write(frame):
                self._filled.set()
        except NETWORK_ERRORS:
            self._channel = None
            self._on_failure.cancel()

    def clear(self) -> None:
        """Forget what waits."""
        self._frames = []
        self._sent.set()
        self._sent = trio.Event()

    async def wait_for_room(self) -> None:
        """Wait until the other side has taken enough of what waits."""
        while not self.has_room:
            await self._sent.wait()

    async def write_all(self, channel: Writable, on_failure: trio.CancelScope) -> None:
        """The only writer of a connection; one whose other side takes nothing is ended."""
        self._channel, self._on_failure = channel, on_failure
        try:
            with suppress(trio.TooSlowError, *NETWORK_ERRORS):
                while True:
                    await self._filled.wait()
                    self._wrote_at = trio.current_time()
                    if not channel.write(self._take()):
                        with trio.fail_after(WRITE_TIMEOUT):
                            await channel.flush()
            on_failure.cancel()
        finally:
            self._channel = None

    def _take(self) -> bytes:
        size = count = 0
        for frame in self._frames:
            size += len(frame)
            count += 1
            if size >= WRITE_BYTES:
                break
        data, self._frames = b"".join(self._frames[:count]), self._frames[count:]
        if not self._frames:
            self._filled = trio.Event()
        self._sent.set()
        self._sent = trio.Event()
        return data
