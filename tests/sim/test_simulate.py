"""Whole clusters in virtual time: safe whatever happens, as they should be once faults end; and the simulator itself.

CORRAL_SIM_SEEDS=0-300 runs those seeds instead of the usual few; scripts/simulate does more.
"""

import os
from pathlib import Path
from random import Random

import pytest

from node.store.errors import CorruptStoreError
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import Entry, EntryKind
from protocol.raft.vocabulary import HardState, Output, SavedState, bootstrap
from tests.sim import planted, simulate
from tests.sim.faults import PROFILES, RATES, Scenario
from tests.sim.scenes import Outcome, play
from tests.sim.shrink import shrink
from tests.sim.sim_disk import StoreDisk

FIRST, _, LAST = os.environ.get("CORRAL_SIM_SEEDS", "0-2").partition("-")
ME = NodeId("a" * 32)


def short(seed: int, profile: str = "rough", scene: str = "cluster") -> Scenario:
    return Scenario(seed, profile, (3, 4), 0.15, scene=scene)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST)))
def test_cluster_stays_safe_and_settles_whatever_happens(seed: int, profile: str) -> None:
    outcome = play(short(seed, profile))
    assert outcome.failure is None, outcome.scenario.command()


@pytest.mark.parametrize("seed", range(5))
def test_gossip_never_believes_less_and_converges(seed: int) -> None:
    assert play(short(seed, scene="gossip")).failure is None


@pytest.mark.parametrize("seed", range(4))
def test_disk_gives_back_what_was_promised_or_refuses(seed: int) -> None:
    assert play(short(seed, scene="disk")).failure is None


@pytest.mark.parametrize("seed", range(6))
def test_state_stays_what_it_must_be_and_settles_whoever_asks_for_what(seed: int) -> None:
    assert play(short(seed, scene="state")).failure is None


@pytest.mark.parametrize("scene", ["disk", "state"])
def test_scene_goes_the_same_way_from_the_same_seed(scene: str) -> None:
    assert play(short(1, scene=scene)).trace == play(short(1, scene=scene)).trace


def test_cluster_lives_the_same_life_from_the_same_seed() -> None:
    first, second = play(short(8, "hell")), play(short(8, "hell"))
    assert first.trace == second.trace


# Planted bugs.


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: bug.name)
def test_planted_bug_still_fits_the_source(bug: planted.Bug) -> None:
    compile(planted.mutated(bug), str(bug.path), "exec")


QUICK = ("majority off by one", "stale incarnation wins", "entry read without its checksum", "port given twice")


@pytest.mark.parametrize("name", QUICK)
def test_planted_bug_is_found(name: str) -> None:
    catch = planted.look_for(planted.by_name(name), range(100), ("group", "gossip", "disk", "state"))
    assert catch.scene is not None, str(catch)


def test_planted_bugs_are_looked_for_in_two_hundred_seeds_unless_asked_otherwise() -> None:
    assert simulate._parse(["--planted"]).seeds == range(200)
    assert simulate._parse(["--planted", "--seeds", "3..4"]).seeds == range(3, 5)
    assert simulate._parse([]).seeds == range(20)


def test_planted_bugs_have_names_of_their_own() -> None:
    assert len({bug.name for bug in planted.BUGS}) == len(planted.BUGS) >= 24


# Scenarios.


def test_scenario_keeps_the_other_faults_when_some_are_left_out() -> None:
    whole = Scenario(3, "hell", minutes=2.0)
    kinds = frozenset({"kill", "7"})
    left = Scenario(3, "hell", minutes=2.0, without=kinds).faults()
    assert left == tuple(f for f in whole.faults() if f.kind != "kill" and f.number != 7)


def test_every_kind_of_fault_can_be_done() -> None:
    from tests.sim.cluster_acts import Acts

    assert all(hasattr(Acts, f"_{kind}") for kind in RATES)


def test_shrink_finds_the_fault_that_matters() -> None:
    scenario = Scenario(3, "hell", minutes=1.0)
    culprit = scenario.faults()[11]
    small, tried = shrink(Outcome(scenario, "", 0.0, "it"), lambda some: [culprit in each.faults() for each in some])
    assert small.faults() == (culprit,)
    assert tried < 200


# The disk.


def nothing() -> Output:
    return Output(None, None, None, None, (), (), (), False, (), 0.0)


def append(number: int) -> Output:
    from dataclasses import replace

    entry = Entry(Index(number), Term(number), EntryKind.COMMAND, bytes(300))
    return replace(nothing(), hard=HardState(Term(number), ME), append=(entry,))


async def written(folder: Path, seed: int) -> StoreDisk:
    disk = StoreDisk(folder, Random(seed), slowness=0.0)
    disk.make_empty()
    disk.found(bootstrap(ME))
    await disk.load()
    for number in range(2, 30):
        await disk.write(append(number), Index(number - 1))
    return disk


@pytest.mark.parametrize("seed", range(8))
async def test_disk_gives_back_what_was_promised_after_a_write_was_torn(tmp_path: Path, seed: int) -> None:
    disk = await written(tmp_path, seed)
    disk._interrupt(lambda: disk._opened().write(append(30), Index(29)), lambda shadow: shadow.write(append(30)))
    disk.crash()
    saved, _ = await disk.load()
    assert saved.entries[-1].index in (29, 30)
    assert saved == disk.shadow.saved


@pytest.mark.parametrize("seed", range(8))
async def test_disk_refuses_or_gives_back_what_was_promised_after_bits_flipped(tmp_path: Path, seed: int) -> None:
    disk = await written(tmp_path, seed)
    disk.crash()
    disk.flip_bits(Random(seed))
    try:
        saved, _ = await disk.load()
    except CorruptStoreError:
        return
    assert saved == disk.shadow.saved != SavedState()
