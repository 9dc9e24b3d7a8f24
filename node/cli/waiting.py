"""Waits until what was accepted has happened, and shows how it goes; stopping to wait changes nothing.

A resource says itself whether it is on its way (`transitioning`) and why it is not there yet.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import click

from node.cli.errors import CliError, Interrupted, NotConverged
from node.cli.names import GONE
from node.cli.output import clean
from node.cli.session import Session

Json = dict[str, Any]

POLL_SECONDS = 0.15
SLOW_POLL_SECONDS = 1.0
SLOW_AFTER = 10.0
COUNT_EVERY = 1.0
"""Seconds between two counts of a service's containers: the node writes out each of them for that."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One resource that is to settle, or to go."""

    noun: str
    name: str
    id: str
    is_removal: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a goal is."""

    is_done: bool
    text: str
    error: str | None = None


class Display(Protocol):
    """Shows how far goals are."""

    def show(self, lines: Sequence[str]) -> None:
        """Show the lines of this moment."""

    def end(self) -> None:
        """Leave the terminal as it was found."""


class PlainDisplay:
    """Prints a line when it is news."""

    def __init__(self) -> None:
        self._shown: dict[int, str] = {}

    def show(self, lines: Sequence[str]) -> None:
        """Print what differs from the last time."""
        for place, line in enumerate(lines):
            if self._shown.get(place) != line:
                self._shown[place] = line
                click.echo(line, err=True)

    def end(self) -> None:
        """Nothing is left to tidy."""


class TerminalDisplay:
    """Rewrites its lines in place."""

    def __init__(self) -> None:
        self._height = 0

    def show(self, lines: Sequence[str]) -> None:
        """Go back to the first line and write all anew."""
        back = f"\x1b[{self._height}A" if self._height else ""
        sys.stderr.write(back + "".join(f"\r\x1b[2K{line}\n" for line in lines))
        sys.stderr.flush()
        self._height = len(lines)

    def end(self) -> None:
        """Leave the last picture where it is."""


class NoDisplay:
    """Shows nothing."""

    def show(self, lines: Sequence[str]) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Nothing is left to tidy."""


def display_for(session: Session) -> Display:
    """Return the display that was asked for: in place on a terminal, plain lines elsewhere."""
    chosen = session.settings
    if chosen.progress == "none" or chosen.quiet or (chosen.json and chosen.progress == "auto"):
        return NoDisplay()
    if chosen.progress == "auto" and sys.stderr.isatty() and session.variables.get("TERM") != "dumb":
        return TerminalDisplay()
    return PlainDisplay()


def wait_for(
    session: Session,
    goals: Sequence[Goal],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once every goal is reached; NotConverged when the time is up, CliError when one failed for good."""
    if not session.settings.wait or not goals:
        return
    started = counted = clock()
    display = display_for(session)
    try:
        seen = [look(session, goal) for goal in goals]
        while True:
            display.show(
                [f"{goal.noun} {clean(goal.name)}: {each.text}" for goal, each in zip(goals, seen, strict=True)]
            )
            _raise_failures(goals, seen)
            if all(each.is_done for each in seen):
                return
            passed = clock() - started
            if passed >= session.settings.wait_timeout:
                raise _not_converged(goals, seen, session.settings.wait_timeout)
            sleep(POLL_SECONDS if passed < SLOW_AFTER else SLOW_POLL_SECONDS)
            is_due = clock() - counted >= COUNT_EVERY
            counted = clock() if is_due else counted
            seen = [look(session, goal, None if is_due else each) for goal, each in zip(goals, seen, strict=True)]
    except KeyboardInterrupt:
        names = ", ".join(goal.name for goal in goals)
        watch = f"watch with `node {goals[0].noun} ls`"
        raise Interrupted(f"stopped waiting; the change of {names} was accepted and goes on", try_=watch) from None
    finally:
        display.end()


def look(session: Session, goal: Goal, before: Seen | None = None) -> Seen:
    """Say how far one goal is; as far as `before`, if it is still on its way."""
    row = _row_of(session, goal)
    if row is not None and before is not None and not before.is_done and row.get("transitioning") == "yes":
        return before
    if row is not None and goal.noun == "service":
        row = _row_of(session, goal, include="instances")
    if row is None or row.get("state") in GONE:
        return Seen(goal.is_removal, "removed", None if goal.is_removal else "somebody removed it")
    state = str(row.get("state"))
    count = _count(row) if goal.noun == "service" else ""
    message = str(row.get("transitioningMessage") or "")
    reason = f" ({clean(message)})" if message and message != "In Progress" else ""
    text = f"{state}{count}{reason}"
    if row.get("transitioning") == "error" and not goal.is_removal:
        return Seen(False, text, message or state)
    return Seen(not goal.is_removal and row.get("transitioning") == "no", text)


def _row_of(session: Session, goal: Goal, **params: str) -> Json | None:
    from node.cli.client import ApiFailure

    try:
        return session.client.get(session.path(goal.noun, goal.id), **params)
    except ApiFailure as failure:
        if failure.status == 404:
            return None
        raise


def _count(row: Json) -> str:
    running = sum(each.get("state") == "running" for each in row.get("instances") or ())
    return f", {running} of {row.get('scale')} containers run"


def _raise_failures(goals: Sequence[Goal], seen: Sequence[Seen]) -> None:
    failed = [(goal, each.error) for goal, each in zip(goals, seen, strict=True) if each.error is not None]
    if failed:
        goal, error = failed[0]
        try_ = f"see `node {goal.noun} inspect {goal.name}`, and `node {goal.noun} rm {goal.name}` to take it back"
        raise CliError(f"{goal.noun} {goal.name} failed", error, try_)


def _not_converged(goals: Sequence[Goal], seen: Sequence[Seen], timeout: float) -> NotConverged:
    late = [(goal, each) for goal, each in zip(goals, seen, strict=True) if not each.is_done]
    why = "; ".join(f"{goal.noun} {goal.name} is {each.text}" for goal, each in late)
    noun = late[0][0].noun
    return NotConverged(
        f"accepted, but not there yet after {timeout:g} s", why, f"it goes on: `node {noun} inspect {late[0][0].name}`"
    )
