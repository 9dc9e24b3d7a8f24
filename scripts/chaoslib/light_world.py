"""Daemons as processes of this machine, with containers in memory: what can be broken without a kernel's help."""

import resource
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from random import Random

from scripts.chaoslib.asking import leader_of, serves
from scripts.chaoslib.faults import Fault, hand_over_fault
from scripts.lightlib import LightCluster, LightNode

NETWORK = "127.0.7"
STOP_TIMEOUT = 15.0
ROOM = 16 * 1024
"""What a host's disk still takes when it is said to be full."""


class LightWorld:
    """Some daemons on loopback addresses."""

    image = "nginx"

    def __init__(self, folder: Path, count: int) -> None:
        self._cluster = LightCluster(folder, network=NETWORK)
        self.hosts = tuple(f"h{number + 1}" for number in range(count))
        self._nodes: dict[str, LightNode] = {}
        self._boots = dict.fromkeys(self.hosts, 1)

    def open(self) -> None:
        """Make the cluster."""
        self._nodes = dict(zip(self.hosts, self._cluster.make(len(self.hosts)), strict=True))

    def close(self) -> None:
        """End every process."""
        for node in self._nodes.values():
            self._signal(node, signal.SIGCONT)
        self._cluster.close()

    def connect(self, host: str, timeout: float) -> HTTPConnection:
        """Return a connection to a node's API."""
        node = self._nodes[host]
        return HTTPConnection(node.address, node.api_port, timeout=timeout)

    def session(self, host: str) -> str:
        """Return the node and how often it was started."""
        return f"{host}#{self._boots[host]}"

    def logs(self) -> dict[str, str]:
        """Return what each host's daemons wrote."""
        return {
            host: "".join(
                f"--- start {number}\n{log.read_text(errors='replace')}" for number, log in enumerate(node.logs)
            )
            for host, node in self._nodes.items()
        }

    def leader(self) -> str | None:
        """Return the host that says that it leads."""
        return leader_of(self)

    def serves(self, host: str) -> bool:
        """Tell whether a host takes part in the cluster and answers."""
        return serves(self, host)

    def double_containers(self) -> list[str]:
        """Return nothing: the containers are in the memory of the daemons."""
        return []

    def faults(self) -> Sequence[Fault]:
        """Return what can be done to processes."""
        return (
            Fault("kill -9", 5, (0.1, 3), self._kill, self._start),
            Fault("kill -9 of the leader", 8, (0.1, 3), self._kill, self._start, at_leader=True, storms=False),
            hand_over_fault(self),
            Fault("pause", 4, (0.5, 4), lambda host, rng: self._stop_going(host), self._go_on),
            Fault("restart", 2, (0.0, 0.5), self._end, self._start),
            Fault("full disk", 2, (1, 3), self._fill, self._empty, storms=False),
        )

    def revive(self, busy: frozenset[str]) -> list[str]:
        """Start what ended by itself."""
        ended = []
        for host, node in self._nodes.items():
            if host not in busy and not node.is_running():
                ended.append(f"{host}: {last_line(node.log())}")
                self._start(host)
        return ended

    def mend(self) -> None:
        """Have every daemon run, unhindered."""
        for host in self.hosts:
            self._empty(host)
            self._go_on(host)
            self._start(host)

    def _kill(self, host: str, rng: Random) -> None:
        self._cluster.kill(self._nodes[host])

    def _start(self, host: str) -> None:
        node = self._nodes[host]
        if not node.is_running():
            self._boots[host] += 1
            self._cluster.start(node, wait=False)

    def _end(self, host: str, rng: Random) -> None:
        node = self._nodes[host]
        if node.is_running():
            try:
                self._cluster.stop(node, timeout=STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._cluster.kill(node)

    def _stop_going(self, host: str) -> None:
        self._signal(self._nodes[host], signal.SIGSTOP)

    def _go_on(self, host: str) -> None:
        self._signal(self._nodes[host], signal.SIGCONT)

    def _signal(self, node: LightNode, number: signal.Signals) -> None:
        if node.is_running() and node.process is not None:
            node.process.send_signal(number)

    def _fill(self, host: str, rng: Random) -> None:
        node = self._nodes[host]
        sizes = [path.stat().st_size for path in (node.data / "state.db", node.data / "state.db-wal") if path.exists()]
        self._limit(node, max([*sizes, len(node.log())]) + ROOM)

    def _empty(self, host: str) -> None:
        node = self._nodes[host]
        self._limit(node, None)
        self._start(host)

    def _limit(self, node: LightNode, room: int | None) -> None:
        if node.is_running():
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (hard if room is None else room, hard))


def last_line(text: str) -> str:
    """Return the last line of a log that says anything."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it wrote nothing")
