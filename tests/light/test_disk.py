"""A disk that fails under a running daemon: what it knew it goes on answering, and it comes back without a restart."""

import os
import resource
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from scripts.lightlib.cluster import LightCluster, LightNode, eventually, run_node
from scripts.lightlib.failover import STACKS

DISK_MB = 300
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root may give a process a small disk of its own"
)


def stacks(node: LightNode) -> set[str]:
    return {row["name"] for row in node.ask("GET", f"{STACKS}?limit=-1").body["data"]}


def alarms(node: LightNode) -> list[str]:
    return [str(each) for each in (node.cluster() or {}).get("alarms", ())]


def fill_up_with_stacks(node: LightNode, prefix: str) -> tuple[list[str], str]:
    """Make stacks until one is refused; return those acknowledged, and what was said of the other."""
    acknowledged: list[str] = []
    for number in range(400):
        answer = node.ask("POST", STACKS, {"name": f"{prefix}-{number}", "description": "x" * 1000})
        if answer.status != 201:
            assert answer.status == 503, answer
            return acknowledged, str(answer.body["detail"])
        acknowledged.append(f"{prefix}-{number}")
    raise AssertionError("the disk did not fill up")


def answers_names(node: LightNode) -> bool:
    """Ask the DNS server for the address of a name that nobody has."""
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07nothing\x07rancher\x08internal\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        with suppress(OSError):
            sock.sendto(question, (node.address, node.dns_port))
            return sock.recv(512)[:2] == question[:2]
    return False


@contextmanager
def short_files(node: LightNode) -> Iterator[None]:
    """Have the system refuse longer files to a daemon: to it an error of the disk."""
    wal = node.data / "state.db-wal"
    eventually(wal.exists, "there is a write-ahead log")
    soft, hard = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    room = max(wal.stat().st_size, len(node.log())) + 64 * 1024
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_error_of_the_disk_leaves_reads_and_names_and_ends_without_a_restart(light: LightCluster) -> None:
    (node,) = light.make(1)
    with short_files(node):
        acknowledged, why = fill_up_with_stacks(node, "full")
        assert acknowledged
        assert "state.db" in why
        assert "make room" in why
        assert set(acknowledged) <= stacks(node)
        eventually(lambda: answers_names(node), "names are answered")
        assert "make room" in alarms(node)[0]
        shown = run_node("status", "--socket", str(node.run / "api.sock"))
        assert "!! THE DISK FAILS" in shown.out, shown
        assert "make room" in node.log()
        answer = node.ask("POST", STACKS, {"name": "not-now"})
        assert (answer.status, node.is_running()) == (503, True)
    eventually(lambda: not alarms(node), "the disk works again")
    eventually(lambda: node.ask("POST", STACKS, {"name": "after"}).status == 201, "changes work again")
    assert {*acknowledged, "after"} <= stacks(node)
    assert "not-now" not in stacks(node)
    light.kill(node)
    light.start(node)
    assert {*acknowledged, "after"} <= stacks(node)


def on_a_small_disk(node: LightNode) -> Sequence[str]:
    """Give a host's program a disk of its own, which ends with it."""
    node.data.mkdir(parents=True)
    script = f'mount -t tmpfs -o size={DISK_MB}m none "$0" && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", script, str(node.data))


def disk_of(node: LightNode) -> Path:
    """Return where the disk that only the daemon sees can be reached from here."""
    return Path(f"/proc/{node.pid}/root{node.data}")


@contextmanager
def full(node: LightNode) -> Iterator[None]:
    ballast = disk_of(node) / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(64 * 1024)):
            pass
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    try:
        yield
    finally:
        ballast.unlink()


@needs_root
@pytest.mark.parametrize("leads", [False, True])
def test_cluster_goes_on_when_the_disk_of_one_voter_is_full(light: LightCluster, leads: bool) -> None:
    first = light.found()
    second, small = light.join(), light.join(within=on_a_small_disk)
    eventually(lambda: len((first.cluster() or {}).get("voters", ())) == 3, "all vote")
    if leads:
        make_lead(light, small)
    with full(small):
        written = []
        for number in range(200):
            node = (first, second)[number % 2]
            answer = node.ask("POST", STACKS, {"name": f"on-{number}", "description": "x" * 1000}, timeout=30)
            assert answer.status == 201, answer
            written.append(f"on-{number}")
        eventually(lambda: bool(alarms(small)), "the host says that its disk is full")
        assert small.ask("GET", f"{STACKS}?limit=-1").status == 200
        eventually(lambda: answers_names(small), "names are answered")
        refused = small.ask("POST", STACKS, {"name": "here"})
        assert refused.status == 503
        assert "full" in refused.body["detail"]
        assert "here" not in stacks(first)
    eventually(lambda: not alarms(small), "the disk works again")
    eventually(lambda: set(written) <= stacks(small), "it has caught up")
    assert small.ask("POST", STACKS, {"name": "after"}).status == 201
    assert small.is_running()


def make_lead(light: LightCluster, wanted: LightNode) -> None:
    """Stop the others' daemons for a moment, one after the other, until `wanted` leads."""
    for _ in range(20):
        leader = light.leader()
        if leader is wanted:
            return
        light.stop(leader)
        light.leader(among=[node for node in light.nodes if node is not leader])
        light.start(leader)
    raise AssertionError(f"{wanted.name} does not get to lead")
