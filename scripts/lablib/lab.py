"""One lab: hosts brought up, entered, broken, healed and taken down.

Everything is found in the kernel or on disk when it is needed; there is no record that could be stale.  All methods
may be repeated.  They block: call them from a worker thread in asynchronous code.
"""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scripts.lablib import cgroups, engine, ground, images, layout as names, procs, switch
from scripts.lablib.errors import LabError
from scripts.lablib.layout import Layout
from scripts.lablib.space import Space, find_space, mount_private, open_space

_T = TypeVar("_T")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What would lead a command in a host back to the machine's own engine, proxies or cluster.
_FOREIGN_ENV = ("DOCKER_", "RANCHER_", "CORRAL_LAB_", "XDG_", "PYTHONPATH", "PYTHONHOME")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What one host is doing."""

    host: str
    address: str
    powered: bool
    engine: bool
    containers: int
    daemons: tuple[int, ...]
    """PIDs of Corral's daemon, as the machine counts them."""
    paused: bool
    faults: tuple[str, ...]


class Process:
    """A command running on a host in the background; signals reach the command itself.

    `pid` is the command's PID as the machine counts.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.popen = popen
        self.log = log
        procs.wait_until(lambda: popen.poll() is not None or bool(procs.children(popen.pid)), timeout=5, step=0.002)
        # The command is the child of its way in; one that has ended already leaves only that.
        self.pid = next(iter(procs.children(popen.pid)), popen.pid)

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self.poll()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal, or None while it runs."""
        return _as_signal(self.popen.poll())

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end and return the exit status, negative for a signal."""
        return _as_signal(self.popen.wait(timeout))

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the command."""
        if self.popen.poll() is None:
            procs.send(self.pid, number)

    def terminate(self) -> None:
        """Ask the command to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command at once."""
        self.send_signal(signal.SIGKILL)

    def output(self) -> str:
        """Return what it wrote so far."""
        return self.log.read_text(errors="replace")


