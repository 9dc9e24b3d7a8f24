"""Crash points: which pass of which site is the last."""

import subprocess
import sys
from pathlib import Path

import pytest

from node.crashing import SITES, VARIABLE, Trap

SOURCES = Path(__file__).resolve().parent.parent.parent / "node"


def test_site_is_the_end_when_it_is_passed_as_often_as_was_said() -> None:
    trap = Trap.parse("store.after-flush:3")
    passes = [trap.is_sprung_by(site) for site in ("store.after-flush", "store.before-write", "store.after-flush")]
    assert passes == [False, False, False]
    assert trap.is_sprung_by("store.after-flush")


def test_site_without_a_count_is_the_end_at_once() -> None:
    assert Trap.parse("consensus.mid-apply").is_sprung_by("consensus.mid-apply")


def test_site_is_read_from_a_file_once_that_is_there(tmp_path: Path) -> None:
    trap = Trap.parse(f"@{tmp_path / 'crash'}")
    assert not trap.is_sprung_by("store.before-write")
    (tmp_path / "crash").write_text("store.before-write:2\n")
    assert not trap.is_sprung_by("store.before-write")
    assert trap.is_sprung_by("store.before-write")


def test_site_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"store\.after-flush"):
        Trap.parse("store.nowhere")


def test_process_ends_at_the_site_as_by_sigkill() -> None:
    program = "from node.crashing import crash_at; crash_at('store.before-write'); print('alive')"
    for at, code, out in (("store.before-write", -9, b""), ("store.after-flush", 0, b"alive\n"), ("", 0, b"alive\n")):
        ran = subprocess.run(
            [sys.executable, "-c", program], env={VARIABLE: at}, cwd=SOURCES.parent, capture_output=True, check=False
        )
        assert (ran.returncode, ran.stdout) == (code, out)


def test_every_site_is_in_the_code_and_every_one_in_the_code_has_a_meaning() -> None:
    text = "".join(path.read_text() for path in SOURCES.rglob("*.py"))
    assert {part.split('"')[0] for part in text.split('crash_at("')[1:]} == SITES.keys()
