"""Logs, commands, figures and events of containers, asked for at another host than the one they run on."""

import itertools
import json
import select
import signal
from collections.abc import Iterator
from typing import IO

import pytest

from scripts.lightlib.cluster import LightCluster, LightNode, eventually, run_node, running

PATIENCE = 60.0


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightNode]:
    """The first of two hosts, whose second runs a container named far."""
    with LightCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        first = cluster.found()
        cluster.join()
        ran = run_node("container", "create", "far", "alpine:3", "--host", "h2", "--url", first.url)
        assert ran.code == 0, ran.err
        yield first


def test_command_runs_on_the_host_that_has_the_container(asked: LightNode) -> None:
    ran = run_node("exec", "--url", asked.url, "far", "echo", "hello")
    assert (ran.code, ran.out, ran.err) == (0, "hello\n", "")
    assert run_node("exec", "--url", asked.url, "far", "sh", "-c", "exit 7").code == 7


def test_figures_come_from_the_host_that_has_the_container(asked: LightNode) -> None:
    ran = run_node("stats", "far", "--no-stream", "--json", "--url", asked.url)
    assert (ran.code, json.loads(ran.out)["name"]) == (0, "far"), ran.err


def test_log_that_is_followed_ends_with_its_container(asked: LightNode) -> None:
    # It may be asked for when the container has stopped already: then it ends at once, in the same way.
    with running("logs", "-f", "far", "--url", asked.url) as logs:
        ran = run_node("container", "stop", "far", "--url", asked.url)
        assert ran.code == 0, ran.err
        _, err = logs.communicate(timeout=PATIENCE)
    assert (logs.returncode, b"far: the log ended" in err) == (0, True), err


def test_events_tell_of_changes_until_ctrl_c(asked: LightNode) -> None:
    numbers = itertools.count()

    def is_told(out: IO[bytes]) -> bool:
        assert asked.ask("POST", "/v1/projects/1a5/environments", {"name": f"stack{next(numbers)}"}).status == 201
        return bool(select.select([out], [], [], 1)[0])

    with running("events", "--type", "stack", "--url", asked.url) as events:
        assert events.stdout is not None
        out = events.stdout
        eventually(lambda: is_told(out), "an event is printed")
        events.send_signal(signal.SIGINT)
        rest, err = events.communicate(timeout=PATIENCE)
    assert b"stack  1e" in rest
    assert (events.returncode, err) == (130, b"interrupted: stopped watching\n")
