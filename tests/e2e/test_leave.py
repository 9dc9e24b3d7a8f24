"""A host that joins, works and leaves: nothing of it remains there, and what is not the cluster's is left alone."""

from collections.abc import Iterator

import pytest

from scripts.demolib.cluster import Cluster, eventually
from tests.e2e.day import NGINX_1, SPARE, Day
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e


@pytest.fixture
def spare(day: Day) -> Iterator[Cluster]:
    """The cluster, with nobody on the spare host before and afterwards."""
    yield day.cluster
    if day.lab.daemons(SPARE):
        day.cluster.node(SPARE, "leave", "--force", "--yes", check=False)


def alive(cluster: Cluster) -> set[str]:
    return {m["hostName"] for m in cluster.cluster("h1")["members"] if m["status"] in ("alive", "suspect")}


def test_leaving_removes_all_trace_and_nothing_else(spare: Cluster) -> None:
    lab = spare.lab
    lab.exec(SPARE, ["docker", "run", "-d", "--name", "foreign", "busybox", "pause"])
    before = traces(spare.lab, SPARE)
    token = spare.node("h1", "token", "create", "--env", "dev", "-q").strip()
    spare.join(SPARE, "h3", token)
    spare.node("h1", "container", "create", "visitor", "corral-test/glibc", "--host", SPARE, "-q")
    assert "r-visitor" in spare.docker_names(SPARE)
    assert " 0% packet loss" in spare.inside(SPARE, "visitor", "ping", "-c", "1", NGINX_1).stdout
    while_member = traces(spare.lab, SPARE)
    assert "link corral0" in while_member
    assert "link corral-wg" in while_member
    said = spare.node(SPARE, "leave", "--yes")
    assert f"{SPARE} has left" in said
    eventually(lambda: not lab.daemons(SPARE), "its daemon has ended")
    assert traces(spare.lab, SPARE) == before
    lab.exec(SPARE, ["docker", "rm", "-f", "foreign"])
    eventually(lambda: SPARE not in {row["name"] for row in spare.rows("h1", "hosts")}, "the others have forgotten it")
    eventually(lambda: SPARE not in alive(spare), "gossip no longer counts on it")
    eventually(lambda: len(spare.cluster("h1")["voters"]) == 3, "three voters remain")


def test_last_host_leaves_only_by_force_and_without_a_trace(spare: Cluster) -> None:
    before = traces(spare.lab, SPARE)
    spare.start(SPARE)
    refused = spare.lab.exec(SPARE, ["node", "leave", "--yes"], check=False)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert spare.is_active(SPARE)
    spare.node(SPARE, "leave", "--force", "--yes")
    eventually(lambda: not spare.lab.daemons(SPARE), "its daemon has ended")
    assert traces(spare.lab, SPARE) == before


def test_host_that_left_can_join_again(spare: Cluster) -> None:
    for _ in range(2):
        token = spare.node("h1", "token", "create", "--env", "test", "-q").strip()
        spare.join(SPARE, "h1", token)
        assert spare.node(SPARE, "host", "ls", "--env", "test", "--format", "{{.name}}").split() == ["h3", SPARE]
        spare.node(SPARE, "leave", "--yes")
        eventually(lambda: not spare.lab.daemons(SPARE), "its daemon has ended")
