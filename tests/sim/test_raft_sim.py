"""Whole Raft groups in virtual time: safety after every event, progress once faults end, one seed one run.

CORRAL_RAFT_SEEDS=0-5000 runs those seeds instead of the usual few.
"""

import os

import pytest

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
