"""What /proc says about processes: which exist, whose they are, and ending them.

The kernel is the only record of what runs, so nothing here can be stale.  A lab's processes are found by its
holders' command lines and by the PID namespaces those hold; all other processes are left alone.
"""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HOLDER_MARK = "corral-lab-holder"
_PROC = Path("/proc")


def pids() -> Iterator[int]:
    """Yield every process of the machine."""
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            yield int(entry)


def command_line(pid: int) -> list[str]:
    """Return a process's arguments; empty if it is gone or a kernel thread."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")]


def namespace(pid: int, kind: str) -> str:
    """Return the identity of a process's namespace; empty if the process is gone."""
    try:
        return os.readlink(_PROC / str(pid) / "ns" / kind)
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is more than an unreaped entry."""
    return _stat(pid)[0] not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Tell whether a process is frozen by SIGSTOP."""
    return _stat(pid)[0] == "T"


def children(parent: int) -> list[int]:
    """Return the processes that a process started and has not waited for."""
    return [pid for pid in pids() if int(_stat(pid)[1]) == parent]


def _stat(pid: int) -> list[str]:
    try:
        # The name in front may hold blanks and brackets; what counts follows the last bracket.
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["", "0"]


def holders(lab: str) -> dict[str, int]:
    """Return the process that holds each host's namespaces, by host; the switch is among them."""
    found: dict[str, int] = {}
    for pid in pids():
        argv = command_line(pid)
        # The `unshare` and `setsid` in front of a holder carry the same words; only the holder itself is PID 1
        # of a namespace of its own.
        if len(argv) >= 3 and argv[-3:-1] == [HOLDER_MARK, lab] and "python" in os.path.basename(argv[0]):
            found[argv[-1]] = pid
    return found


def labs() -> set[str]:
    """Return the names of all labs that have a holder."""
    lines = (command_line(pid) for pid in pids())
    return {argv[-2] for argv in lines if len(argv) >= 3 and argv[-3] == HOLDER_MARK}


def members(holder: int) -> list[int]:
    """Return the host's own processes: those of the holder's PID namespace, not those in containers."""
    own = namespace(holder, "pid")
    return [pid for pid in pids() if own and pid != holder and namespace(pid, "pid") == own]


def listens(pid: int, port: int) -> bool:
    """Tell whether somebody listens on a TCP port in a process's network namespace."""
    rows = (_PROC / str(pid) / "net" / "tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


def in_network(identity: str) -> list[int]:
    """Return the processes whose network namespace has this identity."""
    return [pid for pid in pids() if identity and namespace(pid, "net") == identity and is_alive(pid)]


def descendants(pid: int) -> set[int]:
    """Return all processes below one; those in containers are below their host's holder."""
    parents = {child: int(_stat(child)[1]) for child in pids()}
    found, grew = {pid}, True
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grew = found | more, bool(more)
    return found - {pid}


def is_daemon(argv: list[str]) -> bool:
    """Tell whether a command line is Corral's daemon, however it was started."""
    if any(part == "node.daemon" or part.endswith("node/daemon/__main__.py") for part in argv):
        return True
    names = [os.path.basename(part) for part in argv[:4]]
    pairs = itertools.pairwise(names)
    return any(name in ("node", "corral") and verb in ("start", "join") for name, verb in pairs)


def daemons(holder: int) -> list[int]:
    """Return the processes of Corral's daemon on a host."""
    return [pid for pid in members(holder) if is_daemon(command_line(pid))]


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process; one that is gone already is no error."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(done: Callable[[], bool], timeout: float, *, step: float = 0.01) -> bool:
    """Look every `step` seconds until `done` holds; False once `timeout` has passed."""
    ends_at = time.monotonic() + timeout
    while not done():
        if time.monotonic() >= ends_at:
            return False
        time.sleep(step)
    return True
