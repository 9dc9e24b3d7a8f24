"""Whole clusters in virtual time: safe whatever happens, as they should be once faults end, one seed one run.

CORRAL_CLUSTER_SEEDS=0-300 runs those seeds instead of the usual few.
"""

import os

import pytest

from tests.sim.cluster_story import Story

FIRST, _, LAST = os.environ.get("CORRAL_CLUSTER_SEEDS", "0-4").partition("-")


@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST)))
def test_cluster_stays_safe_and_settles_whatever_happens(seed: int) -> None:
    Story(seed).run()


def test_cluster_lives_the_same_life_from_the_same_seed() -> None:
    first, second = Story(8), Story(8)
    first.run()
    second.run()
    assert first.told == second.told
    assert first.trace == second.trace
