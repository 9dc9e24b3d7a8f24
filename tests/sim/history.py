"""What clients asked for and were told, with the moments of both: the raw material of every claim about consistency.

A recorder is given each call when it begins and each answer when it comes, and keeps them in the order it was told;
it judges nothing.  An answer that never came is an unknown outcome: the operation may take effect at any later time.
"""

import json
import math
import threading
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a client wanted done to one key; what is said of a key is independent of all other keys."""

    client: str
    key: str
    kind: str
    argument: Hashable
    called_at: float
    result: Hashable = None
    returned_at: float | None = None
    """None: nobody knows what became of it."""

    failed: bool = False
    """It is certain that it did not happen and never will."""

    note: str = ""
    """Where it was sent and what was answered, for whoever reads a violation."""

    @property
    def is_unknown(self) -> bool:
        """Tell whether it may or may not have happened."""
        return self.returned_at is None and not self.failed

    @property
    def ended_at(self) -> float:
        """Moment after which it can no longer take effect."""
        return math.inf if self.returned_at is None else self.returned_at

    def __str__(self) -> str:
        asked = self.kind if self.argument is None else f"{self.kind} {self.argument!r}"
        ended = "…" if self.returned_at is None else f"{self.returned_at:.6f}"
        came = "nobody knows" if self.is_unknown else "did not happen" if self.failed else f"{self.result!r}"
        note = f"  ({self.note})" if self.note else ""
        return f"{self.called_at:.6f} – {ended}  {self.client}: {asked} -> {came}{note}"


@dataclass(slots=True, eq=False)
class Call:
    """An operation under way; exactly one of `ok` and `fail` is told, or neither if no answer comes."""

    history: "History"
    number: int

    def ok(self, result: Hashable, *, now: float, note: str = "") -> None:
        """It happened, with this result."""
        self.history.end(self.number, result, now=now, note=note)

    def fail(self, *, now: float, note: str = "") -> None:
        """It certainly did not happen."""
        self.history.end(self.number, None, now=now, failed=True, note=note)

    def unknown(self, *, note: str) -> None:
        """Say why no answer came; the operation stays open for ever."""
        self.history.remark(self.number, note)


@dataclass(slots=True, eq=False)
class History:
    """The calls and answers of any number of clients, which may be threads.

    Moments grow strictly, even where the clock stands still: of two events the one told first comes first.
    """

    _operations: list[Operation] = field(default_factory=list)
    _last: float = -math.inf
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, client: str, key: str, kind: str, argument: Hashable = None, *, now: float) -> Call:
        """Note a call; tell this before anything of it leaves the client."""
        with self._lock:
            self._operations.append(Operation(client, key, kind, argument, self._moment(now)))
            return Call(self, len(self._operations) - 1)

    def end(self, number: int, result: Hashable, *, now: float, failed: bool = False, note: str = "") -> None:
        """Note an answer; tell this after the client has seen it."""
        with self._lock:
            at, begun = self._moment(now), self._operations[number]
            if begun.returned_at is not None:
                raise ValueError(f"answered twice: {begun}")
            self._operations[number] = replace(begun, result=result, returned_at=at, failed=failed, note=note)

    def remark(self, number: int, note: str) -> None:
        """Note something about a call."""
        with self._lock:
            self._operations[number] = replace(self._operations[number], note=note)

    def operations(self) -> tuple[Operation, ...]:
        """Return all of it, in the order of the calls."""
        with self._lock:
            return tuple(self._operations)

    def _moment(self, now: float) -> float:
        self._last = max(now, math.nextafter(self._last, math.inf))
        return self._last


def save(operations: Iterable[Operation], path: Path) -> None:
    """Write a history for later, one operation a line."""
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in operations))


def load(path: Path) -> tuple[Operation, ...]:
    """Read a history that was saved."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return tuple(
        Operation(**{**row, "argument": _frozen(row["argument"]), "result": _frozen(row["result"])}) for row in rows
    )


def _frozen(value: Any) -> Hashable:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
