"""Watches names on several hosts at once: asks each host's DNS server again and again until it answers as wanted.

The sockets live in the networks of containers, one on each host, so one thread of this process asks all of them.
"""

import ctypes
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
STEP = 0.02
"""Seconds between two questions for a name; what is measured is too long by at most this."""
SERVER = ("169.254.169.250", 53)
HEADER_BYTES = 12
NOERROR, NXDOMAIN = 0, 3
_CLONE_NEWNET = 0x40000000
_ID_LIMIT = 1 << 16


def open_socket(network: Path) -> socket.socket:
    """Return a socket that asks the DNS server from inside a network, given by its file in /proc."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(SERVER)
        sock.setblocking(False)
        return sock

    return run_inside(network, make)  # A socket stays where it was made.


def run_inside(network: Path, work: Callable[[], T]) -> T:
    """Do work in a network and return what it does; a namespace is a thread's own, and ends with the thread."""
    done: list[T] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            enter(network)
            done.append(work())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def enter(network: Path) -> None:
    """Move this thread into a network."""
    with network.open() as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def make_question(number: int, name: str) -> bytes:
    """Return a query for a name's A records."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def has_answer(reply: bytes) -> bool:
    """Tell whether a reply carries records; a server that does not want to answer measures nothing."""
    code = reply[3] & 0xF
    assert code in (NOERROR, NXDOMAIN), f"the DNS server answers with code {code}"
    return reply[6:8] != b"\0\0"


@dataclass(slots=True)
class Watch:
    """Names that are waited for on every host, and when each was first as wanted."""

    sockets: Mapping[str, socket.socket]
    """By host."""

    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a host's server first answered as wanted for a name, in seconds since the epoch; by host and name."""

    def wait(self, names: Collection[str], *, there: bool, timeout: float) -> dict[tuple[str, str], float]:
        """Return once every name is `there`, or is not, on every host; what was not seen in time is left out."""
        self.seen = {}
        wanted = [(host, name) for host in self.sockets for name in names]
        questions = {number % _ID_LIMIT: each for number, each in enumerate(wanted)}
        give_up_at = time.monotonic() + timeout
        while len(self.seen) < len(wanted) and time.monotonic() < give_up_at:
            for number, (host, name) in questions.items():
                if (host, name) not in self.seen:
                    self._ask(host, make_question(number, name))
            self._read(questions, there, time.monotonic() + STEP)
        return self.seen

    def _ask(self, host: str, question: bytes) -> None:
        try:
            self.sockets[host].send(question)
        except OSError:
            pass  # Nobody listens yet, or the socket is full: asked again in a moment.

    def _read(self, questions: Mapping[int, tuple[str, str]], there: bool, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select(list(self.sockets.values()), [], [], left)
            for sock in ready:
                try:
                    reply = sock.recv(4096)
                except OSError:
                    continue
                key = questions.get(int.from_bytes(reply[:2], "big"))
                # Replies to an earlier wait have other names' numbers: the question that comes back tells.
                if key is not None and make_question(0, key[1])[HEADER_BYTES:] in reply and has_answer(reply) is there:
                    self.seen.setdefault(key, time.time())
