"""What the engines of all hosts have together, held against what the cluster says: nothing double, nothing lost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scripts.chaoslib.judging import doubles


@dataclass(frozen=True, slots=True)
class Found:
    """One container as an engine has it."""

    uuid: str
    name: str
    is_running: bool
    addresses: tuple[str, ...]
    """The one on its label first, then those it really has."""

    @classmethod
    def parse(cls, line: str) -> "Found":
        """Read `UUID /NAME STATUS ADDRESS/PREFIX ADDRESS…`."""
        uuid, name, status, label, *addresses = line.split()
        return cls(uuid, name.lstrip("/"), status == "running", (label.partition("/")[0], *addresses))


def problems_of_engines(found: Mapping[str, Sequence[Found]], wanted: Iterable[str]) -> list[str]:
    """Return lines about containers of the engines, by host, where the cluster wants those of certain names."""
    every = [each for host in found.values() for each in host]
    running = [each for each in every if each.is_running]
    problems = doubles("in Docker, container", (each.uuid for each in every))
    problems += doubles("in Docker, running", (each.name for each in running))
    problems += doubles("in Docker, address", (each.addresses[0] for each in running))
    for each in running:
        if set(each.addresses[1:]) != {each.addresses[0]}:
            problems.append(f"in Docker, {each.name} has {each.addresses[1:]}, it was given {each.addresses[0]}")
    names = {f"r-{name}" for name in wanted}
    has = {each.name for each in running}
    problems += [f"in Docker, {name} does not run anywhere" for name in sorted(names - has)]
    problems += [f"in Docker, {name} runs and nobody wants it" for name in sorted(has - names)]
    return problems
