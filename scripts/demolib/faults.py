"""What is done and expected in steps 16 and 17 of the walk-through: a host that dies, a leader that dies."""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.demolib.acts import HOSTS, NGINX_1, NGINX_2, address_of, place_of
from scripts.demolib.cluster import CLUSTER, Cluster
from scripts.demolib.stage import Stage
from scripts.demolib.watch import watching
from scripts.demolib.worlds import LabWorld
from scripts.demolib.writer import Writer

WATCHER = "tools_watcher_1"
SERVICE = "nginx-alpine-service.nginx-app-stack"


def _cluster(stage: Stage) -> Cluster:
    assert isinstance(stage.world, LabWorld)
    return stage.world.cluster


def _pictures(cluster: Cluster) -> dict[str, str]:
    """Every running container of every host with the moment it was started."""
    shape = "docker ps -q | xargs docker inspect -f '{{.Name}} {{.Id}} {{.State.StartedAt}}' | sort"
    return {host: cluster.lab.exec(host, ["sh", "-c", shape]).stdout for host in HOSTS}


def _leader(stage: Stage, *hosts: str) -> str:
    def look() -> str | None:
        seen = [stage.world.api(host, "GET", CLUSTER).body for host in hosts]
        leaders = {next((m["hostName"] for m in c["members"] if m["nodeId"] == c["leader"]), None) for c in seen}
        return leaders.pop() if len(leaders) == 1 else None

    return stage.until("all agree who leads", look)


# 16. A host dies


def cut_second_host(stage: Stage) -> None:
    """h2's cable is pulled."""
    cluster = _cluster(stage)
    here, there = (next(n for n in (NGINX_1, NGINX_2) if place_of(stage, n) == host) for host in ("h1", "h2"))
    own = address_of(stage, here)
    stage.notes["before"] = str(_pictures(cluster))
    stage.notes["here"], stage.notes["there"] = here, there
    stage.say("h2's cable is pulled")
    cluster.lab.cut("h2")
    stage.until(
        f"h1 answers {SERVICE} with its own container only", lambda: cluster.addresses("h1", here, SERVICE) == {own}
    )
    said = stage.run("h1", f"docker exec r-{here} nslookup {SERVICE}")
    stage.expect("one address", set(re.findall(r"Address: (\S+)", said)) == {own})
    stage.until("h1 shows h2 as reconnecting", lambda: "reconnecting" in cluster.node("h1", "host", "ls"))
    stage.run("h1", "node host ls")


def write_without_second_host(stage: Stage) -> None:
    """Both others go on."""
    for host in ("h1", "h3"):
        stage.run(host, f"node stack create made-on-{host}-meanwhile --environment dev")
        stage.expect(f"{host} takes changes", True)


def heal_second_host(stage: Stage) -> None:
    """h2 is back."""
    cluster = _cluster(stage)
    here, there = stage.notes["here"], stage.notes["there"]
    both = {address_of(stage, here), address_of(stage, there)}
    stage.say("h2's cable is plugged in again")
    cluster.lab.heal()
    stage.until("both addresses are answered again", lambda: cluster.addresses("h1", here, SERVICE) == both)
    stage.until("h2 is active, by its own word", lambda: cluster.is_active("h2"))
    stacks = stage.run("h2", "node stack ls --env dev")
    stage.expect("h2 knows what was done meanwhile", "made-on-h3-meanwhile" in stacks)
    stage.expect("the same containers run, none twice", str(_pictures(cluster)) == stage.notes["before"])


# 17. The leader dies


def kill_the_leader(stage: Stage) -> None:
    """SIGKILL, while a client writes and, where there are containers, one of them watches another's name."""
    leader = _leader(stage, *HOSTS)
    others = [host for host in HOSTS if host != leader]
    stage.notes["leader"] = leader
    with _watch(stage), Writer(stage.world.api, others, "written") as writer:
        stage.run(leader, f"kill -KILL {stage.world.daemon(leader)}")
        took = writer.wait_more()
        stage.expect(f"writes are acknowledged again, after {took:.1f} s", took < 10)
        stage.run(others[0], "node stack create made-without-the-leader --environment dev")
        stage.expect("another leads", _leader(stage, *others) != leader)
    stage.run(others[0], "node status")
    for host in others:
        what = f"{host} has all {len(writer.acknowledged)} acknowledged changes"
        stage.until(what, functools.partial(_has_all, writer, host))
    writer.clean(others[0])


def _has_all(writer: Writer, host: str) -> bool:
    return not writer.missing(host)


@contextmanager
def _watch(stage: Stage) -> Iterator[None]:
    """Have a container ping and look up one on the other host meanwhile; what it saw is kept for the next act."""
    if not stage.world.has_kernel:
        yield
        return
    cluster = _cluster(stage)
    stage.run("h1", "node service create tools/watcher corral-test/glibc --create-stack")
    host = place_of(stage, WATCHER)
    target = next(name for name in (NGINX_1, NGINX_2) if place_of(stage, name) != host)
    stage.notes["pictures"] = str(_pictures(cluster))
    stage.say(f"from here on {WATCHER} on {host} looks up and pings {target} again and again")
    with watching(cluster, host, WATCHER, target) as seen:
        yield
    stage.notes["watched"] = str(len(seen.words))
    stage.notes["missed"] = " ".join(seen.failures)


def never_notice(stage: Stage) -> None:
    """What the watching container saw."""
    what = f"none of {stage.notes['watched']} look-ups and pings failed meanwhile"
    stage.expect(what, not stage.notes["missed"])


def adopt(stage: Stage) -> None:
    """The killed daemon starts again."""
    stage.launch(stage.notes["leader"], "node start", first=False)
    same = str(_pictures(_cluster(stage))) == stage.notes["pictures"]
    stage.expect("the same containers run, none was restarted", same)
    stage.until("all three vote and are alive", functools.partial(_all_alive, stage))


def _all_alive(stage: Stage) -> bool:
    members = stage.world.api(HOSTS[0], "GET", CLUSTER).body["members"]
    return [(member["role"], member["status"]) for member in members] == [("voter", "alive")] * len(HOSTS)
