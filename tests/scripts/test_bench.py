"""What the benchmarks make of their numbers: the line they end with, the exit status, and what counts as lost."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

from scripts.benchlib.writers import Write, acknowledged, first_after, slowest_extra
from scripts.benchlib.wrk import Asked, Found, WrkError, read_found, script_of

BENCH = Path(__file__).resolve().parents[2] / "scripts" / "bench"
SCRIPTS = sorted(path.name for path in BENCH.iterdir() if path.is_file() and not path.name.startswith("_"))


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module, its `main` not run."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    loader = SourceFileLoader(f"bench_{name.strip('_')}", str(BENCH / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    # Dataclasses look their own module up.
    monkeypatch.setitem(sys.modules, loader.name, module)
    loader.exec_module(module)
    return module


def ended(lib: Any, capsys: pytest.CaptureFixture[str], *verdicts: object) -> tuple[int, list[str]]:
    """Exit status and last lines of a program that comes to these verdicts."""
    with pytest.raises(SystemExit) as end:
        lib.finish(*verdicts)
    return int(str(end.value.code)), capsys.readouterr().out.splitlines()


@pytest.fixture
def lib(monkeypatch: pytest.MonkeyPatch) -> Any:
    return load("_lib.py", monkeypatch)


def test_every_question_has_a_program() -> None:
    assert {"all", "deploy", "dns", "failover", "footprint", "join", "names", "start"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_is_measured_and_how_to_be_quick(name: str) -> None:
    done = subprocess.run([BENCH / name, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
    assert len(done.stdout) > 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_unknown_flag_is_wrong_usage_and_measures_nothing(name: str) -> None:
    done = subprocess.run([BENCH / name, "--slow"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--slow" in done.stderr


# The closing line


def test_figure_that_reaches_its_goal_ends_with_status_0(lib: Any, capsys: pytest.CaptureFixture[str]) -> None:
    verdict = lib.Verdict("dns", "0.98", "0.7 of dnsmasq", True)
    assert ended(lib, capsys, verdict) == (0, ["dns: 0.98, goal 0.7 of dnsmasq: holds"])


def test_one_figure_that_falls_short_fails_the_whole(lib: Any, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = lib.Verdict("x one", "1 s", "2 s", True), lib.Verdict("x two", "3 s", "2 s", False)
    assert ended(lib, capsys, good, bad) == (1, ["x one: 1 s, goal 2 s: holds", "x two: 3 s, goal 2 s: falls short"])


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("dns: 0.98, goal 0.7: holds", True),
        ("dns: 0.6, goal 0.7: falls short", True),
        ("dns quick: 0.6, goal 0.7: falls short", True),
        ("dnsmasq: 0.6, goal 0.7: holds", False),
        ("dns: 0.98 so far", False),
        ("", False),
    ],
)
def test_closing_line_is_told_from_the_rest(lib: Any, line: str, is_one: bool) -> None:
    assert lib.is_verdict(line, "dns") is is_one


# Running all


@pytest.mark.parametrize(
    ("text", "status", "lines", "holds"),
    [
        ("print('table'); print('one: 1, goal 1: holds')", 0, ["one: 1, goal 1: holds"], True),
        ("print('one: 1, goal 2: falls short')", 1, ["one: 1, goal 2: falls short"], False),
        ("print('one a: 1, goal 1: holds'); print('one b: 1, goal 1: holds')", 0, 2, True),
        ("print('table')", 0, ["one: did not end with a figure, exit status 0"], False),
        ("print('one: 1, goal 1: holds')", 3, ["one: 1, goal 1: holds"], False),
    ],
)
def test_all_takes_each_program_s_lines_and_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, status: int, lines: Sequence[str] | int, holds: bool
) -> None:
    program = tmp_path / "one"
    program.write_text(f"#!{sys.executable}\n{text}\nraise SystemExit({status})\n")
    program.chmod(0o755)
    found, is_held = load("all", monkeypatch).run([str(program)])
    assert (len(found) if isinstance(lines, int) else found) == lines
    assert is_held is holds


# Each program's arithmetic


def test_deploy_compares_the_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("deploy", monkeypatch).judge
    assert str(judge([(1.0, 1.0), (5.2, 4.0), (9.0, 90.0)])) == (
        "deploy: 1.30 (5.2 s / 4.0 s), goal at most 1.3 of docker run: holds"
    )
    assert not judge([(5.3, 4.0)]).holds


def test_dns_takes_the_median_of_the_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("dns", monkeypatch).judge
    assert str(judge([(70.0, 100.0), (1.0, 100.0), (900.0, 100.0)])) == "dns: 0.70, goal 0.7 of dnsmasq: holds"
    assert not judge([(69.0, 100.0)]).holds


def test_footprint_takes_the_costliest_of_each_whatever_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load("footprint", monkeypatch)
    costs = {("h1", "daemon"): script.Cost(79.9, 0.5), ("h2", "daemon"): script.Cost(60.0, 0.99)}
    costs |= {("h1", "dns"): script.Cost(20.0, 50.0), ("h1", "dockerd"): script.Cost(500.0, 50.0)}
    assert str(script.judge(costs)) == (
        "footprint: daemon 79.9 MB, DNS 20.0 MB, 0.99 % of a core, goal under 80 MB, 30 MB, 1 %: holds"
    )
    for key, cost in (("daemon", (80.0, 0.1)), ("daemon", (10.0, 1.0)), ("dns", (30.0, 0.0))):
        assert not script.judge(costs | {("h3", key): script.Cost(*cost)}).holds


def test_join_takes_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("join", monkeypatch).judge
    assert str(judge([([0.5, 4.0], 9.0), ([0.7], 29.0)])) == (
        "join: 4.00 s to active, 29.00 s from cold to a name across hosts, goal under 5 s and 30 s: holds"
    )
    assert not judge([([5.0], 9.0)]).holds
    assert not judge([([1.0], 30.0)]).holds


def test_names_hold_the_p99_of_both_ways_against_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("names", monkeypatch).judge
    most = [0.1] * 99
    assert str(judge([*most, 5.0], [0.2])) == (
        "names: p99 0.10 s until there, 0.20 s until gone, goal under 1 s each: holds"
    )
    assert not judge([0.1], [*most[:-1], 1.0, 1.0]).holds


def test_start_is_a_multiple_of_the_bare_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = load("start", monkeypatch).judge
    times = {"python3 -c pass": 0.02, "node --help": 0.12, "node status": 0.3}
    assert str(judge(times)) == "start: 6.0 (status 15.0), goal 6 times python3 -c pass: holds"
    assert not judge(times | {"node --help": 0.13}).holds


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.75, 3.0), (0.76, 4.0), (0.01, 1.0), (1.0, 4.0)]
)
def test_percentile_is_the_smallest_value_that_covers_the_share(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: float
) -> None:
    assert load("_cluster.py", monkeypatch).percentile([4.0, 1.0, 3.0, 2.0], share) == expected


# Failover


def write(begun: float, ended: float, name: str = "w", *, taken: bool = True) -> Write:
    return Write(name, begun, ended, taken)


def test_first_write_after_a_fault_is_one_that_was_begun_after_it_and_taken() -> None:
    writes = [write(0.9, 1.1), write(1.2, 1.3, taken=False), write(1.4, 1.9), write(1.5, 1.7)]
    assert first_after(writes, 1.0) == 1.7
    assert first_after(writes, 1.6) is None


def test_slowest_write_is_measured_against_the_usual_one_before() -> None:
    writes = [write(0.0, 0.1), write(0.2, 0.3), write(0.9, 1.2), write(1.3, 1.35)]
    assert slowest_extra(writes, 1.0) == pytest.approx(0.2)


def test_write_that_is_refused_counts_as_endless() -> None:
    assert slowest_extra([write(0.0, 0.1), write(1.0, 1.1, taken=False)], 1.0) == float("inf")


def test_only_what_was_acknowledged_must_be_there() -> None:
    assert acknowledged([write(0, 1, "a"), write(1, 2, "b", taken=False)]) == {"a"}


def test_failover_has_a_line_for_each_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load("failover", monkeypatch)
    killed = script.Trials([0.2, 0.25, 1.5], [0.3], {"a", "b"})
    cut = script.Trials([0.9, 0.9, 1.5], [1.0], {"c", "f"})
    stopped = script.Trials([0.1], [0.02, 0.15], {"d", "f"})
    etcd = script.Trials([1.2, 1.3, 1.1], [1.0], {"e", "f"})
    kept = "none of 2 writes missing"
    assert [str(each) for each in script.judge(killed, cut, stopped, etcd)] == [
        f"failover killed: p50 0.25 s, max 1.50 s of 3, {kept}, goal max under 2 s: holds",
        f"failover killed, strictly: p50 0.25 s, max 1.50 s of 3, {kept} (etcd p50 1.20 s, max 1.30 s, {kept}), "
        "goal p50 under 0.3 s, max under 1.0 s: falls short",
        f"failover cut: p50 0.90 s, max 1.50 s of 3, {kept}, goal p50 under 1.0 s, max under 1.6 s: holds",
        f"failover stopped: the slowest write took +0.150 s of 2, {kept}, goal at most +0.200 s: holds",
    ]


@pytest.mark.parametrize("number", range(3))
def test_failover_falls_short_when_an_acknowledged_write_is_missing(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    script = load("failover", monkeypatch)
    trials = [script.Trials([0.1], [0.1], {"a"}) for _ in range(4)]
    trials[number].lost = {"a"}
    held = {each.name: each.holds for each in script.judge(*trials)}
    fallen = [("failover killed", "failover killed, strictly"), ("failover cut",), ("failover stopped",)][number]
    assert {name for name, holds in held.items() if not holds} == set(fallen)


def test_wrk_is_read_and_refused_answers_are_an_error() -> None:
    found = read_found("Running 5s test\nFOUND 5921.500000 0 1.250000 9.000000 30.000000\n")
    assert found == Found(5921.5, 1.25, 9.0, 30.0)
    for text in ("FOUND 1.0 3 1.0 1.0 1.0", "unable to connect"):
        with pytest.raises(WrkError):
            read_found(text)


def test_wrk_sends_what_was_asked_with_a_pause_where_wanted() -> None:
    script = script_of(Asked("http://h/", "POST", (("A", "b"),), "{}"), pause_ms=5)
    for line in ('wrk.method = "POST"', 'wrk.headers["A"] = "b"', "wrk.body = [[{}]]", "return 5"):
        assert line in script
    assert "delay" not in script_of(Asked("http://h/"))
