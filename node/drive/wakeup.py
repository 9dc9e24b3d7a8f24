"""A level-triggered wake-up: many may ask for another round, one loop makes it, none is lost, bursts become one."""

from math import inf

import trio


class Wakeup:
    """Set by anybody at any time; the loop waits, then re-reads the whole picture."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._returned = -inf

    def set(self) -> None:
        """Ask for another round."""
        self._event.set()

    async def wait(self, *, at_most: float, settle: float = 0.0, apart: float = 0.0) -> None:
        """Wait until asked, or `at_most` seconds; then `settle` seconds more, so that a burst makes one round.

        While it is asked all the time, rounds begin no closer than `apart` seconds to each other.
        """
        with trio.move_on_after(at_most):
            await self._event.wait()
            await trio.sleep(max(settle, self._returned + apart - trio.current_time()))
        self._event = trio.Event()
        self._returned = trio.current_time()
