"""How commands fail: what happened, why, what to try, and the exit code that scripts read.

Exit codes: 0 done, 1 failed, 2 usage, 3 accepted but not converged in time, 130 interrupted.
"""

import os
import sys
from typing import IO, Any

import click

DONE = 0
FAILED = 1
USAGE = 2
NOT_CONVERGED = 3
INTERRUPTED = 130


def program() -> str:
    """Return the name this program was called by, as messages repeat it."""
    name = os.path.basename(sys.argv[0])
    return "python -m node" if name == "__main__.py" else name or "node"


def typed(text: str) -> str:
    """Return a message with its example commands under the name that was typed."""
    name = program()
    return text if name == "node" else text.replace("`node ", f"`{name} ")


class CliError(click.ClickException):
    """A command that failed; printed as what, why and try, each on a line of its own."""

    exit_code = FAILED

    def __init__(self, what: str, why: str | None = None, try_: str | None = None) -> None:
        super().__init__(what)
        self.why = why
        self.try_ = try_

    def lines(self) -> tuple[str, ...]:
        """Return the message line by line."""
        found = [f"error: {self.message}"]
        found += [f"  why: {self.why}"] if self.why else []
        found += [f"  try: {typed(self.try_)}"] if self.try_ else []
        return tuple(found)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print to standard error."""
        for line in self.lines():
            click.echo(line, file=file or sys.stderr)


class NotConverged(CliError):
    """Accepted by the cluster, and not there yet when the time was up."""

    exit_code = NOT_CONVERGED


class Interrupted(CliError):
    """Stopped by Ctrl-C; the message says what had been done by then."""

    exit_code = INTERRUPTED

    def lines(self) -> tuple[str, ...]:
        """Return the message, which is no error."""
        return (f"interrupted: {self.message}", *((f"  try: {typed(self.try_)}",) if self.try_ else ()))
