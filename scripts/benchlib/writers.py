"""Clients that write all the time through given hosts, and note of every write when it was begun and how it ended.

Several clients for each host, a thread each, at different moments.  What is not acknowledged within PATIENCE is given
up and the next write begun: a client that waits for what went down with a leader would notice nothing else.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

CLIENTS = 4
"""For each host."""
PAUSE = 0.1
PAUSE_AFTER_FAILURE = 0.01
PATIENCE = 0.4
GIVE_UP = 30.0

Put = Callable[[str], bool]
"""Writes something of this name and tells whether it was acknowledged; may raise OSError."""


@dataclass(frozen=True, slots=True)
class Write:
    """One attempt."""

    name: str
    begun: float
    ended: float
    is_acknowledged: bool


class Writers:
    """Writes through each host while its block runs; the names begin with `prefix`."""

    def __init__(
        self, puts: Mapping[str, Callable[[], Put]], prefix: str, *, clients: int = CLIENTS, pause: float = PAUSE
    ) -> None:
        """`puts` makes each host's client, in the thread that it is for; `pause` seconds lie between its writes."""
        self.writes: list[Write] = []
        self._prefix, self._clients, self._pause = prefix, clients, pause
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(host, number, make), daemon=True)
            for host, make in puts.items()
            for number in range(clients)
        ]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(GIVE_UP)

    def wait_after(self, moment: float) -> float:
        """Return when the first of the writes begun after `moment` was acknowledged, or GIVE_UP seconds later."""
        give_up_at = moment + GIVE_UP
        while (found := first_after(tuple(self.writes), moment)) is None and time.monotonic() < give_up_at:
            time.sleep(0.002)
        return give_up_at if found is None else found

    def _run(self, host: str, client: int, make: Callable[[], Put]) -> None:
        put, number = make(), 0
        self._stop.wait(self._pause * client / self._clients)
        while not self._stop.is_set():
            name, begun = f"{self._prefix}-{host}-{client}-{number}", time.monotonic()
            try:
                is_acknowledged = put(name)
            except OSError:
                is_acknowledged = False
            self.writes.append(Write(name, begun, time.monotonic(), is_acknowledged))
            number += 1
            self._stop.wait(self._pause if is_acknowledged else PAUSE_AFTER_FAILURE)


def first_after(writes: Sequence[Write], moment: float) -> float | None:
    """Return when the first of the writes begun after `moment` was acknowledged; one begun before tells nothing."""
    return min((each.ended for each in writes if each.is_acknowledged and each.begun >= moment), default=None)


def acknowledged(writes: Sequence[Write]) -> set[str]:
    """Return the names that must not be missing."""
    return {each.name for each in writes if each.is_acknowledged}


def slowest_extra(writes: Sequence[Write], moment: float) -> float:
    """Return how much longer than usual before it the slowest write that ended after `moment` took.

    One that was not acknowledged counts as endless.
    """
    usual = median(each.ended - each.begun for each in writes if each.ended < moment)
    after = [each for each in writes if each.ended >= moment]
    return max((each.ended - each.begun if each.is_acknowledged else float("inf")) for each in after) - usual
