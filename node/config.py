"""What a person may set when a node starts: names, addresses, ports, folders; with defaults and their checks.

Pure.  Set once when a cluster is made or joined and kept in the node's identity; flags of a later start win.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

VERSION = "0.1.0"
FEATURE_LEVEL = 1
"""Raised with each new kind of command or field; used only when every host has it."""

API_PORT = 8080
PEER_PORT = 8090
OVERLAY_PORTS = {"wireguard": 51820, "vxlan": 4789}

DATA_DIR = Path("/var/lib/corral")
RUN_DIR = Path("/run/corral")

EngineKind = Literal["docker", "memory"]

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z")


class ConfigError(ValueError):
    """A setting that cannot be; the message says what is expected."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a node keeps what is its own."""

    data: Path = DATA_DIR
    run: Path = RUN_DIR

    @property
    def api_socket(self) -> Path:
        return self.run / "api.sock"

    @property
    def dns_socket(self) -> Path:
        return self.run / "dns.sock"


def check_host_name(name: str) -> str:
    """Return `name`, or raise ConfigError when it cannot be a host's."""
    if not _HOST_NAME.match(name):
        raise ConfigError(
            f"{name[:64]!r} cannot be a host's name: use letters, digits, hyphens and dots, 63 at the most (--name)"
        )
    return name


def check_port(port: int, what: str) -> int:
    """Return `port`, or raise ConfigError when it is none."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"{port} is no port for {what}: expected 1 to 65535")
    return port
