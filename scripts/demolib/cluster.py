"""Corral on the hosts of a lab: its daemons started and ended, its API asked, its containers found and entered.

Every call looks anew; nothing is remembered of what the cluster should be.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from scripts.demolib.api import Answer, ask
from scripts.lablib import Lab, LabError, procs

T = TypeVar("T")
Json = dict[str, Any]

PATIENCE = 60.0
"""How long anything may take that is waited for; far more than it takes, since the machine may be busy."""
CLUSTER = "/v1/clusters/cluster"


class NotSoError(AssertionError):
    """Something that was waited for did not become so."""


def eventually(look: Callable[[], T | None], what: str, *, timeout: float = PATIENCE, step: float = 0.05) -> T:
    """Look until something other than None or False is seen, and return it."""
    ends_at = time.monotonic() + timeout
    seen: object = None
    while True:
        try:
            if (found := look()) not in (None, False):
                return found
        except (OSError, LabError) as error:
            seen = error
        if time.monotonic() > ends_at:
            raise NotSoError(f"{what}: not so after {timeout:.0f} s" + (f" ({seen})" if seen else ""))
        time.sleep(step)


class Cluster:
    """What a person at the hosts' shells could do, as methods."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    # Daemons

    def start(self, host: str, *flags: str) -> str:
        """Run `node start` on a host and wait until it serves; return what it printed."""
        return self.launch(host, ["node", "start", *flags])

    def join(self, host: str, url: str, token: str, *flags: str) -> str:
        """Run `node join` on a host and wait until its host is active; return what it printed."""
        return self.launch(host, ["node", "join", url, "--token", token, *flags])

    def launch(self, host: str, argv: Sequence[str]) -> str:
        """Start a daemon by its command line, wait until its host is active, and return what it printed."""
        log = self.lab.log_path(host)
        before = log.stat().st_size if log.exists() else 0
        pid = self.lab.detach(host, argv, log)

        def active() -> bool | None:
            if not self.lab.space(host).path(f"/proc/{pid}").exists():
                raise NotSoError(f"{host}: {' '.join(argv)} ended:\n{self.printed(host, before)}")
            return self.is_active(host)

        eventually(active, f"{host} is active after {argv[1]}")
        return self.printed(host, before)

    def printed(self, host: str, since: int = 0) -> str:
        """Return what the daemon of a host wrote, from a place in its log on."""
        with self.lab.log_path(host).open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    def is_active(self, host: str) -> bool:
        """Tell whether a host's own daemon says that its host is active."""
        try:
            cluster = self.api(host, "GET", CLUSTER).body
            own = next(each for each in cluster["members"] if each["nodeId"] == cluster["nodeId"])
            if not own.get("hostId") or cluster.get("staleSince") or not cluster.get("leader"):
                return False
            row = self.api(host, "GET", f"/v1/hosts/{own['hostId']}").body
            return bool(row["state"] == row["agentState"] == "active")
        except (OSError, KeyError, TypeError, StopIteration, LabError):
            return False

    def kill(self, host: str) -> None:
        """SIGKILL a host's daemon and wait until it is gone."""
        self.end(host, signal.SIGKILL)

    def end(self, host: str, number: signal.Signals = signal.SIGTERM) -> float:
        """Signal a host's daemon and wait until it is gone; return the seconds that took."""
        started_at = time.monotonic()
        found = self.lab.signal_daemon(host, number)
        if not found:
            raise LabError(f"{host}: no daemon runs there")
        eventually(lambda: not any(map(procs.is_alive, found)), f"{host}'s daemon is gone")
        return time.monotonic() - started_at

    # Asking

    def api(self, host: str, method: str, path: str, body: object = None) -> Answer:
        """Ask a host's API over its socket, as its root."""
        return ask(str(self.lab.space(host).path("/run/corral/api.sock")), method, path, body)

    def cluster(self, host: str) -> Json:
        """Return the cluster as a host's daemon sees it."""
        found: Json = self.api(host, "GET", CLUSTER).body
        return found

    def leader(self, *hosts: str) -> str:
        """Return the host that leads, as soon as one does that these hosts agree on."""

        def look() -> str | None:
            seen = [self.cluster(host) for host in hosts or self.lab.hosts()]
            names = {
                next((m["hostName"] for m in each["members"] if m["nodeId"] == each["leader"]), None) for each in seen
            }
            return names.pop() if len(names) == 1 else None

        return eventually(look, "one host leads")

    def rows(self, host: str, kind: str, environment: str = "1a5") -> list[Json]:
        """Return the live rows of one kind in an environment."""
        answer = self.api(host, "GET", f"/v1/projects/{environment}/{kind}?limit=1000")
        return [row for row in answer.body["data"] if row["state"] not in ("removed", "purged", "removing")]

    def node(self, host: str, *argv: str, check: bool = True, timeout: float = 150) -> str:
        """Run a command of Corral's on a host; return what it printed to standard output."""
        return self.lab.exec(host, ["node", *argv], check=check, timeout=timeout).stdout

    # Containers

    def find(self, name: str, environment: str = "1a5", *, ask_host: str = "h1") -> Json:
        """Return a container by its name, as soon as it runs."""

        def look() -> Json | None:
            rows = self.rows(ask_host, "containers", environment)
            return next((row for row in rows if row["name"] == name and row["state"] == "running"), None)

        return eventually(look, f"container {name} runs")

    def host_of(self, row: Json, *, ask_host: str = "h1") -> str:
        """Return the host of a container."""
        found = self.api(ask_host, "GET", f"/v1/hosts/{row['hostId']}").body
        return str(found["name"] or found["hostname"])

    def inside(
        self, host: str, name: str, *argv: str, check: bool = True, timeout: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in one of the cluster's containers, by its name there."""
        return self.lab.exec(host, ["docker", "exec", f"r-{name}", *argv], check=check, timeout=timeout)

    def docker_names(self, host: str, *, running: bool = True) -> list[str]:
        """Return the names of a host's containers as Docker has them."""
        every = [] if running else ["--all"]
        return sorted(self.lab.exec(host, ["docker", "ps", *every, "--format", "{{.Names}}"]).stdout.split())

    def addresses(self, host: str, name: str, asked: str) -> set[str]:
        """Return the addresses that a name has for a container; none where it has none."""
        said = self.inside(host, name, "nslookup", asked, check=False).stdout
        answers = said.partition("\n\n")[2]
        return {line.split()[1] for line in answers.splitlines() if line.startswith("Address: ")}


def check_program(lab: Lab, host: str) -> None:
    """Refuse to go on where `node` on a host is another program of that name."""
    said = lab.exec(host, ["node", "version", "--url", "http://127.0.0.1:9"], check=False).stdout
    if not said.startswith("client"):
        raise LabError("`node` on the hosts is not Corral's: `. scripts/_venv` installs it into .venv/bin")
