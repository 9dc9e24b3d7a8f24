"""Conversations of a Raft group, read as text: see tests/protocol/raft/transcript.py for the language.

CORRAL_REWRITE=1 writes what the cores do now into the files; review the difference.
"""

import os
from pathlib import Path

import pytest

from tests.protocol.raft.transcript import Play

TRACES = sorted((Path(__file__).parent / "traces").glob("*.txt"))


def play(script: str) -> str:
    stage = Play()
    lines: list[str] = []
    for line in script.splitlines():
        if line.startswith("#") or not line:
            lines.append(line)
        elif not line.startswith(" "):
            lines += [line, *stage.run(line)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("trace", TRACES, ids=lambda path: path.stem)
def test_group_converses_as_written(trace: Path) -> None:
    script = trace.read_text()
    played = play(script)
    if os.environ.get("CORRAL_REWRITE"):
        trace.write_text(played)
    assert played == script or os.environ.get("CORRAL_REWRITE")
