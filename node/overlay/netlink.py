"""Reads and changes links, addresses, routes and neighbours through netlink; each function takes an open IPRoute.

The caller opens, uses and closes the IPRoute within one thread: it keeps a socket and a loop per thread.
"""

import array
import fcntl
import socket
import struct
from collections.abc import Iterator
from typing import Any

from pyroute2 import IPRoute, NetlinkError

from node.plan.overlay_model import MARK, Address, Forwarding, Link, Neighbour, Route, Vxlan
from node.plan.overlay_steps import CreateTunnel, PutRoute

IFF_UP = 0x1
MAIN_TABLE = 254
RTN_UNREACHABLE = 7
RTNH_F_ONLINK = 4
NUD_PERMANENT = 0x80
NUD_NOARP = 0x40
NTF_SELF = 0x02
EOPNOTSUPP = 95
NO_MAC = "00:00:00:00:00:00"

_KINDS = {1: "unicast", 2: "local", 6: "blackhole", RTN_UNREACHABLE: "unreachable", 8: "prohibit"}

SIOCETHTOOL = 0x8946
ETHTOOL_GTXCSUM = 0x16
ETHTOOL_STXCSUM = 0x17


def read_links(netlink: IPRoute) -> dict[int, Link]:
    """Return the links by index."""
    return {message["index"]: _parse_link(message) for message in netlink.get_links()}


def _parse_link(message: Any) -> Link:
    about = message.get_attr("IFLA_LINKINFO")
    kind = (about.get_attr("IFLA_INFO_KIND") if about else None) or ""
    name = message.get_attr("IFLA_IFNAME")
    is_vxlan = kind == "vxlan"
    return Link(
        name=name,
        kind=kind,
        mtu=message.get_attr("IFLA_MTU"),
        is_up=bool(message["flags"] & IFF_UP),
        mark=message.get_attr("IFLA_IFALIAS") or "",
        mac=message.get_attr("IFLA_ADDRESS") or "",
        vxlan=_parse_vxlan(about.get_attr("IFLA_INFO_DATA")) if is_vxlan else None,
        tx_checksum=read_tx_checksum(name) if is_vxlan else None,
    )


def _parse_vxlan(fields: Any) -> Vxlan:
    return Vxlan(
        vni=fields.get_attr("IFLA_VXLAN_ID") or 0,
        port=fields.get_attr("IFLA_VXLAN_PORT") or 0,
        local=fields.get_attr("IFLA_VXLAN_LOCAL") or "",
        learning=bool(fields.get_attr("IFLA_VXLAN_LEARNING")),
    )


def read_addresses(netlink: IPRoute, links: dict[int, Link]) -> Iterator[Address]:
    """Return the IPv4 addresses."""
    for message in netlink.get_addr(family=socket.AF_INET):
        if link := links.get(message["index"]):
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            yield Address(link.name, address, message["prefixlen"], message.get_attr("IFA_LABEL") or "")


def read_routes(netlink: IPRoute, links: dict[int, Link]) -> Iterator[Route]:
    """Return the IPv4 routes of the main table; of one with several ways, the first."""
    for message in netlink.get_routes(family=socket.AF_INET, table=MAIN_TABLE):
        out = message.get_attr("RTA_OIF")
        link = links.get(out) if out else None
        yield Route(
            dst=f"{message.get_attr('RTA_DST') or '0.0.0.0'}/{message['dst_len']}",
            kind=_KINDS.get(message["type"], "other"),
            via=message.get_attr("RTA_GATEWAY"),
            link=link.name if link and message["type"] != RTN_UNREACHABLE else None,
            proto=message["proto"],
            metric=message.get_attr("RTA_PRIORITY") or 0,
        )


