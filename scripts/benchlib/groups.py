"""Two groups of three lab hosts that keep writes, Corral's and etcd's, behind one face for the same trials.

Clients stand on the hosts and talk to their own host's member, so that a cable that is cut is not the client's.
"""

import base64
import http.client
import json
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scripts.benchlib.watch import enter, run_inside
from scripts.benchlib.writers import PATIENCE, Put
from scripts.demolib.api import ask
from scripts.demolib.cluster import Cluster, eventually
from scripts.lablib import Lab
from scripts.lablib.lab import Process

T = TypeVar("T")
HOSTS = ("h1", "h2", "h3")
STACKS = "/v1/projects/1a5/environments"
CLIENT_PORT, PEER_PORT = 2379, 2380
ETCD_DATA = "/var/lib/bench-etcd"


class Group(Protocol):
    """Three members, one of which leads."""

    def leader(self) -> str:
        """Return the host that all members say leads, as soon as they do."""

    def client(self, host: str) -> Callable[[], Put]:
        """Return what makes a client of this host's member."""

    def send(self, host: str, number: signal.Signals) -> None:
        """Signal a member, and return at once."""

    def start(self, host: str) -> None:
        """Start the member that was ended, and wait until it takes part."""

    def names(self, host: str) -> set[str]:
        """Return what a member has."""


class CorralGroup:
    """Corral's daemons, which exist already; a write is a stack made through the API."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def leader(self) -> str:
        return self._cluster.leader(*HOSTS)

    def client(self, host: str) -> Callable[[], Put]:
        socket = self._socket(host)

        def put(name: str) -> bool:
            return ask(socket, "POST", STACKS, {"name": name}, timeout=PATIENCE).status == 201

        return lambda: put

    def send(self, host: str, number: signal.Signals) -> None:
        self._cluster.lab.signal_daemon(host, number)

    def start(self, host: str) -> None:
        eventually(lambda: not self._cluster.lab.daemons(host), f"{host}'s daemon is gone")
        self._cluster.start(host)

    def names(self, host: str) -> set[str]:
        return {row["name"] for row in ask(self._socket(host), "GET", f"{STACKS}?limit=-1").body["data"]}

    def _socket(self, host: str) -> str:
        return str(self._cluster.lab.space(host).path("/run/corral/api.sock"))


class EtcdGroup:
    """etcd with its defaults, on the same hosts and disks; a write is a key put through its gateway."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._members: dict[str, Process] = {}
        for host in HOSTS:
            self._launch(host)
        for host in HOSTS:
            self._wait(host)

    def close(self) -> None:
        """End the members."""
        for member in self._members.values():
            member.kill()
            member.wait()

    def leader(self) -> str:
        def look() -> str | None:
            said = {host: self._inside(host, status) for host in HOSTS}
            leaders = {each.get("leader") for each in said.values()}
            return next(
                (host for host, each in said.items() if leaders == {each["header"]["member_id"]}),
                None,
            )

        return eventually(look, "etcd has a leader")

    def client(self, host: str) -> Callable[[], Put]:
        network = self._network(host)

        def make() -> Put:
            enter(network)
            return put_key

        return make

    def send(self, host: str, number: signal.Signals) -> None:
        self._members[host].send_signal(number)

    def start(self, host: str) -> None:
        self._members[host].wait()
        self._launch(host)
        self._wait(host)

    def names(self, host: str) -> set[str]:
        # From a member's own copy; all keys: from the zero byte on.
        asked = {"key": "AA==", "range_end": "AA==", "serializable": True, "keys_only": True}
        found = self._inside(host, lambda: post("/v3/kv/range", asked, timeout=10))
        return {base64.b64decode(each["key"]).decode() for each in found.get("kvs", ())}

    def _launch(self, host: str) -> None:
        peers = {each: f"http://{self._lab.address(each)}:{PEER_PORT}" for each in HOSTS}
        client = f"http://127.0.0.1:{CLIENT_PORT}"
        argv = ["etcd", "--name", host, "--data-dir", ETCD_DATA, "--log-level", "error", "--logger", "zap"]
        argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
        argv += ["--listen-peer-urls", peers[host], "--initial-advertise-peer-urls", peers[host]]
        argv += ["--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items())]
        self._members[host] = self._lab.spawn(host, argv)

    def _wait(self, host: str) -> None:
        eventually(lambda: bool(self._inside(host, status).get("leader")), f"etcd on {host} follows a leader")

    def _network(self, host: str) -> Path:
        return Path(f"/proc/{self._lab.space(host).holder}/ns/net")

    def _inside(self, host: str, work: Callable[[], T]) -> T:
        return run_inside(self._network(host), work)


def status() -> dict[str, Any]:
    """Return what etcd at this thread's own loopback address says of itself."""
    return post("/v3/maintenance/status", {})


def put_key(name: str) -> bool:
    """Put a key at this thread's own loopback address."""
    key = base64.b64encode(name.encode()).decode()
    return "header" in post("/v3/kv/put", {"key": key, "value": key})


def post(path: str, body: object, *, timeout: float = PATIENCE) -> dict[str, Any]:
    """Ask etcd's gateway; what is no answer of it is an OSError."""
    connection = http.client.HTTPConnection("127.0.0.1", CLIENT_PORT, timeout=timeout)
    try:
        connection.request("POST", path, json.dumps(body))
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"etcd: {error}") from None
    finally:
        connection.close()
    return found


def missing(group: Group, wanted: set[str]) -> dict[str, set[str]]:
    """Return which of the acknowledged names each member lacks, once it had time to catch up."""
    return {host: lost for host in HOSTS if (lost := _still_missing(group, host, wanted))}


def _still_missing(group: Group, host: str, wanted: set[str]) -> set[str]:
    give_up_at = time.monotonic() + 20
    while (lost := wanted - group.names(host)) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return lost


def others(host: str) -> Sequence[str]:
    """Return the hosts that survive this one."""
    return [each for each in HOSTS if each != host]
