"""A served API, and a way to type commands at it as a person would."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from node.cli.root import run_args
from tests.node.cli.served import Served, serving

VARIABLES = (
    "CORRAL_URL",
    "RANCHER_URL",
    "CORRAL_ENV",
    "CORRAL_CONTEXT",
    "CORRAL_TOKEN",
    "NO_COLOR",
    "CORRAL_ACCESS_KEY",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: it must be nothing else."""
        return json.loads(self.out)


Typed = Callable[..., Result]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A node with three hosts in its environment."""
    with serving(tmp_path) as node:
        yield node


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Types commands on a machine without a node."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CORRAL_SOCKET", str(tmp_path / "nobody.sock"))
    monkeypatch.setattr("sys.argv", ["node"])

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = run_args(list(words))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def typed(served: Served, away: Typed, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Types commands on a host of the cluster, as root."""
    monkeypatch.setenv("CORRAL_SOCKET", str(served.socket))
    return away
