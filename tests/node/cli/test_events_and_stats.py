"""`events` and `stats` by typing, against the real API and an engine in memory."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.cli.commands.events import line_of
from node.cli.commands.stats import figures_of
from node.cli.reach import Target
from node.cli.sockets import _authorization
from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served

PATIENCE = 60.0


@contextmanager
def started(served: Served, *words: str) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "node", *words, "--socket", str(served.socket)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_listener(served: Served, process: "subprocess.Popen[bytes]") -> None:
    while not served.listens:
        assert process.poll() is None
        time.sleep(0.01)


def ended(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err.decode()


def test_events_of_one_type_are_lines_until_ctrl_c(served: Served, typed: Typed) -> None:
    with started(served, "events", "--type", "stack") as process:
        wait_for_listener(served, process)
        typed("service", "create", "web/nginx", "nginx", "--create-stack")
        assert process.stdout is not None
        words = process.stdout.readline().decode().split()
        assert words[1:4] == ["stack", "1e1", "web"]
        assert ended(process) == (130, "interrupted: stopped watching\n")


def test_events_as_json_are_those_of_the_api(served: Served, typed: Typed) -> None:
    with started(served, "events", "--json") as process:
        wait_for_listener(served, process)
        typed("stack", "create", "web")
        assert process.stdout is not None
        event = json.loads(process.stdout.readline())
    assert (event["name"], event["resourceType"]) == ("resource.change", "environment")


def test_event_is_a_line_that_steers_no_terminal() -> None:
    resource = {"name": "web\x1b[2J", "state": "active", "transitioningMessage": None}
    event = {"time": 0, "resourceType": "service", "resourceId": "1s1", "data": {"resource": resource}}
    assert line_of(event) == "1970-01-01T00:00:00Z  service  1s1  web\ufffd[2J  active"


def test_stats_once_show_shares_and_sizes(served: Served, typed: Typed) -> None:
    typed("container", "create", "box", "alpine:3", "--host", "h1")
    result = typed("stats", "box", "--no-stream")
    assert result.code == 0, result.err
    head, row = result.out.splitlines()
    assert head.split()[:3] == ["NAME", "CPU", "MEMORY"]
    assert row.startswith("box")
    assert "1.0 MiB / " in row
    assert "%" in row.split()[1]


def test_stats_as_json_are_a_line_for_each_container(served: Served, typed: Typed) -> None:
    for name in ("box", "other"):
        typed("container", "create", name, "alpine:3", "--host", "h1")
    rows = [json.loads(line) for line in typed("stats", "box", "other", "--no-stream", "--json").out.splitlines()]
    assert sorted(row["name"] for row in rows) == ["box", "other"]


def test_stats_go_on_until_ctrl_c(served: Served, typed: Typed) -> None:
    typed("container", "create", "box", "alpine:3", "--host", "h1")
    with started(served, "stats", "box") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert [line.split()[0] for line in lines] == [b"NAME", b"box"] * 2
        assert ended(process) == (130, "interrupted: stopped watching\n")


def test_stats_of_what_does_not_run_are_an_error(typed: Typed) -> None:
    typed("container", "create", "box", "alpine:3", "--host", "h1")
    typed("container", "stop", "box")
    result = typed("stats", "box", "--no-stream")
    assert (result.code, result.out) == (1, "")
    assert "nothing runs" in result.err


@pytest.mark.parametrize(("used", "shown"), [(500_000_000, "50.0%"), (2_000_000_000, "200.0%"), (-1, "--")])
def test_share_of_a_processor_is_what_was_used_between_two_looks(used: int, shown: str) -> None:
    before = {"timestamp": "2016-04-12T06:00:00.000000000Z", "cpu": {"usage": {"total": 10}}}
    now = {"timestamp": "2016-04-12T06:00:01.000000000Z", "cpu": {"usage": {"total": 10 + used}}}
    assert figures_of("box", now, before)["CPU"] == shown


def test_container_without_a_look_shows_no_figures() -> None:
    assert set(figures_of("box", None, None).values()) == {"box", "--"}


@pytest.mark.parametrize(
    ("proof", "sent"),
    [
        ({"access_key": "A", "secret_key": "S"}, {"Authorization": "Basic QTpT"}),
        ({"session": "J"}, {"Authorization": "Bearer J"}),
        ({}, {}),
    ],
)
def test_sockets_are_opened_with_what_requests_are_sent_with(proof: dict[str, str], sent: dict[str, str]) -> None:
    assert _authorization(Target("http://h1:8080", **proof)) == sent
