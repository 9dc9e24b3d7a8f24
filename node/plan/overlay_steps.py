"""The steps of the overlay's plans: imperative values that say why, carried out by `node/overlay/`.

Vital ones end the round when they fail, since what follows would do harm without them, or fail too.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from node.plan.overlay_model import Address, Forwarding, Neighbour, Route, Vxlan


@dataclass(frozen=True, slots=True)
class EnableForwarding:
    """Let this host pass packets between its links."""

    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class LoadRules:
    """Replace the nft table by this script, at once."""

    script: str = field(repr=False)
    why: str
    is_vital: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class DropRules:
    """Remove the nft table."""

    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class CreateTunnel:
    """Make the tunnel's link: VXLAN if `vxlan` is given, else WireGuard in the kernel or else in a process."""

    link: str
    vxlan: Vxlan | None
    mac: str
    why: str
    is_vital: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class SetLink:
    """Bring a link's MTU and mark to this, and bring it up."""

    link: str
    mtu: int
    why: str
    is_vital: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class StopChecksumOffload:
    """Have the kernel fill in transmit checksums itself."""

    link: str
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveTunnel:
    """Remove a link of ours, with its process and socket if it has them."""

    link: str
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PeerChange:
    """What changes for one WireGuard peer; None leaves as is."""

    public_key: bytes
    remove: bool = False
    endpoint: tuple[str, int] | None = None
    allowed: tuple[str, ...] | None = None
    keepalive: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigureWireGuard:
    """Change a WireGuard device; peers that are not named keep their sessions."""

    link: str
    private_key: bytes | None = field(repr=False)
    listen_port: int | None
    peers: tuple[PeerChange, ...]
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PutAddress:
    """Add an address to a link, or bring its label to this."""

    address: Address
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveAddress:
    """Take an address from a link."""

    address: Address
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Add a route, or replace ours to the same destination; never somebody else's."""

    route: Route
    replace: bool
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveRoute:
    """Remove a route of ours."""

    route: Route
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PutNeighbour:
    """Tell the tunnel's link which link address a gateway has, and where that is."""

    link: str
    neighbour: Neighbour
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveNeighbour:
    """Forget a neighbour."""

    link: str
    neighbour: Neighbour
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PutForwarding:
    """Tell the VXLAN device on which host a link address is."""

    link: str
    forwarding: Forwarding
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveForwarding:
    """Forget where a link address is."""

    link: str
    forwarding: Forwarding
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class PutDockerRule:
    """Insert a rule at the head of DOCKER-USER."""

    rule: str
    why: str
    is_vital: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class RemoveDockerRule:
    """Delete a rule of ours from DOCKER-USER."""

    rule: str
    why: str
    is_vital: ClassVar[bool] = False


Action = (
    EnableForwarding
    | LoadRules
    | DropRules
    | CreateTunnel
    | SetLink
    | StopChecksumOffload
    | RemoveTunnel
    | ConfigureWireGuard
    | PutAddress
    | RemoveAddress
    | PutRoute
    | RemoveRoute
    | PutNeighbour
    | RemoveNeighbour
    | PutForwarding
    | RemoveForwarding
    | PutDockerRule
    | RemoveDockerRule
)
