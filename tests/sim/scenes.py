"""What the simulator plays: one scenario in one of its scenes, to an outcome that can be sent between processes."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.sim.faults import Scenario

SCENES = ("cluster", "group", "gossip", "disk", "state")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario."""

    scenario: Scenario
    trace: str
    """A digest of all that happened."""
    lived: float
    """Seconds of virtual time."""
    failure: str | None = None


def play(scenario: Scenario, *, show: Callable[[str], None] | None = None) -> Outcome:
    """Run a scenario here and catch whatever it raises."""
    players = {
        "cluster": _play_cluster,
        "group": _play_group,
        "gossip": _play_gossip,
        "disk": _play_disk,
        "state": _play_state,
    }
    with quiet("corral", "trio"):
        return players[scenario.scene](scenario, show or (lambda line: None))


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Keep these loggers silent: what a broken cluster complains of is no news."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _play_cluster(scenario: Scenario, show: Callable[[str], None]) -> Outcome:
    from tests.sim.cluster_story import Story

    story = Story(scenario, show=show)
    failure = _failure_of(story.run)
    return Outcome(scenario, story.trace, story.lived, failure)


def _play_group(scenario: Scenario, show: Callable[[str], None]) -> Outcome:
    from tests.sim.group_scene import BoldStory

    story = BoldStory(scenario.seed)
    failure = _failure_of(story.run)
    show(f"{dict(story.cluster.check.events)}")
    return Outcome(scenario, story.cluster.trace, story.cluster.now, failure)


def _play_gossip(scenario: Scenario, show: Callable[[str], None]) -> Outcome:
    from tests.sim.gossip_scene import GossipStory

    story = GossipStory(scenario.seed)
    failure = _failure_of(story.run)
    return Outcome(scenario, story.cluster.trace_hash(), story.cluster.now, failure)


def _play_disk(scenario: Scenario, show: Callable[[str], None]) -> Outcome:
    from tests.sim.disk_scene import DiskStory

    story = DiskStory(scenario.seed)
    failure = _failure_of(story.run)
    return Outcome(scenario, story.trace, float(story.steps), failure)


def _play_state(scenario: Scenario, show: Callable[[str], None]) -> Outcome:
    from tests.sim.state_scene import StateStory

    story = StateStory(scenario.seed, show)
    failure = _failure_of(story.run)
    return Outcome(scenario, story.trace, story.lived, failure)


def _failure_of(run: Callable[[], None]) -> str | None:
    try:
        run()
    except Exception as error:
        return "; ".join(dict.fromkeys(f"{type(each).__name__}: {each}" for each in _leaves(error)))
    return None


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
