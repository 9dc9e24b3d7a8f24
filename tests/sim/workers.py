"""Worker processes that play scenarios, one after the other; one that hangs is ended and counts as a failure."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.sim.faults import Scenario
from tests.sim.scenes import Outcome

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0
"""Seconds of real time for one scenario on a busy machine."""


class Worker:
    """One process; `plant` names a bug to put into the code that it loads."""

    def __init__(self, *, hash_seed: str = "0", plant: str = "", patience: float = PATIENCE) -> None:
        self._patience = patience
        command = [sys.executable, "-m", "tests.sim.workers", plant]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def play(self, scenario: Scenario) -> Outcome:
        """Have it play; the process is gone afterwards if it hung or crashed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(self._patience, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(_packed(scenario)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self.end()
            return Outcome(scenario, "", 0.0, f"the process hung for {self._patience:.0f} s, or crashed")
        told = json.loads(line)
        return Outcome(scenario, told["trace"], told["lived"], told["failure"])

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Crew:
    """Several workers, started when they are first needed."""

    def __init__(self, size: int, *, hash_seed: str = "0") -> None:
        self._hash_seed = hash_seed
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        for _ in range(size):
            self._idle.put(None)
        self._threads = ThreadPoolExecutor(size)
        self._all: list[Worker] = []

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.end()

    def submit(self, scenario: Scenario) -> Future[Outcome]:
        return self._threads.submit(self._play, scenario)

    def _play(self, scenario: Scenario) -> Outcome:
        worker = self._idle.get()
        if worker is None or not worker.is_alive:
            worker = Worker(hash_seed=self._hash_seed)
            self._all.append(worker)
        try:
            return worker.play(scenario)
        finally:
            self._idle.put(worker)


def _packed(scenario: Scenario) -> dict[str, Any]:
    return asdict(scenario) | {"without": sorted(scenario.without)}


def _unpacked(told: dict[str, Any]) -> Scenario:
    low, high = told["hosts"]
    return Scenario(**{**told, "hosts": (low, high), "without": frozenset(told["without"])})


def serve(plant: str) -> None:
    """Play what comes on standard input until it ends."""
    if plant:
        from tests.sim import planted

        planted.plant(planted.by_name(plant))
    from tests.sim.scenes import play

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        outcome = play(_unpacked(json.loads(line)))
        answers.write(json.dumps({"trace": outcome.trace, "lived": outcome.lived, "failure": outcome.failure}) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1] if len(sys.argv) > 1 else "")
