"""Lab hosts with real engines and small disks of their own: everything that befalls hosts, short of fire.

A host's data folder is a file system in a file of the host's disk, so that it can be full; it outlives the host's
power.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from random import Random

from scripts.chaoslib.asking import leader_of, serves
from scripts.chaoslib.engines import Found, problems_of_engines
from scripts.chaoslib.faults import Fault, hand_over_fault
from scripts.demolib.api import SocketConnection
from scripts.demolib.cluster import PATIENCE, Cluster, check_program, eventually
from scripts.lablib import Lab, LabError, procs

DISK_BYTES = 96 * 1024 * 1024
DATA = "/var/lib/corral"
SOCKET = "/run/corral/api.sock"
FILLER = "filler"
MOUNTED = "/run/chaos-disk"


class LabWorld:
    """A lab of its own."""

    image = "nginx:1.8-alpine"

    def __init__(self, lab: Lab, count: int) -> None:
        self.lab = lab
        self.cluster = Cluster(lab)
        self.hosts = tuple(f"h{number + 1}" for number in range(count))
        self._boots = dict.fromkeys(self.hosts, 1)
        self._sockets: dict[str, str] = {}
        self._log_at = dict.fromkeys(self.hosts, 0)
        """Where in a host's log its present daemon began."""

    def open(self) -> None:
        """Bring the hosts up, anew, and make the cluster."""
        self.lab.down()
        self.lab.up(len(self.hosts))
        check_program(self.lab, self.hosts[0])
        for host in self.hosts:
            self._find(host)
        founder, *others = self.hosts
        self.cluster.start(founder, "--access-control", "none")
        for host in others:
            token = self.cluster.node(founder, "token", "create", "-q").strip()
            self.cluster.join(host, founder, token)
        voters = min(len(self.hosts), 3)
        eventually(lambda: len(self.cluster.cluster(founder)["voters"]) >= voters, "all vote")

    def close(self) -> None:
        """Leave nothing behind."""
        self.lab.down()

    def connect(self, host: str, timeout: float) -> HTTPConnection:
        """Return a connection to a node's API."""
        return SocketConnection(self._sockets[host], timeout)

    def session(self, host: str) -> str:
        """Return the node and how often it was started."""
        return f"{host}#{self._boots[host]}"

    def logs(self) -> dict[str, str]:
        """Return what each host's daemons wrote."""
        return {host: self.cluster.printed(host) for host in self.hosts}

    def leader(self) -> str | None:
        """Return the host that says that it leads."""
        return leader_of(self)

    def serves(self, host: str) -> bool:
        """Tell whether a host takes part in the cluster and answers."""
        return serves(self, host)

    def double_containers(self) -> list[str]:
        """Return what is double or wrong in Docker, on all hosts."""
        found = {host: _containers(self.lab, host) for host in self.hosts}
        wanted = {str(row["name"]) for row in self.cluster.rows(self.hosts[0], "containers")}
        return problems_of_engines(found, wanted)

    # Faults

    def faults(self) -> Sequence[Fault]:
        """Return what can be done to hosts."""
        return (
            Fault("kill -9", 4, (0.1, 4), self._kill, self._start),
            Fault("kill -9 of the leader", 6, (0.1, 4), self._kill, self._start, at_leader=True, storms=False),
            hand_over_fault(self),
            Fault("pause", 4, (0.5, 6), lambda host, rng: self._signal(host, signal.SIGSTOP), self._go_on),
            Fault("restart", 2, (0.0, 0.5), self._end, self._start),
            Fault("cut", 4, (1, 8), lambda host, rng: self.lab.cut(host), self._heal),
            Fault("partition of two", 3, (1, 8), lambda host, rng: self._part(host, rng, one_way=False), self._heal),
            Fault("one-way cut", 3, (1, 8), lambda host, rng: self._part(host, rng, one_way=True), self._heal),
            Fault(
                "lost packets", 3, (2, 8), lambda host, rng: self.lab.lose(host, rng.choice([2, 10, 30])), self._heal
            ),
            Fault("full disk", 3, (1, 6), self._fill, self._empty, storms=False),
            Fault(
                "engine restart",
                2,
                (0.1, 2),
                lambda host, rng: self.lab.stop_engine(host),
                self.lab.start,
                storms=False,
            ),
            Fault("power loss", 1, (0.1, 2), lambda host, rng: self.lab.kill(host), self._power_on),
        )

    def revive(self, busy: frozenset[str]) -> list[str]:
        """Start what ended by itself."""
        ended = []
        for host in self.hosts:
            if host not in busy and not self._runs(host):
                said = self.cluster.printed(host, self._log_at[host]).splitlines()
                ended.append(f"{host}: {next((line for line in reversed(said) if line.strip()), 'it wrote nothing')}")
                self._start(host)
        return ended

    def _runs(self, host: str) -> bool:
        # Looked for again: while a process becomes another program it goes by no name at all.
        return procs.wait_until(lambda: bool(self.lab.daemons(host)), timeout=0.5, step=0.1)

    def mend(self) -> None:
        """Have every host, engine, cable and daemon do what it should."""
        self.lab.heal()
        for host in self.hosts:
            self._power_on(host)
            self._empty(host)
            self._go_on(host)

    def _kill(self, host: str, rng: Random) -> None:
        self._signal(host, signal.SIGKILL)
        self._wait_ended(host)

    def _end(self, host: str, rng: Random) -> None:
        self._signal(host, signal.SIGTERM)
        self._wait_ended(host)

    def _signal(self, host: str, number: signal.Signals) -> None:
        self.lab.signal_daemon(host, number)

    def _wait_ended(self, host: str) -> None:
        if not procs.wait_until(lambda: not self.lab.daemons(host), timeout=PATIENCE):
            raise LabError(f"{host}: the daemon does not end")

    def _start(self, host: str) -> None:
        if not self.lab.daemons(host):
            log = self.lab.log_path(host)
            self._boots[host] += 1
            self._log_at[host] = log.stat().st_size
            self.lab.detach(host, ["node", "start"], log)
            # What is about to become a daemon does not go by that name yet, and is not to be held for one that ended.
            procs.wait_until(
                lambda: bool(self.lab.daemons(host)) or log.stat().st_size > self._log_at[host], timeout=10
            )

    def _go_on(self, host: str) -> None:
        self._signal(host, signal.SIGCONT)

    def _part(self, host: str, rng: Random, *, one_way: bool) -> None:
        other = rng.choice([each for each in self.hosts if each != host])
        if one_way and rng.random() < 0.5:
            host, other = other, host
        self.lab.cut(host, other, one_way=one_way)

    def _heal(self, host: str) -> None:
        self.lab.heal(host)

    def _fill(self, host: str, rng: Random) -> None:
        with self._data(host).joinpath(FILLER).open("wb") as filler, suppress(OSError):
            for block in (1024 * 1024, 4096):
                with suppress(OSError):
                    while True:
                        filler.write(bytes(block))
                        filler.flush()

    def _empty(self, host: str) -> None:
        self._data(host).joinpath(FILLER).unlink(missing_ok=True)
        self._start(host)

    def _power_on(self, host: str) -> None:
        self.lab.start(host)
        self._find(host)
        self._start(host)

    def _data(self, host: str) -> Path:
        return self.lab.space(host).path(DATA)

    def _find(self, host: str) -> None:
        """Mount the host's disk unless it is, and note by which path its socket is reached while it has power."""
        space = self.lab.space(host)
        image = self.lab.layout.host_folder(host) / "chaos-disk"
        if not image.exists():
            with image.open("wb") as file:
                os.truncate(file.fileno(), DISK_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, stdin=subprocess.DEVNULL)
        if not space.path(MOUNTED).exists():
            space.script(f"mount -o loop {image} {DATA}\nchmod 700 {DATA}\ntouch {MOUNTED}\n")
        self._sockets[host] = str(space.path(SOCKET))


def _containers(lab: Lab, host: str) -> list[Found]:
    shape = '{{index .Config.Labels "io.rancher.container.uuid"}} {{.Name}} {{.State.Status}} '
    shape += (
        '{{index .Config.Labels "io.rancher.container.ip"}} {{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}'
    )
    ids = lab.exec(host, ["docker", "ps", "-aq", "--filter", "label=io.corral.cluster"]).stdout.split()
    if not ids:
        return []
    lines = lab.exec(host, ["docker", "inspect", "-f", shape, *ids]).stdout.splitlines()
    return [Found.parse(line) for line in lines if line.strip()]
