"""A cluster of daemons on loopback addresses of this machine; everything of it lies in one folder and ends with it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0
"""How long anything may take that is waited for; far more than it takes, since the machine may be busy."""
LOWEST_PORT, HIGHEST_PORT = 20_000, 32_000
ACTIVE = "this host is active"
CLUSTER = "/v1/clusters/cluster"

T = TypeVar("T")


class NotSoError(AssertionError):
    """Something did not become true in time."""


def eventually(look: Callable[[], T | None], what: str, *, timeout: float = PATIENCE, step: float = 0.05) -> T:
    """Return what `look` returns once that is true; NotSoError with `what` when it does not become so."""
    give_up_at = time.monotonic() + timeout
    while True:
        if found := look():
            return found
        if time.monotonic() > give_up_at:
            raise NotSoError(f"not within {timeout:g} s: {what}")
        time.sleep(step)


def free_port(address: str) -> int:
    """Return a port that nobody holds on `address`, TCP and UDP.

    Below those that the kernel draws for outgoing connections: one of them may be taken at any moment.
    """
    while True:
        port = SystemRandom().randrange(LOWEST_PORT, HIGHEST_PORT)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
            suppress(OSError),
        ):
            tcp.bind((address, port))
            udp.bind((address, port))
            return port


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclass(slots=True, eq=False)
class LightNode:
    """One host: its flags, and its daemon while it runs."""

    name: str
    address: str
    folder: Path
    api_port: int
    peer_port: int
    dns_port: int
    process: "subprocess.Popen[bytes] | None" = None
    logs: list[Path] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.api_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def place_flags(self) -> list[str]:
        """Return what every start needs."""
        flags = ["--engine", "memory", "--bind", self.address, "--data-dir", str(self.data), "--run-dir", str(self.run)]
        return [*flags, "--dns-listen", f"{self.address}:{self.dns_port}"]

    def flags(self) -> list[str]:
        """Return what the first start needs."""
        chosen = ["--name", self.name, "--advertise", self.address]
        return [*chosen, "--api-port", str(self.api_port), "--peer-port", str(self.peer_port), *self.place_flags()]

    def log(self) -> str:
        """Return what the present or last daemon has written."""
        return self.logs[-1].read_text(errors="replace") if self.logs else ""

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        timeout: float = 15.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Send one request to this node's API; OSError where it breaks."""
        connection = http.client.HTTPConnection(self.address, self.api_port, timeout=timeout)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        own = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            connection.request(method, path, content, {**own, **headers})
            answer = connection.getresponse()
            raw = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{self.name}: {error!r}") from error
        finally:
            connection.close()
        return Answer(answer.status, json.loads(raw) if raw else None)

    def cluster(self) -> Any:
        """Return this node's picture of the cluster; None where it gives none."""
        with suppress(OSError):
            answer = self.ask("GET", CLUSTER, timeout=5)
            return answer.body if answer.status == 200 else None
        return None

    def is_active(self) -> bool:
        return ACTIVE in self.log()

    def resident_kb(self) -> int:
        """Return the daemon's resident memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


class LightCluster:
    """Hosts h1, h2, … in a folder; a context manager that ends all of them."""

    def __init__(self, folder: Path, *, network: str = "127.0.4") -> None:
        self.folder = folder
        self.network = network
        self.nodes: list[LightNode] = []
        self.token = ""
        self.access_key = self.secret_key = ""

    def __enter__(self) -> "LightCluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def host(self, name: str | None = None) -> LightNode:
        """Return a new host, with ports of its own and nothing running."""
        number = len(self.nodes) + 1
        address, name = f"{self.network}.{number}", name or f"h{number}"
        api_port, peer_port, dns_port = (free_port(address) for _ in range(3))
        folder = self.folder / f"h{number}"
        folder.mkdir(parents=True)
        node = LightNode(name, address, folder, api_port, peer_port, dns_port)
        self.nodes.append(node)
        return node

    def found(self, *flags: str) -> LightNode:
        """Make the cluster on a new host, open to everybody unless `flags` say otherwise."""
        node = self.host()
        self.launch(node, ["start", *node.flags(), *(flags or ("--access-control", "none"))])
        self.wait_active(node)
        said = (node.folder / "out").read_text()
        self.token = _search(r"--token (\S+)", said)
        self.access_key, self.secret_key = _search(r"Access key +(\S+)", said), _search(r"Secret key +(\S+)", said)
        return node

    def join(self, name: str | None = None, *, within: Callable[[LightNode], Sequence[str]] | None = None) -> LightNode:
        """Make a new host a member; `within` returns the program that its own is to run in."""
        node = self.host(name)
        words = ["join", self.nodes[0].url, "--token", self.token, *node.flags()]
        self.launch(node, words, within=within(node) if within is not None else ())
        self.wait_active(node)
        return node

    def make(self, hosts: int) -> list[LightNode]:
        """Make a whole cluster whose hosts all vote, three at the most."""
        self.found()
        for _ in range(hosts - 1):
            self.join()
        wanted = min(hosts, 3)
        eventually(
            lambda: all(len((node.cluster() or {}).get("voters", ())) == wanted for node in self.nodes), "all vote"
        )
        return self.nodes

    def launch(
        self,
        node: LightNode,
        words: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """Start a node's program with these words, `within` another one; its output goes to the host's folder."""
        log = node.folder / f"log{len(node.logs)}"
        node.logs.append(log)
        with log.open("wb") as err, (node.folder / "out").open("wb") as out:
            node.process = subprocess.Popen(
                [*within, sys.executable, "-m", "node", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(variables or {})},
            )

    def start(self, node: LightNode, *, wait: bool = True, variables: Mapping[str, str] | None = None) -> None:
        """Start the daemon of a member again."""
        self.launch(node, ["start", *node.place_flags()], variables=variables)
        if wait:
            self.wait_active(node)

    def wait_active(self, node: LightNode) -> None:
        """Wait until a node says that it counts."""

        def look() -> bool | None:
            if not node.is_running():
                raise NotSoError(f"{node.name} ended:\n{node.log()}")
            return node.is_active() or None

        eventually(look, f"{node.name} is active")

    def kill(self, node: LightNode) -> None:
        """End a daemon as a power cut would."""
        assert node.process is not None
        node.process.kill()
        node.process.wait()

    def stop(self, node: LightNode, number: signal.Signals = signal.SIGTERM, *, timeout: float = PATIENCE) -> int:
        """Ask a daemon to end, and return its exit status."""
        assert node.process is not None
        node.process.send_signal(number)
        return node.process.wait(timeout)

    def leader(self, *, among: Sequence[LightNode] | None = None) -> LightNode:
        """Return the host that leads, once one of those running says that it does itself."""

        def look() -> LightNode | None:
            for node in among or self.nodes:
                if node.is_running() and (node.cluster() or {}).get("role") == "leader":
                    return node
            return None

        return eventually(look, "somebody leads")

    def close(self) -> None:
        """End every process of every host, the DNS servers too, which outlive their daemons."""
        for node in self.nodes:
            if node.is_running():
                self.kill(node)
        for _ in range(2):  # A daemon that ends while it starts its server leaves one that is on its way.
            for pid in _servers([node.run / "dns.sock" for node in self.nodes]):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)


def run_node(*words: str, timeout: float = 60.0, variables: dict[str, str] | None = None, stdin: str = "") -> Ran:
    """Run `node WORDS` to its end, with this on its standard input."""
    ended = subprocess.run(
        [sys.executable, "-m", "node", *words],
        cwd=ROOT,
        input=stdin.encode(),
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **(variables or {})},
    )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@contextmanager
def running(*words: str) -> "Iterator[subprocess.Popen[bytes]]":
    """Run `node WORDS` beside the caller, who may interrupt it; it is ended in any case."""
    process = subprocess.Popen(
        [sys.executable, "-m", "node", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _servers(controls: Sequence[Path]) -> list[int]:
    """Return the processes that serve names for the daemons whose control sockets these are."""
    wanted = {str(control).encode() for control in controls}
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                if wanted & set((each / "cmdline").read_bytes().split(b"\0")):
                    found.append(int(each.name))
    return found


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise NotSoError(f"{pattern} is not in:\n{text}")
    return found[1]
