"""Kills the leader again and again while clients write through the others: how long writes fail, and what is lost.

A trial runs from the SIGKILL to the acknowledgement of the first write that was begun after it.
"""

import threading
import time
from dataclasses import dataclass, field

from scripts.lightlib.cluster import LightCluster, LightNode, NotSoError, eventually

STACKS = "/v1/projects/1a5/environments"
GIVE_UP = 60.0
PAUSE = 0.02


@dataclass(slots=True)
class Trials:
    """What was measured."""

    seconds: list[float] = field(default_factory=list)
    acknowledged: int = 0
    missing: dict[str, list[str]] = field(default_factory=dict)
    """Acknowledged writes that a node does not have afterwards, by the node's name."""


class Writer:
    """One client that makes a stack after the other through the nodes it is given, and notes what was acknowledged."""

    def __init__(self, nodes: list[LightNode], prefix: str) -> None:
        self.nodes = nodes
        self.prefix = prefix
        self.acknowledged: list[tuple[str, float, float]] = []
        """Name, when the request was begun, when it was acknowledged."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(GIVE_UP)

    def wait_after(self, moment: float, what: str) -> float:
        """Return when the first write begun after `moment` was acknowledged; NotSoError with `what` if none is."""

        def look() -> float | None:
            return next((done for _, begun, done in tuple(self.acknowledged) if begun >= moment), None)

        return eventually(look, what, timeout=GIVE_UP, step=0.005)

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            name, node = f"{self.prefix}-{number}", self.nodes[number % len(self.nodes)]
            number += 1
            begun = time.monotonic()
            try:
                status = node.ask("POST", STACKS, {"name": name}, timeout=GIVE_UP).status
            except OSError:
                status = 0
            if status == 201:
                self.acknowledged.append((name, begun, time.monotonic()))
            self._stop.wait(PAUSE)


def run_trials(cluster: LightCluster, trials: int) -> Trials:
    """Kill the leader `trials` times, bring it back each time, and look for every acknowledged write at the end."""
    found = Trials()
    written: list[str] = []
    for trial in range(trials):
        leader = cluster.leader()
        survivors = [node for node in cluster.nodes if node is not leader]
        with Writer(survivors, f"t{trial}") as writer:
            writer.wait_after(0.0, f"a write is taken before the leader of trial {trial + 1} dies")
            killed_at = time.monotonic()
            cluster.kill(leader)
            done = writer.wait_after(killed_at, f"writes work again in trial {trial + 1}")
            found.seconds.append(done - killed_at)
            cluster.start(leader)
        written += [name for name, _, _ in writer.acknowledged]
    found.acknowledged = len(written)
    for node in cluster.nodes:
        if lost := sorted(set(written) - _stacks_once_caught_up(node, written[-1])):
            found.missing[node.name] = lost
    return found


def _stacks_once_caught_up(node: LightNode, last: str) -> set[str]:
    """Return the names of a node's stacks once the last one is among them, or when it does not come."""

    def names() -> set[str]:
        answer = node.ask("GET", f"{STACKS}?limit=-1")
        return {row["name"] for row in answer.body["data"]}

    try:
        eventually(lambda: last in names() or None, f"{node.name} has {last}")
    except NotSoError:
        pass
    return names()
