"""A short chaos on daemons of this machine: whatever is broken, clients are never told what was not so."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from scripts.lablib import procs
from scripts.lightlib.cluster import ROOT
from tests.sim.history import load

SECONDS = 12
BOUND = 300


def chaos(tmp_path: Path, *words: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "scripts.chaoslib", "--light", "--keep", str(tmp_path / "kept"), *words]
    return subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_nothing_is_wrong_after_a_short_chaos(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    process = chaos(tmp_path, "--minutes", str(SECONDS / 60), "--seed", str(seed))
    said, _ = process.communicate(timeout=BOUND)
    assert process.returncode == 0, said
    assert f"seed {seed}, 3 hosts" in said
    assert "\nnothing is wrong: " in said
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "h1.log",
        "h2.log",
        "h3.log",
        "history.jsonl",
    ]
    assert len(load(tmp_path / "kept" / "history.jsonl")) > 100


def test_interrupted_chaos_leaves_no_process_behind(tmp_path: Path) -> None:
    process = chaos(tmp_path, "--minutes", "5", "--seed", "1")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "seed 1" in line, line
    children = procs.descendants(process.pid)
    assert len(children) >= 3
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=BOUND)
    assert process.returncode == 130, said
    assert "nothing is left behind" in said
    give_up_at = time.monotonic() + 10
    while (left := [pid for pid in children if procs.is_alive(pid)]) and time.monotonic() < give_up_at:
        time.sleep(0.1)
    assert left == []
