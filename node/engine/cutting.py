"""Docker's output as pieces and lines: takes the multiplexed stream apart, and cuts logs where lines end.

A frame is eight bytes, where from and how many more, then those (Docker Engine API, "Attach to a container").  A
message of the log begins with its time; one that is longer than Docker likes comes in several frames, each with a
time.  Fed bytes, in any pieces; holds no more than one frame's head and one bounded line per origin.
"""

import re

from node.ports import BOTH, LogLine

HEAD_BYTES = 8
MAX_LINE_BYTES = 64 * 1024
"""A longer line is given in parts of this length."""

_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")


class Demultiplexer:
    """Cuts the stream of a container without a terminal into pieces with where each comes from."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._kind = BOTH

    def feed(self, data: bytes) -> list[tuple[int, bytes, bool]]:
        """Return (kind, piece, whether a frame begins with it) for all that `data` has."""
        pieces: list[tuple[int, bytes, bool]] = []
        at = 0
        while at < len(data):
            begins = self._left == 0
            if begins:
                wanted = HEAD_BYTES - len(self._head)
                self._head += data[at : at + wanted]
                at += wanted
                if len(self._head) < HEAD_BYTES:
                    break
                self._kind, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
                self._head = b""
                if at >= len(data):
                    pieces.append((self._kind, b"", True))
                    break
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            pieces.append((self._kind, piece, begins))
        return pieces


class LineCutter:
    """Cuts what one origin wrote to the log into lines."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._held = b""

    def feed(self, data: bytes, *, begins: bool = False) -> list[LogLine]:
        """Return the lines that `data` ends; `begins` if a message begins with it."""
        if begins and self._held:
            # The rest of a long line: its own time is not part of it.  A piece without bytes tells of what follows.
            data = _without_stamp(data)
        *whole, self._held = (self._held + data).split(b"\n")
        lines = [self._line(each) for each in whole]
        while len(self._held) > MAX_LINE_BYTES:
            part, rest = self._held[:MAX_LINE_BYTES], self._held[MAX_LINE_BYTES:]
            lines.append(self._line(part))
            stamp = _STAMP.match(part)
            self._held = (stamp[0] + b" " if stamp else b"") + rest
        return lines

    def end(self) -> list[LogLine]:
        """Return what was written without an end of line."""
        held, self._held = self._held, b""
        return [self._line(held)] if held else []

    def _line(self, text: bytes) -> LogLine:
        if self._kind == BOTH:
            text = text.removesuffix(b"\r")  # A terminal ends lines with both.
        stamp = _STAMP.match(text)
        if stamp is None:
            return LogLine(self._kind, "", text)
        return LogLine(self._kind, stamp[0].decode("ascii"), text[stamp.end() + 1 :])


def _without_stamp(data: bytes) -> bytes:
    stamp = _STAMP.match(data)
    return data[stamp.end() + 1 :] if stamp else data


class LogCutter:
    """Cuts a container's whole log."""

    def __init__(self, *, has_terminal: bool) -> None:
        self._demultiplexer = None if has_terminal else Demultiplexer()
        self._cutters: dict[int, LineCutter] = {}
        self._announced = False

    def feed(self, data: bytes) -> list[LogLine]:
        """Return the lines that `data` ends."""
        if self._demultiplexer is None:
            return self._cutter(BOTH).feed(data)
        lines: list[LogLine] = []
        for kind, piece, begins in self._demultiplexer.feed(data):
            begins = begins or self._announced
            self._announced = begins and not piece
            lines += self._cutter(kind).feed(piece, begins=begins)
        return lines

    def end(self) -> list[LogLine]:
        """Return what is left."""
        return [line for cutter in self._cutters.values() for line in cutter.end()]

    def _cutter(self, kind: int) -> LineCutter:
        if kind not in self._cutters:
            # Docker knows 0 to 2; whatever else a broken stream says must not make cutters without end.
            kind = kind if 0 <= kind <= 2 else BOTH
            self._cutters.setdefault(kind, LineCutter(kind))
        return self._cutters[kind]
