"""RULES.md names only tests and conversations that exist, and every test that names a section is in it or beside it."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
ROWS = [
    line for line in (FOLDER / "RULES.md").read_text().splitlines() if line.startswith("| ") and " Held by " not in line
]


def is_there(file: str, name: str) -> bool:
    return f"def test_{name}(" in (FOLDER / f"test_{file}.py").read_text()


@pytest.mark.parametrize("row", ROWS)
def test_rule_is_held_by_something_that_exists(row: str) -> None:
    held_by = row.split("|")[-2]
    tests = re.findall(r"`(\w+) (\w+)`", held_by)
    traces = re.findall(r"trace (\w+)", held_by)
    assert tests or traces or "sim" in held_by or "`tests/" in held_by
    assert all(is_there(file, name) for file, name in tests)
    assert all((FOLDER / "traces" / f"{name}.txt").exists() for name in traces)


def test_every_section_that_a_test_names_is_in_the_table() -> None:
    names = " ".join(re.findall(r"def (test_\w+)", " ".join(each.read_text() for each in FOLDER.glob("test_*.py"))))
    sections = {found.replace("_", ".") for found in re.findall(r"_(\d_\d+(?:_\d)?)(?=_|\b)", names)}
    shown = {row.split("|")[1].strip() for row in ROWS}
    assert sections <= shown
