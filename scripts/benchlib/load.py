"""A closed loop of requests from this one process: so many in flight over so many connections, for so long.

What is sent and how replies are told apart is the business of a `Talk`, one per connection, which does no I/O.  The
loop is one thread on non-blocking sockets and counts its own processor time, since a client that is busy all the time
measures itself.
"""

import resource
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Protocol

READ_BYTES = 262144
PATIENCE = 15.0
"""How long nothing may come back before the measurement is given up."""


class LoadError(Exception):
    """A reply that is none, or none at all."""


class Talk(Protocol):
    """One connection's conversation."""

    def opening(self) -> bytes:
        """Return what is sent first."""
        ...

    def ask(self) -> tuple[int, bytes] | None:
        """Return the next request and its number; None when the other side takes no more for now."""
        ...

    def hear(self, data: bytes) -> tuple[list[int], bytes]:
        """Take what came; return the numbers that are answered, and what is to be sent because of it."""
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """What one round gave."""

    rate: float
    answered: int
    """The warm-up's included."""
    p50_ms: float
    p99_ms: float
    client_share: float
    """Processor time of this process per second."""
    commits: list[tuple[float, float]]
    """When each was begun and answered, by time.perf_counter."""


@dataclass(slots=True, eq=False)
class _Line:
    talk: Talk
    sock: socket.socket
    begun: dict[int, float] = field(default_factory=dict)
    unsent: bytes = b""
    wanted: int = 0
    """Requests that are to be under way and are not yet."""

    def fill(self) -> None:
        """Ask as often as is wanted, and send all in one piece."""
        pieces = [self.unsent]
        now = time.perf_counter()
        while self.wanted and (asked := self.talk.ask()) is not None:
            number, data = asked
            self.begun[number] = now
            pieces.append(data)
            self.wanted -= 1
        self.unsent = b"".join(pieces)
        self.flush()

    def flush(self) -> None:
        while self.unsent:
            try:
                sent = self.sock.send(self.unsent)
            except (BlockingIOError, ssl.SSLWantWriteError):
                return
            self.unsent = self.unsent[sent:]

    def read(self) -> bytes:
        """Return all that has come."""
        pieces: list[bytes] = []
        while True:
            try:
                data = self.sock.recv(READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return b"".join(pieces)
            if not data:
                raise LoadError("the connection was closed by the other side")
            pieces.append(data)
            if not isinstance(self.sock, ssl.SSLSocket) and len(data) < READ_BYTES:
                return b"".join(pieces)


Connect = Callable[[], tuple[Talk, socket.socket]]


def run_load(connect: Connect, *, in_flight: int, connections: int, seconds: float, warm_up: float = 0.5) -> Measured:
    """Keep `in_flight` requests under way, and return what the time after the warm-up gave."""
    selector = selectors.DefaultSelector()
    lines = []
    for number in range(connections):
        talk, sock = connect()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(talk.opening())
        sock.setblocking(False)
        share = in_flight // connections + (number < in_flight % connections)
        line = _Line(talk, sock, wanted=share)
        lines.append(line)
        selector.register(sock, selectors.EVENT_READ, line)
    try:
        return _measure(selector, lines, seconds, warm_up)
    finally:
        selector.close()
        for line in lines:
            line.sock.close()


def _measure(selector: selectors.BaseSelector, lines: list[_Line], seconds: float, warm_up: float) -> Measured:
    commits: list[tuple[float, float]] = []
    for line in lines:
        line.fill()
    start = time.perf_counter() + warm_up
    stop = start + seconds
    busy, early = None, 0
    while (now := time.perf_counter()) < stop:
        if busy is None and now >= start:
            busy, start, early, commits = _processor(), now, len(commits), []
        events = selector.select(PATIENCE)
        if not events:
            raise LoadError(f"nothing came back for {PATIENCE:g} s")
        for key, _ in events:
            line = key.data
            answered, owed = line.talk.hear(line.read())
            now = time.perf_counter()
            commits += [(line.begun.pop(number), now) for number in answered]
            line.unsent += owed
            line.wanted += len(answered)
            line.fill()
    wall = time.perf_counter() - start
    spans = sorted(end - begun for begun, end in commits)
    share = (_processor() - (busy or 0.0)) / wall
    if not spans:
        raise LoadError("nothing was answered in the time given")
    p50, p99 = median(spans), spans[int(len(spans) * 0.99)]
    return Measured(len(spans) / wall, early + len(spans), p50 * 1000, p99 * 1000, share, commits)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
