"""Counts steps of the event loop that kept everybody else waiting.

A step is what one task does between two checkpoints; one longer than SLOW_STEP is a defect to be found and split.
"""

import logging

import trio

SLOW_STEP = 0.02
LOUD_STEP = 0.25

log = logging.getLogger("corral.watchdog")


class Watchdog(trio.abc.Instrument):
    """Measures each step with the loop's clock."""

    def __init__(self) -> None:
        self.slow_steps = 0
        self.longest = 0.0
        self._began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = trio.current_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = trio.current_time() - self._began
        if took <= SLOW_STEP:
            return
        self.slow_steps += 1
        self.longest = max(self.longest, took)
        if took > LOUD_STEP:
            log.warning("a step of %s took %.0f ms", task.name, took * 1000)
