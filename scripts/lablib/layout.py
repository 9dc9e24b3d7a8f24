"""Names, folders and addresses of one lab; touches nothing.

Everything a lab owns on the machine carries the lab's name: its folder, its cgroup and the command lines of its
holder processes.  Two labs with different names therefore share nothing.  Addresses may repeat between labs, since
each has a switch of its own.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from scripts.lablib.errors import LabError

SWITCH = "switch"
SWITCH_ADDRESS = "10.99.0.1"
PREFIX_LENGTH = 24
MAX_HOSTS = 40
OUTSIDE_NAMES = ("outside.example", "www.outside.example")
REPO = Path(__file__).resolve().parents[2]

_LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST_NAME = re.compile(r"h([1-9][0-9]?)")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one lab keeps what."""

    name: str
    root: Path
    """Folder of all labs; must be on a disk on which overlay mounts work."""

    @classmethod
    def of(cls, name: str) -> "Layout":
        """Check the lab's name and read the folder of all labs from CORRAL_LAB_ROOT."""
        if not _LAB_NAME.fullmatch(name):
            raise LabError(f"lab name {name!r}: use lower-case letters, digits and dashes, at most 31", code=2)
        return cls(name, Path(os.environ.get("CORRAL_LAB_ROOT", "/var/tmp/corral-lab")))

    @property
    def folder(self) -> Path:
        """Folder of this lab."""
        return self.root / self.name

    @property
    def cgroup(self) -> str:
        """Name of the lab's cgroup in every hierarchy."""
        return f"corral-lab-{self.name}"

    def host_folder(self, host: str) -> Path:
        """Folder that holds a host's disks."""
        return self.folder / host

    def home(self, host: str) -> Path:
        """HOME of commands run on a host."""
        return self.host_folder(host) / "home"

    def log_path(self, host: str, what: str) -> Path:
        """Log file of one program of a host."""
        return self.host_folder(host) / "log" / f"{what}.log"


def host_number(host: str) -> int:
    """Return 2 for h2; anything that is no host name is refused."""
    match = _HOST_NAME.fullmatch(host)
    if match is None or int(match[1]) > MAX_HOSTS:
        raise LabError(f"host {host!r}: hosts are called h1, h2 … h{MAX_HOSTS}", code=2)
    return int(match[1])


def host_names(count: int) -> list[str]:
    """Return h1 … hN."""
    if not 1 <= count <= MAX_HOSTS:
        raise LabError(f"{count} hosts: a lab has 1 to {MAX_HOSTS}", code=2)
    return [f"h{number}" for number in range(1, count + 1)]


def address(host: str) -> str:
    """Return the address of a host on the lab's network."""
    return f"10.99.0.{10 + host_number(host)}"


def engine_bridge(host: str) -> str:
    """Return the address of the engine's default bridge; each host has another one."""
    return f"172.30.{host_number(host)}.1/24"


def mac(host: str) -> str:
    """Return the host's hardware address, the same after every boot, as a real card's would be."""
    return f"02:63:6f:72:00:{host_number(host):02x}"


def port(host: str) -> str:
    """Return the switch's end of the host's cable."""
    return f"p{host_number(host)}"
