"""What is done and expected in steps 1 to 15 of the walk-through: one function for each act."""

import json
import re
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from scripts.demolib.cluster import CLUSTER, Json
from scripts.demolib.stage import FailedError, Stage

Play = Callable[[Stage], None]

HOSTS = ("h1", "h2", "h3")
OVERLAY = IPv4Network("10.42.0.0/16")
NGINX = "nginx-app-stack_nginx-alpine-service"
NGINX_1, NGINX_2 = f"{NGINX}_1", f"{NGINX}_2"
REDIS = "nginx-app-stack_redis-alpine-service_1"
MEMCACHED = "memcached-app-stack_memcached-service_1"
BOX = "box-stack_box_1"
RESOLV_CONF = """\
search memcached-app-stack.rancher.internal memcached-service.memcached-app-stack.rancher.internal rancher.internal
nameserver 169.254.169.250
"""
UNAUTHORIZED = {
    "type": "error",
    "links": {},
    "actions": {},
    "status": 401,
    "code": "Unauthorized",
    "message": "Unauthorized",
    "detail": None,
}
DEFAULT_PROJECT = {
    "id": "1a5",
    "type": "project",
    "state": "active",
    "swarm": False,
    "kubernetes": False,
    "transitioning": "no",
    "transitioningMessage": None,
    "transitioningProgress": None,
    "uuid": "adminProject",
}
PROJECT_LINKS = {"self", "agents", "auditLogs", "certificates", "hosts", "services", "environments"}


def container(stage: Stage, name: str, environment: str = "1a5") -> Json:
    """Return a container's row by its name."""
    rows = stage.world.api("h1", "GET", f"/v1/projects/{environment}/containers?limit=1000").body["data"]
    found = [row for row in rows if row["name"] == name and row["state"] == "running"]
    if not found:
        raise FailedError(f"a running container {name}")
    row: Json = found[0]
    return row


def address_of(stage: Stage, name: str) -> str:
    """Return a container's overlay address."""
    return str(container(stage, name)["primaryIpAddress"])


def place_of(stage: Stage, name: str) -> str:
    """Return the host a container is on."""
    return str(stage.world.api("h1", "GET", f"/v1/hosts/{container(stage, name)['hostId']}").body["name"])


