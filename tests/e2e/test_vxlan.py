"""A cluster with VXLAN instead of WireGuard: hosts join, names and packets cross hosts, leaving removes all trace."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pytest

from scripts.demolib.cluster import Cluster, eventually
from scripts.lablib import Lab
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

HOSTS = ("h5", "h6", "h7")
SERVICE = "vx/box"
HEADERS = 28
"""Of IP and ICMP."""


@dataclass(frozen=True, slots=True)
class Vxlan:
    """A cluster of three hosts of its own, with a container on each."""

    cluster: Cluster
    joined: str
    """What `node join` printed on the second host."""
    before: dict[str, set[str]]
    """What was found on each host before."""
    box_of: dict[str, str]
    """The container on each host, by its name."""


@pytest.fixture(scope="module")
def vxlan(lab: Lab) -> Iterator[Vxlan]:
    lab.up(int(HOSTS[-1][1:]))
    cluster = Cluster(lab)
    before = {host: traces(lab, host) for host in HOSTS}
    cluster.start(HOSTS[0], "--overlay", "vxlan")
    token = cluster.node(HOSTS[0], "token", "create", "-q").strip()
    with ThreadPoolExecutor() as pool:
        joined = list(pool.map(lambda host: cluster.join(host, HOSTS[0], token), HOSTS[1:]))
    create = ["service", "create", SERVICE, "corral-test/glibc:latest", "--create-stack", "--scale", "3", "-q"]
    cluster.node(HOSTS[0], *create)
    names = [f"vx_box_{number}" for number in (1, 2, 3)]
    box_of = {cluster.host_of(row, ask_host=HOSTS[0]): row["name"] for row in (find(cluster, name) for name in names)}
    yield Vxlan(cluster, joined[0], before, box_of)
    for host in HOSTS:
        lab.kill(host)


def find(cluster: Cluster, name: str) -> dict[str, str]:
    return cluster.find(name, ask_host=HOSTS[0])


def test_join_probes_the_port_of_vxlan_both_ways(vxlan: Vxlan) -> None:
    assert "ok    overlay port UDP 4789 both ways" in vxlan.joined
    assert "ok    path MTU 1500 bytes both ways" in vxlan.joined


def test_service_has_a_container_on_each_host_and_its_name_answers_on_all(vxlan: Vxlan) -> None:
    assert set(vxlan.box_of) == set(HOSTS)
    addresses = {find(vxlan.cluster, name)["primaryIpAddress"] for name in vxlan.box_of.values()}
    assert len(addresses) == len(HOSTS)
    for host, name in vxlan.box_of.items():

        def seen(host: str = host, name: str = name) -> bool:
            return set(vxlan.cluster.inside(host, name, "lookup", "box.vx", "4").stdout.split()) == addresses

        eventually(seen, f"box.vx has every address on {host}")


def test_containers_reach_each_other_by_name_with_packets_as_large_as_promised(vxlan: Vxlan) -> None:
    for host, name in vxlan.box_of.items():
        mtu = int(vxlan.cluster.inside(host, name, "cat", "/sys/class/net/eth0/mtu").stdout)
        assert mtu == 1450
        for other in vxlan.box_of.values():
            ping = ["ping", "-M", "do", "-s", str(mtu - HEADERS), "-c", "1", "-W", "5", other]
            assert " 0% packet loss" in vxlan.cluster.inside(host, name, *ping).stdout


def test_tunnel_is_vxlan_alone_and_the_doctor_finds_nothing_wrong(vxlan: Vxlan) -> None:
    for host in HOSTS:
        links = vxlan.cluster.lab.exec(host, ["ip", "-br", "link"]).stdout
        assert "corral-vx" in links
        assert "corral-wg" not in links
    said = vxlan.cluster.node(HOSTS[1], "doctor")
    assert "vxlan, MTU 1450" in said
    for other in (HOSTS[0], HOSTS[2]):
        assert re.search(rf"ok +{other}: overlay port UDP 4789 +both ways", said)


def test_leaving_one_after_the_other_removes_all_trace(vxlan: Vxlan) -> None:
    cluster = vxlan.cluster
    for host in reversed(HOSTS):
        force = ["--force"] if host == HOSTS[0] else []
        assert "link corral-vx" in traces(cluster.lab, host)
        cluster.node(host, "leave", "--yes", *force)
        eventually(partial(has_ended, cluster, host), f"{host}'s daemon has ended")
        assert traces(cluster.lab, host) == vxlan.before[host]


def has_ended(cluster: Cluster, host: str) -> bool:
    return not cluster.lab.daemons(host)
