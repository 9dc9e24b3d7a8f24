"""What this host offers an overlay: WireGuard, TUN, VXLAN, nftables, free addresses, a free port.

Kernel features are found by making a link and removing it at once: asking for a module by name says nothing of what is
built in.  Changes nothing that stays.
"""

import errno
import shutil
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

from pyroute2 import IPRoute, NetlinkError

from node.overlay import firewall, netlink
from node.plan.overlay_model import (
    MARK,
    ROUTE_PROTOCOL,
    Address,
    Conflict,
    Findings,
    Link,
    Route,
    Underlay,
    overlaps,
)

PROBE_LINK = "corral-probe"
PROBE_VNI = 16777214
PROBE_PORT = 65530


def probe_host(network: str, port: int, ours: tuple[str, ...], wireguard_go: str) -> Findings:
    """Look at everything, within one thread."""
    with IPRoute() as route:
        has_wireguard = _can_make(route, kind="wireguard")
        has_vxlan = _can_make(route, kind="vxlan", vxlan_id=PROBE_VNI, vxlan_port=PROBE_PORT)
        links = netlink.read_links(route)
        addresses = list(netlink.read_addresses(route, links))
        routes = list(netlink.read_routes(route, links))
    own = {link.name for link in links.values() if link.mark == MARK} | set(ours)
    return Findings(
        has_wireguard=has_wireguard,
        has_tun=Path("/dev/net/tun").exists(),
        wireguard_go=shutil.which(wireguard_go),
        has_vxlan=has_vxlan,
        nftables=firewall.check_nftables(),
        conflicts=tuple(find_conflicts(network, addresses, routes, own)),
        underlays=tuple(find_underlays(network, addresses, {link.name: link for link in links.values()}, own)),
        # With a tunnel of ours up, the port is taken by ourselves.
        is_port_taken=not any(link.mark == MARK for link in links.values()) and _is_port_taken(port),
    )


def find_conflicts(network: str, addresses: list[Address], routes: list[Route], own: set[str]) -> Iterator[Conflict]:
    """Return what uses addresses of the range; default routes, and halves of one, are none."""
    for address in addresses:
        held = str(IPv4Network((address.address, address.prefix), strict=False))
        if address.link not in own and overlaps(held, network):
            yield Conflict(f"address {address.address}", held, address.link, _is_wider(held, network))
    for route in routes:
        is_own = route.proto == ROUTE_PROTOCOL or route.link in own
        if not is_own and IPv4Network(route.dst).prefixlen > 1 and overlaps(route.dst, network):
            yield Conflict(f"route by {route.link or route.kind}", route.dst, route.link, _is_wider(route.dst, network))


def find_underlays(network: str, addresses: list[Address], links: dict[str, Link], own: set[str]) -> Iterator[Underlay]:
    """Return the addresses that others might reach: on links that are up, neither loopback, link-local nor ours."""
    for address in addresses:
        link = links[address.link]
        is_local = any(overlaps(f"{address.address}/32", local) for local in ("127.0.0.0/8", "169.254.0.0/16", network))
        if link.is_up and link.name not in own and not is_local:
            yield Underlay(link.name, address.address, link.mtu)


def _is_wider(held: str, network: str) -> bool:
    return IPv4Network(network).subnet_of(IPv4Network(held)) and held != network


def _can_make(route: IPRoute, **fields: object) -> bool:
    try:
        route.link("add", ifname=PROBE_LINK, **fields)
    except NetlinkError as error:
        return error.code == errno.EEXIST
    netlink.remove_link(route, PROBE_LINK)
    return True


def _is_port_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(("0.0.0.0", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
