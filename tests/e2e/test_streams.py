"""Logs, commands and figures of real containers, wherever they run: asked for on one host, read from another."""

from collections.abc import Iterator

import pytest

from scripts.demolib.cluster import Cluster, eventually
from tests.e2e.day import Day, deploy

pytestmark = pytest.mark.e2e

TALKERS = "talk/er"


@pytest.fixture(scope="module")
def talkers(day: Day) -> Iterator[dict[str, str]]:
    """A service that has said one line on each of the two hosts; host by container."""
    saying = "sh -c 'echo all is well; exec pause'"
    deploy(day.cluster, TALKERS, "corral-test/glibc:latest", "--scale", "2", "--command", saying)
    found = {name: day.cluster.host_of(day.cluster.find(name)) for name in ("talk_er_1", "talk_er_2")}
    assert {*found.values()} == {"h1", "h2"}
    yield found
    day.cluster.node("h1", "stack", "rm", "talk", "-q")


@pytest.mark.parametrize("asked", ["h1", "h2"])
def test_logs_of_a_service_are_merged_over_hosts(cluster: Cluster, talkers: dict[str, str], asked: str) -> None:
    def look() -> bool:
        lines = cluster.node(asked, "logs", TALKERS).splitlines()
        return sorted(line.split()[0].rstrip("|:") for line in lines if "all is well" in line) == sorted(talkers)

    eventually(look, f"{asked} tells what both have said")


@pytest.mark.parametrize("asked", ["h1", "h2"])
def test_command_runs_where_the_container_is_and_its_exit_code_comes_back(
    cluster: Cluster, talkers: dict[str, str], asked: str
) -> None:
    for name, host in talkers.items():
        said = cluster.node(asked, "exec", name, "cat", "/etc/hostname")
        assert said == cluster.inside(host, name, "cat", "/etc/hostname").stdout
        ended = cluster.lab.exec(asked, ["node", "exec", name, "sh", "-c", "echo no >&2; exit 7"], check=False)
        assert ended.returncode == 7, ended.stderr


def test_stats_tell_of_containers_on_both_hosts(cluster: Cluster, talkers: dict[str, str]) -> None:
    table = cluster.node("h2", "stats", TALKERS, "--no-stream")
    assert all(name in table for name in talkers), table
