"""Stops, kills, damage and full disks: a node ends with words, and comes back with all that was acknowledged."""

import resource
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.lightlib.cluster import PATIENCE, LightCluster, LightNode, Ran, run_node
from tests.light.conftest import says

STACKS = "/v1/projects/1a5/environments"
BOUND = 10.0
SLACK = 20.0
"""For a machine that others use too."""


@pytest.fixture
def stopped(cluster: LightCluster) -> LightNode:
    """The cluster's host, at rest; started again by whoever wants it so."""
    node = cluster.nodes[0]
    if node.is_running():
        assert cluster.stop(node) == 0
    return node


def start_and_end(cluster: LightCluster, node: LightNode) -> Ran:
    """Start a daemon that is going to refuse, and return how it did."""
    cluster.start(node, wait=False)
    assert node.process is not None
    code = node.process.wait(PATIENCE)
    return Ran(code, "", node.log())


def stacks(node: LightNode) -> set[str]:
    return {row["name"] for row in node.ask("GET", f"{STACKS}?limit=-1").body["data"]}


def identity_of(node: LightNode) -> tuple[str, str]:
    cluster = node.cluster()
    return cluster["uuid"], cluster["nodeId"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_node_ends_within_ten_seconds_when_told_to(
    cluster: LightCluster, stopped: LightNode, number: signal.Signals
) -> None:
    cluster.start(stopped)
    # A client that keeps its connection open and one in the middle of a request hold nothing up for long.
    with (
        socket.create_connection((stopped.address, stopped.api_port)) as idle,
        socket.create_connection((stopped.address, stopped.api_port)) as slow,
        socket.create_connection((stopped.address, stopped.peer_port)),
    ):
        idle.sendall(b"GET /v1 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert idle.recv(100)
        slow.sendall(b"POST /v1/projects HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert cluster.stop(stopped, number) == 0
    assert time.monotonic() - began < BOUND + SLACK
    assert "stopping" in stopped.log()
    assert "Traceback" not in stopped.log()
    assert not (stopped.run / "api.sock").exists()


def test_node_told_to_stop_while_it_starts_ends_cleanly(cluster: LightCluster, stopped: LightNode) -> None:
    for wait in (0.4, 0.7, 1.0):
        cluster.start(stopped, wait=False)
        time.sleep(wait)
        code = cluster.stop(stopped)
        # Before any code of ours runs, the signal itself ends it.
        assert code in (0, -signal.SIGTERM), stopped.log()
        assert "Traceback" not in stopped.log()


def test_killed_node_comes_back_as_itself_with_what_was_acknowledged(cluster: LightCluster, stopped: LightNode) -> None:
    cluster.start(stopped)
    before = identity_of(stopped)
    for number in range(3):
        name = f"kept-{number}"
        assert stopped.ask("POST", STACKS, {"name": name}).status == 201
        cluster.kill(stopped)
        began = time.monotonic()
        cluster.start(stopped)
        assert time.monotonic() - began < BOUND + SLACK
        assert name in stacks(stopped)
    assert identity_of(stopped) == before


def test_second_daemon_on_a_folder_is_refused_and_the_first_goes_on(cluster: LightCluster, stopped: LightNode) -> None:
    cluster.start(stopped)
    ran = run_node("start", *stopped.place_flags())
    says(ran, 1, "a node runs on this folder already", "stop it first", "node status")
    assert stopped.is_running()
    assert stopped.ask("GET", "/v1").status == 200


@pytest.mark.parametrize(("what", "kind"), [("API", "TCP"), ("peer", "TCP"), ("peer", "UDP")])
def test_member_whose_port_is_taken_names_it(cluster: LightCluster, stopped: LightNode, what: str, kind: str) -> None:
    port = stopped.api_port if what == "API" else stopped.peer_port
    with socket.socket(type=socket.SOCK_STREAM if kind == "TCP" else socket.SOCK_DGRAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind == "TCP")
        holder.bind((stopped.address, port))
        if kind == "TCP":
            holder.listen()
        ran = start_and_end(cluster, stopped)
    says(ran, 1, f"{what} port {kind} {stopped.address}:{port} is in use", f"sport = :{port}", "start again")


def test_member_told_to_bind_an_address_that_is_not_its_own_says_so(cluster: LightCluster, stopped: LightNode) -> None:
    flags = [flag.replace(stopped.address, "198.51.100.1") for flag in stopped.place_flags()]
    says(run_node("start", *flags), 1, "198.51.100.1", "this host has no such address", "--bind")


def cut(path: Path, keep: int) -> None:
    with path.open("r+b") as file:
        file.truncate(keep)


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


def flip_in_a_record(path: Path) -> None:
    """Change a byte of the newest log entry that names the founder's address."""
    flip(path, path.read_bytes().rindex(b"127.0.4.1"))


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "identity flipped": ("identity", lambda path: flip(path, 200)),
    "identity cut": ("identity", lambda path: cut(path, 100)),
    "identity emptied": ("identity", lambda path: cut(path, 0)),
    "log flipped in its first page": ("state.db", lambda path: flip(path, 30)),
    "log flipped in a record": ("state.db", flip_in_a_record),
    "log cut in half": ("state.db", lambda path: cut(path, path.stat().st_size // 2)),
    "log emptied": ("state.db", lambda path: cut(path, 0)),
    "log lost": ("state.db", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_named_and_left_as_it_is(cluster: LightCluster, stopped: LightNode, damage: str) -> None:
    name, spoil = DAMAGE[damage]
    path = stopped.data / name
    whole = path.read_bytes()
    spoil(path)
    before = contents(stopped.data)
    try:
        ran = start_and_end(cluster, stopped)
        says(ran, 1, str(path), "move the folder away")
        after = contents(stopped.data)
        # Looking at the log leaves SQLite's own helpers behind; what we wrote is as it was.
        for each in ("identity", "node.pem", "state.db"):
            assert after.get(each) == before.get(each), each
    finally:
        for helper in stopped.data.glob("state.db-*"):
            helper.unlink()
        path.write_bytes(whole)


def test_copy_of_the_key_that_is_damaged_is_made_again(cluster: LightCluster, stopped: LightNode) -> None:
    cut(stopped.data / "node.pem", 50)
    cluster.start(stopped)
    assert stopped.ask("GET", "/v1").status == 200


def test_folder_of_nobody_says_what_to_do(tmp_path: Path) -> None:
    ran = run_node("status", "--data-dir", str(tmp_path), "--socket", str(tmp_path / "none.sock"))
    says(ran, 1, "no node runs on this host", "start", "join")


def test_node_may_open_more_files_than_a_shell_allows(cluster: LightCluster, stopped: LightNode) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        cluster.start(stopped)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(stopped.pid, resource.RLIMIT_NOFILE)[0] == min(65536, hard)
