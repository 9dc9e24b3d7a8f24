"""The checker on histories known good and known bad, and beside a check that tries every order."""

from collections.abc import Hashable, Sequence
from itertools import permutations
from random import Random

import pytest

from tests.sim.history import Operation
from tests.sim.linearizability import (
    LINEARIZABLE,
    UNDECIDED,
    VIOLATED,
    AppendList,
    Model,
    Name,
    Register,
    check,
    check_all,
)

REGISTER = Register()


def op(
    begins: float,
    ends: float | None,
    kind: str,
    argument: Hashable = None,
    result: Hashable = None,
    *,
    key: str = "x",
    failed: bool = False,
) -> Operation:
    return Operation(f"c{begins:g}", key, kind, argument, begins, result, ends, failed)


def write(begins: float, ends: float | None, value: Hashable) -> Operation:
    return op(begins, ends, "write", value)


def read(begins: float, ends: float | None, value: Hashable) -> Operation:
    return op(begins, ends, "read", None, value)


def cas(begins: float, ends: float | None, expected: Hashable, new: Hashable, did: bool | None) -> Operation:
    return op(begins, ends, "cas", (expected, new), did)


def create(begins: float, ends: float | None, did: bool | None) -> Operation:
    return op(begins, ends, "create", None, did)


def delete(begins: float, ends: float | None, did: bool | None) -> Operation:
    return op(begins, ends, "delete", None, did)


def listed(begins: float, ends: float | None, times: int) -> Operation:
    return op(begins, ends, "list", None, times)


def append(begins: float, ends: float | None, value: Hashable) -> Operation:
    return op(begins, ends, "append", value)


GOOD: dict[str, tuple[Model, Sequence[Operation]]] = {
    "nothing": (REGISTER, []),
    "one after another": (REGISTER, [write(0, 1, 1), read(2, 3, 1), write(4, 5, 2), read(6, 7, 2)]),
    "a read beside a write sees the old value": (REGISTER, [write(0, 1, 1), write(2, 9, 2), read(3, 4, 1)]),
    "a read beside a write sees the new value": (REGISTER, [write(0, 1, 1), write(2, 9, 2), read(3, 4, 2)]),
    "two writes cross and the first to be answered stays": (
        REGISTER,
        [write(0, 5, 1), write(1, 4, 2), read(6, 7, 1), read(8, 9, 1)],
    ),
    "a write of unknown outcome is never seen": (REGISTER, [write(0, 1, 1), write(2, None, 2), read(3, 4, 1)]),
    "a write of unknown outcome takes effect much later": (
        REGISTER,
        [write(0, 1, 1), write(2, None, 2), read(3, 4, 1), write(5, 6, 3), read(7, 8, 3), read(9, 10, 2)],
    ),
    "a write that is known to have failed": (REGISTER, [write(0, 1, 1), op(2, 3, "write", 2, failed=True)]),
    "a comparison of unknown outcome succeeded": (REGISTER, [write(0, 1, 1), cas(2, None, 1, 2, None), read(3, 4, 2)]),
    "a comparison fails because of a write nobody answered": (
        REGISTER,
        [write(0, 1, 1), write(2, None, 2), cas(3, 4, 1, 3, False)],
    ),
    "of two comparisons one succeeds": (REGISTER, [write(0, 1, 1), cas(2, 5, 1, 2, True), cas(3, 4, 1, 3, False)]),
    "a value is written again while an equal one stands": (
        REGISTER,
        [write(0, 1, 1), write(2, 9, 1), write(3, 4, 2), read(5, 6, 1)],
    ),
    "created, listed, deleted": (Name(), [create(0, 1, True), listed(2, 3, 1), delete(4, 5, True), listed(6, 7, 0)]),
    "created by an attempt nobody answered": (Name(), [create(0, None, None), create(1, 2, False), listed(3, 4, 1)]),
    "a creation nobody answered comes after a deletion": (
        Name(),
        [create(0, 1, True), create(2, None, None), delete(3, 4, True), listed(5, 6, 0), listed(7, 8, 1)],
    ),
    "appended side by side": (AppendList(), [append(0, 3, 1), append(1, 2, 2), op(4, 5, "read", None, (1, 2))]),
    "appended and not answered, seen later": (
        AppendList(),
        [append(0, None, 1), append(1, 2, 2), op(3, 4, "read", None, (2,)), op(5, 6, "read", None, (2, 1))],
    ),
}

