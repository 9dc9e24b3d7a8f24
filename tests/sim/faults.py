"""What goes wrong in a simulated cluster, and when: drawn from the seed before anything runs.

Each kind has a rate of its own per profile and a sequence of its own, so that one fault can be left out and the others
stay what they were: that is how a failure is made small.
"""

from dataclasses import dataclass
from random import Random
from typing import Final

PROFILES: Final = ("calm", "rough", "hell")

RATES: Final[dict[str, tuple[float, float, float]]] = {
    # Processes and machines.
    "kill": (0.5, 2.0, 5.0),
    "kill_leader": (0.3, 1.5, 4.0),
    "lose_power": (0.0, 0.3, 1.0),
    "pause": (0.2, 0.7, 2.0),
    "slow_host": (0.1, 0.5, 1.5),
    "set_clock": (0.2, 1.0, 2.0),
    # Between them.
    "partition": (0.3, 1.0, 2.5),
    "cut_one_way": (0.0, 0.7, 2.0),
    "cut_pair": (0.1, 0.7, 2.0),
    "isolate_leader": (0.1, 0.5, 1.5),
    "flap": (0.0, 0.5, 1.5),
    "break_links": (0.3, 1.0, 2.0),
    "bad_weather": (0.3, 1.5, 3.0),
    # Disks.
    "slow_disk": (0.3, 1.0, 2.0),
    "fill_disk": (0.0, 0.4, 1.0),
    "fail_flush": (0.0, 0.4, 1.0),
    "flip_bits": (0.0, 0.2, 0.5),
    "wipe_disk": (0.0, 0.2, 0.5),
    # Engines and containers.
    "pause_engine": (0.2, 0.7, 1.5),
    "slow_engine": (0.2, 0.7, 1.5),
    "delete_container": (0.5, 1.0, 2.0),
    "end_containers": (0.3, 1.0, 1.5),
    # People.
    "join": (0.5, 1.0, 1.5),
    "remove_host": (0.2, 0.5, 1.0),
    "remove_leader": (0.0, 0.3, 0.7),
    "hand_over": (0.2, 0.7, 1.5),
    "deactivate_all": (0.1, 0.3, 0.7),
    "delete_stack": (0.2, 0.5, 1.2),
    "scale_fast": (0.3, 1.0, 2.0),
    "take_names": (0.2, 0.5, 1.0),
}
"""Kind → faults a minute, by profile."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; `seed` is where its details come from."""

    number: int
    at: float
    kind: str
    seed: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run, all of it."""

    seed: int
    profile: str = "rough"
    hosts: tuple[int, int] = (3, 5)
    minutes: float = 1.0
    without: frozenset[str] = frozenset()
    """Kinds of faults, and numbers of single ones, that are left out."""
    scene: str = "cluster"

    @property
    def size(self) -> int:
        """How many hosts there are before faults begin."""
        return Random(f"{self.seed} size").randint(*self.hosts)

    def faults(self) -> tuple[Fault, ...]:
        """Return what goes wrong, in order, without what is left out."""
        column = PROFILES.index(self.profile)
        found: list[tuple[float, str, str]] = []
        for kind, rates in RATES.items():
            rng, at = Random(f"{self.seed} {kind}"), 0.0
            while rates[column] and (at := at + rng.expovariate(rates[column] / 60)) < self.minutes * 60:
                found.append((at, kind, f"{self.seed} {kind} {at}"))
        numbered = [Fault(number, *each) for number, each in enumerate(sorted(found))]
        return tuple(f for f in numbered if f.kind not in self.without and str(f.number) not in self.without)

    def command(self) -> str:
        """What to type to run this one again with a trace."""
        without = f" --without {','.join(sorted(self.without, key=_by_number))}" if self.without else ""
        low, high = self.hosts
        if self.scene != "cluster":
            return f"scripts/simulate --scene {self.scene} --replay {self.seed} --trace"
        return (
            f"scripts/simulate --replay {self.seed} --profile {self.profile} --hosts {low}..{high}"
            f" --minutes {self.minutes:g}{without} --trace"
        )


def _by_number(word: str) -> tuple[int, str]:
    return (int(word), "") if word.isdigit() else (-1, word)
