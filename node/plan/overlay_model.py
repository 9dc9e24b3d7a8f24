"""The vocabulary of the overlay: addresses, what is wanted, what a host has, what is reported.

Only values; nothing here looks at a host.  `node/plan/overlay.py` decides with them, `node/overlay/` reads the facts
and carries the steps out.  Addresses are text in the form the kernel prints; IPv4 only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

MARK = "corral overlay"
"""The `ifalias` of each link made here: what carries it is ours to change and to remove."""

ROUTE_PROTOCOL = 99
"""The `proto` of each route made here."""

LABEL_SUFFIX = ":dns"
"""Ends the label of the resolver's address on the bridge, so that it is found again without a configuration."""

TUNNELS: Mapping[str, str] = {"wireguard": "corral-wg", "vxlan": "corral-vx"}
"""The usual names of the tunnel, by mode."""

Mode = Literal["wireguard", "vxlan"]
Kind = Literal["wireguard kernel", "wireguard-go", "vxlan"]


def subnet_of_host(network: str, subnet_bits: int, number: int) -> str:
    """Return the `number`th subnet of `network`; number 0 is the network's first."""
    whole = IPv4Network(network)
    if not whole.prefixlen <= subnet_bits <= 30:
        raise ValueError(f"expected a prefix between {whole.prefixlen} and 30 for a host's subnet, got {subnet_bits}")
    if not 0 <= number < hosts_of_network(network, subnet_bits):
        raise ValueError(f"{network} has no /{subnet_bits} subnet number {number}")
    return str(IPv4Network((int(whole.network_address) + (number << (32 - subnet_bits)), subnet_bits)))


def hosts_of_network(network: str, subnet_bits: int) -> int:
    """Return how many subnets of that size the network holds."""
    return 1 << max(0, subnet_bits - IPv4Network(network).prefixlen)


def gateway_of(subnet: str) -> str:
    """Return the address of the host itself in its subnet: the first usable one."""
    return str(IPv4Network(subnet)[1])


def container_addresses(subnet: str) -> range:
    """Return the addresses for containers as numbers (`address_text` prints one): from .2 to the last but broadcast."""
    whole = IPv4Network(subnet)
    return range(int(whole.network_address) + 2, int(whole.broadcast_address))


def address_text(number: int) -> str:
    """Return an address number in dotted form."""
    return str(IPv4Address(number))


def is_in_network(address: str, network: str) -> bool:
    """Whether the address lies in the network."""
    return IPv4Address(address) in IPv4Network(network)


def overlaps(one: str, other: str) -> bool:
    """Whether two networks share an address."""
    return IPv4Network(one, strict=False).overlaps(IPv4Network(other, strict=False))


def vxlan_mac(gateway: str) -> str:
    """Return the link address of a host's VXLAN device, worked out of its gateway so that nobody has to ask for it."""
    return ":".join(f"{part:02x}" for part in (0x0A, 0x43, *IPv4Address(gateway).packed))


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host of the overlay."""

    node: str
    subnet: str
    gateway: str
    endpoint: str
    """Address on the underlay, without the port."""
    port: int
    public_key: bytes = b""
    """X25519, raw; unused by VXLAN."""


@dataclass(frozen=True, slots=True)
class OverlayConfig:
    """All that one host's overlay is to be."""

    mode: Mode
    network: str
    subnet: str
    gateway: str
    listen_port: int
    underlay_address: str
    private_key: bytes = field(default=b"", repr=False)
    """X25519, raw; unused by VXLAN."""
    peers: tuple[Peer, ...] = ()
    mtu: int | None = None
    """None: worked out from the link that carries the underlay address."""
    dns_address: str = "169.254.169.250"
    bridge: str = "corral0"
    tunnel: str = ""
    """Empty: the mode's usual name."""
    vni: int = 42

    def __post_init__(self) -> None:
        """Refuse what no kernel would take, naming the field."""
        if not self.tunnel:
            object.__setattr__(self, "tunnel", TUNNELS[self.mode])
        if len(self.tunnel) > 15 or len(self.bridge + LABEL_SUFFIX) > 15:
            raise ValueError(f"expected at most 15 characters in {self.tunnel!r} and in {self.bridge + LABEL_SUFFIX!r}")
        whole = IPv4Network(self.network)
        if not IPv4Network(self.subnet).subnet_of(whole) or not is_in_network(self.gateway, self.subnet):
            raise ValueError(
                f"expected subnet {self.subnet} inside {self.network} and {self.gateway} inside the subnet"
            )
        seen = [self.subnet]
        for peer in self.peers:
            if not IPv4Network(peer.subnet).subnet_of(whole) or not is_in_network(peer.gateway, peer.subnet):
                raise ValueError(
                    f"subnet {peer.subnet} of {peer.node} is outside {self.network}, or without its gateway"
                )
            seen.append(peer.subnet)
        if len(set(seen)) != len(seen):
            raise ValueError(f"two hosts have the same subnet among {sorted(seen)}")
        keys = [self.private_key, *(peer.public_key for peer in self.peers)] if self.mode == "wireguard" else []
        if any(len(key) != 32 for key in keys):
            raise ValueError("expected 32 raw bytes in each WireGuard key")


