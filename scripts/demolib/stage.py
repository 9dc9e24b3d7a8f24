"""Plays steps: prints each command as a person would type it, its output, and whether what was expected came true.

A step is a title and acts; an act is one small function of the stage.  The first act that fails ends its step, the
play goes on with the next one.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from scripts.demolib.api import Answer
from scripts.demolib.cluster import NotSoError, eventually
from scripts.lablib import LabError

T = TypeVar("T")

MAX_LINES = 14
MAX_COLUMNS = 150
COMMAND_TIMEOUT = 180.0


class World(Protocol):
    """Hosts with shells: those of the lab, or processes on loopback addresses."""

    has_kernel: bool
    """Whether hosts have an engine, an overlay and containers of their own."""

    def run(self, host: str, line: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        """Run one line at a host's shell."""

    def launch(self, host: str, line: str) -> str:
        """Start a daemon by its command line, wait until its host is active, and return what it printed."""

    def url(self, host: str) -> str:
        """Return the URL of a host's API."""

    def api(self, host: str, method: str, path: str, body: object = None) -> Answer:
        """Ask a host's API as its root."""

    def own_flags(self, host: str, *, first: bool) -> str:
        """Return what must be added to a host's `node start` and `node join` here."""

    def daemon(self, host: str) -> int:
        """Return the PID of a host's daemon, as its shell counts."""

    def names_at(self, host: str) -> str:
        """Return address and port at which a host's names are asked for."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that is shown."""

    what: str
    play: "Callable[[Stage], None]"
    needs_kernel: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the walk-through."""

    number: int
    title: str
    acts: tuple[Act, ...]


@dataclass(slots=True)
class Result:
    """How a step went."""

    step: Step
    failure: str = ""
    seconds: float = 0.0
    left_out: list[str] = field(default_factory=list)
    is_played: bool = False

    @property
    def word(self) -> str:
        if self.failure:
            return "FAILED"
        if not self.is_played:
            return "not played"
        return "ok, in part" if self.left_out else "ok"


class FailedError(Exception):
    """Something expected did not happen."""


class Stage:
    """Where acts happen: commands are shown and run, expectations are told and checked."""

    def __init__(self, world: World, *, colour: bool) -> None:
        self.world = world
        self.notes: dict[str, str] = {}
        """What later acts need of earlier ones: ids, addresses, tokens."""
        self._colour = colour

    # What acts do

    def run(self, host: str, line: str, *, code: int | None = 0, timeout: float = COMMAND_TIMEOUT) -> str:
        """Show and run one line at a host's shell; return its standard output."""
        self._prompt(host, line)
        done = self.world.run(host, line, timeout)
        # Progress goes to standard error and comes before the result.
        self.show(done.stderr + done.stdout)
        if code is not None and done.returncode != code:
            raise FailedError(f"exit status {code} of `{line}`, got {done.returncode}")
        return done.stdout

    def launch(self, host: str, line: str, *, first: bool = True) -> str:
        """Show and start a daemon in the foreground of a host's shell, as far as its host being active."""
        added = self.world.own_flags(host, first=first)
        full = f"{line} {added}".strip()
        self._prompt(host, full)
        said = self.world.launch(host, full)
        self.show(said, keep_end=True)
        return said

    def expect(self, what: str, holds: object) -> None:
        """Tell and check one expectation."""
        if not holds:
            raise FailedError(what)
        self._mark("ok", what)

    def until(self, what: str, look: Callable[[], T | None], *, timeout: float = 60.0) -> T:
        """Tell an expectation that may take its time, with the time it took."""
        started_at = time.monotonic()
        try:
            found = eventually(look, what, timeout=timeout)
        except NotSoError as error:
            raise FailedError(str(error)) from None
        self._mark("ok", f"{what} ({time.monotonic() - started_at:.1f} s)")
        return found

    def say(self, text: str) -> None:
        """Tell the reader what happens beside the commands."""
        print(self._paint("2", f"  # {text}"), flush=True)

    # What the play does

    def play(self, steps: Iterable[Step]) -> list[Result]:
        """Play all steps; return how each went."""
        return [self._play(step) for step in steps]

    def _play(self, step: Step) -> Result:
        result, started_at = Result(step), time.monotonic()
        print(self._paint("1", f"\n== {step.number}. {step.title}"), flush=True)
        for act in step.acts:
            if act.needs_kernel and not self.world.has_kernel:
                result.left_out.append(act.what)
                continue
            result.is_played = True
            try:
                act.play(self)
            except (FailedError, NotSoError, LabError, OSError, subprocess.TimeoutExpired, ValueError, KeyError) as why:
                result.failure = f"{act.what}: {_reason(why)}"
                self._mark("FAILED", f"{act.what}; expected: {_reason(why)}")
                break
        for what in result.left_out:
            self._mark("not played", what)
        result.seconds = time.monotonic() - started_at
        return result

    def show(self, text: str, *, keep_end: bool = False) -> None:
        """Print output, the middle of a long one left out."""
        lines = [line.rstrip()[:MAX_COLUMNS] for line in text.strip("\n").splitlines()]
        if len(lines) > MAX_LINES:
            head = 3 if keep_end else MAX_LINES - 3
            tail = MAX_LINES + 6 - head if keep_end else 2
            left = len(lines) - head - tail
            if left > 0:
                lines = [*lines[:head], f"… {left} lines …", *lines[-tail:]]
        for line in lines:
            print(f"  {line}".rstrip())
        sys.stdout.flush()

    def _prompt(self, host: str, line: str) -> None:
        print(self._paint("36", f"{host}# ") + line, flush=True)

    def _mark(self, word: str, text: str) -> None:
        colour = {"ok": "32", "FAILED": "1;31"}.get(word, "33")
        print(f"  {self._paint(colour, word)}  {text}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} in the answer"
    return str(error) or type(error).__name__


def render_summary(results: Sequence[Result]) -> str:
    """Return the table that ends a play."""
    lines = ["", f"{'STEP':<5}{'RESULT':<13}{'SECONDS':>8}  WHAT"]
    for result in results:
        seconds = f"{result.seconds:.1f}" if result.is_played else "-"
        lines.append(f"{result.step.number:<5}{result.word:<13}{seconds:>8}  {result.step.title}")
        if result.failure:
            lines.append(f"{'':<28}{result.failure.splitlines()[0]}")
        lines += [f"{'':<28}not played: {what}" for what in result.left_out]
    failed = sum(bool(result.failure) for result in results)
    skipped = sum(not result.is_played for result in results)
    played = len(results) - skipped
    lines += ["", f"{played - failed} of {played} steps played ok" + (f", {skipped} not played" if skipped else "")]
    return "\n".join(lines)