def _search(pattern: str, text: str, what: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise FailedError(what)
    return found[1]


# 1. First host


def start_first_host(stage: Stage) -> None:
    """`node start` on h1."""
    said = stage.launch("h1", "node start")
    stage.expect("it says where the API and UI are", re.search(r"API( and UI)? +http://\S+:\d+", said))
    access = _search(r"Access key +(\S+)", said, "an access key to sign in with")
    secret = _search(r"Secret key +(\S+)", said, "its secret key")
    stage.notes["key"] = f"{access}:{secret}"
    stage.expect("it says how to sign in the first time", access and secret)
    stage.expect("it prints the command that joins another host", "node join http://" in said)


def ask_as_root(stage: Stage) -> None:
    """`node status` without a key, over the socket."""
    said = stage.run("h1", "node status")
    stage.expect("root needs no key", "h1" in said and "leader" in said)
    if stage.world.has_kernel:
        said = stage.run("h1", "stat -c '%a %U %F' /run/corral/api.sock")
        stage.expect("the daemon's socket is root's, mode 0600", said == "600 root socket\n")


# 2. Open and closed


def try_an_open_cluster(stage: Stage) -> None:
    """A cluster of h2 alone that is open to everybody, and the end of it."""
    said = stage.launch("h2", "node start --access-control none")
    stage.expect("it warns", "ACCESS CONTROL IS OFF" in said)
    project = json.loads(stage.run("h2", f"curl -s {stage.world.url('h2')}/v1/projects/1a5"))
    stage.expect(
        "the default environment is answered as documented",
        DEFAULT_PROJECT.items() <= project.items() and set(project["links"]) >= PROJECT_LINKS,
    )
    stage.expect("`node status` warns", "ACCESS CONTROL IS OFF" in stage.run("h2", "node status"))
    stage.run("h2", "node leave --force --yes")


def ask_without_a_key(stage: Stage) -> None:
    """401, and its shape."""
    error = json.loads(stage.run("h1", f"curl -s {stage.world.url('h1')}/v1/projects/1a5"))
    stage.expect("401 in exactly the documented shape", error.pop("id", "") and error == UNAUTHORIZED)
    said = stage.run("h1", f"curl -s -u {stage.notes['key']} {stage.world.url('h1')}/v1/projects/1a5")
    stage.expect("with the key it answers", json.loads(said)["id"] == "1a5")


# 6. Hosts


def join_second_host(stage: Stage) -> None:
    """h2 joins dev by the printed command."""
    stage.run("h1", "node env rename Default dev")
    command = stage.run("h1", "node token create --env dev").strip()
    stage.expect("it prints the join command", command.startswith("node join http://"))
    said = stage.launch("h2", command)
    stage.expect("both sides are checked before anything is written", "peer port" in said and "both ways" in said)


def join_third_host(stage: Stage) -> None:
    """h3 joins test, through h2."""
    stage.notes["test"] = stage.run("h1", "node env create test").split()[0]
    token = stage.run("h1", "node token create --env test --quiet").strip()
    stage.launch("h3", f"node join {stage.world.url('h2')} --token {token}")


def list_hosts(stage: Stage) -> None:
    """Each host in its own environment, and in no other."""
    shown = "--format '{{.name}} {{.state}}'"
    stage.run("h1", "node host ls --env dev")
    dev = stage.run("h1", f"node host ls --env dev {shown}")
    stage.expect("dev has h1 and h2, both active", dev.split() == ["h1", "active", "h2", "active"])
    test = stage.run("h1", f"node host ls --env test {shown}")
    stage.expect("test has h3, active", test.split() == ["h3", "active"])


def see_the_voters(stage: Stage) -> None:
    """Three voters and a leader."""

    def look() -> bool:
        return len(stage.world.api("h1", "GET", CLUSTER).body["voters"]) == len(HOSTS)

    stage.until("the cluster gives all three a vote", look)
    said = stage.run("h3", "node status")
    stage.expect("every host knows the leader", "leader" in said and said.count("voter") == 2)


# 7 and 8. A stack, a service, a second container


def deploy_nginx(stage: Stage) -> None:
    """The first service."""
    create = "node service create nginx-app-stack/nginx-alpine-service nginx:1.8-alpine --create-stack --port 10086:80"
    stage.run("h1", create)
    stage.run("h1", "node container ls")
    address = address_of(stage, NGINX_1)
    stage.expect(f"its first container has an address of 10.42.0.0/16: {address}", IPv4Address(address) in OVERLAY)


def curl_nginx(stage: Stage) -> None:
    """The published port."""
    said = stage.run("h3", f"curl -s http://{place_of(stage, NGINX_1)}:10086/")
    stage.expect("nginx answers", "nginx" in said)


def scale_nginx(stage: Stage) -> None:
    """One more."""
    stage.run("h2", "node service scale nginx-app-stack/nginx-alpine-service=2")
    stage.run("h2", "node container ls --format '{{.name}} {{.state}} {{.primaryIpAddress}}'")
    places = {place_of(stage, NGINX_1), place_of(stage, NGINX_2)}
    stage.expect("one is on h1, the other on h2", places == {"h1", "h2"})


def list_in_docker(stage: Stage) -> None:
    """The names in Docker."""
    for name in (NGINX_1, NGINX_2):
        said = stage.run(place_of(stage, name), "docker ps --format '{{.Names}}'")
        stage.expect(f"r-{name} is there", f"r-{name}" in said.split())


# 9 to 11. Names


def ping_both_ways(stage: Stage) -> None:
    """By container name."""
    for one, other in ((NGINX_1, NGINX_2), (NGINX_2, NGINX_1)):
        said = stage.run(place_of(stage, one), f"docker exec r-{one} ping -c 3 {other}")
        stage.expect("0 % loss", " 0% packet loss" in said)


def deploy_redis(stage: Stage) -> None:
    """A second service in the same stack."""
    stage.run("h1", "node service create nginx-app-stack/redis-alpine-service redis:alpine")


def ping_service(stage: Stage) -> None:
    """By service name, until both containers were reached."""
    both = {address_of(stage, NGINX_1), address_of(stage, NGINX_2)}
    host, line = place_of(stage, REDIS), f"docker exec r-{REDIS} ping -c 1 nginx-alpine-service"
    reached = {_search(r"\((10\.\S+)\)", stage.run(host, line), "an answer")}
    stage.expect("it reaches one of the two", reached <= both)

    def look() -> bool:
        said = stage.world.run(host, line, 30).stdout
        reached.update(re.findall(r"\((10\.\S+)\)", said))
        return reached == both

    stage.until("asked again and again, both", look)


def look_up(stage: Stage, host: str, name: str, *, code: int = 0) -> set[str]:
    """Show a question to the DNS server of a host without containers; return the addresses it answers."""
    ask = f"{sys.executable} -m scripts.demolib.lookup {stage.world.names_at(host)} {name}.rancher.internal"
    said = stage.run(host, ask, code=code)
    return set(re.findall(r"^(\d+\.\d+\.\d+\.\d+)$", said, re.MULTILINE))


def look_up_service(stage: Stage) -> None:
    """All addresses of a service."""
    both = {address_of(stage, NGINX_1), address_of(stage, NGINX_2)}
    name = "nginx-alpine-service.nginx-app-stack"
    if stage.world.has_kernel:
        said = stage.run(place_of(stage, REDIS), f"docker exec r-{REDIS} nslookup {name}")
        stage.expect("both addresses", set(re.findall(r"Address: (\S+)", said)) == both)
        return
    for host in ("h1", "h2"):
        stage.expect(f"both addresses on {host}", look_up(stage, host, name) == both)


def deploy_memcached(stage: Stage) -> None:
    """A second stack."""
    create = "node service create memcached-app-stack/memcached-service memcached:latest --create-stack"
    stage.run("h1", create)


def ping_across_stacks(stage: Stage) -> None:
    """By service.stack."""
    host = place_of(stage, MEMCACHED)
    for service in ("nginx-alpine-service", "redis-alpine-service"):
        said = stage.run(host, f"docker exec r-{MEMCACHED} ping -c 1 {service}.nginx-app-stack")
        stage.expect("it resolves and answers", " 0% packet loss" in said)


def show_resolv_conf(stage: Stage) -> None:
    """The container's resolver."""
    said = stage.run(place_of(stage, MEMCACHED), f"docker exec r-{MEMCACHED} cat /etc/resolv.conf")
    stage.expect("exactly these two lines", said == RESOLV_CONF)


def look_up_from_test(stage: Stage) -> None:
    """In test nothing of dev is known."""
    stage.run("h3", "node service create box-stack/box corral-test/glibc --create-stack")
    for name in (NGINX_1, "nginx-alpine-service.nginx-app-stack"):
        if stage.world.has_kernel:
            stage.run("h3", f"docker exec r-{BOX} lookup {name}", code=1)
        else:
            look_up(stage, "h3", name, code=1)
        stage.expect("no such name in test", True)


def stay_apart(stage: Stage) -> None:
    """A container of test and the addresses of dev."""
    for name in (NGINX_1, NGINX_2):
        said = stage.run("h3", f"docker exec r-{BOX} ping -c 1 -W 1 {address_of(stage, name)}", code=1)
        stage.expect("it does not answer", "100% packet loss" in said)


# 15. Any node


def write_through_every_node(stage: Stage) -> None:
    """An API key, and a change through each node."""
    key = json.loads(stage.run("h1", "node apikey create demo --env dev --json"))
    user = f"{key['publicValue']}:{key['secretValue']}"
    for host in HOSTS:
        url = f"{stage.world.url(host)}/v1/projects/1a5/environments"
        body = json.dumps({"name": f"made-through-{host}"})
        said = stage.run(host, f"curl -s -u {user} -H 'Content-Type: application/json' -d '{body}' {url}")
        made = json.loads(said)
        stage.expect(f"{host} takes the change", made.get("name") == f"made-through-{host}")
        read = stage.run(host, f"curl -s -u {user} {url}/{made['id']}")
        stage.expect("and the client reads its own write", json.loads(read).get("id") == made["id"])
        stage.run(host, f"node stack rm made-through-{host} --environment dev")
