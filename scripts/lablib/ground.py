"""What the lab needs of the machine: looked at for `lab check`, installed for `lab up`.

Only programs that are missing are installed, from the distribution's packages, without what they recommend and
without starting any service.  The programs inside the stand-in images are not installed at all (see images.py).
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from scripts.lablib.errors import LabError

PROGRAMS: Mapping[str, str] = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "containerd": "containerd",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "ping": "iputils-ping",
    "pkill": "procps",
    "wireguard-go": "wireguard-go",
    "dnsmasq": "dnsmasq-base",
}
TEST_PROGRAMS: Mapping[str, str] = {"shellcheck": "shellcheck"}
"""What some tests look at scripts with."""
BUILD_PROGRAMS: Mapping[str, str] = {"musl-gcc": "musl-tools", "gcc": "gcc", "apt-get": "apt", "dpkg-deb": "dpkg"}
"""What building the images needs on top."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLICY = Path("/usr/sbin/policy-rc.d")


def prepare(say: Callable[[str], None]) -> None:
    """Install what is missing, or say what cannot be had."""
    require_root()
    install(PROGRAMS, say)


def require_root() -> None:
    """Refuse to go on as somebody else."""
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts: run it as root")


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """Return the packages to install so that all the programs are there."""
    return sorted({package for program, package in programs.items() if shutil.which(program, path=_PATH) is None})


def install(programs: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Install the packages of programs that are missing; no service is started."""
    packages = missing_packages(programs)
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise LabError(f"missing: {', '.join(packages)}; there is no apt-get here, install them by hand")
    say(f"installing {' '.join(packages)}")
    refresh_lists()
    with _services_held_back():
        apt(["install", "--yes", "--no-install-recommends", *packages])
        if "docker.io" in missing_packages(programs):
            # Debian 13 has the command line in a package of its own.
            apt(["install", "--yes", "--no-install-recommends", "docker-cli"])
    still = missing_packages(programs)
    if still:
        raise LabError(f"installed, but their programs are not there: {', '.join(still)}")


def apt(arguments: Sequence[str]) -> None:
    """Run apt-get; failing is an error with its last words."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "-qq", *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"apt-get {' '.join(arguments)} failed:\n{done.stderr.strip()}")


def refresh_lists() -> None:
    """Fetch the package lists where the machine has none, as in a fresh container."""
    lists = Path("/var/lib/apt/lists")
    if not any(lists.glob("*_Packages*")):
        apt(["update"])


def findings() -> list[tuple[bool, str]]:
    """Return a line per thing the lab needs, each with whether `lab up` can do with it."""
    if os.geteuid() != 0:
        return [(False, "not root: namespaces and mounts need it; run as root")]
    found = [(True, "root")]
    found += [_program(program, package) for program, package in PROGRAMS.items()]
    found += [_file("/dev/net/tun", "TUN device, for WireGuard in user space"), _cgroups(), _namespaces()]
    return [*found, *(_trial(*trial) for trial in _TRIALS)]


def _program(program: str, package: str) -> tuple[bool, str]:
    where = shutil.which(program, path=_PATH)
    if where:
        return True, f"{program}: {where}"
    if shutil.which("apt-cache") is None:
        return False, f"{program}: missing, and there is no apt here; install {package}"
    try:
        refresh_lists()
    except LabError as error:
        return False, f"{program}: missing, and package {package} cannot be fetched: {error}"
    policy = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    if "Candidate:" not in policy or "Candidate: (none)" in policy:
        return False, f"{program}: missing, and no package {package} is on offer"
    return True, f"{program}: missing, `scripts/lab up` installs package {package}"


def _file(path: str, what: str) -> tuple[bool, str]:
    there = os.path.exists(path)
    return there, f"{path}: {what}" + ("" if there else f"; missing: modprobe {os.path.basename(path)}")


def _cgroups() -> tuple[bool, str]:
    mounts = Path("/proc/self/mounts").read_text()
    kinds = sorted({line.split()[2] for line in mounts.splitlines() if " cgroup" in line} & {"cgroup", "cgroup2"})
    if kinds:
        return True, f"cgroups: {', '.join(kinds)}"
    return False, "cgroups: not mounted; dockerd needs them under /sys/fs/cgroup"


def _namespaces() -> tuple[bool, str]:
    done = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return True, "namespaces: network, mount, PID, host name, IPC"
    return False, f"namespaces: {done.stderr.strip()}; in a container, run it privileged"


def _trial(what: str, needs: str, script: str) -> tuple[bool, str]:
    if shutil.which(needs, path=_PATH) is None:
        return True, f"{what}: not tried, for {needs} is missing"
    root = Path(os.environ.get("CORRAL_LAB_ROOT", "/var/tmp"))
    with tempfile.TemporaryDirectory(dir=next(path for path in (root, *root.parents) if path.exists())) as folder:
        done = subprocess.run(
            [*_UNSHARE, "sh", "-eu", "-c", script, "sh", folder], capture_output=True, text=True, check=False
        )
    if done.returncode == 0:
        return True, what
    return False, f"{what}: {done.stderr.strip() or 'refused'}"


_UNSHARE = ("unshare", "--fork", "--pid", "--mount-proc", "--mount", "--net", "--uts", "--ipc")
_TRIALS = (
    ("bridge and veth interfaces", "ip", "ip link add br0 type bridge; ip link add p1 type veth peer name p2"),
    (
        "nftables on bridges",
        "nft",
        "nft add table bridge t; nft 'add chain bridge t c { type filter hook forward priority 0; }'",
    ),
    ("iptables", "iptables", "iptables -t nat -n -L >/dev/null"),
    (
        "overlay mounts on the lab's folder",
        "mount",
        'cd "$1"; mkdir u w m; mount -t overlay -o lowerdir=/etc,upperdir="$1/u",workdir="$1/w" overlay "$1/m"',
    ),
)


@contextmanager
def _services_held_back() -> Iterator[None]:
    """Keep package scripts from starting services, the way Debian provides for it."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
