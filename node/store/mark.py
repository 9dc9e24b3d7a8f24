"""A small file beside the log that says how many writes were acknowledged: by it a log that lost its end is found out.

SQLite takes a damaged write-ahead log for one that a crash tore, and drops its end, or all of it, in silence.  The mark
is written after each flush and not flushed itself: it never says more than what was durable, and after a power cut it
may say less, or nothing.
"""

import os
from contextlib import suppress
from pathlib import Path
from zlib import crc32

NUMBER_BYTES = 8


class Mark:
    """The open mark of one log."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> int:
        """Return how many writes were acknowledged at least."""
        content = os.pread(self._descriptor, NUMBER_BYTES + 5, 0)
        number = content[:NUMBER_BYTES]
        if content != number + crc32(number).to_bytes(4, "big"):
            return 0
        return int.from_bytes(number, "big")

    def write(self, writes: int) -> None:
        """Note that this many writes are durable.  It is an aid, so that what it meets with does not matter."""
        number = writes.to_bytes(NUMBER_BYTES, "big")
        with suppress(OSError):
            os.pwrite(self._descriptor, number + crc32(number).to_bytes(4, "big"), 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
