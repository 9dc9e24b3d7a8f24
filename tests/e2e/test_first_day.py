"""Steps 1, 2 and 6 to 11 of the walk-through: every numbered outcome, on three real hosts."""

import json
import re
from ipaddress import IPv4Address, IPv4Network

import pytest

from scripts.demolib.cluster import Cluster, eventually
from scripts.lablib import Lab
from tests.e2e.day import (
    GLIBC,
    MEMBERS,
    MEMCACHED,
    MUSL,
    NGINX,
    NGINX_1,
    NGINX_2,
    REDIS,
    SPARE,
    TEST_BOX,
    Day,
)

pytestmark = pytest.mark.e2e

OVERLAY = IPv4Network("10.42.0.0/16")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def curl(lab: Lab, host: str, *arguments: str) -> tuple[int, str]:
    """Status and body of a request made on a host."""
    said = lab.exec(host, ["curl", "-s", "-m", "20", "-w", "\n%{http_code}", *arguments], check=False).stdout
    body, _, status = said.rpartition("\n")
    return int(status), body


# 1. First host


def test_start_prints_where_the_api_is_how_to_sign_in_and_how_to_join(day: Day) -> None:
    assert "API            http://10.99.0.11:8080" in day.welcome
    assert re.search(r"Access key +[0-9A-F]{20}\n", day.welcome)
    assert re.search(r"Secret key +[0-9A-Za-z]{40}\n", day.welcome)
    assert re.search(r"\n  node join http://10\.99\.0\.11:8080 --token corral1_1a5_\S+\n", day.welcome)


def test_key_of_the_first_administrator_opens_the_api(day: Day) -> None:
    access = re.search(r"Access key +(\S+)", day.welcome)
    secret = re.search(r"Secret key +(\S+)", day.welcome)
    assert access
    assert secret
    status, body = curl(day.lab, "h1", "-u", f"{access[1]}:{secret[1]}", "http://h1:8080/v1/projects/1a5")
    assert (status, json.loads(body)["name"]) == (200, "dev")


def test_root_needs_no_key_and_the_socket_is_only_root_s(cluster: Cluster) -> None:
    assert "leader" in cluster.node("h1", "status")
    assert cluster.lab.exec("h1", ["stat", "-c", "%a %U %F", "/run/corral/api.sock"]).stdout == "600 root socket\n"


# 2. Open and closed


def test_closed_api_answers_401_in_exactly_the_documented_shape(day: Day) -> None:
    for host in MEMBERS:
        status, body = curl(day.lab, host, f"http://{host}:8080/v1/projects/1a5")
        error = json.loads(body)
        assert status == 401
        assert UUID.fullmatch(error.pop("id"))
        assert error == {
            "type": "error",
            "links": {},
            "actions": {},
            "status": 401,
            "code": "Unauthorized",
            "message": "Unauthorized",
            "detail": None,
        }


def test_open_api_answers_the_default_environment_and_warns_as_long_as_it_is_open(day: Day) -> None:
    cluster, lab = day.cluster, day.lab
    welcome = cluster.start(SPARE, "--access-control", "none")
    try:
        assert "ACCESS CONTROL IS OFF" in welcome
        assert "ACCESS CONTROL IS OFF" in cluster.node(SPARE, "status")
        status, body = curl(lab, SPARE, f"http://{SPARE}:8080/v1/projects/1a5")
        project = json.loads(body)
        assert status == 200
        expected = {
            "id": "1a5",
            "type": "project",
            "name": "Default",
            "state": "active",
            "swarm": False,
            "kubernetes": False,
            "transitioning": "no",
            "transitioningMessage": None,
            "transitioningProgress": None,
            "uuid": "adminProject",
        }
        assert {key: project[key] for key in expected} == expected
        assert {"self", "agents", "auditLogs", "certificates", "hosts", "services", "environments"} <= set(
            project["links"]
        )
        assert {"actions", "members"} <= set(project)
    finally:
        cluster.node(SPARE, "leave", "--force", "--yes")


# 6. Hosts


def test_token_create_prints_the_join_command(day: Day) -> None:
    assert re.fullmatch(r"node join http://10\.99\.0\.11:8080 --token corral1_1a5_\S+", day.join_command)


