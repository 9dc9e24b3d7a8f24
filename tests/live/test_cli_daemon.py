"""Start, join, use and leave by typing: real daemons on loopback addresses, with the in-memory engine."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

NODE = (sys.executable, "-m", "node")
READ_LINES = 60


def free_ports(address: str) -> tuple[int, int, int]:
    """Three ports that are free on an address, for a moment."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server((address, 0))) for _ in range(3)]
        api, peer, dns = (each.getsockname()[1] for each in found)
    return api, peer, dns


def type_(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command on the host whose folder that is."""
    variables = {**os.environ, "CORRAL_SOCKET": str(folder / "run" / "api.sock"), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.run([*NODE, *words], capture_output=True, text=True, env=variables, timeout=60)


@contextmanager
def running(
    folder: Path, address: str, words: Sequence[str], until: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run a daemon; yields what it printed up to `until`."""
    api, peer, dns = free_ports(address)
    place = ["--engine", "memory", "--advertise", address, "--bind", address, "--dns-listen", f"{address}:{dns}"]
    place += ["--api-port", str(api), "--peer-port", str(peer)]
    place += ["--data-dir", str(folder / "data"), "--run-dir", str(folder / "run")]
    with subprocess.Popen(
        [*NODE, *words, *place], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        printed = ""
        try:
            for _ in range(READ_LINES):
                line = process.stdout.readline()
                printed += line
                if not line or until in line:
                    break
            assert until in printed, printed
            yield printed, process
        finally:
            # A daemon that is only stopped leaves its DNS server running, as it should; one that leaves takes it along.
            if process.poll() is None:
                type_(folder, "leave", "--force", "--yes")
            process.kill()
            process.communicate(timeout=60)


def test_first_day_by_typing(tmp_path: Path) -> None:
    one, two = tmp_path / "h1", tmp_path / "h2"
    with running(one, "127.77.0.1", ["start", "--name", "h1"], "this host is active") as (welcome, _):
        token = re.search(r"corral1_\w+", welcome)
        url = re.search(r"  API\D*?(http://\S+)", welcome)
        secret = re.search(r"Secret key\s+(\S+)", welcome)
        assert token
        assert url, welcome
        assert secret
        joining = ["join", url[1], "--token", token[0], "--name", "h2", "--label", "zone=b"]
        with running(two, "127.77.0.2", joining, "this host is active") as (joined, daemon):
            assert "h2 has joined cluster" in joined
            hosts = json.loads(type_(one, "host", "ls", "--json").stdout)
            assert [(each["name"], each["state"]) for each in hosts] == [("h1", "active"), ("h2", "active")]
            made = type_(two, "service", "create", "web/nginx", "nginx", "--create-stack", "--scale", "2")
            assert made.returncode == 0, made.stderr
            on = json.loads(type_(one, "container", "ls", "--json").stdout)
            assert {each["hostId"] for each in on} == {"1h1", "1h2"}
            left = type_(two, "leave", "--yes")
            assert left.returncode == 0, left.stderr
            assert daemon.wait(timeout=30) == 0
        assert not (two / "data" / "identity").exists()
        assert type_(one, "host", "ls", "--format", "{{.name}}").stdout == "h1\n"
        refused = type_(one, "leave", "--yes")
        assert refused.returncode == 1
        assert "this is the last host" in refused.stderr
    assert not (one / "data" / "identity").exists()
