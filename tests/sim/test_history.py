"""The recorder: what it keeps, in which order, and that a saved history is read back as it was."""

import math
from pathlib import Path

import pytest

from tests.sim.history import History, load, save


def test_operation_is_unknown_until_it_is_answered() -> None:
    history = History()
    call = history.begin("c1", "x", "write", 1, now=1.0)
    (before,) = history.operations()
    assert before.is_unknown
    assert before.ended_at == math.inf
    call.ok("done", now=2.0)
    (after,) = history.operations()
    assert (after.result, after.returned_at, after.is_unknown) == ("done", 2.0, False)


def test_failure_is_no_unknown_outcome() -> None:
    history = History()
    history.begin("c1", "x", "write", 1, now=1.0).fail(now=2.0)
    (only,) = history.operations()
    assert (only.failed, only.is_unknown) == (True, False)


def test_operation_without_an_answer_keeps_why() -> None:
    history = History()
    history.begin("c1", "x", "write", 1, now=1.0).unknown(note="connection broke")
    (only,) = history.operations()
    assert only.is_unknown
    assert "connection broke" in str(only)


def test_moments_grow_strictly_when_the_clock_stands_still() -> None:
    history = History()
    history.begin("c1", "x", "write", 1, now=5.0).ok(None, now=5.0)
    history.begin("c1", "x", "write", 2, now=5.0).ok(None, now=4.0)
    first, second = history.operations()
    assert first.returned_at is not None
    assert second.returned_at is not None
    assert first.called_at < first.returned_at < second.called_at < second.returned_at


def test_second_answer_is_an_error() -> None:
    call = History().begin("c1", "x", "write", 1, now=1.0)
    call.ok(None, now=2.0)
    with pytest.raises(ValueError, match="answered twice"):
        call.fail(now=3.0)


def test_saved_history_is_read_back_as_it_was(tmp_path: Path) -> None:
    history = History()
    history.begin("c1", "x", "cas", (1, 2), now=1.0).ok(True, now=2.0, note="h1: 200")
    history.begin("c2", "x", "read", now=1.5).ok((1, (2, None)), now=3.0)
    history.begin("c3", "x", "write", "text", now=1.6)
    save(history.operations(), tmp_path / "history")
    assert load(tmp_path / "history") == history.operations()