BAD: dict[str, tuple[Model, Sequence[Operation]]] = {
    "stale read after the acknowledgement": (REGISTER, [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1)]),
    "acknowledged write lost": (REGISTER, [write(0, 1, 1), read(2, 3, None)]),
    "a value nobody wrote": (REGISTER, [write(0, 1, 1), read(2, 3, 7)]),
    "reads go back in time": (REGISTER, [write(0, 1, 1), write(2, 9, 2), read(3, 4, 2), read(5, 6, 1)]),
    "a write is applied twice": (
        REGISTER,
        [write(0, 1, 1), write(2, 3, 2), read(4, 5, 2), read(6, 7, 1)],
    ),
    "a write of unknown outcome is applied twice": (
        REGISTER,
        [write(0, None, 1), read(1, 2, 1), write(3, 4, 2), read(5, 6, 2), read(7, 8, 1)],
    ),
    "a write that failed is seen": (REGISTER, [op(0, 1, "write", 1, failed=True), read(2, 3, 1)]),
    "split brain: each half sees its own writes": (
        REGISTER,
        [write(0, 1, 1), write(2, 3, 2), read(4, 5, 1), read(4.5, 5.5, 2), read(6, 7, 1)],
    ),
    "two comparisons of one value succeed": (
        REGISTER,
        [write(0, 1, 1), cas(2, 5, 1, 2, True), cas(3, 4, 1, 3, True)],
    ),
    "a comparison fails without a reason": (REGISTER, [write(0, 1, 1), cas(2, 3, 1, 2, False)]),
    "a comparison of unknown outcome has effect on another value": (
        REGISTER,
        [write(0, 1, 1), cas(2, None, 5, 2, None), read(3, 4, 2)],
    ),
    "two clients see two writes in opposite orders": (
        REGISTER,
        [write(0, 9, 1), write(0.5, 9.5, 2), read(1, 2, 1), read(3, 4, 2), read(5, 6, 1)],
    ),
    "created twice": (Name(), [create(0, 3, True), create(1, 2, True)]),
    "listed twice": (Name(), [create(0, 1, True), listed(2, 3, 2)]),
    "deleted twice": (Name(), [create(0, 1, True), delete(2, 5, True), delete(3, 4, True)]),
    "gone without a deletion": (Name(), [create(0, 1, True), listed(2, 3, 0)]),
    "one attempt nobody answered creates twice": (
        Name(),
        [create(0, None, None), listed(1, 2, 1), delete(3, 4, True), listed(5, 6, 1)],
    ),
    "appended twice": (AppendList(), [append(0, 1, 1), op(2, 3, "read", None, (1, 1))]),
    "order changes": (
        AppendList(),
        [append(0, 9, 1), append(0, 9, 2), op(1, 2, "read", None, (1, 2)), op(3, 4, "read", None, (2, 1))],
    ),
}


@pytest.mark.parametrize("what", GOOD)
def test_history_is_accepted_when_one_order_explains_it(what: str) -> None:
    model, operations = GOOD[what]
    verdict = check(operations, model)
    assert verdict.outcome == LINEARIZABLE, str(verdict)
    assert by_hand(operations, model)


@pytest.mark.parametrize("what", BAD)
def test_history_is_refused_when_no_order_explains_it(what: str) -> None:
    model, operations = BAD[what]
    verdict = check(operations, model)
    assert verdict.outcome == VIOLATED
    assert verdict.culprit in operations
    assert not by_hand(operations, model)


def test_violation_is_told_with_the_operation_what_preceded_it_and_what_was_possible() -> None:
    stale = read(6, 7, 1)
    verdict = check([write(0, 1, 1), write(2, 3, 2), read(4, 5, 2), write(5.5, 8, 3), stale, read(9, 10, 3)], REGISTER)
    assert verdict.culprit == stale
    assert verdict.possible == (2,)
    assert verdict.window == (write(5.5, 8, 3),)
    assert [each.argument for each in verdict.before] == [1, 2, None]
    assert str(verdict).splitlines() == [
        "x: no order explains",
        "    6.000000 – 7.000000  c6: read -> 1",
        "  before it began:",
        "    0.000000 – 1.000000  c0: write 1 -> None",
        "    2.000000 – 3.000000  c2: write 2 -> None",
        "    4.000000 – 5.000000  c4: read -> 2",
        "  so that then the state was one of:",
        "    2",
        "  and beside it there were only:",
        "    5.500000 – 8.000000  c5.5: write 3 -> None",
    ]


def test_keys_are_judged_each_on_its_own() -> None:
    operations = [
        op(0, 1, "write", 1, key="a"),
        op(0, 1, "write", 2, key="b"),
        op(2, 3, "read", None, 1, key="a"),
        op(2, 3, "read", None, 1, key="b"),
    ]
    verdicts = check_all(operations, lambda key: REGISTER)
    assert [(each.key, each.outcome) for each in verdicts] == [("a", LINEARIZABLE), ("b", VIOLATED)]


def test_search_that_takes_too_long_says_that_it_does_not_know() -> None:
    # Twelve appends side by side in an order that is never reached.
    operations: list[Operation] = [append(0, 20, number) for number in range(12)]
    operations.append(op(21, 22, "read", None, tuple(range(11, 0, -1))))
    assert check(operations, AppendList(), max_steps=1000).outcome == UNDECIDED


