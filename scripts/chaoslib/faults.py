"""Which fault befalls which host when, drawn from a seed; what a fault does is the world's business.

Mostly a minority is troubled at a time, so that there is progress to be wrong about; now and then all at once.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from scripts.chaoslib.asking import Nodes, hand_over

SECOND = 0.15
"""Chance that a host is troubled while as many as a minority are, or have not recovered yet."""
STORM = 0.07
"""Share of faults that befall all hosts at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to trouble a host; `end` puts it right again, also when the host has changed meanwhile."""

    name: str
    weight: int
    lasts: tuple[float, float]
    begin: Callable[[str, Random], None]
    end: Callable[[str], None]
    at_leader: bool = False
    """Whether it befalls the host that leads, and none if nobody does."""

    storms: bool = True
    """Whether it may befall all hosts at once."""


def hand_over_fault(nodes: Nodes) -> Fault:
    """Return what operators do to a leader."""

    def begin(host: str, rng: Random) -> None:
        hand_over(nodes, host)

    return Fault("leadership handed over", 3, (0, 0.5), begin, lambda host: None, at_leader=True, storms=False)


class Breakable(Protocol):
    """What faults befall."""

    hosts: tuple[str, ...]

    def leader(self) -> str | None:
        """Return the host that says that it leads; None where none does at once."""

    def serves(self, host: str) -> bool:
        """Tell whether a host takes part in the cluster and answers."""

    def faults(self) -> Sequence[Fault]:
        """Return what can be done to it."""

    def revive(self, busy: frozenset[str]) -> list[str]:
        """Start the daemons again that ended by themselves, except on these hosts; return why each one had ended."""

    def mend(self) -> None:
        """Put everything right, whatever was left half-done."""


@dataclass(slots=True, eq=False)
class Mischief:
    """Troubles a world for a while."""

    world: Breakable
    rng: Random
    say: Callable[[str], None]
    gap: tuple[float, float] = (0.2, 2.0)
    only: frozenset[str] = frozenset()
    """The names of the faults to choose from; none means all."""

    done: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)
    """Daemons that ended by themselves."""

    _began_at: float = 0.0
    _troubled: dict[str, tuple[float, Fault]] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Go on for so long, then end all faults."""
        self._began_at = time.monotonic()
        ends_at = self._began_at + seconds
        next_at = time.monotonic() + self._gap()
        while (now := time.monotonic()) < ends_at:
            self._end_those_due(now)
            self.ended += self.world.revive(frozenset(self._troubled))
            if now >= next_at:
                self._begin(now)
                next_at = time.monotonic() + self._gap()
            time.sleep(0.05)
        self._end_those_due(float("inf"))
        self.world.mend()

    def _gap(self) -> float:
        return self.rng.uniform(*self.gap)

    def _begin(self, now: float) -> None:
        free = [host for host in self.world.hosts if host not in self._troubled]
        # On a slow machine most hosts would be about to start most of the time, with nobody to ask.
        serving = [host for host in free if self.world.serves(host)]
        minority = (len(self.world.hosts) - 1) // 2
        named = [fault for fault in self.world.faults() if not self.only or fault.name in self.only]
        stormy = [fault for fault in named if fault.storms]
        is_storm = self.rng.random() < STORM and bool(stormy)
        is_enough = len(self.world.hosts) - len(serving) >= minority
        if not free or (is_enough and not is_storm and self.rng.random() > SECOND):
            return
        choice = stormy if is_storm else named
        fault = self.rng.choices(choice, [each.weight for each in choice])[0]
        aimed_at: str | None = self.rng.choice(free)
        if fault.at_leader:
            aimed_at = self.world.leader()
        for host in free:
            if not is_storm and host != aimed_at:
                continue
            lasts = self.rng.uniform(*fault.lasts)
            self.say(f"{time.monotonic() - self._began_at:6.1f}  {host}: {fault.name} for {lasts:.1f} s")
            self._troubled[host] = (now + lasts, fault)
            self.done[fault.name] += 1
            fault.begin(host, self.rng)

    def _end_those_due(self, now: float) -> None:
        for host, (ends_at, fault) in list(self._troubled.items()):
            if now >= ends_at:
                fault.end(host)
                del self._troubled[host]
