"""Published ports as the API writes them: `[bind:][public:]private[/tcp|/udp]`.

Pure text and comparison; which public port a private one gets is the scheduler's choice.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

from node.model import Host, LaunchConfig, PortBinding

FIRST_CHOSEN_PORT = 49153
"""Public ports that are left to us come from here up to LAST_PORT, as in Rancher's servicesPortRange."""
LAST_PORT = 65535

_PORT = re.compile(r"(?:(?:(?P<bind>[^:/]*):)?(?P<public>[0-9]*):)?(?P<private>[0-9]+)(?:/(?P<protocol>[a-zA-Z]+))?\Z")


@dataclass(frozen=True, slots=True)
class PortSpec:
    """What was asked for; `public` None leaves the choice to us."""

    private: int
    public: int | None
    protocol: Literal["tcp", "udp"]
    bind: str


def parse_port(text: str) -> PortSpec:
    """Read one port; ValueError says what was expected."""
    match = _PORT.match(text)
    if match is None:
        raise ValueError(f"expected [bind:][public:]private[/tcp|/udp] as a port, got {text[:60]!r}")
    public = match["public"]
    return PortSpec(
        private=_port_number(match["private"], text),
        public=_port_number(public, text) if public else None,
        protocol=_protocol(match["protocol"], text),
        bind=_bind(match["bind"] or "", text),
    )


def _port_number(digits: str, text: str) -> int:
    number = int(digits) if len(digits) <= 5 else 0
    if not 1 <= number <= LAST_PORT:
        raise ValueError(f"expected ports from 1 to {LAST_PORT}, got {text[:60]!r}")
    return number


def _protocol(name: str | None, text: str) -> Literal["tcp", "udp"]:
    match (name or "tcp").lower():
        case "tcp":
            return "tcp"
        case "udp":
            return "udp"
    raise ValueError(f"expected tcp or udp as the protocol, got {text[:60]!r}")


def _bind(bind: str, text: str) -> str:
    if not bind:
        return ""
    try:
        IPv4Address(bind)
    except AddressValueError:
        raise ValueError(f"expected an IPv4 address of the host before the ports, got {text[:60]!r}") from None
    return bind


def wanted_ports(launch: LaunchConfig) -> tuple[PortSpec, ...]:
    """The ports to publish; none where the container has no network of its own to publish from."""
    if launch.network_mode not in ("managed", "bridge"):
        return ()
    return tuple(parse_port(text) for text in launch.ports)


def own_port_name(host: Host, port: PortBinding) -> str | None:
    """What Corral itself uses that public port for on `host`, if it does."""
    own = {
        ("tcp", host.api_port): "the API",
        ("tcp", host.peer_port): "the peer port",
        ("udp", host.peer_port): "gossip",
        ("udp", host.overlay_port): "the overlay",
    }
    return own.get((port.protocol, port.public))


def overlaps(one: PortBinding, other: PortBinding) -> bool:
    """Whether two bindings on one host exclude each other."""
    if (one.protocol, one.public) != (other.protocol, other.public):
        return False
    binds = {one.bind, other.bind}
    return len(binds) == 1 or bool(binds & {"", "0.0.0.0"})


def fits(binding: PortBinding, spec: PortSpec) -> bool:
    """Whether `binding` is an answer to `spec`."""
    return (binding.private, binding.protocol, binding.bind) == (spec.private, spec.protocol, spec.bind) and (
        spec.public is None or spec.public == binding.public
    )


def port_text(port: PortBinding | PortSpec) -> str:
    """`10086/tcp`, with the bound address in front if there is one."""
    bound = f"{port.bind}:" if port.bind else ""
    return f"{bound}{port.public}/{port.protocol}"
