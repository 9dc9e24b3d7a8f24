"""`scripts/lab` on this machine's kernel: hosts are real, faults bite, and taking a lab down leaves no trace."""

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.lablib import Lab, LabError, cgroups, procs

pytestmark = pytest.mark.live

REPO = Path(__file__).parents[2]
STAND_INS = {
    "busybox:latest",
    "nginx:1.8-alpine",
    "nginx:1.9-alpine",
    "redis:alpine",
    "redis:3.0.7-alpine",
    "memcached:latest",
    "corral-test/glibc:latest",
    "corral-test/musl:latest",
}
SLACK = 20.0
"""For a machine that others use too."""
DAEMON = ["python3", "-c", "import time\nwhile True: time.sleep(0.05); print('tick', flush=True)", "node.daemon"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab("selftest")
    made.down()
    made.up(3)
    yield made
    made.down()


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").heal()


def command(*arguments: str, name: str = "selftest", feed: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [REPO / "scripts" / "lab", "--name", name, *arguments], input=feed, capture_output=True, text=True, check=False
    )


def reaches(lab: Lab, host: str, other: str) -> bool:
    return lab.exec(host, ["ping", "-c1", "-W1", other], check=False).returncode == 0


def in_container(lab: Lab, host: str, image: str, *argv: str) -> str:
    return lab.exec(host, ["docker", "run", "--rm", image, *argv]).stdout


# Hosts


def test_up_gives_each_host_an_engine_of_its_own(lab: Lab) -> None:
    for host in lab.hosts():
        lab.exec(host, ["docker", "create", "--name", f"only-on-{host}", "busybox"])
    for host in lab.hosts():
        found = lab.exec(host, ["docker", "ps", "-a", "--format", "{{.Names}}"]).stdout.split()
        assert [name for name in found if name.startswith("only-on-")] == [f"only-on-{host}"]
        assert lab.exec(host, ["hostname"]).stdout.strip() == host


def test_up_is_quick_and_changes_nothing_when_repeated(lab: Lab) -> None:
    before = procs.holders("selftest")
    started_at = time.monotonic()
    lab.up(3)
    assert time.monotonic() - started_at < 5 + SLACK
    assert procs.holders("selftest") == before


def test_up_starts_over_with_a_host_whose_start_was_interrupted(lab: Lab) -> None:
    lab.space("h3").path("/run/lab-ready").unlink()
    lab.up(3)
    assert lab.status()[2].engine
    assert reaches(lab, "h1", "h3")


def test_hosts_reach_each_other_by_name(lab: Lab) -> None:
    assert reaches(lab, "h1", "h2")
    assert reaches(lab, "h2", "h3")


def test_host_has_folders_of_its_own_where_everything_expects_them(lab: Lab) -> None:
    for path in ("/etc/corral/x", "/var/lib/corral/x", "/run/x", "/etc/systemd/system/x.service"):
        lab.exec("h1", ["sh", "-c", f"mkdir -p $(dirname {path}); echo mine >{path}"])
        assert not Path(path).exists()
        assert lab.exec("h2", ["test", "-e", path], check=False).returncode == 1


def test_host_sees_its_own_processes_and_network_only(lab: Lab) -> None:
    assert set(lab.exec("h1", ["ls", "/sys/class/net"]).stdout.split()) >= {"lo", "eth0", "docker0"}
    assert "h2" not in lab.exec("h1", ["ps", "ax", "-o", "args"]).stdout
    assert "eth0" not in os.listdir("/sys/class/net") or "10.99.0." not in _text("ip", "address")


def test_wireguard_in_user_space_runs_in_a_host(lab: Lab) -> None:
    lab.exec("h1", ["sh", "-c", "wireguard-go wgtest && ip link show wgtest && test -S /var/run/wireguard/wgtest.sock"])
    lab.exec("h1", ["pkill", "-f", "wireguard-go wgtest"])


# Commands on hosts


def test_exec_passes_input_output_and_exit_code(lab: Lab) -> None:
    del lab
    done = command("exec", "h1", "sh", "-c", "cat; echo oops >&2; exit 7", feed="hello")
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello", "oops\n")


def test_exec_keeps_the_terminal(lab: Lab) -> None:
    argv, environment = lab.enter("h1", ["sh", "-c", "test -t 0 && test -t 1"])
    ours, theirs = pty.openpty()
    done = subprocess.run(argv, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0


def test_exec_finds_commands_of_the_repository_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.environment("h1")["PATH"].startswith(f"{REPO}/.venv/bin:")
    monkeypatch.setenv("LAB_PATH", "/opt/other")
    assert lab.environment("h1")["PATH"].startswith("/opt/other:")


def test_exec_leaves_nothing_running_when_its_time_is_up(lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        lab.exec("h1", ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done; : forever"], timeout=0.5)
    found = lab.exec("h1", ["pgrep", "-f", "^sh -c trap.*forever$"], check=False)
    assert found.returncode == 1


def test_detached_command_outlives_its_caller_and_logs(lab: Lab) -> None:
    done = command("exec", "--detach", "h1", "sh", "-c", "echo started; exec sleep 60")
    pid = done.stdout.strip()
    assert procs.wait_until(lambda: "started" in command("logs", "h1", "sh").stdout, timeout=5 + SLACK)
    lab.exec("h1", ["kill", pid])


def test_spawned_command_gets_signals_itself(lab: Lab, tmp_path: Path) -> None:
    process = lab.spawn("h1", ["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"], tmp_path / "l")
    assert procs.wait_until(lambda: "up" in process.output(), timeout=5 + SLACK)
    process.terminate()
    assert process.wait(5) == 9


# Faults


def test_cut_isolates_a_host_until_it_is_healed(lab: Lab) -> None:
    lab.cut("h2")
    assert not reaches(lab, "h1", "h2")
    assert reaches(lab, "h1", "h3")
    assert lab.status()[1].faults == ("cut h2",)
    lab.heal("h2")
    assert reaches(lab, "h1", "h2")


def test_cut_from_another_keeps_only_those_two_apart(lab: Lab) -> None:
    lab.cut("h1", "h2")
    assert not reaches(lab, "h1", "h2")
    assert not reaches(lab, "h2", "h1")
    assert reaches(lab, "h1", "h3")
    assert reaches(lab, "h2", "h3")


def test_cut_one_way_lets_packets_pass_the_other_way(lab: Lab, tmp_path: Path) -> None:
    assert reaches(lab, "h2", "h1")
    lab.cut("h1", "h2", one_way=True)
    listen = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 9999)); s.settimeout(1.5)\n"
    listen += "print('up', flush=True); print(s.recv(9).decode())"
    for source, target, arrives in (("h2", "h1", True), ("h1", "h2", False)):
        process = lab.spawn(target, ["python3", "-c", listen], tmp_path / target)
        assert procs.wait_until(lambda p=process: "up" in p.output(), timeout=5 + SLACK)  # type: ignore[misc]
        say = f"import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'word', ('{target}', 9999))"
        lab.exec(source, ["python3", "-c", say])
        assert (process.wait(5) == 0) is arrives


def test_lose_drops_about_its_share_until_set_to_nothing(lab: Lab) -> None:
    lab.lose("h3", 30)
    quiet = lab.exec("h1", ["ping", "-q", "-c200", "-i0.005", "-W1", "h3"], check=False).stdout
    received = int(quiet.split(" received")[0].split()[-1])
    # Lost each way with 0.3, so 98 of 200 come back; six standard deviations are 42.
    assert 98 - 42 < received < 98 + 42
    lab.lose("h3", 0)
    assert lab.status()[2].faults == ()


def test_kill_ends_all_of_a_host_at_once_and_start_boots_it(lab: Lab) -> None:
    lab.exec("h2", ["docker", "run", "-d", "--name", "again", "--restart=always", "-p", "8080:80", "nginx:1.8-alpine"])
    lab.exec("h2", ["sh", "-c", "ip link add left-over type bridge; echo kept >/var/lib/corral/kept"])
    network = procs.namespace(procs.holders("selftest")["h2"], "net")
    lab.kill("h2")
    assert procs.in_network(network) == []
    assert not reaches(lab, "h1", "h2")
    assert not lab.status()[1].powered
    with pytest.raises(LabError, match="h2 has no power"):
        lab.exec("h2", ["true"])
    lab.start("h2")
    assert reaches(lab, "h1", "h2")
    assert lab.exec("h2", ["cat", "/var/lib/corral/kept"]).stdout == "kept\n"
    assert lab.exec("h2", ["ip", "link", "show", "left-over"], check=False).returncode == 1
    assert procs.wait_until(lambda: lab.status()[1].containers == 1, timeout=10 + SLACK, step=0.2)
    lab.exec("h2", ["docker", "rm", "-f", "again"])


def test_kill_says_no_goodbye_to_peers(lab: Lab, tmp_path: Path) -> None:
    serve = "import socket, time; s = socket.create_server(('', 9998)); print('up', flush=True)\n"
    serve += "kept = s.accept(); time.sleep(60)"
    server = lab.spawn("h2", ["python3", "-c", serve], tmp_path / "server")
    assert procs.wait_until(lambda: "up" in server.output(), timeout=5 + SLACK)
    wait = "import socket; s = socket.create_connection(('h2', 9998)); s.settimeout(4)\n"
    wait += "print('up', flush=True)\ntry: print('closed', s.recv(1))\nexcept TimeoutError: print('silence')"
    peer = lab.spawn("h1", ["python3", "-c", wait], tmp_path / "peer")
    assert procs.wait_until(lambda: "up" in peer.output(), timeout=5 + SLACK)
    lab.kill("h2")
    assert peer.wait(10) == 0
    assert "silence" in peer.output()
    assert server.wait(5) == -signal.SIGKILL
    lab.start("h2")


def test_cut_outlives_a_power_loss(lab: Lab) -> None:
    lab.cut("h2")
    lab.kill("h2")
    lab.start("h2")
    assert not reaches(lab, "h1", "h2")
    lab.heal()
    assert reaches(lab, "h1", "h2")


def test_pause_freezes_the_daemon_of_one_host_only(lab: Lab, tmp_path: Path) -> None:
    one, two = (lab.spawn(host, DAEMON, tmp_path / host) for host in ("h1", "h2"))
    assert procs.wait_until(lambda: "tick" in one.output() and "tick" in two.output(), timeout=5 + SLACK)
    lab.pause("h1")
    assert procs.wait_until(lambda: lab.status()[0].paused, timeout=5 + SLACK)
    assert not lab.status()[1].paused
    written = len(one.output())
    lab.resume("h1")
    assert procs.wait_until(lambda: len(one.output()) > written, timeout=5 + SLACK)
    assert lab.signal_daemon("h1", signal.SIGKILL) == [one.pid]
    assert one.wait(5) == -signal.SIGKILL
    two.kill()
    two.wait(5)


def test_engine_stops_in_order_and_starts_again(lab: Lab) -> None:
    lab.stop_engine("h3")
    lab.stop_engine("h3")
    assert lab.exec("h3", ["docker", "ps"], check=False).returncode == 1
    assert lab.is_powered("h3")
    lab.start("h3")
    lab.exec("h3", ["docker", "ps"])


# Images and the world outside


def test_every_stand_in_is_in_every_engine(lab: Lab) -> None:
    for host in lab.hosts():
        listed = lab.exec(host, ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]).stdout.split()
        assert set(listed) >= STAND_INS


@pytest.mark.parametrize("image", sorted(STAND_INS))
def test_stand_in_has_a_shell_ping_and_nslookup(lab: Lab, image: str) -> None:
    script = "ping -c1 -W1 outside.example && nslookup outside.example && wget -qO- http://outside.example/"
    assert "outside sees 10.99.0.11" in in_container(lab, "h1", image, "sh", "-c", script)


@pytest.mark.parametrize(
    ("image", "probe", "answer"),
    [
        ("nginx:1.9-alpine", ["wget", "-qO-", "http://127.0.0.1/"], "stand-in for nginx:1.9-alpine"),
        ("redis:alpine", ["redis-cli", "ping"], "PONG"),
        ("redis:3.0.7-alpine", ["redis-cli", "ping"], "PONG"),
        ("memcached:latest", ["sh", "-c", "printf 'version\\r\\nquit\\r\\n' | nc 127.0.0.1 11211"], "VERSION"),
        ("corral-test/musl:latest", ["lookup", "outside.example", "4"], "10.99.0.1\n"),
        ("corral-test/glibc:latest", ["lookup", "outside.example", "4"], "10.99.0.1\n"),
    ],
)
def test_stand_in_serves_by_default_and_stops_when_told(lab: Lab, image: str, probe: list[str], answer: str) -> None:
    name = lab.exec("h1", ["docker", "run", "-d", image]).stdout.strip()
    outcome = ["docker", "exec", name, *probe]
    assert procs.wait_until(lambda: answer in lab.exec("h1", outcome, check=False).stdout, timeout=5 + SLACK, step=0.1)
    started_at = time.monotonic()
    lab.exec("h1", ["docker", "stop", name])
    assert time.monotonic() - started_at < 3 + SLACK
    lab.exec("h1", ["docker", "rm", name])


def test_nginx_page_shows_the_container_and_redis_is_reachable_from_others(lab: Lab) -> None:
    lab.exec("h1", ["docker", "run", "-d", "--name", "page", "--hostname", "its-name", "nginx:1.8-alpine"])
    lab.exec("h1", ["docker", "run", "-d", "--name", "cache", "redis:alpine"])
    shape = "{{.NetworkSettings.IPAddress}}"
    page, cache = lab.exec("h1", ["docker", "inspect", "-f", shape, "page", "cache"]).stdout.split()
    assert "its-name" in in_container(lab, "h1", "busybox", "wget", "-qO-", f"http://{page}/")
    assert "OK" in in_container(lab, "h1", "redis:alpine", "redis-cli", "-h", cache, "set", "key", "value")
    lab.exec("h1", ["docker", "rm", "-f", "page", "cache"])


@pytest.mark.parametrize("image", ["corral-test/glibc", "corral-test/musl"])
def test_unknown_name_is_denied_at_once(lab: Lab, image: str) -> None:
    done = lab.exec("h1", ["docker", "run", "--rm", image, "lookup", "nosuch.example"], check=False, timeout=5 + SLACK)
    assert done.returncode == 1


def test_pull_fails_at_once_for_there_is_no_way_out(lab: Lab) -> None:
    started_at = time.monotonic()
    assert lab.exec("h1", ["docker", "pull", "nosuch:1"], check=False).returncode == 1
    assert time.monotonic() - started_at < 3 + SLACK


# The command line


def test_status_speaks_json(lab: Lab) -> None:
    told = json.loads(command("status", "--json").stdout)
    assert [host["host"] for host in told["hosts"]] == lab.hosts()
    assert all(host["engine"] for host in told["hosts"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("exec", "nowhere", "true"), 2, "hosts are called h1"),
        (("exec", "h9", "true"), 1, "has no host h9"),
        (("exec", "h1"), 2, "say which command"),
        (("up", "0"), 2, "a lab has 1 to"),
        (("lose", "h1", "101"), 2, "0 to 100"),
        (("pause", "h1"), 1, "does not run there"),
        (("frobnicate",), 2, "invalid choice"),
        (("logs", "h1", "nosuch"), 1, "logs there: "),
    ],
)
def test_wrong_use_says_what_to_do(lab: Lab, arguments: tuple[str, ...], code: int, says: str) -> None:
    del lab
    done = command(*arguments)
    assert done.returncode == code
    assert says in done.stderr