def test_many_operations_of_unknown_outcome_do_not_make_the_search_long() -> None:
    operations: list[Operation] = [write(number, None, -number) for number in range(1, 200)]
    operations += [create for number in range(300, 600, 4) for create in (write(number, number + 1, number),)]
    operations += [read(number + 2, number + 3, number) for number in range(300, 600, 4)]
    assert check(operations, REGISTER).outcome == LINEARIZABLE
    assert check([*operations, read(700, 701, 300)], REGISTER, max_steps=5000).outcome == VIOLATED
    names = [create(number, None, None) for number in range(100)] + [delete(number, None, None) for number in range(99)]
    names += [listed(200 + number, 200.5 + number, number % 2) for number in range(150)]
    assert check(names, Name()).outcome == LINEARIZABLE
    assert check([*names, listed(500, 501, 2)], Name(), max_steps=50_000).outcome == VIOLATED


# Beside every order there is


def by_hand(operations: Sequence[Operation], model: Model) -> bool:
    """Try every order of every choice of what happened."""
    happened = [each for each in operations if not each.failed]
    needed = {each for each in happened if not each.is_unknown}
    return any(
        needed <= set(order) and explains(order, model)
        for size in range(len(needed), len(happened) + 1)
        for order in permutations(happened, size)
    )


def explains(order: Sequence[Operation], model: Model) -> bool:
    if any(later.ended_at < earlier.called_at for at, earlier in enumerate(order) for later in order[at + 1 :]):
        return False
    states = {model.initial()}
    for each in order:
        # A read that nobody answered may have seen anything.
        if not (each.is_unknown and model.observes(each)):
            states = {after for state in states for after in model.step(state, each)}
    return bool(states)


def drawn(rng: Random, model: Model, count: int) -> list[Operation]:
    """Run operations one after the other, then let each begin earlier and end later than it took effect."""
    state, operations = model.initial(), list[Operation]()
    for number in range(count):
        kind, argument, result = ask(rng, model, state)
        took_effect_at = number + 1.0
        begins, ends = took_effect_at - 2.5 * rng.random(), took_effect_at + 2.5 * rng.random()
        done = op(begins, ends, kind, argument, result)
        (after,) = model.step(state, done)
        fate = rng.random()
        if fate < 0.15:  # It happened and nobody was told.
            done = op(begins, None, kind, argument)
        elif fate < 0.3:  # It did not happen, and nobody was told or it was said so.
            done, after = op(begins, None if fate < 0.22 else ends, kind, argument, failed=fate >= 0.22), state
        state = after
        operations.append(done)
    return sorted(operations, key=lambda each: each.called_at)


def ask(rng: Random, model: Model, state: Hashable) -> tuple[str, Hashable, Hashable]:
    """Draw an operation and say what it results in."""
    value = rng.randint(1, 3)
    match model:
        case Register():
            expected = rng.randint(1, 3)
            return rng.choice(
                [("read", None, state), ("write", value, None), ("cas", (expected, value), state == expected)]
            )
        case Name():
            there = bool(state)
            return rng.choice([("create", None, not there), ("delete", None, there), ("list", None, int(there))])
        case _:
            return rng.choice([("append", value, None), ("read", None, state)])


def mutated(rng: Random, operations: Sequence[Operation]) -> list[Operation]:
    """Change one result, or when something was asked or answered."""
    changed = list(operations)
    at = rng.randrange(len(changed))
    each = changed[at]
    result: Hashable = each.result
    if isinstance(result, bool):
        result = not result
    elif isinstance(result, int):
        result = rng.choice([result - 1, result + 1])
    elif isinstance(result, tuple):
        result = rng.choice([result[:-1], (*result, rng.randint(1, 3))])
    elif each.kind == "read":
        result = rng.randint(1, 3)
    span = (each.called_at, each.returned_at)
    if each.returned_at is not None and rng.random() < 0.4:
        shift = rng.uniform(-2, 2)
        span = (each.called_at + shift, each.returned_at + shift)
    changed[at] = Operation(each.client, each.key, each.kind, each.argument, span[0], result, span[1], each.failed)
    return sorted(changed, key=lambda one: one.called_at)


MODELS: dict[str, Model] = {"register": REGISTER, "name": Name(), "list": AppendList()}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_history_of_a_sequential_run_is_always_accepted_whatever_overlaps(model: Model) -> None:
    for seed in range(150):
        operations = drawn(Random(seed), model, 25)
        verdict = check(operations, model)
        assert verdict.outcome == LINEARIZABLE, f"seed {seed}\n{verdict}"


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_verdict_is_that_of_trying_every_order_when_histories_are_damaged(model: Model) -> None:
    refused = 0
    for seed in range(250):
        rng = Random(seed)
        operations = mutated(rng, drawn(rng, model, rng.randint(2, 6)))
        outcome = check(operations, model).outcome
        assert outcome == (LINEARIZABLE if by_hand(operations, model) else VIOLATED), (
            f"seed {seed}: {outcome}\n" + "\n".join(map(str, operations))
        )
        refused += outcome == VIOLATED
    assert 25 < refused < 225
