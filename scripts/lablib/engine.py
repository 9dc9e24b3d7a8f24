"""A host's Docker engine: a real dockerd with default paths inside the host, started, waited for, filled with images.

Speaks to the engine's own socket from outside the host, without the docker command: asking is then cheap enough to
do every few milliseconds.
"""

import http.client
import json
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.lablib import layout as names, procs
from scripts.lablib.errors import LabError
from scripts.lablib.space import Space

_SOCKET = "/run/docker.sock"


def is_up(space: Space) -> bool:
    """Tell whether the host's engine answers."""
    try:
        return _call(space, "GET", "/info")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def start_engine(space: Space, env: Mapping[str, str]) -> None:
    """Start dockerd unless it runs, and wait until it answers."""
    if is_up(space):
        return
    log = space.layout.log_path(space.host, "docker")
    if not _daemon_pids(space):
        argv = ["dockerd", f"--bip={names.engine_bridge(space.host)}", "--exec-opt=native.cgroupdriver=cgroupfs"]
        pid = space.detach([*argv, f"--cgroup-parent=/{space.layout.cgroup}/{space.host}"], log, env=env)
        # By its PID, for until it has become dockerd it does not go by that name.
        procs.wait_until(lambda: is_up(space) or not space.path(f"/proc/{pid}").exists(), timeout=60, step=0.05)
    else:
        procs.wait_until(lambda: is_up(space), timeout=60, step=0.05)
    if not is_up(space):
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise LabError(f"{space.host}: dockerd does not answer; the end of {log}:\n{tail}")


def stop_engine(space: Space) -> None:
    """Stop dockerd the orderly way and wait until it has ended; its containers end with it."""
    running = _daemon_pids(space)
    for pid in running:
        procs.send(pid, signal.SIGTERM)
    if not procs.wait_until(lambda: not any(map(procs.is_alive, running)), timeout=60, step=0.05):
        raise LabError(f"{space.host}: dockerd does not stop; scripts/lab kill {space.host} ends it")


def tags(space: Space) -> dict[str, str]:
    """Return the images of an engine: id by tag."""
    images = json.loads(_call(space, "GET", "/images/json")[1])
    return {str(tag): str(image["Id"]) for image in images for tag in image["RepoTags"] or ()}


def load_images(space: Space, archive: Path, wanted: Mapping[str, str]) -> bool:
    """Load the archive unless every wanted image is there already; tell whether anything was loaded."""
    have = tags(space)
    if all(have.get(tag) == identity for tag, identity in wanted.items()):
        return False
    with archive.open("rb") as body:
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(archive.stat().st_size)}
        status, answer = _call(space, "POST", "/images/load?quiet=1", body, headers)
    have = tags(space)
    missing = [tag for tag, identity in wanted.items() if have.get(tag) != identity]
    if status != 200 or missing:
        raise LabError(f"{space.host}: images {', '.join(missing)} did not load: {answer.decode(errors='replace')}")
    return True


def running_containers(space: Space) -> int:
    """Return how many containers run on an engine."""
    return len(json.loads(_call(space, "GET", "/containers/json")[1]))


def _daemon_pids(space: Space) -> list[int]:
    lines = {pid: procs.command_line(pid) for pid in procs.members(space.holder)}
    return [pid for pid, argv in lines.items() if argv and Path(argv[0]).name == "dockerd"]


def _call(
    space: Space, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = _Connection(str(space.path(_SOCKET)))
    try:
        connection.request(verb, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=120)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