class Lab:
    """Several Docker hosts under one name."""

    def __init__(self, name: str = "lab", *, say: Callable[[str], None] = lambda line: None) -> None:
        self.layout = Layout.of(name)
        self._say = say

    # Bringing up and taking down

    def up(self, count: int) -> None:
        """Make sure that hosts h1 … hN run, each with an engine and the stand-in images."""
        wanted = names.host_names(count)
        ground.prepare(self._say)
        archive = images.ensure(self._say)
        with self._locked():
            hosts = sorted({*wanted, *self.hosts()}, key=names.host_number)
            self._open_switch()
            for host in hosts:
                self._write_files(host, hosts)
            _together(lambda host: self._boot(host, archive), wanted)

    def start(self, host: str) -> None:
        """Power a host on again, or start its engine if only that is down."""
        self._known(host)
        archive = images.ensure(self._say)
        with self._locked():
            self._boot(host, archive)

    def down(self) -> None:
        """End everything of this lab and remove every trace of it."""
        ground.require_root()
        with self._locked():
            spaces = [Space(self.layout, host, pid) for host, pid in procs.holders(self.layout.name).items()]
            _together(Space.end, spaces)
            if not procs.wait_until(lambda: cgroups.remove_tree(self.layout.cgroup), timeout=10, step=0.05):
                raise LabError(f"cgroup {self.layout.cgroup} is still in use; run scripts/lab down again")
            shutil.rmtree(self.layout.folder)
        try:
            self.layout.root.rmdir()
        except OSError:
            pass  # another lab lives there

    # Looking

    def hosts(self) -> list[str]:
        """Return the lab's hosts, powered or not."""
        try:
            found = [entry for entry in os.listdir(self.layout.folder) if entry.startswith("h")]
        except FileNotFoundError:
            return []
        return sorted(found, key=names.host_number)

    def address(self, host: str) -> str:
        """Return a host's address in the lab's network."""
        return names.address(host)

    def log_path(self, host: str, what: str = "node") -> Path:
        """Return the log file of a program of a host: `node`, `docker`, or any other name."""
        return self.layout.log_path(host, what)

    def docker_socket(self, host: str) -> Path:
        """Return the path by which the machine reaches a host's engine; good until the host loses power."""
        return self.space(host).path("/run/docker.sock")

    def is_powered(self, host: str) -> bool:
        """Tell whether a host runs."""
        return find_space(self.layout, host) is not None

    def daemons(self, host: str) -> list[int]:
        """Return the PIDs of Corral's daemon on a host, as the machine counts."""
        return procs.daemons(self.space(host).holder)

    def status(self) -> list[HostStatus]:
        """Return what every host is doing."""
        hub = find_space(self.layout, names.SWITCH)
        broken = [] if hub is None else switch.faults(hub)
        return [self._status_of(host, broken) for host in self.hosts()]

    def space(self, host: str) -> Space:
        """Return a running host's namespaces."""
        self._known(host)
        space = find_space(self.layout, host)
        if space is None:
            raise LabError(f"{host} has no power: scripts/lab --name {self.layout.name} start {host}")
        return space

    # Running commands

    def enter(
        self, host: str, argv: Sequence[str], *, cwd: str = "/", leash: str = "TERM"
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment that run `argv` on a host, its terminal and exit code untouched."""
        return self.space(host).enter(argv, cwd=cwd, leash=leash), self.environment(host)

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 60,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host and return its outcome; with `check` a failing one is an error with its output."""
        # KILL: after a timeout nothing may keep the pipes open.
        command, environment = self.enter(host, argv, leash="KILL")
        done = subprocess.run(
            command,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**environment, **(env or {})},
            check=False,
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise LabError(f"{host}: {' '.join(argv)}: exit status {done.returncode}\n{said}")
        return done

    def spawn(
        self, host: str, argv: Sequence[str], log: Path | None = None, *, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start a command on a host in the background, its output in `log`; whoever started it also ends it."""
        path = log or self.log_path(host, _log_name(argv))
        path.parent.mkdir(parents=True, exist_ok=True)
        command, environment = self.enter(host, argv)
        with path.open("ab") as out:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**environment, **(env or {})},
            )
        return Process(popen, path)

    def detach(
        self, host: str, argv: Sequence[str], log: Path | None = None, *, env: Mapping[str, str] | None = None
    ) -> int:
        """Start a command on a host that outlives the caller; return its PID as the host counts."""
        path = log or self.log_path(host, _log_name(argv))
        environment = {**self.environment(host), **(env or {})}
        return self.space(host).detach(argv, path, env=environment)

    def environment(self, host: str) -> dict[str, str]:
        """Return the environment of commands on a host."""
        ours = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN_ENV)}
        ours = {key: value for key, value in ours.items() if not key.lower().endswith("_proxy")}
        front = os.environ.get("LAB_PATH", str(names.REPO / ".venv" / "bin"))
        home = str(self.layout.home(host))
        return {
            **ours,
            "PATH": f"{front}:{_SYSTEM_PATH}",
            "HOME": home,
            "HOSTNAME": host,
            "LAB_NAME": self.layout.name,
            "LAB_HOST": host,
        }

    # Breaking and mending

    def cut(self, host: str, other: str | None = None, *, one_way: bool = False) -> None:
        """Pull a host's cable, or keep it and one other host apart; `one_way` only stops host to other."""
        self._known(host)
        if other is None:
            switch.cut(self._switch(), host)
        else:
            self._known(other)
            switch.part(self._switch(), host, other, one_way=one_way)

    def lose(self, host: str, percent: float) -> None:
        """Drop this share of a host's packets, each way; 0 ends it."""
        self._known(host)
        switch.lose(self._switch(), host, percent)

    def heal(self, host: str | None = None) -> list[str]:
        """End all network faults, or those that concern one host; return what was ended."""
        if host is not None:
            self._known(host)
        return [fault.comment for fault in switch.heal(self._switch(), host)]

    def kill(self, host: str) -> None:
        """Take a host's power away: daemon, engine, shims, containers and kernel network state go at once."""
        self._known(host)
        # The cable first: a dead host says no goodbye, and a kernel ending its processes would send one for each.
        switch.unplug(self._switch(), host)
        space = find_space(self.layout, host)
        if space is not None:
            space.end()
        procs.wait_until(lambda: cgroups.remove_tree(self.layout.cgroup, host), timeout=5, step=0.05)

    def signal_daemon(self, host: str, number: signal.Signals) -> list[int]:
        """Signal Corral's daemon on a host and nothing else there; return the processes signalled."""
        found = self.daemons(host)
        for pid in found:
            procs.send(pid, number)
        return found

    def pause(self, host: str) -> list[int]:
        """Freeze Corral's daemon on a host."""
        return self._signal_some(host, signal.SIGSTOP)

    def resume(self, host: str) -> list[int]:
        """Let a frozen daemon go on."""
        return self._signal_some(host, signal.SIGCONT)

    def stop_engine(self, host: str) -> None:
        """Stop a host's engine the orderly way, as a service manager would; `start` brings it back."""
        engine.stop_engine(self.space(host))

    # Below: how it is done

    def _signal_some(self, host: str, number: signal.Signals) -> list[int]:
        found = self.signal_daemon(host, number)
        if not found:
            raise LabError(f"{host}: Corral's daemon does not run there")
        return found

    def _status_of(self, host: str, broken: Sequence[switch.Fault]) -> HostStatus:
        space = find_space(self.layout, host)
        up = space is not None and engine.is_up(space)
        found = [] if space is None else procs.daemons(space.holder)
        return HostStatus(
            host=host,
            address=names.address(host),
            powered=space is not None,
            engine=up,
            containers=engine.running_containers(space) if space is not None and up else 0,
            daemons=tuple(found),
            paused=bool(found) and all(procs.is_stopped(pid) for pid in found),
            faults=tuple(fault.comment for fault in broken if fault.concerns(host)),
        )

    def _known(self, host: str) -> None:
        names.host_number(host)
        if host not in self.hosts():
            raise LabError(f"lab {self.layout.name} has no host {host}: it has {', '.join(self.hosts()) or 'none'}")

    def _switch(self) -> Space:
        hub = find_space(self.layout, names.SWITCH)
        if hub is None:
            raise LabError(f"lab {self.layout.name} is not up: scripts/lab --name {self.layout.name} up 3")
        return hub

    def _open_switch(self) -> None:
        hub = self._ready_space(names.SWITCH)
        if hub is None:
            hub = open_space(self.layout, names.SWITCH)
            switch.set_up_switch(hub)
            switch.serve_outside(hub)
            hub.mark_ready()

    def _ready_space(self, host: str) -> Space | None:
        """Return a host that runs as it should; one whose start was interrupted is ended first."""
        space = find_space(self.layout, host)
        if space is not None and not space.is_ready:
            space.end()
            return None
        return space

    def _write_files(self, host: str, hosts: Sequence[str]) -> None:
        """Write what a host's /etc says of itself and the others; through the host's own mount if it runs."""
        space = find_space(self.layout, host)
        etc = self.layout.host_folder(host) / "etc" if space is None else space.path("/etc")
        etc.mkdir(parents=True, exist_ok=True)
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost", *(f"{names.address(h)} {h}" for h in hosts)]
        (etc / "hosts").write_text("\n".join(lines) + "\n")
        (etc / "resolv.conf").write_text(f"nameserver {names.SWITCH_ADDRESS}\n")
        (etc / "hostname").write_text(f"{host}\n")
        (etc / "machine-id").write_text(f"{names.host_number(host):032x}\n")

    def _boot(self, host: str, archive: images.Archive) -> None:
        space = self._ready_space(host)
        if space is None:
            space = open_space(self.layout, host)
            mount_private(space)
            switch.plug_in(self._switch(), space)
            space.mark_ready()
        engine.start_engine(space, self.environment(host))
        engine.load_images(space, archive.path, archive.tags)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep two commands from building or removing the same lab at once; the folder itself is the lock."""
        while True:
            self.layout.folder.mkdir(parents=True, exist_ok=True)
            if self.layout.root.stat().st_uid != 0:
                raise LabError(f"{self.layout.root} belongs to somebody else than root: remove it")
            handle = os.open(self.layout.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                # `down` may have removed the folder while we waited for it.
                if self.layout.folder.exists() and os.path.samestat(os.fstat(handle), self.layout.folder.stat()):
                    yield
                    return
            finally:
                os.close(handle)


def _log_name(argv: Sequence[str]) -> str:
    return "node" if procs.is_daemon(list(argv)) else Path(argv[0]).name


def _as_signal(status: int | None) -> int | None:
    """Turn the waiting shell's 128 + N for a command ended by signal N into -N, as subprocess has it."""
    return 128 - status if status is not None and status > 128 else status


def _together(work: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do the work for all items at once; the first failure is raised once all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, len(items))) as pool:
        list(pool.map(work, items))
