"""Waiting asks little of the node while nothing has changed, and tells what it saw last."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.cli.errors import NotConverged
from node.cli.session import Session
from node.cli.waiting import COUNT_EVERY, POLL_SECONDS, Goal, wait_for

GOAL = Goal("service", "shop/web", "1s1")


@dataclass
class Node:
    """Answers for one service of 30 containers that is active after so many seconds of its own clock."""

    active_at: float
    now: float = 0.0
    asked: list[dict[str, str]] = field(default_factory=list)

    def get(self, path: str, **params: str) -> dict[str, Any]:
        self.asked.append(params)
        is_there = self.now >= self.active_at
        running = 30 if is_there else int(self.now)
        row = {"state": "active" if is_there else "activating", "transitioning": "no" if is_there else "yes"}
        rows = [{"state": "running"}] * running
        return {**row, "scale": 30, **({"instances": rows} if "include" in params else {})}

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def session_of(node: Node, timeout: float = 60.0) -> Session:
    settings = SimpleNamespace(wait=True, wait_timeout=timeout, progress="plain", quiet=False, json=False)
    return cast(Session, SimpleNamespace(client=node, settings=settings, path=lambda *words: "/".join(words)))


def test_wait_counts_containers_once_a_second_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node(active_at=4.0)
    wait_for(session_of(node), [GOAL], clock=lambda: node.now, sleep=node.sleep)
    counts = [params for params in node.asked if params == {"include": "instances"}]
    assert len(counts) <= 4.0 / COUNT_EVERY + 2
    assert len(node.asked) >= 4.0 / POLL_SECONDS
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "service shop/web: activating, 0 of 30 containers run"
    assert shown[-1] == "service shop/web: active, 30 of 30 containers run"


def test_wait_that_is_over_tells_what_was_counted_last() -> None:
    node = Node(active_at=100.0)
    with pytest.raises(NotConverged) as late:
        wait_for(session_of(node, timeout=5.5), [GOAL], clock=lambda: node.now, sleep=node.sleep)
    assert "service shop/web is activating, 5 of 30 containers run" in "\n".join(late.value.lines())
