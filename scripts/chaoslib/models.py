"""What the API's objects are as objects of a history, and which rules their histories are held against.

A key is `text:STACK` (a stack's description), `scale:SERVICE`, or `name:NAME` (the stack of that name).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.sim.history import Operation
from tests.sim.linearizability import Model, Register, State

FIRST_TEXT = "untouched"
FIRST_SCALE = 1
UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class StackName:
    """The stack of one name: nothing, or the one with a certain tag, active or on its way out.

    `create` TAG results in whether it was done; it is refused as long as one is active or not yet wholly removed,
    and when that ends is the cluster's own choice.  `delete` TAG begins the removal and may be repeated, also when
    the stack has long been removed.  `list` results in the tags of all active stacks of the name.
    """

    def initial(self) -> State:
        return None

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        tag, phase = state if isinstance(state, tuple) else (None, None)
        match operation.kind:
            case "create":
                return self._create(state, phase, operation)
            case "delete":
                return ((tag, "removing"),) if tag == operation.argument else (state,)
            case "list":
                return (state,) if operation.result == ((tag,) if phase == "active" else ()) else ()
        raise ValueError(f"a stack's name has no {operation.kind}")

    def _create(self, state: State, phase: str | None, operation: Operation) -> Iterable[State]:
        if operation.result is False:
            return (state,) if phase is not None else ()
        return ((operation.argument, "active"),) if phase != "active" else ()

    def observes(self, operation: Operation) -> bool:
        return operation.kind == "list" or operation.result is False

    def relevant(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        # Creations of unknown outcome whose stack nobody saw or removed differ in nothing; of such that are alike the
        # search tries only one.
        seen = {tag for each in operations if isinstance(each.result, tuple) for tag in each.result}
        seen |= {each.argument for each in operations if each.kind == "delete"}
        return [
            replace(each, argument=UNSEEN)
            if each.kind == "create" and each.is_unknown and each.argument not in seen
            else each
            for each in operations
        ]


def model_of(key: str) -> Model:
    """Return what a key is."""
    match key.partition(":")[0]:
        case "text":
            return Register(FIRST_TEXT)
        case "scale":
            return Register(FIRST_SCALE)
        case "name":
            return StackName()
    raise ValueError(f"no model for {key}")


def read_key(key: str, stacks: Sequence[dict[str, Any]], services: Sequence[dict[str, Any]]) -> Any:
    """Return what a read of a key results in, from all rows that a node has."""
    kind, _, name = key.partition(":")
    rows = [row for row in (services if kind == "scale" else stacks) if row["name"] == name and is_active(row)]
    match kind:
        case "text":
            return rows[0]["description"] if rows else None
        case "scale":
            return rows[0]["scale"] if rows else None
    return tags(rows)


def tags(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the tags of those stacks that are active."""
    return tuple(sorted(str(row["description"]) for row in rows if is_active(row)))


def is_active(row: dict[str, Any]) -> bool:
    """Tell whether a row is of something that is there and not being removed."""
    return row["state"] not in ("removing", "removed", "purging", "purged")


def stale_own_reads(operations: Sequence[Operation]) -> list[str]:
    """Return where a client did not see its own writes at the node that had acknowledged them.

    Concerns reads of a node's own copy (`local`), for which no more is promised.  A client's name holds the node and
    how often that was started: after a start the promise begins anew.
    """
    problems = []
    by_key: dict[str, list[Operation]] = {}
    for each in operations:
        if each.key.startswith("text:"):
            by_key.setdefault(each.key, []).append(each)
    for key, rows in by_key.items():
        writers = {each.argument: each for each in rows if each.kind == "write"}
        for read in (each for each in rows if each.kind == "local" and not each.failed and not each.is_unknown):
            own = [w for w in writers.values() if w.client == read.client and not w.failed]
            done = [w for w in own if w.returned_at is not None and w.returned_at < read.called_at]
            seen = writers.get(read.result)
            last = max(done, key=lambda w: w.called_at, default=None)
            if last is not None and (seen is None or seen.ended_at < last.called_at):
                problems.append(f"{key}: its own write is not seen\n    {last}\n    {read}")
    return problems
