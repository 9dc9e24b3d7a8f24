"""Steps 16 and 17 of the walk-through and worse: hosts cut off, daemons killed, power lost, addresses changed."""

import functools
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.demolib.cluster import CLUSTER, Cluster, eventually
from scripts.demolib.watch import watching
from scripts.demolib.writer import STACKS, Writer
from tests.e2e.day import GLIBC, MEMBERS, MUSL, NGINX_1, NGINX_2, Day

pytestmark = pytest.mark.e2e

SERVICE = "nginx-alpine-service.nginx-app-stack"
STOP_BOUND = 8.0
SLACK = 12.0
"""For a machine that others use too."""


@pytest.fixture(autouse=True)
def _mended(day: Day) -> Iterator[None]:
    yield
    day.lab.heal()
    for host in MEMBERS:
        if not day.lab.is_powered(host):
            day.lab.start(host)
        if not day.lab.daemons(host):
            day.cluster.start(host)
    settled(day.cluster)


def settled(cluster: Cluster) -> None:
    """Wait until everything is as it was when the day began."""

    def look() -> bool:
        views = [cluster.cluster(host) for host in MEMBERS]
        rows = [row["state"] for row in cluster.rows("h1", "containers")]
        # A visitor of an earlier test may still be remembered as one that left.
        statuses = {member["status"] for view in views for member in view["members"]} - {"left"}
        return all(cluster.is_active(host) for host in MEMBERS) and statuses == {"alive"} and set(rows) == {"running"}

    eventually(look, "all hosts are active and all containers run")


def identities(cluster: Cluster, *hosts: str) -> dict[str, list[str]]:
    """Every running container of these hosts, with the moment it was started."""
    found = {}
    for host in hosts:
        ids = cluster.lab.exec(host, ["docker", "ps", "-q", "--no-trunc"]).stdout.split()
        shape = "{{.Name}} {{.Id}} {{.State.StartedAt}}"
        found[host] = sorted(cluster.lab.exec(host, ["docker", "inspect", "-f", shape, *ids]).stdout.splitlines())
    return found


def check_nothing_lost(writer: Writer) -> None:
    """Every acknowledged stack is known everywhere; they are removed afterwards."""
    for host in MEMBERS:
        eventually(functools.partial(knows_all, writer, host), f"{host} has every acknowledged stack")
    writer.clean("h1")


def knows_all(writer: Writer, host: str) -> bool:
    return not writer.missing(host)


# 16. A host dies


def test_names_of_a_host_that_is_cut_off_leave_the_answers_and_come_back_with_it(day: Day) -> None:
    cluster = day.cluster
    (here, one), (_, other) = sorted((day.host_of[name], name) for name in (NGINX_1, NGINX_2))
    own, cut_off = (cluster.find(name)["primaryIpAddress"] for name in (one, other))
    before = identities(cluster, *MEMBERS)
    day.lab.cut("h2")
    eventually(lambda: cluster.addresses(here, one, SERVICE) == {own}, "h2's container leaves the answers on h1")
    assert cluster.addresses(here, one, other) == set()
    day.lab.heal()
    eventually(lambda: cluster.addresses(here, one, SERVICE) == {own, cut_off}, "h2's container is back")
    settled(cluster)
    assert identities(cluster, *MEMBERS) == before


def test_api_goes_on_with_the_majority_and_the_minority_says_that_it_cannot(day: Day) -> None:
    cluster = day.cluster
    day.lab.cut("h2")
    with Writer(cluster.api, ("h1", "h3"), "while-cut") as writer:
        writer.wait_more()

        def says_so() -> bool:
            answer = cluster.api("h2", "POST", STACKS, {"name": "from-the-minority"})
            assert answer.status in (201, 503), answer.body
            return answer.status == 503

        eventually(says_so, "a write on the minority is refused")
        eventually(lambda: bool(cluster.cluster("h2")["staleSince"]), "h2 says since when it knows of no leader")
        assert {row["name"] for row in cluster.rows("h2", "services")}
    day.lab.heal()
    check_nothing_lost(writer)