def test_check_finds_nothing_missing_where_a_lab_runs(lab: Lab) -> None:
    del lab
    done = command("check")
    assert done.returncode == 0, done.stdout
    assert "MISSING" not in done.stdout


# Leaving nothing behind


def _text(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def trace(name: str) -> dict[str, object]:
    """What a lab could leave on the machine; processes only as far as they name it."""
    living = [pid for pid in procs.pids() if procs.is_alive(pid)]
    return {
        "named network namespaces": _text("ip", "netns"),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "routes": _text("ip", "route", "show", "table", "all"),
        "nft rules": _text("nft", "list", "ruleset"),
        "iptables rules": [line for line in _text("iptables-save").splitlines() if not line.startswith("#")],
        "mounts": Path("/proc/self/mounts").read_text(),
        "loop devices": _text("losetup", "-a"),
        "cgroups": sorted(str(p) for top in cgroups.hierarchies() for p in top.rglob("*") if p.is_dir()),
        "processes by name": [pid for pid in living if name in procs.command_line(pid)],
        "folders": {top: sorted(os.listdir(top)) for top in ("/run", "/etc", "/var/lib", "/var/tmp", "/var/run")},
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


def test_down_leaves_nothing_though_containers_tunnels_and_commands_ran(lab: Lab) -> None:
    del lab
    other = Lab("selftest-trace")
    before = trace("selftest-trace")
    other.up(2)
    assert trace("selftest-trace") != before
    other.exec("h1", ["docker", "run", "-d", "-p", "8080:80", "--restart=always", "nginx:1.8-alpine"])
    other.exec("h1", ["docker", "network", "create", "--subnet", "10.42.7.0/24", "--ip-range", "10.42.7.0/25", "n"])
    other.exec("h1", ["wireguard-go", "wgtest"])
    other.detach("h2", DAEMON)
    other.detach("h2", ["sleep", "1000"])
    other.pause("h2")
    other.cut("h2")
    other.lose("h1", 10)
    holders = procs.holders("selftest-trace").values()
    ours = set(holders).union(*(procs.descendants(pid) for pid in holders))
    assert len(ours) > 12
    other.down()
    assert not any(map(procs.is_alive, ours))
    assert trace("selftest-trace") == before
    other.down()


def test_down_ends_a_lab_whose_folder_is_lost(lab: Lab) -> None:
    del lab
    other = Lab("selftest-trace")
    before = trace("selftest-trace")
    other.up(1)
    other.layout.folder.rename(other.layout.root / "elsewhere")
    other.down()
    subprocess.run(["rm", "-r", other.layout.root / "elsewhere"], check=True)
    assert trace("selftest-trace") == before


def test_two_labs_share_nothing(lab: Lab) -> None:
    other = Lab("selftest-other")
    other.up(1)
    try:
        lab.exec("h1", ["docker", "create", "--name", "mine", "busybox"])
        assert "mine" not in other.exec("h1", ["docker", "ps", "-a"]).stdout
        assert not reaches(other, "h1", lab.address("h2"))
        assert set(procs.holders("selftest").values()).isdisjoint(procs.holders("selftest-other").values())
    finally:
        other.down()
    assert all(host.engine for host in lab.status())
