"""An image that never arrives, and containers in the making: the daemon stops, and the host leaves, all the same."""

from collections.abc import Iterator

import pytest

from scripts.demolib.cluster import Cluster, eventually
from scripts.lablib.lab import Process
from tests.e2e.day import SPARE, Day
from tests.e2e.traces import traces

pytestmark = pytest.mark.e2e

STOP_BOUND = 8.0
SLACK = 12.0
"""For a machine that others use too."""
ENDLESS = "127.0.0.1:5000/endless:1"
REGISTRY = """
import http.server, threading
class Endless(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path != "/v2/":
            print("asked for", self.path, flush=True)
            threading.Event().wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    do_HEAD = do_GET
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer.daemon_threads = True
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Endless).serve_forever()
"""


@pytest.fixture
def before(day: Day) -> set[str]:
    """What is on the spare host while nobody is on it."""
    return traces(day.lab, SPARE)


@pytest.fixture
def spare(day: Day, before: set[str]) -> Iterator[Cluster]:
    """The cluster, the spare host a member of it; nobody is on it afterwards."""
    del before
    day.cluster.join(SPARE, "h1", day.cluster.node("h1", "token", "create", "--env", "dev", "-q").strip())
    yield day.cluster
    if day.lab.daemons(SPARE):
        day.cluster.node(SPARE, "leave", "--force", "--yes")
    eventually(lambda: SPARE not in {row["name"] for row in day.cluster.rows("h1", "hosts")}, "the host is forgotten")
    for row in day.cluster.rows("h1", "containers"):
        if row["name"].startswith("wanted"):
            day.cluster.node("h1", "container", "rm", row["name"], "-q")


@pytest.fixture
def registry(spare: Cluster) -> Iterator[Process]:
    """Answers no question for an image; the host's engine is asking for one."""
    log = spare.lab.log_path(SPARE, "registry")
    log.unlink(missing_ok=True)
    process = spare.lab.spawn(SPARE, ["python3", "-c", REGISTRY], log)
    spare.node("h1", "container", "create", "wanted", ENDLESS, "--host", SPARE, "--no-wait", "-q")
    eventually(lambda: "asked for" in process.output(), "the image is being pulled")
    yield process
    process.kill()
    process.wait(10)


def test_daemon_stops_within_its_bound_during_a_pull_and_pulls_again_when_it_is_back(
    spare: Cluster, registry: Process
) -> None:
    asked = registry.output().count("asked for")
    assert spare.end(SPARE) < STOP_BOUND + SLACK
    spare.start(SPARE)
    eventually(lambda: registry.output().count("asked for") > asked, "the image is asked for again")
    states = {row["name"]: row["state"] for row in spare.rows("h1", "containers")}
    assert states["wanted"] != "running"


def test_leaving_does_not_wait_for_a_pull_and_leaves_no_trace(
    spare: Cluster, registry: Process, before: set[str]
) -> None:
    said = spare.node(SPARE, "leave", "--yes", timeout=60)
    assert f"{SPARE} has left" in said
    eventually(lambda: not spare.lab.daemons(SPARE), "its daemon has ended")
    registry.kill()
    registry.wait(10)
    eventually(lambda: traces(spare.lab, SPARE) == before, "nothing is left")


def test_leaving_while_containers_are_being_made_leaves_none(spare: Cluster, before: set[str]) -> None:
    host = next(row for row in spare.rows("h1", "hosts") if row["name"] == SPARE)
    for number in range(12):
        body = {
            "name": f"wanted-{number}",
            "imageUuid": "docker:corral-test/glibc:latest",
            "requestedHostId": host["id"],
        }
        assert spare.api("h1", "POST", "/v1/projects/1a5/containers", body).status == 201
    eventually(lambda: len(spare.docker_names(SPARE, running=False)) > 0, "the first of them is there")
    spare.node(SPARE, "leave", "--yes", timeout=120)
    eventually(lambda: not spare.lab.daemons(SPARE), "its daemon has ended")
    assert traces(spare.lab, SPARE) == before
