"""The watchdog: what counts as slow, and who is named."""

import logging

import pytest
import trio
from trio.testing import MockClock

from node.drive.watchdog import LOUD_STEP, SLOW_STEP, Watchdog


@pytest.fixture
def clock() -> MockClock:
    """A clock that stands still unless a test moves it."""
    return MockClock()


async def step(watchdog: Watchdog, clock: MockClock, took: float) -> None:
    task = trio.lowlevel.current_task()
    watchdog.before_task_step(task)
    clock.jump(took)
    watchdog.after_task_step(task)


async def test_step_is_slow_when_it_takes_longer_than_the_limit(clock: MockClock) -> None:
    watchdog = Watchdog()
    for took in (SLOW_STEP / 2, SLOW_STEP * 2, SLOW_STEP * 3):
        await step(watchdog, clock, took)
    assert watchdog.slow_steps == 2
    assert watchdog.longest == pytest.approx(SLOW_STEP * 3)


async def test_very_slow_step_names_its_task(clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog()
    with caplog.at_level(logging.WARNING, "corral.watchdog"):
        await step(watchdog, clock, LOUD_STEP / 2)
        assert not caplog.records
        await step(watchdog, clock, LOUD_STEP * 2)
    assert trio.lowlevel.current_task().name in caplog.text
    assert "500 ms" in caplog.text


async def test_watchdog_measures_the_steps_of_the_loop(clock: MockClock) -> None:
    watchdog = Watchdog()
    trio.lowlevel.add_instrument(watchdog)
    await trio.lowlevel.checkpoint()
    clock.jump(SLOW_STEP * 2)
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(watchdog)
    assert watchdog.slow_steps == 1
