"""What engines and the cluster owe each other: containers come back, strangers stay alone, reasons are told."""

import json
from collections.abc import Callable, Iterator

import pytest

from scripts.demolib.cluster import Cluster, Json, eventually
from tests.e2e.day import MEMCACHED, Day, deploy

pytestmark = pytest.mark.e2e

Run = Callable[..., str]


@pytest.fixture
def stranger(day: Day) -> Iterator[Run]:
    """Runs containers that are not the cluster's; they are removed afterwards."""
    made: list[tuple[str, str]] = []

    def run(host: str, name: str, *arguments: str) -> str:
        line = ["docker", "run", "-d", "--name", name, *arguments]
        made.append((host, name))
        return day.lab.exec(host, line).stdout.strip()

    yield run
    for host, name in made:
        day.lab.exec(host, ["docker", "rm", "-f", name], check=False)


def picture(cluster: Cluster, host: str, name: str) -> str:
    """Identity, state and start of a container; a touched one differs."""
    shape = "{{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}"
    return cluster.lab.exec(host, ["docker", "inspect", "-f", shape, name]).stdout


def service(cluster: Cluster, identity: str) -> Json:
    found: Json = cluster.api("h1", "GET", f"/v1/projects/1a5/services/{identity}").body
    return found


def reason(cluster: Cluster, identity: str, *words: str) -> str:
    """Wait until a service tells a reason with all these words in it."""

    def look() -> str | None:
        row = service(cluster, identity)
        message = str(row["transitioningMessage"])
        return message if row["state"] != "active" and all(word in message for word in words) else None

    return eventually(look, f"service {identity} says {words}")


def remove(cluster: Cluster, stack: str) -> None:
    cluster.node("h1", "stack", "rm", stack, "-q")


# Ours


@pytest.mark.parametrize("how", [["rm", "-f"], ["kill"], ["stop", "-t", "1"]])
def test_container_ended_by_hand_comes_back_under_its_name_and_address(day: Day, how: list[str]) -> None:
    cluster, host = day.cluster, day.host_of[MEMCACHED]
    before = cluster.find(MEMCACHED)
    old = picture(cluster, host, f"r-{MEMCACHED}")
    day.lab.exec(host, ["docker", *how, f"r-{MEMCACHED}"])

    def back() -> bool:
        row = cluster.find(MEMCACHED)
        return (
            f"r-{MEMCACHED}" in cluster.docker_names(host)
            and picture(cluster, host, f"r-{MEMCACHED}") != old
            and row["primaryIpAddress"] == before["primaryIpAddress"]
        )

    eventually(back, f"{MEMCACHED} runs again")


def test_scaling_down_takes_the_newest_and_up_the_lowest_free_number(cluster: Cluster) -> None:
    identity = deploy(cluster, "numbers/web", "corral-test/glibc", "--scale", "3")

    def names() -> list[str]:
        rows = cluster.rows("h1", f"services/{identity}/instances")
        return sorted(row["name"] for row in rows if row["state"] == "running")

    assert names() == ["numbers_web_1", "numbers_web_2", "numbers_web_3"]
    cluster.node("h1", "service", "scale", "numbers/web=1")
    assert names() == ["numbers_web_1"]
    cluster.node("h1", "service", "scale", "numbers/web=2")
    assert names() == ["numbers_web_1", "numbers_web_2"]
    remove(cluster, "numbers")
    for host in ("h1", "h2"):
        assert not [name for name in cluster.docker_names(host, running=False) if "numbers" in name]


# Strangers


def test_foreign_containers_are_never_touched_whatever_they_are_called(day: Day, stranger: Run) -> None:
    cluster = day.cluster
    labels = ["--label", "io.rancher.container.uuid=11111111-2222-3333-4444-555555555555"]
    other_cluster = ["--label", f"io.corral.cluster={'f' * 32}"]
    strangers = {
        "plain": ["busybox", "pause"],
        "r-foreign_web_2": ["busybox", "pause"],
        "foreign_web_1": ["busybox", "pause"],
        "with-uuid": [*labels, "busybox", "pause"],
        "of-another-cluster": [*labels, *other_cluster, "busybox", "pause"],
    }
    for name, arguments in strangers.items():
        stranger("h1", name, *arguments)
    before = {name: picture(cluster, "h1", name) for name in strangers}
    deploy(cluster, "foreign/web", "corral-test/glibc")
    cluster.node("h1", "service", "scale", "foreign/web=3", "--wait-timeout", "10", "-q", check=False)
    remove(cluster, "foreign")
    cluster.end("h1")
    cluster.start("h1")
    assert {name: picture(cluster, "h1", name) for name in strangers} == before


def test_foreign_containers_do_not_show_in_the_cluster(day: Day, stranger: Run) -> None:
    stranger("h1", "not-ours", "busybox", "pause")
    assert "not-ours" not in {row["name"] for row in day.cluster.rows("h1", "containers")}


# Reasons


def test_missing_image_keeps_the_service_activating_and_tells_the_reason(cluster: Cluster) -> None:
    argv = ["node", "service", "create", "missing/web", "corral-test/no-such-image:7", "--create-stack"]
    done = cluster.lab.exec("h1", [*argv, "--wait-timeout", "4"], check=False)
    assert done.returncode == 3
    assert "accepted, but not there yet" in done.stderr
    assert "no-such-image" in done.stderr
    identity = next(row["id"] for row in cluster.rows("h1", "services") if row["name"] == "web")
    reason(cluster, identity, "corral-test/no-such-image:7")
    assert service(cluster, identity)["state"] == "activating"
    remove(cluster, "missing")


def test_port_taken_on_every_host_is_told_and_used_once_free(day: Day, stranger: Run) -> None:
    cluster = day.cluster
    for host in ("h1", "h2"):
        stranger(host, "holds-the-port", "-p", "10099:80", "nginx:1.8-alpine")
    argv = ["service", "create", "ports/web", "nginx:1.8-alpine", "--create-stack", "--port", "10099:80"]
    identity = json.loads(cluster.node("h1", *argv, "--no-wait", "--json"))["id"]
    reason(cluster, identity, "10099")
    for host in ("h1", "h2"):
        day.lab.exec(host, ["docker", "rm", "-f", "holds-the-port"])
    eventually(lambda: bool(service(cluster, identity)["state"] == "active"), "the service is active")
    remove(cluster, "ports")


def test_port_that_every_host_has_given_away_is_refused_with_the_reason(cluster: Cluster) -> None:
    argv = ["service", "create", "again/web", "nginx:1.8-alpine", "--create-stack", "--port", "10086:80"]
    identity = json.loads(cluster.node("h1", *argv, "--no-wait", "--json"))["id"]
    reason(cluster, identity, "10086")
    remove(cluster, "again")


def test_name_that_somebody_else_s_container_has_stays_theirs(day: Day, stranger: Run) -> None:
    cluster = day.cluster
    for host in ("h1", "h2"):
        stranger(host, "r-names_web_1", "busybox", "pause")
    before = {host: picture(cluster, host, "r-names_web_1") for host in ("h1", "h2")}
    deploy(cluster, "names/web", "corral-test/glibc")
    row = cluster.find("names_web_1")
    assert row["uuid"] in cluster.docker_names(cluster.host_of(row))
    remove(cluster, "names")
    assert {host: picture(cluster, host, "r-names_web_1") for host in ("h1", "h2")} == before