def test_host_that_was_cut_off_for_long_is_back_within_seconds(day: Day) -> None:
    day.lab.cut("h2")
    time.sleep(15)  # TCP's own next attempt would be as far away again.
    day.lab.heal()
    eventually(lambda: day.cluster.is_active("h2"), "h2 follows the leader", timeout=12)


def test_host_that_is_cut_off_shows_as_such_to_the_others(day: Day) -> None:
    day.lab.cut("h2")

    def shown() -> bool:
        states = {row["name"]: row["agentState"] for row in day.cluster.rows("h1", "hosts")}
        return states == {"h1": "active", "h2": "reconnecting"}

    eventually(shown, "h2 is not active")


# 17. The leader dies


def test_leader_killed_and_writes_work_again_with_none_lost(day: Day) -> None:
    cluster = day.cluster
    leader = cluster.leader(*MEMBERS)
    others = tuple(host for host in MEMBERS if host != leader)
    with Writer(cluster.api, others, "leader-killed") as writer:
        cluster.kill(leader)
        took = writer.wait_more()
        assert cluster.leader(*others) != leader
        cluster.start(leader)
    assert took < 2 + SLACK
    check_nothing_lost(writer)


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_containers_and_names_never_notice_that_a_daemon_was_killed(day: Day, host: str) -> None:
    cluster = day.cluster
    before = identities(cluster, *MEMBERS)
    target = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] != day.host_of[GLIBC])
    with watching(cluster, day.host_of[GLIBC], GLIBC, target) as seen:
        cluster.kill(host)
        time.sleep(2)  # Long enough for an answer's TTL and a round of gossip to pass.
        cluster.start(host)
    assert seen.failures == []
    assert identities(cluster, *MEMBERS) == before


# The daemon's own ends and beginnings


def test_daemon_stops_within_its_bound_and_everything_goes_on_without_it(day: Day) -> None:
    cluster, lab = day.cluster, day.lab
    host = day.host_of[GLIBC]
    target = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] != host)
    before = identities(cluster, *MEMBERS)
    with watching(cluster, host, GLIBC, target) as seen:
        assert cluster.end(host) < STOP_BOUND + SLACK
        assert lab.exec(host, ["ip", "-br", "link", "show", "corral0"]).stdout.split()[1] == "UP"
        assert "10.42." in lab.exec(host, ["ip", "route", "show", "dev", "corral-wg"]).stdout
        running = lab.exec(host, ["ps", "ax", "-o", "args"]).stdout
        assert "dns.server" in running
        assert "wireguard-go" in running
        assert not lab.space(host).path("/run/corral/api.sock").exists()
        status = lab.exec(host, ["node", "status"], check=False)
        assert status.returncode == 1
        assert "node start" in status.stderr
        time.sleep(1)
        cluster.start(host)
    assert seen.failures == []
    assert identities(cluster, *MEMBERS) == before


def test_names_of_a_host_stay_as_long_as_only_its_daemon_is_down(day: Day) -> None:
    cluster = day.cluster
    watcher = day.host_of[GLIBC]
    target = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] != watcher)
    other = day.host_of[target]
    with watching(cluster, watcher, GLIBC, target) as seen:
        cluster.end(other)
        eventually(lambda: status_of(cluster, watcher, other) == "dead", "gossip holds the silent daemon dead")
        time.sleep(3)  # Long enough for names to go, as those of a host that is cut off do.
    assert seen.failures == []
    cluster.start(other)


def status_of(cluster: Cluster, asked: str, host: str) -> str:
    return next(str(m["status"]) for m in cluster.cluster(asked)["members"] if m["hostName"] == host)


