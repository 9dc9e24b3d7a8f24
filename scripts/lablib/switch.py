"""The lab's network: a bridge in a namespace of its own, one cable per host, and the faults laid on them.

Cables are cut by taking down the switch's end; losses and partitions are nftables rules on the bridge.  Each rule
carries a comment that says which fault it is, so the rules themselves are the record of what is broken.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.lablib import layout as names, procs
from scripts.lablib.errors import LabError
from scripts.lablib.space import Space

_HOOKS = ("forward", "input", "output")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the network: `cut h1`, `part h1 h2` (h1 does not reach h2), `lose h1 10`."""

    kind: str
    words: tuple[str, ...]

    @property
    def comment(self) -> str:
        """Text that stands on every rule of this fault."""
        return " ".join((self.kind, *self.words))

    def concerns(self, host: str) -> bool:
        """Tell whether healing `host` lifts this fault."""
        return host in self.words


def set_up_switch(space: Space) -> None:
    """Lay the bridge and the empty rule set."""
    chains = "".join(f"add chain bridge lab {hook} {{ type filter hook {hook} priority 0; }}\n" for hook in _HOOKS)
    space.script(
        "mount -t tmpfs -o mode=755,size=16m tmpfs /run\n"
        "ip link set lo up\n"
        "ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
        f"ip address add {names.SWITCH_ADDRESS}/{names.PREFIX_LENGTH} dev br0\n"
        "ip link set br0 up\n"
        "ip route add unreachable default\n"
        f"nft -f - <<'END'\nadd table bridge lab\n{chains}END\n"
    )


def serve_outside(space: Space) -> None:
    """Start what stands for the world: a resolver that knows two names and denies the rest, and a page."""
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    records = [f"--host-record={name},{names.SWITCH_ADDRESS}" for name in names.OUTSIDE_NAMES]
    resolver = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-hosts"]
    resolver += ["--no-resolv", "--cache-size=0", f"--listen-address={names.SWITCH_ADDRESS}", "--bind-interfaces"]
    resolver += ["--log-facility=-", *records, "--address=/#/"]
    space.detach(resolver, space.layout.log_path(space.host, "dnsmasq"), env=env)
    page = [sys.executable, "-I", "-S", str(Path(__file__).with_name("outside.py")), names.SWITCH_ADDRESS, "80"]
    space.detach(page, space.layout.log_path(space.host, "page"), env=env)
    if not procs.wait_until(lambda: all(procs.listens(space.holder, number) for number in (53, 80)), timeout=15):
        raise LabError(f"the lab's resolver or page does not start; see {space.layout.host_folder(space.host)}/log")


def plug_in(switch: Space, host: Space) -> None:
    """Run a cable between the switch and a host, and give the host its address."""
    port, name = names.port(host.host), host.host
    state = "down" if any(fault.comment == f"cut {name}" for fault in faults(switch)) else "up"
    unplug(switch, name)
    # The peer's namespace is given by a PID of the machine, which means nothing in the switch's own PID namespace.
    switch.network_script(
        f"ip link add {port} type veth peer name eth0 address {names.mac(name)} netns {host.holder}\n"
        f"ip link set {port} master br0\nip link set {port} {state}\n"
    )
    host.script(
        "ip link set lo up\n"
        f"ip address add {names.address(name)}/{names.PREFIX_LENGTH} dev eth0\n"
        "ip link set eth0 up\n"
        # Without a way out, whatever looks beyond the lab fails at once instead of after a timeout.
        "ip route add unreachable default\n"
    )


def unplug(switch: Space, host: str) -> None:
    """Remove a host's cable, if there is one; the kernel takes its time with that after a namespace has ended."""
    port = names.port(host)
    switch.script(f"! ip link show {port} >/dev/null 2>&1 || ip link delete {port}")


def faults(switch: Space) -> list[Fault]:
    """Return what is broken now, each fault once."""
    return list(dict.fromkeys(fault for fault, _, _ in _rules(switch)))


def cut(switch: Space, host: str) -> None:
    """Pull a host's cable."""
    lines = [f"{hook} {side} {names.port(host)} drop" for hook, side in _both_ways()]
    _lay(switch, Fault("cut", (host,)), lines)
    switch.script(f"ip link set {names.port(host)} down")


def part(switch: Space, host: str, other: str, *, one_way: bool) -> None:
    """Keep two hosts from reaching each other; `one_way` only stops packets from `host` to `other`."""
    pairs = [(host, other)] if one_way else [(host, other), (other, host)]
    for source, target in pairs:
        line = f"forward iifname {names.port(source)} oifname {names.port(target)} drop"
        _lay(switch, Fault("part", (source, target)), [line])


def lose(switch: Space, host: str, percent: float) -> None:
    """Drop a share of the packets from and to a host, each way on its own dice; 0 ends it."""
    if not 0 <= percent <= 100:
        raise LabError(f"{percent} percent: give 0 to 100", code=2)
    lift(switch, [fault for fault in faults(switch) if fault.kind == "lose" and fault.concerns(host)])
    if percent:
        dice = f"numgen random mod 10000 < {round(percent * 100)} drop"
        lines = [f"{hook} {side} {names.port(host)} {dice}" for hook, side in _both_ways()]
        _lay(switch, Fault("lose", (host, f"{percent:g}")), lines)


def heal(switch: Space, host: str | None) -> list[Fault]:
    """End all faults, or those that concern one host; return what was ended."""
    lifted = [fault for fault in faults(switch) if host is None or fault.concerns(host)]
    lift(switch, lifted)
    cables = [words[0] for words in (fault.words for fault in lifted if fault.kind == "cut")]
    switch.script("".join(f"ip link set {names.port(cable)} up || true\n" for cable in cables))
    return lifted


def lift(switch: Space, ended: Iterable[Fault]) -> None:
    """Take the rules of some faults away, all in one step."""
    gone = set(ended)
    lines = [
        f"delete rule bridge lab {hook} handle {handle}" for fault, hook, handle in _rules(switch) if fault in gone
    ]
    _nft(switch, lines)


def _both_ways() -> tuple[tuple[str, str], ...]:
    return (("forward", "iifname"), ("input", "iifname"), ("forward", "oifname"), ("output", "oifname"))


def _lay(switch: Space, fault: Fault, lines: list[str]) -> None:
    if fault not in faults(switch):
        _nft(switch, [f'add rule bridge lab {line} comment "{fault.comment}"' for line in lines])


def _nft(switch: Space, lines: list[str]) -> None:
    if lines:
        switch.script("nft -f - <<'END'\n" + "\n".join(lines) + "\nEND\n")


def _rules(switch: Space) -> list[tuple[Fault, str, int]]:
    listing = json.loads(switch.script("nft --json --handle list table bridge lab"))
    rules = [entry["rule"] for entry in listing["nftables"] if "rule" in entry]
    found = []
    for rule in rules:
        kind, *words = str(rule["comment"]).split()
        found.append((Fault(kind, tuple(words)), str(rule["chain"]), int(rule["handle"])))
    return found
