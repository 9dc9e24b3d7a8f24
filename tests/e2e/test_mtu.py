"""The underlay's MTU changes while containers are attached: they go on talking, and new ones get the new MTU."""

import json
from collections.abc import Iterator

import pytest

from scripts.demolib.cluster import Cluster, eventually
from tests.e2e.day import GLIBC, MEMBERS, SPARE, Day

pytestmark = pytest.mark.e2e

SMALL = 1300
SIZE = 400_000
"""Bytes: enough that segments as large as the path is thought to carry are sent."""
PORT = 7000
SERVE = f"""
import socket
with socket.create_server(("", {PORT})) as listener:
    print("ready", flush=True)
    while True:
        stream, _ = listener.accept()
        with stream:
            stream.settimeout(60)
            got = 0
            while got < {SIZE} and (part := stream.recv(65536)):
                got += len(part)
            stream.sendall(bytes({SIZE}))
"""
FETCH = f"""
import socket, sys
with socket.create_connection((sys.argv[1], {PORT}), timeout=60) as stream:
    stream.sendall(bytes({SIZE}))
    got = 0
    while part := stream.recv(65536):
        got += len(part)
print(got)
"""


@pytest.fixture
def spare(day: Day) -> Iterator[Cluster]:
    """The cluster, the spare host a member of it; nobody is on it afterwards, and the network is as it was."""
    cluster = day.cluster
    cluster.join(SPARE, "h1", cluster.node("h1", "token", "create", "--env", "dev", "-q").strip())
    yield cluster
    set_mtu(cluster, 1500)
    cluster.node(SPARE, "leave", "--force", "--yes")
    eventually(lambda: SPARE not in {row["name"] for row in cluster.rows("h1", "hosts")}, "the host is forgotten")


def set_mtu(cluster: Cluster, mtu: int) -> None:
    """Change what the network between the hosts carries; on one host alone it would be a mistake, not a network."""
    for host in (*MEMBERS, SPARE):
        cluster.lab.exec(host, ["ip", "link", "set", "eth0", "mtu", str(mtu)])


def mtu_of(cluster: Cluster, link: str) -> int:
    return int(json.loads(cluster.lab.exec(SPARE, ["ip", "-j", "link", "show", link]).stdout)[0]["mtu"])


def network_mtu(cluster: Cluster) -> int:
    shape = '{{index .Options "com.docker.network.driver.mtu"}}'
    return int(cluster.lab.exec(SPARE, ["docker", "network", "inspect", "-f", shape, "corral"]).stdout)


def within(cluster: Cluster, host: str, name: str, program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program in the network of a container."""
    pid = cluster.lab.exec(host, ["docker", "inspect", "-f", "{{.State.Pid}}", f"r-{name}"]).stdout.strip()
    return ["nsenter", "-t", pid, "-n", "python3", "-c", program, *arguments]


def check_exchange(cluster: Cluster, source: tuple[str, str], target: tuple[str, str]) -> None:
    """A container sends much to another, which sends as much back."""
    log = cluster.lab.log_path(target[0], "serve")
    log.unlink(missing_ok=True)
    server = cluster.lab.spawn(target[0], within(cluster, *target, SERVE), log)
    try:
        eventually(lambda: "ready" in server.output(), "the container listens")
        address = cluster.find(target[1])["primaryIpAddress"]
        said = cluster.lab.exec(source[0], within(cluster, *source, FETCH, address), timeout=90).stdout
        assert int(said) == SIZE
    finally:
        server.kill()
        server.wait(10)


def test_containers_talk_on_when_the_underlay_carries_less_and_new_ones_are_made_to_fit(
    day: Day, spare: Cluster
) -> None:
    spare.node("h1", "container", "create", "visitor", "corral-test/glibc", "--host", SPARE, "-q")
    there = (day.host_of[GLIBC], GLIBC)
    before = mtu_of(spare, "corral-wg")
    check_exchange(spare, (SPARE, "visitor"), there)
    identity = spare.lab.exec(SPARE, ["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "r-visitor"]).stdout
    set_mtu(spare, SMALL)
    eventually(lambda: mtu_of(spare, "corral-wg") == before - (1500 - SMALL), "the tunnel fits through")
    check_exchange(spare, (SPARE, "visitor"), there)
    check_exchange(spare, there, (SPARE, "visitor"))
    # Nobody's container is taken from him for the sake of a few bytes.
    now = spare.lab.exec(SPARE, ["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", "r-visitor"]).stdout
    assert now == identity
    assert "it is replaced once no container is left on it" in spare.printed(SPARE)
    spare.node("h1", "container", "rm", "visitor", "-q")
    eventually(lambda: network_mtu(spare) == mtu_of(spare, "corral-wg"), "the network is made anew", timeout=120)
    spare.node("h1", "container", "create", "visitor2", "corral-test/glibc", "--host", SPARE, "-q")
    inside = int(spare.inside(SPARE, "visitor2", "cat", "/sys/class/net/eth0/mtu").stdout)
    assert inside == mtu_of(spare, "corral-wg")
    check_exchange(spare, (SPARE, "visitor2"), there)
    spare.node("h1", "container", "rm", "visitor2", "-q")