def read_neighbours(netlink: IPRoute, index: int) -> Iterator[Neighbour]:
    """Return the permanent IPv4 neighbours of a link."""
    for message in netlink.get_neighbours(family=socket.AF_INET, ifindex=index):
        if message["ifindex"] == index and message["state"] & NUD_PERMANENT:
            yield Neighbour(message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR"))


def read_forwarding(netlink: IPRoute, index: int, port: int) -> Iterator[Forwarding]:
    """Return where a VXLAN device sends what is meant for which link address; `port` is the device's own."""
    for message in netlink.fdb("dump", ifindex=index):
        mac, endpoint = message.get_attr("NDA_LLADDR"), message.get_attr("NDA_DST")
        if message["ifindex"] == index and mac and mac != NO_MAC and endpoint:
            yield Forwarding(mac, endpoint, message.get_attr("NDA_PORT") or port)


def index_of(netlink: IPRoute, name: str) -> int:
    """Return the index of a link, or raise as the kernel would."""
    found = netlink.link_lookup(ifname=name)
    if not found:
        raise LookupError(f"there is no link {name}")
    return found[0]


def create_wireguard(netlink: IPRoute, name: str) -> bool:
    """Make a WireGuard link in the kernel; False where the kernel has no WireGuard."""
    try:
        netlink.link("add", ifname=name, kind="wireguard")
    except NetlinkError as error:
        if error.code == EOPNOTSUPP:
            return False
        raise
    return True


def create_vxlan(netlink: IPRoute, step: CreateTunnel, vxlan: Vxlan) -> None:
    """Make a VXLAN link that learns nothing from packets."""
    netlink.link(
        "add",
        ifname=step.link,
        kind="vxlan",
        address=step.mac,
        vxlan_id=vxlan.vni,
        vxlan_port=vxlan.port,
        vxlan_local=vxlan.local,
        vxlan_learning=int(vxlan.learning),
    )


def set_link(netlink: IPRoute, name: str, mtu: int) -> None:
    """Mark a link as ours, give it its MTU and bring it up."""
    netlink.link("set", index=index_of(netlink, name), ifalias=MARK, mtu=mtu, state="up")


def remove_link(netlink: IPRoute, name: str) -> None:
    """Remove a link, if it is there."""
    for index in netlink.link_lookup(ifname=name):
        netlink.link("del", index=index)


def put_address(netlink: IPRoute, address: Address) -> None:
    """Add an address."""
    index = index_of(netlink, address.link)
    netlink.addr("replace", index=index, address=address.address, prefixlen=address.prefix, label=address.label)


def remove_address(netlink: IPRoute, address: Address) -> None:
    """Remove an address."""
    index = index_of(netlink, address.link)
    netlink.addr("del", index=index, address=address.address, prefixlen=address.prefix)


def put_route(netlink: IPRoute, step: PutRoute) -> None:
    """Add a route, or replace ours."""
    netlink.route("replace" if step.replace else "add", **_route_fields(netlink, step.route))


def remove_route(netlink: IPRoute, route: Route) -> None:
    """Remove a route."""
    netlink.route("del", **_route_fields(netlink, route))


def _route_fields(netlink: IPRoute, route: Route) -> dict[str, object]:
    fields: dict[str, object] = {"dst": route.dst, "proto": route.proto}
    if route.metric:
        fields["priority"] = route.metric
    if route.link is None:
        return {**fields, "type": route.kind}
    fields["oif"] = index_of(netlink, route.link)
    if route.via is not None:
        # The gateway is in the very network that the route leads to.
        fields |= {"gateway": route.via, "flags": RTNH_F_ONLINK}
    return fields


def put_neighbour(netlink: IPRoute, link: str, neighbour: Neighbour) -> None:
    """Add or change a permanent neighbour."""
    index = index_of(netlink, link)
    netlink.neigh("replace", ifindex=index, dst=neighbour.address, lladdr=neighbour.mac, state=NUD_PERMANENT)


def remove_neighbour(netlink: IPRoute, link: str, neighbour: Neighbour) -> None:
    """Remove a neighbour."""
    netlink.neigh("del", ifindex=index_of(netlink, link), dst=neighbour.address)


def put_forwarding(netlink: IPRoute, link: str, way: Forwarding, own_port: int) -> None:
    """Add or change where a VXLAN device sends what is meant for a link address."""
    netlink.fdb("replace", **_forwarding_fields(netlink, link, way, own_port))


def remove_forwarding(netlink: IPRoute, link: str, way: Forwarding, own_port: int) -> None:
    """Remove such an entry."""
    netlink.fdb("del", **_forwarding_fields(netlink, link, way, own_port))


def _forwarding_fields(netlink: IPRoute, link: str, way: Forwarding, own_port: int) -> Any:
    port = {"port": way.port} if way.port != own_port else {}
    state = NUD_PERMANENT | NUD_NOARP
    index = index_of(netlink, link)
    return {"ifindex": index, "lladdr": way.mac, "dst": way.endpoint, "state": state, "flags": NTF_SELF, **port}


def read_tx_checksum(name: str) -> bool | None:
    """Whether a link leaves transmit checksums to its device; None where it does not say."""
    try:
        return bool(_ethtool(name, ETHTOOL_GTXCSUM, 0))
    except OSError:
        return None


def stop_tx_checksum(name: str) -> None:
    """Have the kernel fill in transmit checksums before a packet reaches this link."""
    _ethtool(name, ETHTOOL_STXCSUM, 0)


def _ethtool(name: str, command: int, value: int) -> int:
    # struct ifreq: the name, then a pointer to struct ethtool_value.  pyroute2 has no ioctl for it.
    argument = array.array("I", [command, value])
    request = struct.pack("16sP16x", name.encode(), argument.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
        fcntl.ioctl(carrier, SIOCETHTOOL, request)
    return argument[1]
