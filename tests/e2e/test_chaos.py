"""A short chaos on lab hosts of its own, which are gone again before the other end-to-end tests bring up theirs."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.lablib.layout import REPO

pytestmark = pytest.mark.e2e

SECONDS = 45
BOUND = 480


def test_nothing_is_wrong_after_a_short_chaos_on_hosts(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    argv = [sys.executable, "-m", "scripts.chaoslib", "--minutes", str(SECONDS / 60), "--seed", str(seed)]
    process = subprocess.Popen(
        [*argv, "--keep", str(tmp_path / "kept")],
        cwd=REPO,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=BOUND)
    finally:
        process.terminate()
        process.wait(120)
    assert process.returncode == 0, said
    assert f"seed {seed}, 3 hosts" in said
    assert "\nnothing is wrong: " in said