# What a host has.


@dataclass(frozen=True, slots=True)
class Vxlan:
    """What makes a VXLAN device a different one; the kernel changes none of it in place."""

    vni: int
    port: int
    local: str
    learning: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    name: str
    kind: str
    mtu: int
    is_up: bool
    mark: str = ""
    mac: str = ""
    vxlan: Vxlan | None = None
    tx_checksum: bool | None = None
    """Whether transmit checksums are left to the device; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address on a link."""

    link: str
    address: str
    prefix: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the main table."""

    dst: str
    kind: str = "unicast"
    via: str | None = None
    link: str | None = None
    proto: int = ROUTE_PROTOCOL
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry of the tunnel."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class Forwarding:
    """Where the VXLAN device sends what is meant for a link address."""

    mac: str
    endpoint: str
    port: int


@dataclass(frozen=True, slots=True)
class WireGuardPeer:
    """A peer as the WireGuard device knows it."""

    public_key: bytes
    endpoint: tuple[str, int] | None = None
    allowed: frozenset[str] = frozenset()
    keepalive: int = 0
    handshake_at: float = 0.0
    """Wall clock of the last handshake; 0 is never."""
    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True)
class WireGuard:
    """A WireGuard device, in the kernel or in a process."""

    private_key: bytes = field(repr=False)
    listen_port: int
    peers: tuple[WireGuardPeer, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at a host."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    forwarding: tuple[Forwarding, ...] = ()
    wireguard: WireGuard | None = None
    """The tunnel's; None where it is absent or does not answer."""
    table: str | None = None
    """Digest of the script that the nft table was loaded from; empty if it was altered since, None without a table."""
    docker_rules: tuple[str, ...] | None = None
    """Our rules in Docker's own chain; None where Docker has none."""
    sockets: tuple[str, ...] = ()
    """Tunnels for which a wireguard-go socket exists."""
    ip_forward: bool = True

    def link(self, name: str) -> Link | None:
        """Return the link of that name."""
        return next((link for link in self.links if link.name == name), None)


# What is told to others.


@dataclass(frozen=True, slots=True)
class PeerReport:
    """How the path to one host does."""

    node: str
    """Empty for a peer that the device has and the configuration does not name."""
    subnet: str
    endpoint: str | None
    handshake_age: float | None
    """Seconds; None where there was none, and always with VXLAN, which has no handshakes."""
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class OverlayReport:
    """What the overlay of this host is, after a look or after work."""

    kind: Kind | None
    """The data path in use; None without a tunnel."""
    mtu: int | None
    peers: tuple[PeerReport, ...] = ()
    done: tuple[str, ...] = ()
    """Why of each step that was carried out."""
    failures: tuple[str, ...] = ()
    """Steps that failed or are still owed: call again."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something of this host's that uses addresses of the overlay's range."""

    what: str
    network: str
    link: str | None
    is_wider: bool
    """It holds the whole range: our routes would take a part of it away, which may be meant."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """An address over which others could reach this host."""

    link: str
    address: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What this host offers an overlay."""

    has_wireguard: bool
    has_tun: bool
    wireguard_go: str | None
    """Path of the program."""
    has_vxlan: bool
    nftables: str | None
    """Why rules cannot be loaded; None: they can."""
    conflicts: tuple[Conflict, ...]
    underlays: tuple[Underlay, ...]
    is_port_taken: bool
    """Something else is bound to the UDP port."""
