"""The first day as the end-to-end tests find it: hosts joined, stacks deployed, and what was said meanwhile."""

from dataclasses import dataclass

from scripts.demolib.cluster import Cluster, Json
from scripts.lablib import Lab

NGINX = "nginx-app-stack_nginx-alpine-service"
NGINX_1, NGINX_2 = f"{NGINX}_1", f"{NGINX}_2"
NGINX_SERVICE = "nginx-app-stack/nginx-alpine-service"
REDIS = "nginx-app-stack_redis-alpine-service_1"
MEMCACHED = "memcached-app-stack_memcached-service_1"
MUSL, GLIBC = "tools_musl_1", "tools_glibc_1"
TEST_BOX = "box-stack_box_1"
MEMBERS = ("h1", "h2", "h3")
SPARE = "h4"


@dataclass(frozen=True, slots=True)
class Day:
    """The cluster, and what its first hours brought to light."""

    cluster: Cluster
    welcome: str
    """What `node start` printed on h1."""

    joined: str
    """What `node join` printed on h2."""

    join_command: str
    """What `node token create --env dev` printed."""

    test: str
    """Id of the environment test."""

    first: Json
    """The first container, when it was the only one."""

    host_of: dict[str, str]
    """Host of each container of dev."""

    @property
    def lab(self) -> Lab:
        return self.cluster.lab


def live_through(lab: Lab) -> Day:
    """Make the cluster of the walk-through on h1, h2 and h3, and deploy its stacks."""
    cluster = Cluster(lab)
    welcome = cluster.start("h1")
    cluster.node("h1", "env", "rename", "Default", "dev")
    test = cluster.node("h1", "env", "create", "test", "-q").strip()
    join_command = cluster.node("h1", "token", "create", "--env", "dev").strip()
    joined = cluster.launch("h2", join_command.split())
    # Through h2: a follower's URL serves as well as the leader's.
    cluster.join("h3", "h2", cluster.node("h1", "token", "create", "--env", "test", "-q").strip())
    deploy(cluster, NGINX_SERVICE, "nginx:1.8-alpine", "--port", "10086:80")
    first = cluster.find(NGINX_1)
    cluster.node("h1", "service", "scale", f"{NGINX_SERVICE}=2")
    deploy(cluster, "nginx-app-stack/redis-alpine-service", "redis:alpine")
    deploy(cluster, "memcached-app-stack/memcached-service", "memcached:latest")
    deploy(cluster, "tools/musl", "corral-test/musl:latest")
    deploy(cluster, "tools/glibc", "corral-test/glibc:latest")
    deploy(cluster, "box-stack/box", "corral-test/glibc:latest", "--environment", "test", host="h3")
    names = (NGINX_1, NGINX_2, REDIS, MEMCACHED, MUSL, GLIBC)
    host_of = {name: cluster.host_of(cluster.find(name)) for name in names}
    return Day(cluster, welcome, joined, join_command, test, first, host_of)


def deploy(cluster: Cluster, service: str, image: str, *flags: str, host: str = "h1") -> str:
    """Make a service and wait until it is active; return its id."""
    return cluster.node(host, "service", "create", service, image, "--create-stack", "-q", *flags).strip()