def test_join_checks_both_sides_with_a_line_for_each_finding(day: Day) -> None:
    for finding in (
        "ok    peer port TCP 8090 both ways",
        "ok    peer port UDP 8090 both ways",
        "ok    overlay port UDP 51820 both ways",
        "ok    path MTU 1500 bytes both ways",
        "ok    name h2",
        "ok    clock",
        "ok    docker",
        "ok    address range 10.42.0.0/16",
    ):
        assert finding in day.joined
    assert "h2 has joined cluster" in day.joined


@pytest.mark.parametrize("asked", MEMBERS)
def test_hosts_show_in_their_own_environment_only(cluster: Cluster, asked: str) -> None:
    shown = "{{.name}} {{.state}}"
    for environment, hosts in (("dev", "h1 active\nh2 active\n"), ("test", "h3 active\n")):
        assert cluster.node(asked, "host", "ls", "--env", environment, "--format", shown) == hosts


def test_three_hosts_are_three_voters(cluster: Cluster) -> None:
    eventually(lambda: len(cluster.cluster("h1")["voters"]) == 3, "three voters")
    assert {member["status"] for member in cluster.cluster("h1")["members"]} == {"alive"}


# 7. A stack and a service


def test_first_container_runs_and_has_an_overlay_address(day: Day) -> None:
    assert day.first["state"] == "running"
    assert day.first["name"] == NGINX_1
    assert IPv4Address(day.first["primaryIpAddress"]) in OVERLAY


@pytest.mark.parametrize("name", [NGINX_1, NGINX_2])
def test_published_port_answers_on_the_address_of_the_container_s_host(day: Day, name: str) -> None:
    target = day.host_of[name]
    for asking in MEMBERS:
        status, body = curl(day.lab, asking, f"http://{target}:10086/")
        assert status == 200
        assert "nginx" in body


# 8. Scale +1


def test_second_container_is_on_the_other_host(day: Day) -> None:
    assert {day.host_of[NGINX_1], day.host_of[NGINX_2]} == {"h1", "h2"}


def test_docker_knows_containers_by_their_names_with_r_in_front(day: Day) -> None:
    for name in (NGINX_1, NGINX_2):
        assert f"r-{name}" in day.cluster.docker_names(day.host_of[name])


def test_addresses_come_from_the_subnet_of_the_container_s_host(day: Day) -> None:
    hosts = {row["name"]: IPv4Network(row["overlaySubnet"]) for row in day.cluster.rows("h1", "hosts")}
    for name, host in day.host_of.items():
        assert IPv4Address(day.cluster.find(name)["primaryIpAddress"]) in hosts[host]


# 9. Ping by container name, both ways, across hosts


@pytest.mark.parametrize(("one", "other"), [(NGINX_1, NGINX_2), (NGINX_2, NGINX_1)])
def test_ping_by_container_name_loses_nothing_across_hosts(day: Day, one: str, other: str) -> None:
    said = day.cluster.inside(day.host_of[one], one, "ping", "-c", "3", other).stdout
    assert " 0% packet loss" in said
    assert f"({day.cluster.find(other)['primaryIpAddress']})" in said
    assert "ttl=62" in said


# 10. Same stack, by service name


def test_service_name_reaches_one_container_and_asked_again_both(day: Day) -> None:
    both = {day.cluster.find(name)["primaryIpAddress"] for name in (NGINX_1, NGINX_2)}
    host = day.host_of[REDIS]
    reached: set[str] = set()

    def both_reached() -> bool:
        said = day.cluster.inside(host, REDIS, "ping", "-c", "1", "nginx-alpine-service").stdout
        assert " 0% packet loss" in said
        found = re.search(r"\((10\.42\.\d+\.\d+)\)", said)
        assert found
        reached.add(found[1])
        return reached == both

    eventually(both_reached, f"{both} reached")


# 11. Across stacks


@pytest.mark.parametrize("service", ["nginx-alpine-service", "redis-alpine-service"])
def test_service_of_another_stack_resolves_and_answers_ping(day: Day, service: str) -> None:
    said = day.cluster.inside(day.host_of[MEMCACHED], MEMCACHED, "ping", "-c", "2", f"{service}.nginx-app-stack").stdout
    assert " 0% packet loss" in said


def test_resolv_conf_is_exactly_as_documented(day: Day) -> None:
    said = day.cluster.inside(day.host_of[MEMCACHED], MEMCACHED, "cat", "/etc/resolv.conf").stdout
    assert said.splitlines() == [
        "search memcached-app-stack.rancher.internal memcached-service.memcached-app-stack.rancher.internal "
        "rancher.internal",
        "nameserver 169.254.169.250",
    ]


