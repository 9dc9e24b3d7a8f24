"""Ctrl-C at any moment: the cluster stays consistent, and the words say what was and what was not done."""

import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.lightlib.cluster import PATIENCE, ROOT, LightCluster, LightNode, Ran, eventually, run_node, running
from tests.light.conftest import picture, says

INTERRUPTED = 130


def interrupt(process: "subprocess.Popen[bytes]", after: float) -> Ran:
    """Press Ctrl-C so many seconds later, and return how the command ended."""
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    return Ran(process.returncode, out.decode(), err.decode())


def is_worded(ran: Ran) -> bool:
    """Whether it ended in words of ours; Python reports, or loses, one that comes before our code is read."""
    is_ours = f'File "{ROOT}/' in ran.err and "from node.cli.root import run" not in ran.err
    return "Traceback" not in ran.err or not is_ours or "Exception ignored in" in ran.err


@pytest.fixture
def newcomer(cluster: LightCluster) -> Iterator[LightNode]:
    node = cluster.host(f"n{len(cluster.nodes)}")
    yield node
    socket = str(cluster.nodes[0].run / "api.sock")
    if any(row["name"] == node.name for row in hosts_of(cluster)):
        assert run_node("host", "rm", node.name, "--yes", "--force", "--socket", socket).code == 0


def hosts_of(cluster: LightCluster) -> list[dict[str, Any]]:
    rows = cluster.nodes[0].ask("GET", "/v1/hosts?limit=-1").body["data"]
    return [row for row in rows if row["state"] not in ("removed", "purged")]


@pytest.mark.parametrize("after", [0.1, 0.4, 0.5, 0.6, 0.8, 1.2])
def test_interrupted_join_says_whether_this_host_is_a_member(
    cluster: LightCluster, newcomer: LightNode, after: float
) -> None:
    member = cluster.nodes[0]
    before = picture(member)
    with running("join", member.url, "--token", cluster.token, *newcomer.flags()) as process:
        ran = interrupt(process, after)
    assert is_worded(ran), ran.err
    is_member = (newcomer.data / "identity").exists()
    hosts = [row["name"] for row in hosts_of(cluster)]
    if is_member:
        assert newcomer.name in hosts
        assert "is a member" in ran.err
        cluster.start(newcomer)
        cluster.kill(newcomer)
    elif newcomer.name in hosts:
        says(ran, INTERRUPTED, "nothing was written here", "host rm")
    else:
        assert ran.code in (INTERRUPTED, -signal.SIGINT), ran
        assert picture(member) == before
        assert not newcomer.data.exists()
        assert "interrupted: " in ran.err or ran.code == -signal.SIGINT, ran


@pytest.mark.parametrize("after", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_interrupted_start_leaves_nothing_or_a_whole_cluster(light: LightCluster, after: float) -> None:
    node = light.host()
    with running("start", *node.flags(), "--access-control", "none") as process:
        ran = interrupt(process, after)
    assert is_worded(ran), ran.err
    if (node.data / "identity").exists():
        light.start(node)
        assert node.ask("GET", "/v1/hosts").body["data"][0]["name"] == node.name
    else:
        assert ran.code in (INTERRUPTED, -signal.SIGINT), ran
        light.launch(node, ["start", *node.flags(), "--access-control", "none"])
        light.wait_active(node)


@pytest.mark.parametrize("after", [0.03, 0.06, 0.09, 0.12])
def test_interrupted_command_says_so_while_its_code_is_still_being_read(after: float) -> None:
    with running("stack", "ls") as process:
        ran = interrupt(process, after)
    assert ran.code != INTERRUPTED or "interrupted: nothing was asked" in ran.err, ran


def test_interrupted_wait_says_that_the_change_goes_on(cluster: LightCluster) -> None:
    node = cluster.nodes[0]
    socket = ("--socket", str(node.run / "api.sock"))
    made = run_node("service", "create", "shop/web", "nginx", "--create-stack", "--no-wait", *socket)
    assert made.code == 0, made.err
    hosts = hosts_of(cluster)
    # With no host to place on nothing settles, so that there is something to wait for.
    for host in hosts:
        assert node.ask("POST", f"/v1/hosts/{host['id']}?action=deactivate").status in (200, 202)
    with running("service", "scale", "shop/web=5", "--wait", "--progress", "plain", *socket) as process:
        assert process.stderr is not None
        assert b"shop/web" in process.stderr.readline()
        ran = interrupt(process, 0.1)
    says(ran, INTERRUPTED, "stopped waiting", "was accepted and goes on", "try:")
    service = node.ask("GET", "/v1/services?limit=-1").body["data"][0]
    assert service["scale"] == 5
    for host in hosts:
        assert node.ask("POST", f"/v1/hosts/{host['id']}?action=activate").status in (200, 202)

    def runs() -> bool:
        rows = node.ask("GET", f"/v1/services/{service['id']}?include=instances").body["instances"]
        return [row["state"] for row in rows].count("running") == 5

    assert eventually(runs, "the change went on by itself")


@pytest.mark.parametrize("after", [0.15, 0.3, 0.45])
def test_interrupted_command_is_all_or_nothing(cluster: LightCluster, after: float) -> None:
    node = cluster.nodes[0]
    name = f"cut-{int(after * 100)}"
    with running("stack", "create", name, "--no-wait", "--socket", str(node.run / "api.sock")) as process:
        ran = interrupt(process, after)
    assert is_worded(ran), ran.err
    names = [row["name"] for row in node.ask("GET", "/v1/environments?limit=-1").body["data"]]
    assert names.count(name) == (1 if ran.code == 0 else names.count(name))
    assert names.count(name) <= 1
