"""One host's set of namespaces: opened by a holder process, entered with nsenter, gone when the holder is killed.

A set has network, mount, PID, host name and IPC namespaces of its own.  The PID namespace is what makes a power loss
honest: the kernel ends every process in it at once, containers and shims included.  The mount namespace gives each
host /run, /etc, /var/lib/docker and /var/lib/corral of its own, so that all default paths work.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.lablib import procs
from scripts.lablib.errors import LabError
from scripts.lablib.layout import Layout

_HOLDER = Path(__file__).with_name("holder.py")
_READY = "/run/lab-ready"
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


@dataclass(frozen=True, slots=True)
class Space:
    """A running host or switch, by the process that holds its namespaces."""

    layout: Layout
    host: str
    holder: int

    def enter(self, argv: Sequence[str], *, cwd: str = "/", leash: str = "TERM") -> list[str]:
        """Return the command that runs `argv` inside; the signal `leash` ends it if its way in is killed.

        A shell outside the PID namespace waits for the command.  nsenter would do that itself, but stops when the
        command is stopped, and a frozen daemon must not freeze the one who watches it.
        """
        held = ["setpriv", "--pdeathsig", leash, "--"] if leash else []
        way_in = ["nsenter", f"--target={self.holder}", *_NAMESPACES, "--no-fork", f"--wdns={cwd}", "--"]
        return [*way_in, "sh", "-c", '"$@"; exit $?', "sh", *held, *argv]

    @property
    def is_ready(self) -> bool:
        """Tell whether setting up ran to its end; what was interrupted half-way is opened anew."""
        return self.path(_READY).exists()

    def mark_ready(self) -> None:
        """Note inside that setting up is done."""
        self.path(_READY).touch()

    def script(self, text: str) -> str:
        """Run a shell script inside and return what it printed; failing is an error that shows why."""
        return self._run(self.enter(["sh", "-eu"]), text)

    def network_script(self, text: str) -> str:
        """Run a shell script that sees the set's network but names processes as the machine does."""
        return self._run(["nsenter", f"--target={self.holder}", "--net", "--", "sh", "-eu"], text)

    def _run(self, argv: Sequence[str], text: str) -> str:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"{self.host}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def detach(self, argv: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: str = "/") -> int:
        """Start a process that outlives the caller, its output in `log`; return its PID as the host sees it."""
        log.parent.mkdir(parents=True, exist_ok=True)
        text = f"setsid {shlex.join(argv)} >>{shlex.quote(str(log))} 2>&1 </dev/null & echo $!"
        done = subprocess.run(
            self.enter(["sh", "-c", text], cwd=cwd, leash=""),
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=dict(env),
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"{self.host}: cannot start {argv[0]}")
        return int(done.stdout)

    def path(self, inside: str) -> Path:
        """Return the path by which the machine reaches a file of the host's own mounts."""
        return Path(f"/proc/{self.holder}/root") / inside.lstrip("/")

    def end(self) -> None:
        """Take the power away; returns once every process of the set is gone."""
        network = procs.namespace(self.holder, "net")
        procs.send(self.holder, signal.SIGKILL)
        # Who came in from outside, as the waiting ends of `lab exec` did, must go too: the holder ends only when
        # all in its PID namespace are gone and waited for.
        for pid in procs.in_network(network):
            procs.send(pid, signal.SIGKILL)
        if not procs.wait_until(lambda: not (procs.is_alive(self.holder) or procs.in_network(network)), timeout=30):
            raise LabError(f"{self.host}: a process survives SIGKILL, the kernel's log (dmesg) may say why")


def open_space(layout: Layout, host: str) -> Space:
    """Start a holder and return its namespaces, with nothing set up in them."""
    # setsid --fork: the holder belongs to the machine's init from the start, so that a long-lived caller is left
    # neither a child to wait for nor a zombie.
    unshare = ["setsid", "--fork", "unshare", "--fork", "--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc"]
    subprocess.run(
        [*unshare, sys.executable, "-I", "-S", str(_HOLDER), procs.HOLDER_MARK, layout.name, host],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath)},
        check=True,
    )
    if not procs.wait_until(lambda: host in procs.holders(layout.name), timeout=10):
        raise LabError(f"{host}: the kernel gives no namespaces; scripts/lab check says what is missing")
    return Space(layout, host, procs.holders(layout.name)[host])


def find_space(layout: Layout, host: str) -> Space | None:
    """Return the namespaces of a host if it is powered on."""
    holder = procs.holders(layout.name).get(host)
    return None if holder is None else Space(layout, host, holder)


def mount_private(space: Space) -> None:
    """Give the host file systems of its own, where everything expects them."""
    folder = space.layout.host_folder(space.host)
    for name in ("etc", "etc-work", "lib", "lib-work", "docker", "corral", "home", "log"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    space.script(_MOUNTS.format(folder=shlex.quote(str(folder))))


# /sys is mounted afresh because the old one shows the machine's network interfaces; the cgroup mounts, without which
# dockerd does not start, are carried over.  /etc and /var/lib are overlays: a host may write units, keys and folders
# there without the machine noticing.
_MOUNTS = """
cd /
mount -t tmpfs -o mode=755,size=256m tmpfs /run
mkdir /run/lock /run/sys
mount --rbind /sys/fs/cgroup /run/sys
mount -t sysfs sysfs /sys
mount --rbind /run/sys /sys/fs/cgroup
umount -l /run/sys
rmdir /run/sys
mount -t overlay -o lowerdir=/etc,upperdir={folder}/etc,workdir={folder}/etc-work overlay /etc
mount -t overlay -o lowerdir=/var/lib,upperdir={folder}/lib,workdir={folder}/lib-work overlay /var/lib
mkdir -p /var/lib/docker /var/lib/corral /etc/corral
mount --bind {folder}/docker /var/lib/docker
mount --bind {folder}/corral /var/lib/corral
"""