@pytest.mark.parametrize(
    "name",
    [
        NGINX_1,
        "nginx-alpine-service",
        "nginx-alpine-service.nginx-app-stack",
        "nginx-alpine-service.nginx-app-stack.rancher.internal",
        f"{NGINX_1}.rancher.internal",
    ],
)
def test_no_name_of_dev_resolves_in_test(day: Day, name: str) -> None:
    assert day.cluster.inside("h3", TEST_BOX, "lookup", name, check=False).returncode == 1


def test_no_address_of_dev_answers_in_test_nor_the_other_way(day: Day) -> None:
    for name in day.host_of:
        address = day.cluster.find(name)["primaryIpAddress"]
        said = day.cluster.inside("h3", TEST_BOX, "ping", "-c", "1", "-W", "1", address, check=False).stdout
        assert "100% packet loss" in said
    box = day.cluster.find(TEST_BOX, day.test)["primaryIpAddress"]
    said = day.cluster.inside(day.host_of[GLIBC], GLIBC, "ping", "-c", "1", "-W", "1", box, check=False).stdout
    assert "100% packet loss" in said


def test_containers_of_test_resolve_and_reach_each_other(day: Day) -> None:
    assert " 0% packet loss" in day.cluster.inside("h3", TEST_BOX, "ping", "-c", "1", "box").stdout


# Names from every C library, and the world outside


@pytest.mark.parametrize("tool", [GLIBC, MUSL])
@pytest.mark.parametrize(
    "asked",
    [
        NGINX_2,
        "nginx-alpine-service.nginx-app-stack",
        "NGINX-Alpine-Service.Nginx-App-Stack",
        "nginx-alpine-service.nginx-app-stack.rancher.internal",
    ],
)
def test_name_resolves_through_glibc_and_musl(day: Day, tool: str, asked: str) -> None:
    wanted = [NGINX_2] if asked == NGINX_2 else [NGINX_1, NGINX_2]
    addresses = {day.cluster.find(name)["primaryIpAddress"] for name in wanted}
    said = day.cluster.inside(day.host_of[tool], tool, "lookup", asked, "4").stdout
    assert set(said.split()) == addresses


def test_name_resolves_through_busybox(day: Day) -> None:
    both = {day.cluster.find(name)["primaryIpAddress"] for name in (NGINX_1, NGINX_2)}
    assert day.cluster.addresses(day.host_of[MEMCACHED], MEMCACHED, f"{NGINX.split('_')[1]}.nginx-app-stack") == both


@pytest.mark.parametrize("tool", [GLIBC, MUSL])
def test_unknown_name_is_denied(day: Day, tool: str) -> None:
    assert day.cluster.inside(day.host_of[tool], tool, "lookup", "nobody-here", check=False).returncode == 1


@pytest.mark.parametrize("tool", [GLIBC, MUSL])
def test_outside_name_is_forwarded_to_the_host_s_resolver(day: Day, tool: str) -> None:
    assert day.cluster.inside(day.host_of[tool], tool, "lookup", "outside.example", "4").stdout == "10.99.0.1\n"


def test_containers_reach_the_outside_with_their_host_s_address(day: Day) -> None:
    for name, host in ((NGINX_1, day.host_of[NGINX_1]), (NGINX_2, day.host_of[NGINX_2])):
        said = day.cluster.inside(host, name, "wget", "-qO-", "http://outside.example/").stdout
        assert said == f"outside sees {day.lab.address(host)}\n"


# Any node


@pytest.mark.parametrize("host", MEMBERS)
def test_any_node_takes_a_change_and_the_client_reads_its_own_write(day: Day, host: str) -> None:
    key = json.loads(day.cluster.node("h1", "apikey", "create", f"from-{host}", "--env", "dev", "--json"))
    access, secret = key["publicValue"], key["secretValue"]
    said = json.dumps({"name": f"made-through-{host}"})
    url = f"http://{host}:8080/v1/projects/1a5/environments"
    json_type = "Content-Type: application/json"
    status, body = curl(day.lab, host, "-u", f"{access}:{secret}", "-H", json_type, "-d", said, url)
    assert status == 201
    status, read = curl(day.lab, host, "-u", f"{access}:{secret}", f"{url}/{json.loads(body)['id']}")
    assert (status, json.loads(read)["name"]) == (200, f"made-through-{host}")
    day.cluster.node(host, "stack", "rm", f"made-through-{host}", "--environment", "dev")
