"""Whole Raft groups in virtual time: safety after every event, progress once faults end, one seed one run.

CORRAL_RAFT_SEEDS=0-5000 runs those seeds instead of the usual few.
"""

import os
from functools import partial
from random import Random

import pytest

from protocol.raft.core import Raft
from protocol.raft.messages import Config, make_config
from protocol.raft.vocabulary import Limits, Timing, bootstrap
from protocol.raft.voters import HostView, plan_voters
from tests.sim.raft_cluster import Cluster, node_id
from tests.sim.raft_story import Story

FIRST, _, LAST = os.environ.get("CORRAL_RAFT_SEEDS", "0-100").partition("-")


@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST)))
def test_group_stays_safe_and_recovers_whatever_happens(seed: int) -> None:
    Story(seed).run()


def test_group_lives_the_same_life_from_the_same_seed() -> None:
    first, second = Story(14), Story(14)
    first.run()
    second.run()
    assert first.cluster.trace == second.cluster.trace


def propose_config(config: Config, now: float, raft: Raft) -> None:
    raft.propose_config(config, now)


def make_three_voters(seed: int) -> Cluster:
    """Return three voters under the default timing, ten seconds after the first of them started alone."""
    cluster = Cluster(seed, Random(seed), Timing(), Limits())
    for letter in "abc":
        name = node_id(letter)
        cluster.add_host(name, bootstrap(name) if letter == "a" else None)
    a, b, c = cluster.members
    steps = [make_config([a], [b, c]), make_config([a, b], [c]), make_config([a, b, c])]
    for second, config in enumerate(steps, 1):
        cluster.run_until(float(second))
        cluster.act_on(a, partial(propose_config, config, cluster.now))
    cluster.run_until(10.0)
    return cluster


def seconds_until_a_write(cluster: Cluster) -> float:
    start, acknowledged = cluster.now, len(cluster.acknowledged)

    def propose() -> None:
        for name in list(cluster.members):
            cluster.propose(name)
        cluster.at(cluster.now + 0.01, propose)

    propose()
    cluster.run_until(start + 30.0, lambda: len(cluster.acknowledged) > acknowledged)
    return cluster.now - start


@pytest.mark.parametrize("seed", range(20))
def test_group_writes_again_soon_after_the_links_to_its_leader_broke(seed: int) -> None:
    cluster = make_three_voters(seed)
    cluster.kill(node_id("a"), is_noticed=True)
    assert seconds_until_a_write(cluster) < 1.0


@pytest.mark.parametrize("seed", range(20))
def test_voter_whose_disk_is_wiped_is_found_out_and_voting_again_only_after_it_was_a_learner(seed: int) -> None:
    cluster = make_three_voters(seed)
    b, c = node_id("b"), node_id("c")
    roles: list[str] = []

    def keep(raft: Raft) -> None:
        peers = raft.peers(cluster.now)
        view = HostView(
            raft.me,
            {},
            [name for name, peer in peers.items() if peer.is_caught_up],
            {},
            [name for name, peer in peers.items() if peer.has_lost_log],
        )
        plan = plan_voters(raft.config, view, cluster.now)
        if plan is not None and raft.is_config_committed:
            raft.propose_config(plan.config, cluster.now)
        roles.append("voter" if c in raft.config.voters else "learner")

    def tick() -> None:
        cluster.propose(node_id("a"))
        cluster.act_on(node_id("a"), keep)
        cluster.at(cluster.now + 0.05, tick)

    tick()
    cluster.run_until(12.0)
    cluster.wipe(c)
    cluster.run_until(22.0)
    assert "learner" in roles
    leader = cluster.leader()
    assert leader is not None
    assert (leader.me, leader.config.voters) == (node_id("a"), (node_id("a"), b, c))
    assert cluster.members[c].machine.index >= leader.commit_index - 5


def transfer(raft: Raft, now: float) -> None:
    raft.transfer(None, now)


@pytest.mark.parametrize("seed", range(20))
def test_group_writes_within_a_few_round_trips_of_a_transfer(seed: int) -> None:
    cluster = make_three_voters(seed)
    cluster.act_on(node_id("a"), lambda raft: transfer(raft, cluster.now))
    assert seconds_until_a_write(cluster) < 0.05
    assert cluster.leader() is not cluster.members[node_id("a")].raft


@pytest.mark.parametrize("seed", range(20))
def test_group_writes_again_within_two_seconds_after_its_leader_fell_silent(seed: int) -> None:
    cluster = make_three_voters(seed)
    cluster.kill(node_id("a"), is_noticed=False)
    assert seconds_until_a_write(cluster) < 2.0
