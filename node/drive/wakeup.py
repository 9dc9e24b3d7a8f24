"""A level-triggered wake-up: many may ask for another round, one loop makes it, none is lost, bursts become one."""

import trio


class Wakeup:
    """Set by anybody at any time; the loop waits, then re-reads the whole picture."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        """Ask for another round."""
        self._event.set()

    async def wait(self, *, at_most: float, settle: float = 0.0) -> None:
        """Wait until asked, or `at_most` seconds; then `settle` seconds more, so that a burst makes one round."""
        with trio.move_on_after(at_most):
            await self._event.wait()
            await trio.sleep(settle)
        self._event = trio.Event()