def test_all_daemons_killed_at_once_come_back_to_the_same_cluster(day: Day) -> None:
    cluster = day.cluster
    before = identities(cluster, *MEMBERS)
    known = {row["id"]: row["name"] for row in cluster.rows("h1", "services")}
    with all_down(cluster):
        pass
    settled(cluster)
    assert {row["id"]: row["name"] for row in cluster.rows("h1", "services")} == known
    assert identities(cluster, *MEMBERS) == before


@contextmanager
def all_down(cluster: Cluster) -> Iterator[None]:
    for host in MEMBERS:
        cluster.kill(host)
    yield
    for host in MEMBERS:
        cluster.lab.detach(host, ["node", "start"], cluster.lab.log_path(host))


def test_power_loss_brings_the_same_host_back_with_its_containers(day: Day) -> None:
    cluster, lab = day.cluster, day.lab
    node_id = cluster.cluster("h2")["nodeId"]
    mine = sorted(name for name, host in day.host_of.items() if host == "h2")
    lab.kill("h2")
    here = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] == "h1")
    there = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] == "h2")
    eventually(lambda: cluster.addresses("h1", here, there) == set(), "its names leave the answers")
    lab.start("h2")
    cluster.start("h2")
    assert cluster.cluster("h2")["nodeId"] == node_id
    eventually(lambda: {f"r-{name}" for name in mine} <= set(cluster.docker_names("h2")), "its containers run")
    eventually(
        lambda: " 0% packet loss" in cluster.inside("h1", here, "ping", "-c1", "-W2", there, check=False).stdout,
        "its containers answer by name",
    )


def test_host_that_comes_back_with_another_address_goes_on(day: Day) -> None:
    cluster = day.cluster
    node_id = cluster.cluster("h2")["nodeId"]
    here = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] == "h1")
    there = next(name for name in (NGINX_1, NGINX_2) if day.host_of[name] == "h2")
    try:
        change_address(cluster, "10.99.0.12", "10.99.0.72")
        assert cluster.cluster("h2")["nodeId"] == node_id
        eventually(
            lambda: {row["agentIpAddress"] for row in cluster.rows("h1", "hosts")} == {"10.99.0.11", "10.99.0.72"},
            "h1 knows h2's new address",
        )
        eventually(
            lambda: " 0% packet loss" in cluster.inside("h1", here, "ping", "-c1", "-W2", there, check=False).stdout,
            "h2's containers answer by name",
        )
    finally:
        change_address(cluster, "10.99.0.72", "10.99.0.12")


def change_address(cluster: Cluster, old: str, new: str) -> None:
    """Have h2 come back somewhere else."""
    cluster.kill("h2")
    # In this order: with the first address of a subnet its others go, too.
    move = (
        f"ip address delete {old}/24 dev eth0; ip address add {new}/24 dev eth0; ip route replace unreachable default"
    )
    cluster.lab.exec("h2", ["sh", "-ec", move])
    cluster.start("h2")


def test_docker_stopped_is_shown_and_recovered_from(day: Day) -> None:
    cluster, lab = day.cluster, day.lab
    mine = {f"r-{name}" for name, host in day.host_of.items() if host == "h2"}
    lab.stop_engine("h2")
    try:
        eventually(lambda: "the engine cannot be used" in cluster.printed("h2"), "h2's log says so")
        done = lab.exec("h2", ["node", "doctor"], check=False)
        assert done.returncode == 1
        assert "Docker does" in done.stdout + done.stderr
        assert cluster.api("h2", "GET", CLUSTER).status == 200
    finally:
        lab.start("h2")
    eventually(lambda: mine <= set(cluster.docker_names("h2")), "its containers run again")


def test_container_keeps_its_address_over_a_restart_of_its_daemon(day: Day) -> None:
    cluster = day.cluster
    before = cluster.find(MUSL)["primaryIpAddress"]
    cluster.end(day.host_of[MUSL])
    cluster.start(day.host_of[MUSL])
    assert cluster.find(MUSL)["primaryIpAddress"] == before
