"""Daemons die at named sites, in the middle of a write, a snapshot, an apply: what was acknowledged is there later.

The leader of three and a follower die at each site while a client writes through all of them.  Then the leader is
killed at random moments, `CORRAL_KILLS` times in all; 10 times when nobody says, fewer on a slow machine.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import partial

import pytest

from node.crashing import SITES, SNAPSHOT_VARIABLE, VARIABLE
from scripts.lightlib.cluster import LightCluster, LightNode, NotSoError, eventually
from scripts.lightlib.failover import STACKS, Writer

KILLS = int(os.environ.get("CORRAL_KILLS", "10"))
FEW, ENOUGH = 3, 30.0
"""Kills that there are in any case, and seconds after which no more are begun unless their number was given."""
REACHED = sorted(SITES.keys() - {"consensus.mid-install"})
"""What a daemon comes by while others write; the other has a test of its own."""
OF_LEADERS = {"consensus.sent-early"}
OFTEN = 40
"""Entries after which a snapshot is made here, so that the sites in one are reached soon."""


def start(cluster: LightCluster, node: LightNode) -> None:
    """Start a daemon that dies once its host's file names a site."""
    trap = node.folder / "crash"
    trap.unlink(missing_ok=True)
    cluster.start(node, wait=False, variables={VARIABLE: f"@{trap}", SNAPSHOT_VARIABLE: str(OFTEN)})


def set_trap(node: LightNode, site: str, count: int = 1) -> None:
    written = node.folder / "crash.new"
    written.write_text(f"{site}:{count}")
    written.rename(node.folder / "crash")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightCluster]:
    with LightCluster(tmp_path_factory.mktemp("three")) as cluster:
        cluster.make(3)
        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            start(cluster, node)
        for node in cluster.nodes:
            cluster.wait_active(node)
        yield cluster


def wait_dead(node: LightNode) -> int:
    assert node.process is not None
    try:
        return node.process.wait(60)
    except subprocess.TimeoutExpired:
        raise NotSoError(f"{node.name} goes on:\n{node.log()}") from None


def has_all(node: LightNode, names: set[str]) -> bool | None:
    try:
        rows = node.ask("GET", f"{STACKS}?limit=-1").body["data"]
    except OSError:
        return None
    return names <= {row["name"] for row in rows} or None


def check_nothing_is_lost(nodes: Sequence[LightNode], names: set[str]) -> None:
    for node in nodes:
        eventually(partial(has_all, node, names), f"{node.name} has every acknowledged write")


@pytest.mark.parametrize(
    ("site", "role"),
    [(site, role) for site in REACHED for role in ("follower", "leader") if role == "leader" or site not in OF_LEADERS],
)
def test_node_that_dies_at_a_site_comes_back_and_nothing_acknowledged_is_lost(
    three: LightCluster, site: str, role: str
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    leader = three.leader()
    victim = leader if role == "leader" else rng.choice([node for node in three.nodes if node is not leader])
    with Writer(three.nodes, f"{site.replace('.', '-')}-{role}") as writer:
        writer.wait_after(0.0, "writes are taken")
        set_trap(victim, site, 1 if site.startswith("snapshot.") else rng.randrange(1, 4))
        assert wait_dead(victim) == -signal.SIGKILL
        writer.wait_after(time.monotonic(), "the others go on")
        start(three, victim)
        three.wait_active(victim)
        writer.wait_after(time.monotonic(), "all go on")
    check_nothing_is_lost(three.nodes, {name for name, _, _ in writer.acknowledged})


def test_node_that_dies_while_it_installs_a_snapshot_comes_back(three: LightCluster) -> None:
    (*others, victim) = three.nodes
    three.kill(victim)
    with Writer(others, "install") as writer:
        # So many that the leader has forgotten the entries which the victim needs.
        eventually(lambda: len(writer.acknowledged) > 3 * OFTEN or None, "a lot is written", timeout=60)
        start(three, victim)
        set_trap(victim, "consensus.mid-install")
        assert wait_dead(victim) == -signal.SIGKILL
        start(three, victim)
        three.wait_active(victim)
    check_nothing_is_lost(three.nodes, {name for name, _, _ in writer.acknowledged})


def test_leader_is_killed_at_random_moments_and_no_acknowledged_write_is_lost(three: LightCluster) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    written: set[str] = set()
    began = time.monotonic()
    for number in range(KILLS):
        if number >= FEW and "CORRAL_KILLS" not in os.environ and time.monotonic() > began + ENOUGH:
            break
        leader = three.leader()
        survivors = [node for node in three.nodes if node is not leader]
        with Writer(three.nodes, f"k{number}") as writer:
            writer.wait_after(0.0, "writes are taken")
            time.sleep(rng.uniform(0, 0.3))
            killed_at = time.monotonic()
            three.kill(leader)
            writer.wait_after(killed_at, f"the others go on after kill {number}")
            start(three, leader)
            three.wait_active(leader)
        names = {name for name, _, _ in writer.acknowledged}
        check_nothing_is_lost(survivors, names)
        written |= names
    print(f"{number + 1} kills, {len(written)} acknowledged writes")
    check_nothing_is_lost(three.nodes, written)
