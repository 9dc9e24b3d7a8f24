"""Makes a failing scenario small: leaves out kinds of faults, then single ones, while it fails the same way."""

import re
from collections.abc import Callable
from dataclasses import replace

from tests.sim.faults import Scenario
from tests.sim.scenes import Outcome
from tests.sim.workers import Crew

AT_MOST = 3
"""Failures that one run makes small."""
MAX_RUNS = 100
AT_ONCE = 4


def signature(failure: str) -> str:
    """What kind of failure it is: its words without numbers, names and lists."""
    return re.sub(r"\d+|\[.*|\(.*|\{.*", "", failure.partition(": ")[2].partition(": ")[2] or failure)[:50]


def shrink(outcome: Outcome, fails: Callable[[list[Scenario]], list[bool]]) -> tuple[Scenario, int]:
    """Return the smallest scenario found that fails, and how many were tried; `fails` tries several at once."""
    best, tried = outcome.scenario, 0

    def try_without(names: list[frozenset[str]]) -> bool:
        nonlocal best, tried
        for start in range(0, len(names), AT_ONCE):
            some = [replace(best, without=best.without | each) for each in names[start : start + AT_ONCE]]
            if tried >= MAX_RUNS:
                return False
            tried += len(some)
            failed = [each for each, has_failed in zip(some, fails(some), strict=True) if has_failed]
            if failed:
                best = failed[0]
                return True
        return False

    while try_without(_halves([fault.kind for fault in best.faults()])):
        pass
    while try_without(_halves([str(fault.number) for fault in best.faults()])):
        pass
    return best, tried


def _halves(names: list[str]) -> list[frozenset[str]]:
    """Sets to leave out: the large ones first, then one by one."""
    each = list(dict.fromkeys(names))
    sets, size = list[frozenset[str]](), len(each)
    while size >= 1:
        sets += [frozenset(each[start : start + size]) for start in range(0, len(each), size)]
        size //= 2
    return list(dict.fromkeys(sets))


def report(crew: Crew, outcome: Outcome) -> str:
    """Shrink on a crew, and say how to see the result."""
    if outcome.scenario.scene != "cluster" or outcome.failure is None:
        return f"seed {outcome.scenario.seed}: {outcome.scenario.command()}"
    wanted = signature(outcome.failure)

    def fails(candidates: list[Scenario]) -> list[bool]:
        futures = [crew.submit(candidate) for candidate in candidates]
        failures = [future.result().failure for future in futures]
        return [failure is not None and signature(failure) == wanted for failure in failures]

    small, tried = shrink(outcome, fails)
    faults = ", ".join(f"{fault.kind} at {fault.at:.1f}" for fault in small.faults()) or "no fault at all"
    return f"seed {small.seed}, after {tried} tries: {faults} suffice\n  {small.command()}"
