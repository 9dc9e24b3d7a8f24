"""Bad days at the door: a host that cannot join is told what to do, with an exit code, and nothing is changed."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from scripts.demolib.cluster import Cluster, eventually
from tests.e2e.day import MEMBERS, SPARE, Day

pytestmark = pytest.mark.e2e

Done: TypeAlias = "subprocess.CompletedProcess[str]"
STATE = """
find /var/lib/corral /run/corral -mindepth 1 -not -size 0 2>/dev/null | sort
ip -o link | awk -F': ' '{print $2}'; ip route; nft list tables; docker network ls -q 2>/dev/null
ps ax -o args | grep -E 'dns.server|wireguard-go|node.daemon' | grep -v grep
true
"""


@pytest.fixture
def token(day: Day) -> str:
    return day.cluster.node("h1", "token", "create", "--env", "dev", "-q").strip()


@pytest.fixture(autouse=True)
def _unchanged(day: Day) -> Iterator[None]:
    """What the cluster knows of its hosts, and the spare host itself, are afterwards as they were before."""

    def known() -> list[tuple[str, ...]]:
        rows = [*day.cluster.rows("h1", "hosts"), *day.cluster.rows("h1", "hosts", day.test)]
        return sorted((row["name"], row["state"], row["agentIpAddress"], row["uuid"]) for row in rows)

    before, spare = known(), state(day)
    yield
    assert known() == before
    assert state(day) == spare
    assert all(day.cluster.is_active(host) for host in MEMBERS)


def state(day: Day) -> str:
    return day.lab.exec(SPARE, ["sh", "-c", STATE]).stdout


def join(day: Day, token: str, *flags: str, url: str = "http://h1:8080", before: Sequence[str] = ()) -> Done:
    argv = [*before, "node", "join", url, "--token", token, *flags]
    return day.lab.exec(SPARE, argv, check=False, timeout=60)


def check_refused(done: Done, *words: str, code: int = 1) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    for word in words:
        assert word in said
    assert "try" in said


def in_mounts_of_its_own(script: str) -> list[str]:
    """Words in front of a command that change what it sees of the file system, and nobody else does."""
    return ["unshare", "--mount", "sh", "-ec", f'{script}; exec "$@"', "sh"]


# Tokens and URLs


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("rubbish", ["token"]),
        ("corral1_1a5_aaaa_bbbb_cccc_dddd", ["token"]),
    ],
)
def test_malformed_token_is_refused(day: Day, bad: str, words: list[str]) -> None:
    check_refused(join(day, bad), *words)


def test_rotated_token_is_refused(day: Day) -> None:
    old = day.cluster.node("h1", "token", "create", "--env", "test", "-q").strip()
    day.cluster.node("h1", "token", "rotate", "--env", "test", "-q")
    check_refused(join(day, old), "token", "node token create")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h1:9", ["h1:9"]),
        ("http://nosuch.example:8080", ["nosuch.example"]),
        ("http://outside.example:80", ["outside.example"]),
        ("ftp://h1", ["URL"]),
    ],
)
def test_url_that_is_not_ours_is_refused(day: Day, token: str, url: str, words: list[str]) -> None:
    check_refused(join(day, token, url=url), *words)


# This host


def test_joining_twice_is_refused(day: Day, token: str) -> None:
    done = day.lab.exec("h2", ["node", "join", "http://h1:8080", "--token", token], check=False)
    check_refused(done, "member of a cluster already", "node leave")


def test_starting_twice_is_refused(day: Day) -> None:
    check_refused(day.lab.exec("h2", ["node", "start"], check=False), "already", "node status")


def test_name_of_a_live_host_is_refused(day: Day, token: str) -> None:
    check_refused(join(day, token, "--name", "h2"), "h2", "--name")


def test_name_that_cannot_be_is_refused_as_wrong_usage(day: Day, token: str) -> None:
    done = join(day, token, "--name", "under_score!")
    assert done.returncode == 2
    assert "--name" in done.stderr


def test_address_range_in_use_is_refused_and_named(day: Day, token: str) -> None:
    with undone(
        day,
        "ip link add br9 type bridge; ip address add 10.42.5.1/24 dev br9; ip link set br9 up",
        "ip link delete br9",
    ):
        check_refused(join(day, token), "10.42.5.0/24 on br9", "--overlay-network")


@pytest.mark.parametrize(("port", "flag"), [(8080, "--api-port"), (8090, "--peer-port")])
def test_port_in_use_is_refused_and_named(day: Day, token: str, port: int, flag: str) -> None:
    hold = f"import socket, time; s = socket.create_server(('', {port})); print('up', flush=True); time.sleep(60)"
    holder = day.lab.spawn(SPARE, ["python3", "-c", hold], day.lab.log_path(SPARE, "holder"))
    try:
        eventually(lambda: "up" in holder.output(), "the port is held")
        check_refused(join(day, token), str(port), "in use", flag)
    finally:
        holder.kill()
        holder.wait(10)
        holder.log.unlink()


def test_host_without_docker_is_refused(day: Day, token: str) -> None:
    hide = in_mounts_of_its_own("mount -t tmpfs tmpfs /run/docker; mount --bind /dev/null /run/docker.sock")
    check_refused(join(day, token, before=hide), "ocker did not answer", "systemctl start docker")


OLD_ENGINE = """
import http.server, json, socketserver
ANSWERS = {{"/version": {{"Version": "{version}", "ApiVersion": "{api}", "MinAPIVersion": "1.12"}}, "/info": {{}}}}
class Old(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = "/" + self.path.rpartition("/")[2]
        body = json.dumps(ANSWERS.get(path, {{"message": "page not found"}})).encode()
        self.send_response(200 if path in ANSWERS else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def address_string(self): return "somebody"
    def log_message(self, *words): pass
socketserver.ThreadingUnixStreamServer.daemon_threads = True
server = socketserver.ThreadingUnixStreamServer("{socket}", Old)
print("up", flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize(("version", "api"), [("1.11.2", "1.23"), ("1.9.1", "1.21")])
def test_docker_too_old_is_refused(day: Day, token: str, version: str, api: str) -> None:
    socket = "/run/old-docker.sock"
    program = OLD_ENGINE.format(version=version, api=api, socket=socket)
    engine = day.lab.spawn(SPARE, ["python3", "-c", program], day.lab.log_path(SPARE, "old-engine"))
    try:
        eventually(lambda: "up" in engine.output(), "the old engine answers")
        hide = in_mounts_of_its_own(f"mount --bind {socket} /run/docker.sock")
        check_refused(join(day, token, before=hide), "docker", api, "install Docker 1.12 or later")
    finally:
        engine.kill()
        engine.wait(10)
        engine.log.unlink()
        day.lab.space(SPARE).path(socket).unlink()


@pytest.mark.parametrize("seconds", [3600, -3600])
def test_clock_off_by_an_hour_is_refused(day: Day, token: str, tmp_path: Path, seconds: int) -> None:
    # The machine has one clock; the joining host's Python reads another.
    (tmp_path / "sitecustomize.py").write_text(f"import time; now = time.time; time.time = lambda: now() + {seconds}\n")
    check_refused(join(day, token, before=["env", f"PYTHONPATH={tmp_path}"]), "clock", "time service")


def test_somebody_else_than_root_is_refused(day: Day, token: str) -> None:
    before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    check_refused(join(day, token, before=before), "root")


def test_host_without_tun_is_refused_where_the_kernel_has_no_wireguard(day: Day, token: str) -> None:
    hide = in_mounts_of_its_own("mount -t tmpfs tmpfs /dev/net")
    check_refused(join(day, token, before=hide), "TUN")


def test_host_without_wireguard_go_is_refused_where_the_kernel_has_no_wireguard(day: Day, token: str) -> None:
    hide = in_mounts_of_its_own("mount --bind /dev/null $(command -v wireguard-go)")
    check_refused(join(day, token, before=hide), "wireguard-go")


def test_full_disk_is_refused(day: Day, token: str) -> None:
    hide = in_mounts_of_its_own("mount -t tmpfs -o size=1m tmpfs /var/lib/corral")
    check_refused(join(day, token, before=hide), "disk", "make room")


def test_data_folder_of_another_cluster_is_refused(day: Day, token: str) -> None:
    cluster = day.cluster
    cluster.start(SPARE)
    try:
        cluster.kill(SPARE)
        check_refused(join(day, token), "member of a cluster already", "node leave")
        cluster.start(SPARE)
    finally:
        cluster.node(SPARE, "leave", "--force", "--yes")
    eventually(lambda: not day.lab.daemons(SPARE), "its daemon has ended")


def test_host_that_was_removed_while_it_was_away_can_only_leave(day: Day, token: str) -> None:
    cluster = day.cluster
    cluster.join(SPARE, "http://h1:8080", token)
    cluster.kill(SPARE)
    eventually(lambda: reconnecting(cluster), "the others miss it")
    cluster.node("h1", "host", "rm", SPARE, "--force", "--yes", "-q")
    day.lab.detach(SPARE, ["node", "start"], day.lab.log_path(SPARE))
    eventually(lambda: cluster.api(SPARE, "GET", "/").status == 200, "its daemon runs")
    assert SPARE not in {row["name"] for row in cluster.rows("h1", "hosts")}
    done = day.lab.exec(SPARE, ["node", "leave", "--force", "--yes"], check=False)
    assert done.returncode == 0, done.stderr
    eventually(lambda: not day.lab.daemons(SPARE), "its daemon has ended")


def reconnecting(cluster: Cluster) -> bool:
    return any(row["name"] == SPARE and row["agentState"] != "active" for row in cluster.rows("h1", "hosts"))


@contextmanager
def undone(day: Day, script: str, undo: str) -> Iterator[None]:
    day.lab.exec(SPARE, ["sh", "-ec", script])
    try:
        yield
    finally:
        day.lab.exec(SPARE, ["sh", "-ec", undo])
