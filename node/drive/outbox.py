"""What waits to be written on one connection: put from anywhere, joined, and sent by the connection's only writer.

A TLS stream takes one writer at a time, and each write costs a record and a system call: what has gathered while the
last write was under way leaves in one piece.  Decides nothing about what is sent; whoever puts asks for room first.
"""

import ssl

import trio

MAX_FRAMES = 1024
WRITE_BYTES = 256 * 1024
"""What is handed to the TLS library at one time, if there is as much."""
WRITE_TIMEOUT = 30.0
NETWORK_ERRORS = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError, ssl.CertificateError)


class Outbox:
    """Encoded frames in order."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._filled = trio.Event()
        self._sent = trio.Event()

    @property
    def has_room(self) -> bool:
        return len(self._frames) < MAX_FRAMES

    def put(self, frame: bytes) -> None:
        """Have a frame sent; it is forgotten if the connection ends first."""
        self._frames.append(frame)
        self._filled.set()

    async def wait_for_room(self) -> None:
        """Wait until the other side has taken enough of what waits."""
        while not self.has_room:
            await self._sent.wait()

    async def write_all(self, stream: trio.abc.SendStream, on_failure: trio.CancelScope) -> None:
        """The only writer of a connection; one whose other side takes nothing is ended."""
        try:
            while True:
                await self._filled.wait()
                data = self._take()
                with trio.fail_after(WRITE_TIMEOUT):
                    await stream.send_all(data)
        except (trio.TooSlowError, *NETWORK_ERRORS):
            on_failure.cancel()

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
