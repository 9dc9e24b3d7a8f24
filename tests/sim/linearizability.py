"""Decides whether a history could have come from one copy that does one operation at a time, and shows why not.

Wing and Gong's search as Lowe improved it (Testing for linearizability, 2017): each key on its own, operations put in
order only when one of them has to be ("just in time"), and no configuration (which open operations have taken effect,
and the state) looked into twice.  Bounded: a search that would take too long says that it does not know.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.sim.history import Operation

MAX_STEPS = 1_000_000
CONTEXT = 6
LINEARIZABLE, VIOLATED, UNDECIDED = "linearizable", "violated", "undecided"

State = Hashable


class Model(Protocol):
    """What one key of the system is supposed to be."""

    def initial(self) -> State:
        """Return the state before the first operation."""

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        """Return the state after the operation has taken effect; nothing if it cannot have done so here.

        An operation whose outcome is unknown has no result to agree with: return the state it would lead to.
        """

    def observes(self, operation: Operation) -> bool:
        """Tell whether the operation, with the result it had, never changes anything."""

    def relevant(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """Return the operations without those of unknown outcome that cannot make a difference."""


@dataclass(frozen=True, slots=True)
class Register:
    """A value: `read` results in it, `write` sets its argument, `cas` (expected, new) results in True or False."""

    first: State = None

    def initial(self) -> State:
        return self.first

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        match operation.kind, operation.argument:
            case "read", _:
                return (state,) if state == operation.result else ()
            case "write", value:
                return (value,)
            case "cas", (expected, new):
                matches = state == expected
                if operation.is_unknown:
                    return (new,) if matches else ()
                if matches != operation.result:
                    return ()
                return (new,) if matches else (state,)
        raise ValueError(f"a register has no {operation.kind}")

    def observes(self, operation: Operation) -> bool:
        return operation.kind == "read" or (operation.kind == "cas" and operation.result is False)

    def relevant(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        # A write that is not known to have happened and whose value nobody saw or asked for can be taken out of any
        # order without a trace, except where it is why a comparison failed.
        if any(each.kind == "cas" and each.result is False for each in operations):
            return operations
        asked = {each.argument[0] for each in operations if each.kind == "cas" and isinstance(each.argument, tuple)}
        seen = asked | {each.result for each in operations if each.kind == "read"}
        return [each for each in operations if not each.is_unknown or _new_value(each) in seen]


def _new_value(operation: Operation) -> State:
    argument = operation.argument
    return argument[1] if operation.kind == "cas" and isinstance(argument, tuple) else argument


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a set: `create` and `delete` result in whether they did it, `list` in how often the name is there."""

    def initial(self) -> State:
        return False

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        if operation.kind == "list":
            return (state,) if int(bool(state)) == operation.result else ()
        if operation.kind not in ("create", "delete"):
            raise ValueError(f"a name has no {operation.kind}")
        wanted = operation.kind == "create"
        if operation.is_unknown:
            return (wanted,) if state != wanted else ()
        return (wanted,) if (state != wanted) == operation.result else ()

    def observes(self, operation: Operation) -> bool:
        return operation.kind == "list" or operation.result is False

    def relevant(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        return operations


@dataclass(frozen=True, slots=True)
class AppendList:
    """A list: `append` adds its argument at the end, `read` results in the whole as a tuple."""

    def initial(self) -> State:
        return ()

    def step(self, state: State, operation: Operation) -> Iterable[State]:
        assert isinstance(state, tuple)
        match operation.kind:
            case "append":
                return ((*state, operation.argument),)
            case "read":
                return (state,) if state == operation.result else ()
        raise ValueError(f"a list has no {operation.kind}")

    def observes(self, operation: Operation) -> bool:
        return operation.kind == "read"

    def relevant(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        # Nobody saw it, so it may have come after everything.
        seen = {
            each for one in operations if one.kind == "read" and isinstance(one.result, tuple) for each in one.result
        }
        return [each for each in operations if not each.is_unknown or each.argument in seen]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking one key."""

    outcome: str
    key: str
    steps: int
    culprit: Operation | None = None
    """The first operation, by the end of it, that fits nowhere."""

    before: tuple[Operation, ...] = ()
    """The last operations that had ended when the culprit began."""

    window: tuple[Operation, ...] = ()
    """The operations beside the culprit."""

    possible: tuple[State, ...] = ()
    """What the state can have been when the culprit began."""

    def __str__(self) -> str:
        if self.culprit is None:
            return f"{self.key}: {self.outcome} after {self.steps} steps"
        lines = [f"{self.key}: no order explains", f"    {self.culprit}"]
        lines += ["  before it began:", *(f"    {each}" for each in self.before)]
        lines += ["  so that then the state was one of:", *(f"    {state!r}" for state in self.possible)]
        lines += ["  and beside it there were only:", *(f"    {each}" for each in self.window)]
        return "\n".join(lines)


def check_all(
    operations: Iterable[Operation], model_of: Callable[[str], Model], *, max_steps: int = MAX_STEPS
) -> list[Verdict]:
    """Return a verdict for each key, in the order of the keys."""
    by_key: dict[str, list[Operation]] = {}
    for each in operations:
        by_key.setdefault(each.key, []).append(each)
    return [check(by_key[key], model_of(key), max_steps=max_steps) for key in sorted(by_key)]


def check(operations: Sequence[Operation], model: Model, *, max_steps: int = MAX_STEPS) -> Verdict:
    """Judge the operations of one key."""
    key = operations[0].key if operations else ""
    # What only looks and had no answer, or never happened, says nothing.
    told = [each for each in operations if not each.failed and not (each.is_unknown and model.observes(each))]
    search = _Search.of(model.relevant(told), model)
    outcome = search.run(max_steps)
    if outcome != VIOLATED:
        return Verdict(outcome, key, search.steps)
    return search.explain(key)


@dataclass(frozen=True, slots=True)
class _Node:
    """A configuration on the way: the next event, which open operations have taken effect (bits), the state."""

    event: int
    done: int
    state: State


@dataclass(slots=True, eq=False)
class _Search:
    """One search; events are calls and returns in time, as (operation's index, whether it is a return)."""

    model: Model
    operations: Sequence[Operation]
    events: Sequence[tuple[int, bool]]
    open_at: Sequence[tuple[int, ...]]
    """The operations that are open at each event, those of known outcome first."""

    steps: int = 0
    seen: set[_Node] = field(default_factory=set)

    @classmethod
    def of(cls, operations: Sequence[Operation], model: Model) -> "_Search":
        told = sorted(
            [(each.called_at, False, index) for index, each in enumerate(operations)]
            # Of a call and a return at the same moment the call is first: they overlap.
            + [(each.returned_at, True, index) for index, each in enumerate(operations) if each.returned_at is not None]
        )
        events = [(index, is_return) for _, is_return, index in told]
        return cls(model, operations, events, list(_open_at(operations, events)))

    def run(self, max_steps: int) -> str:
        """Look for an order that explains everything."""
        paths: list[Iterator[_Node]] = [iter((self._settled(_Node(0, 0, self.model.initial())),))]
        while paths:
            node = next(paths[-1], None)
            if node is None:
                paths.pop()
            elif node.event == len(self.events):
                return LINEARIZABLE
            elif node not in self.seen:
                self.seen.add(node)
                self.steps += 1
                if self.steps > max_steps:
                    return UNDECIDED
                paths.append(self._next(node))
        return VIOLATED

    def _next(self, node: _Node) -> Iterator[_Node]:
        index, is_return = self.events[node.event]
        if not is_return:
            yield self._settled(_Node(node.event + 1, node.done, node.state))
        elif node.done >> index & 1:
            yield _Node(node.event + 1, node.done & ~(1 << index), node.state)
        else:
            # It has to take effect now, or others first and then it.
            for each in (index, *self._others(node, index)):
                for state in self.model.step(node.state, self.operations[each]):
                    yield self._settled(_Node(node.event, node.done | 1 << each, state))

    def _others(self, node: _Node, index: int) -> Iterator[int]:
        """Yield who else may take effect now; of several that are open for ever and do the same, only one."""
        alike = set()
        for each in self.open_at[node.event]:
            operation = self.operations[each]
            if each == index or node.done >> each & 1 or (operation.kind, operation.argument) in alike:
                continue
            if operation.is_unknown:
                alike.add((operation.kind, operation.argument))
            yield each

    def _settled(self, node: _Node) -> _Node:
        """Let all open operations that only look do so where they can: it is never wrong and spares choices."""
        if node.event == len(self.events):
            return node
        done = node.done
        for each in self.open_at[node.event]:
            operation = self.operations[each]
            if not done >> each & 1 and self.model.observes(operation):
                done |= any(True for _ in self.model.step(node.state, operation)) << each
        return _Node(node.event, done, node.state)

    def explain(self, key: str) -> Verdict:
        """Show the shortest beginning of the history that cannot be explained, from the moment it went wrong."""
        failed_at = max(node.event for node in self.seen)
        index, _ = self.events[failed_at]
        culprit = self.operations[index]
        called_at = self.events.index((index, False))
        begun = {node for node in self.seen if node.event == called_at}
        earlier = [each for each in self.operations if each.ended_at < culprit.called_at]
        beside = [
            each
            for each in self.operations
            if each is not culprit and each.ended_at >= culprit.called_at and each.called_at <= culprit.ended_at
        ]
        return Verdict(
            VIOLATED,
            key,
            self.steps,
            culprit,
            before=tuple(sorted(earlier, key=lambda each: each.ended_at)[-CONTEXT:]),
            window=tuple(sorted(beside, key=lambda each: each.called_at)),
            possible=tuple(sorted({node.state for node in begun}, key=repr)),
        )


def _open_at(operations: Sequence[Operation], events: Sequence[tuple[int, bool]]) -> Iterator[tuple[int, ...]]:
    """Yield who is open just before each event, and at a call also who calls."""
    open_now: set[int] = set()
    for index, is_return in events:
        yield tuple(sorted(open_now, key=lambda each: (operations[each].ended_at, each)))
        if is_return:
            open_now.discard(index)
        else:
            open_now.add(index)
