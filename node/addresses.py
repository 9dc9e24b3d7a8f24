"""Which address a host tells the others: a pure choice over what its kernel lists, and the reading of that list.

Never guesses between several: a refusal lists them.  Also finds what on the host overlaps the overlay's range.
"""

import fcntl
import socket
import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

_SIOCGIFCONF = 0x8912
_MAX_ADDRESSES = 1024
_NOT_UNDERLAY = ("lo", "docker", "br-", "veth", "corral", "virbr", "cni", "flannel", "wg", "tun", "tap")
DEFAULT_MTU = 1500


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as far as the choice needs it."""

    name: str
    addresses: tuple[str, ...]
    mtu: int = DEFAULT_MTU
    has_default_route: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """The address to advertise, and the MTU of the interface behind it."""

    address: str
    mtu: int


class AddressUnclear(ValueError):
    """There is no address to choose, or more than one; the message lists them and names the option."""


def pick_advertise_address(interfaces: Iterable[Interface], wanted: str | None, *, overlay_network: str) -> Chosen:
    """Return the wanted address (or that of the wanted interface), or the only one there is.

    Bridges and tunnels of others, link-local addresses and the overlay's own are no candidates unless asked for.
    """
    interfaces = tuple(interfaces)
    if wanted is not None:
        return _wanted(interfaces, wanted)
    candidates = [
        (interface, address)
        for interface in interfaces
        if not interface.name.startswith(_NOT_UNDERLAY)
        for address in interface.addresses
        if _is_underlay(address, overlay_network)
    ]
    # An IPv6 address beside an IPv4 one is the rule, not a choice to ask about.
    candidates = [each for each in candidates if ip_address(each[1]).version == 4] or candidates
    if len(candidates) == 1:
        return Chosen(candidates[0][1], candidates[0][0].mtu)
    if not candidates:
        raise AddressUnclear("this host has no address that others could reach; give one with --advertise ADDRESS")
    raise AddressUnclear(f"this host has {len(candidates)} addresses, choose one with --advertise: {_list(candidates)}")


def _wanted(interfaces: tuple[Interface, ...], wanted: str) -> Chosen:
    for interface in interfaces:
        if wanted in interface.addresses:
            return Chosen(wanted, interface.mtu)
        if wanted == interface.name:
            # Link-local ones are of no use to others, and IPv4 goes first as everywhere.
            usable = [address for address in interface.addresses if not ip_address(address).is_link_local]
            usable.sort(key=lambda address: ip_address(address).version)
            if usable:
                return Chosen(usable[0], interface.mtu)
            raise AddressUnclear(f"the interface {wanted} has no address that others could reach")
    try:
        ip_address(wanted)
    except ValueError:
        names = ", ".join(interface.name for interface in interfaces)
        raise AddressUnclear(f"{wanted!r} is neither an IP address nor an interface of this host ({names})") from None
    return Chosen(wanted, DEFAULT_MTU)  # behind NAT the address is on no interface


def _is_underlay(text: str, overlay_network: str) -> bool:
    address = ip_address(text)
    return not (address.is_loopback or address.is_link_local or address in ip_network(overlay_network))


def _list(candidates: list[tuple[Interface, str]]) -> str:
    return ", ".join(
        f"{address} ({interface.name}{', default route' if interface.has_default_route else ''})"
        for interface, address in candidates
    )


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route of the main table."""

    interface: str
    network: str


def parse_routes(text: str) -> tuple[Route, ...]:
    """Return the routes of /proc/net/route."""
    rows = [line.split() for line in text.splitlines()[1:]]
    return tuple(Route(row[0], f"{_quad(row[1])}/{int(row[7], 16).bit_count()}") for row in rows if len(row) >= 8)


def _quad(little_endian_hex: str) -> str:
    return socket.inet_ntoa(struct.pack("<I", int(little_endian_hex, 16)))


def find_overlaps(routes: Iterable[Route], network: str, *, ours: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return, in words, the routes that overlap `network` and lead into no interface of `ours`."""
    wanted = IPv4Network(network)
    return tuple(
        f"{route.network} on {route.interface}"
        for route in routes
        if route.interface not in ours and route.network != "0.0.0.0/0" and IPv4Network(route.network).overlaps(wanted)
    )


def local_routes() -> tuple[Route, ...]:
    """Read this host's IPv4 routes."""
    return parse_routes(Path("/proc/net/route").read_text())


def local_interfaces() -> tuple[Interface, ...]:
    """Read this host's interfaces with the addresses they have now."""
    addresses: dict[str, list[str]] = {name: [] for _, name in socket.if_nameindex()}
    for name, address in (*_ipv4_addresses(), *_ipv6_addresses()):
        addresses.setdefault(name, []).append(address)
    default = {route.interface for route in local_routes() if route.network == "0.0.0.0/0"}
    return tuple(Interface(name, tuple(found), _mtu(name), name in default) for name, found in addresses.items())


def _ipv4_addresses() -> list[tuple[str, str]]:
    # struct ifreq is 16 bytes of name and a union of 24 that begins with a sockaddr_in on 64-bit Linux.
    size = 16 + 24 if struct.calcsize("P") == 8 else 16 + 16
    buffer = array("B", bytes(_MAX_ADDRESSES * size))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        filled = fcntl.ioctl(sock, _SIOCGIFCONF, struct.pack("iP", len(buffer), buffer.buffer_info()[0]))
    end = struct.unpack("iP", filled)[0]
    rows = [bytes(buffer[start : start + size]) for start in range(0, end, size)]
    return [(row[:16].rstrip(b"\0").decode().partition(":")[0], socket.inet_ntoa(row[20:24])) for row in rows]


def _ipv6_addresses() -> list[tuple[str, str]]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except FileNotFoundError:
        return []
    rows = [line.split() for line in lines]
    return [(row[5], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))) for row in rows]


def _mtu(interface: str) -> int:
    try:
        return int(Path(f"/sys/class/net/{interface}/mtu").read_text())
    except OSError:
        return DEFAULT_MTU
