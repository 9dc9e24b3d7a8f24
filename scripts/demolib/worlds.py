"""The two worlds a play can be given in: lab hosts with real engines, and processes on loopback addresses."""

import os
import subprocess
import tempfile
from pathlib import Path

from scripts.demolib.api import Answer, ask
from scripts.demolib.cluster import Cluster, check_program
from scripts.lablib import Lab
from scripts.lablib.layout import REPO
from scripts.lightlib import LightCluster, LightNode

HOSTS = ("h1", "h2", "h3")


class LabWorld:
    """Three lab hosts."""

    has_kernel = True

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.cluster = Cluster(lab)

    def open(self) -> None:
        """Bring the hosts up, anew."""
        self.lab.down()
        self.lab.up(len(HOSTS))
        check_program(self.lab, HOSTS[0])

    def close(self) -> None:
        """Leave nothing behind."""
        self.lab.down()

    def entrance(self) -> str:
        """Return how to look around in a world that is kept."""
        lab = f"scripts/lab --name {self.lab.layout.name}"
        return f"{lab} exec h1 bash    a shell on h1 (h2, h3)\n{lab} down            end of it"

    def run(self, host: str, line: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run one line at a host's shell."""
        return self.lab.exec(host, ["sh", "-c", line], check=False, timeout=timeout)

    def launch(self, host: str, line: str) -> str:
        """Start a daemon."""
        return self.cluster.launch(host, line.split())

    def own_flags(self, host: str, *, first: bool) -> str:
        """Return nothing: all defaults are right."""
        del host, first
        return ""

    def url(self, host: str) -> str:
        """Return the URL of a host's API."""
        return f"http://{host}:8080"

    def api(self, host: str, method: str, path: str, body: object = None) -> Answer:
        """Ask a host's API as its root."""
        return self.cluster.api(host, method, path, body)

    def daemon(self, host: str) -> int:
        """Return the daemon's PID as the host counts."""
        status = Path(f"/proc/{self.cluster.lab.daemons(host)[0]}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("NSpid")).split()[-1])

    def names_at(self, host: str) -> str:
        """Return where a host's names are asked for."""
        del host
        return "169.254.169.250:53"


class LightWorld:
    """Three daemons of this machine, with the engine in memory."""

    has_kernel = False

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="corral-demo-")) if folder is None else folder
        self._processes = LightCluster(self._folder, network="127.0.0")
        self._nodes: dict[str, LightNode] = {}

    def open(self) -> None:
        """Choose addresses and ports."""
        for host in HOSTS:
            self._nodes[host] = self._processes.host(host)
            (self._nodes[host].folder / "home").mkdir()

    def close(self) -> None:
        """End every process and remove the folder."""
        self._processes.close()
        subprocess.run(["rm", "-rf", "--", str(self._folder)], check=True)

    def entrance(self) -> str:
        """Return how to look around in a world that is kept."""
        lines = [f"{host}: export CORRAL_SOCKET={node.run}/api.sock" for host, node in self._nodes.items()]
        return "\n".join([*lines, "end of it: stop the three processes `python -m node.daemon`, remove the folder"])

    def run(self, host: str, line: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run one line at what stands for a host's shell: its variables are the host's."""
        return subprocess.run(
            ["sh", "-c", line],
            env=self._environment(host),
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def launch(self, host: str, line: str) -> str:
        """Start a daemon."""
        node = self._nodes[host]
        self._processes.launch(node, line.split()[1:])
        self._processes.wait_active(node)
        return node.log() + (node.folder / "out").read_text()

    def own_flags(self, host: str, *, first: bool) -> str:
        """Return what tells this host's daemon from the others on the same machine."""
        node = self._nodes[host]
        return " ".join(node.flags() if first else node.place_flags())

    def url(self, host: str) -> str:
        """Return the URL of a host's API."""
        return self._nodes[host].url

    def api(self, host: str, method: str, path: str, body: object = None) -> Answer:
        """Ask a host's API as its root."""
        return ask(str(self._nodes[host].run / "api.sock"), method, path, body)

    def daemon(self, host: str) -> int:
        """Return the daemon's PID."""
        return self._nodes[host].pid

    def names_at(self, host: str) -> str:
        """Return where a host's names are asked for."""
        return f"{self._nodes[host].address}:{self._nodes[host].dns_port}"

    def _environment(self, host: str) -> dict[str, str]:
        node = self._nodes[host]
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("CORRAL_", "RANCHER_"))}
        front = os.environ.get("LAB_PATH", str(REPO / ".venv" / "bin"))
        home = str(node.folder / "home")
        socket = str(node.run / "api.sock")
        return {**ours, "PATH": f"{front}:{ours.get('PATH', '')}", "HOME": home, "CORRAL_SOCKET": socket}
