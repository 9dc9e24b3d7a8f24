"""Hosts for the overlay's live tests: each a network and mount namespace on a switch that is one more namespace.

Nothing is plugged into the machine's own namespace, so no packet can leave.  What Docker makes (the bridge, the
containers' links, its FORWARD policy and its chain) is made here by hand.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from node.plan.overlay_model import Findings, OverlayConfig, OverlayReport

ROOT = Path(__file__).parents[2]


def run(arguments: list[str], text: str = "", check: bool = True) -> str:
    """Run a program to its end and return what it printed."""
    ran = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert not check or ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
    return ran.stdout


class Space:
    """A network namespace with its own /run, alive as long as its holder."""

    def __init__(self) -> None:
        script = "mount -t tmpfs tmpfs /run && ip link set lo up && echo ready && exec cat"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"
        self.pid = self.holder.pid

    def enter(self, *arguments: str) -> list[str]:
        """Return the command line that runs a program here."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", f"--wd={ROOT}", *arguments]

    def run(self, *arguments: str, text: str = "", check: bool = True) -> str:
        """Run a program here."""
        return run(self.enter(*arguments), text, check)

    def ip(self, command: str) -> str:
        """Run `ip`."""
        return self.run("ip", *command.split())

    def processes(self) -> list[int]:
        """Return the living processes here but the holder."""
        here = os.stat(f"/proc/{self.pid}/ns/net").st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.pid:
                try:
                    if os.stat(entry / "ns/net").st_ino == here and (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def close(self) -> None:
        """End everything that runs here."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.holder.communicate()


class Host(Space):
    """A host of the overlay with one container."""

    def __init__(self, number: int, switch: Space) -> None:
        super().__init__()
        self.number = number
        self.underlay = f"192.0.2.{number}"
        self.subnet, self.gateway, self.container_address = (f"10.42.{number}.{end}" for end in ("0/24", "1", "2"))
        switch.ip(f"link add p{number} type veth peer name eth0 netns {self.pid}")
        switch.ip(f"link set p{number} master br0 up")
        self.ip("link set eth0 up")
        self.ip(f"addr add {self.underlay}/24 dev eth0")
        self.ip("route add default via 192.0.2.254")
        self.container = Space()

    def stand_in_for_docker(self, mtu: int) -> None:
        """Make the bridge, plug the container in, and drop what is forwarded, as Docker does."""
        self.ip("link add corral0 type bridge")
        self.ip(f"link set corral0 up mtu {mtu}")
        self.ip(f"addr add {self.gateway}/24 dev corral0")
        self.ip(f"link add c1 mtu {mtu} type veth peer name eth0 mtu {mtu} netns {self.container.pid}")
        self.ip("link set c1 master corral0 up")
        self.container.ip("link set eth0 up")
        self.container.ip(f"addr add {self.container_address}/24 dev eth0")
        self.container.ip(f"route add default via {self.gateway}")
        for rule in ("-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-I FORWARD -j DOCKER-USER", "-P FORWARD DROP"):
            self.run("iptables", *rule.split())
        self.run("iptables", *["-A", "FORWARD", "-i", "corral0", "!", "-o", "corral0", "-j", "ACCEPT"])
        answers = "-A FORWARD -o corral0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
        self.run("iptables", *answers.split())

    def drive(self, step: str, text: str = "") -> str:
        """Run one step of the overlay in a process of its own."""
        return self.run(sys.executable, "-m", "tests.live.overlay_driver", step, text=text)

    def apply(self, config: OverlayConfig | None) -> OverlayReport:
        """Apply a configuration; nothing may fail."""
        report = msgspec.json.decode(self.drive("apply", msgspec.json.encode(config).decode()), type=OverlayReport)
        assert report.failures == (), report.failures
        return report

    def inspect(self) -> OverlayReport:
        """Look without a configuration."""
        return msgspec.json.decode(self.drive("inspect"), type=OverlayReport)

    def probe(self) -> Findings:
        """Find out what the host offers."""
        return msgspec.json.decode(self.drive("probe"), type=Findings)

    def picture(self) -> dict[str, object]:
        """Return all that an overlay could leave behind."""
        ruleset = re.sub(r"packets \d+ bytes \d+|# handle \d+", "", self.run("nft", "list", "ruleset"))
        links = re.sub(r"state \w+|qlen \d+|\w+_timer +[\d.]+", "", self.ip("-d link"))
        lines = [line for line in self.ip("addr").splitlines() if "valid_lft" not in line and "inet6" not in line]
        return {
            "links": links,
            "addresses": re.sub(r"state \w+|qlen \d+", "", "\n".join(lines)),
            "routes": self.ip("route show table all type unicast") + self.ip("route show type unreachable"),
            "neighbours": self.ip("neigh show nud permanent"),
            "rules": ruleset,
            "sockets": sorted(self.run("sh", "-c", "ls /run/wireguard 2>/dev/null || true").split()),
            "processes": self.processes(),
        }

    def close(self) -> None:
        """End host and container."""
        self.container.close()
        super().close()


def ping(space: Space, address: str, count: int = 2) -> list[int]:
    """Return the TTL of each answer."""
    ttls: list[int] = json.loads(traffic(space, "ping", address, str(count)))["ttls"]
    return ttls


def refusals(space: Space, address: str) -> list[int]:
    """Return how one ping is refused: an errno, or 1000 + the code of an ICMP unreachable."""
    outcome = json.loads(traffic(space, "ping", address, "1"))
    assert outcome["ttls"] == []
    errors: list[int] = outcome["errors"]
    return errors


def traffic(space: Space, *words: str) -> str:
    """Run one command of the traffic program."""
    return space.run(sys.executable, "-m", "tests.live.overlay_traffic", *words)


def exchange(client: Space, server: Space, address: str, port: int, size: int) -> tuple[str, int]:
    """Send bytes over TCP; return the client's address as the server saw it, and how many bytes it saw."""
    words = [sys.executable, "-m", "tests.live.overlay_traffic", "serve", "0.0.0.0", str(port)]
    with subprocess.Popen(server.enter(*words), stdout=subprocess.PIPE, cwd=ROOT) as serving:
        assert serving.stdout is not None
        assert serving.stdout.readline() == b"ready\n"
        try:
            source, total = json.loads(traffic(client, "fetch", address, str(port), str(size))).split()
        finally:
            serving.kill()
    return source, int(total)


def until(claim: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Whether the claim comes true in time."""
    give_up_at = time.monotonic() + timeout
    while not claim():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.05)
    return True
