"""A host's disk fills up under its running daemon: its containers and names go on, the cluster too, and so does it."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.demolib.cluster import Cluster, eventually
from scripts.demolib.writer import STACKS
from tests.e2e.day import GLIBC, SPARE, Day
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

SMALL = "300m"
MORE = 60
"""Stacks with long descriptions: more than a full disk still takes."""
FILL = "cat /dev/zero >/var/lib/corral/ballast; true"


@pytest.fixture
def spare(day: Day) -> Iterator[Cluster]:
    """The cluster, with a member whose data lie on a small disk; neither is there afterwards."""
    cluster, before = day.cluster, traces(day.lab, SPARE)
    day.lab.exec(SPARE, ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", "/var/lib/corral"])
    cluster.join(SPARE, "h1", cluster.node("h1", "token", "create", "--env", "dev", "-q").strip())
    yield cluster
    for row in cluster.rows("h1", "environments"):
        if row["name"].startswith("ballast-"):
            cluster.api("h1", "DELETE", f"{STACKS}/{row['id']}")
    cluster.node(SPARE, "leave", "--force", "--yes")
    eventually(lambda: not day.lab.daemons(SPARE), "its daemon has ended")
    day.lab.exec(SPARE, ["umount", "/var/lib/corral"])
    assert traces(day.lab, SPARE) == before


@contextmanager
def full_disk(cluster: Cluster) -> Iterator[None]:
    cluster.lab.exec(SPARE, ["sh", "-c", FILL])
    yield
    cluster.lab.exec(SPARE, ["rm", "-f", "/var/lib/corral/ballast"])


def write(cluster: Cluster, prefix: str) -> set[str]:
    """Make stacks through the leader's own host; all are acknowledged."""
    names = {f"ballast-{prefix}-{number}" for number in range(MORE)}
    for name in sorted(names):
        answer = cluster.api("h1", "POST", STACKS, {"name": name, "description": "x" * 1000})
        assert answer.status == 201, answer.body
    return names


def alarms(cluster: Cluster) -> list[str]:
    return [str(each) for each in cluster.cluster(SPARE).get("alarms", ())]


def knows(cluster: Cluster, host: str, names: set[str]) -> bool:
    return names <= {row["name"] for row in cluster.rows(host, "environments")}


def test_disk_that_fills_up_costs_the_host_its_changes_and_nothing_else(day: Day, spare: Cluster) -> None:
    spare.node("h1", "container", "create", "visitor", "corral-test/glibc", "--host", SPARE, "-q")
    pid = spare.lab.daemons(SPARE)
    target = spare.find(GLIBC)["primaryIpAddress"]
    running = spare.docker_names(SPARE)
    with full_disk(spare):
        written = write(spare, "full")
        eventually(lambda: bool(alarms(spare)), "the host says that its disk is full")
        assert "THE DISK FAILS" in spare.node(SPARE, "status")
        assert knows(spare, "h1", written)
        assert spare.lab.daemons(SPARE) == pid
        assert spare.docker_names(SPARE) == running
        assert spare.inside(SPARE, "visitor", "lookup", GLIBC, "4").stdout.strip() == target
        assert " 0% packet loss" in spare.inside(SPARE, "visitor", "ping", "-c", "1", "-W", "5", GLIBC).stdout
        refused = spare.api(SPARE, "POST", STACKS, {"name": "ballast-here"})
        assert refused.status == 503
        assert "full" in refused.body["detail"] or "room" in refused.body["detail"]
        assert not knows(spare, "h1", {"ballast-here"})
    eventually(lambda: not alarms(spare), "the disk works again")
    eventually(functools.partial(knows, spare, SPARE, written), "it has caught up")
    assert spare.lab.daemons(SPARE) == pid
    spare.node(SPARE, "container", "create", "visitor2", "corral-test/glibc", "--host", SPARE, "-q", "--env", "A=1")
    assert "r-visitor2" in spare.docker_names(SPARE)
    for name in ("visitor", "visitor2"):
        spare.node("h1", "container", "rm", name, "-q")
