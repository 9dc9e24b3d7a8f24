"""The overlay of this host: looks, plans, carries out, looks again.

Each look and each round of steps is one call into a worker thread, since netlink sockets stay in the thread that
opened them.  One round at a time; whoever is woken calls `apply` again with what is wanted.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import assert_never

import trio
from pyroute2 import IPRoute, NetlinkError

from node.overlay import firewall, netlink, wireguard
from node.overlay.probe import probe_host
from node.plan.overlay import OverlayPlan, kind_in_use, plan_overlay, report_overlay
from node.plan.overlay_model import MARK, TUNNELS, Facts, Findings, Link, OverlayConfig, OverlayReport, Vxlan, WireGuard
from node.plan.overlay_steps import (
    Action,
    ConfigureWireGuard,
    CreateTunnel,
    DropRules,
    EnableForwarding,
    LoadRules,
    PeerChange,
    PutAddress,
    PutDockerRule,
    PutForwarding,
    PutNeighbour,
    PutRoute,
    RemoveAddress,
    RemoveDockerRule,
    RemoveForwarding,
    RemoveNeighbour,
    RemoveRoute,
    RemoveTunnel,
    SetLink,
    StopChecksumOffload,
)

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")

NETLINK_NETFILTER = 12

WATCHED = {socket.NETLINK_ROUTE: 0x1 | 0x10 | 0x40, NETLINK_NETFILTER: 1 << 6}
"""The groups of links, IPv4 addresses and IPv4 routes, and that of nft rules, by family."""

QUIET = 1.0
"""Seconds between two calls of a watch."""
DRAIN_LIMIT = 10_000
LINK_MESSAGES = (16, 17)
"""RTM_NEWLINK and RTM_DELLINK."""
LINK_ATTRIBUTES_AT = 32
IFLA_IFNAME = 3

FAILURES = (
    OSError,
    subprocess.SubprocessError,
    LookupError,
    ValueError,
    NetlinkError,
    firewall.FirewallError,
    wireguard.WireGuardError,
)


class Overlay:
    """The one writer of this host's tunnel, routes and packet rules."""

    def __init__(self, *, wireguard_go: str = "wireguard-go", clock: Callable[[], float] = time.time) -> None:
        self._wireguard_go = wireguard_go
        self._clock = clock
        self._turn = trio.Lock()
        self._config: OverlayConfig | None = None
        self._told: dict[bytes, tuple[str, int]] = {}

    async def apply(self, config: OverlayConfig | None) -> OverlayReport:
        """Bring the host to `config`, None to no trace; idempotent.

        Failures are reported, not raised: what could be done was done, and calling again goes on from there.
        """
        async with self._turn:
            return await trio.to_thread.run_sync(self._apply, config)

    async def inspect(self) -> OverlayReport:
        """Report how the overlay does, changing nothing."""
        async with self._turn:
            try:
                facts = await trio.to_thread.run_sync(read_facts, self._config)
            except FAILURES as error:
                return _blind(error)
            plan = plan_overlay(self._config, facts, self._told, self._clock())
            report = report_overlay(self._config, facts, self._clock())
            owed = tuple(f"owed: {action.why}" for action in plan.actions) if self._config else ()
            return replace(report, failures=owed, warnings=plan.warnings)

    async def watch(
        self,
        wake: Callable[[], None],
        *,
        quiet: float = QUIET,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Call `wake` after any change of links, addresses, routes or nft rules, each at most once per `quiet` seconds.

        Containers' own links are left out: nothing of the overlay depends on them.

        Docker's own chains are nft rules where its iptables writes such; where it does not, or a kernel tells nothing
        of rules, only calling `apply` now and then finds them gone.
        """
        async with trio.open_nursery() as nursery:
            for family, groups in WATCHED.items():
                await nursery.start(_watch_family, family, groups, wake, quiet)
            task_status.started()

    async def probe(self, network: str, port: int, ours: tuple[str, ...] = ()) -> Findings:
        """Find out what this host offers; links named in `ours`, and what the overlay made, are no conflict."""
        program = self._wireguard_go
        return await trio.to_thread.run_sync(partial(probe_host, network, port, ours, program))

    def _apply(self, config: OverlayConfig | None) -> OverlayReport:
        try:
            facts = read_facts(config)
            plan = plan_overlay(config, facts, self._told, self._clock())
            done, failures = self._carry_out(plan, config)
            if not failures:
                self._note_told(config)
            warnings = plan.warnings
            if plan.actions:
                facts = read_facts(config)
                left = plan_overlay(config, facts, self._told, self._clock())
                failures += [f"owed: {action.why}" for action in left.actions] if not failures else []
                warnings = left.warnings
        except FAILURES as error:
            return _blind(error)
        report = report_overlay(config, facts, self._clock())
        return replace(report, done=tuple(done), failures=tuple(failures), warnings=warnings)

    def _note_told(self, config: OverlayConfig | None) -> None:
        before, self._config = self._config, config
        self._told = {peer.public_key: (peer.endpoint, peer.port) for peer in config.peers} if config else {}
        if config and config.mode == "wireguard" and _is_new_to_peers(before, config):
            _greet_peers(config)

    def _carry_out(self, plan: OverlayPlan, config: OverlayConfig | None) -> tuple[list[str], list[str]]:
        done: list[str] = []
        failures: list[str] = []
        if not plan.actions:
            return done, failures
        with IPRoute() as route:
            hands = _Hands(route, self._wireguard_go, config.listen_port if config else 0)
            for action in plan.actions:
                try:
                    hands.carry_out(action)
                except FAILURES as error:
                    failures.append(f"{action.why}: {error}")
                    if action.is_vital:
                        break
                else:
                    done.append(action.why)
        return done, failures


async def _watch_family(
    family: int,
    groups: int,
    wake: Callable[[], None],
    quiet: float,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    try:
        watched = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family)
    except OSError:
        if family == socket.NETLINK_ROUTE:
            raise
        # A kernel without netfilter; that rules cannot be loaded is `apply`'s to report.
        task_status.started()
        return
    with watched:
        watched.bind((0, groups))
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(watched)
            if drain(watched):
                wake()
                await trio.sleep(quiet)


def drain(watched: socket.socket) -> bool:
    """Read all that waits, since one look at the host answers it; tell whether any of it is reason to look."""
    is_reason = False
    for _ in range(DRAIN_LIMIT):
        try:
            is_reason |= not _is_of_a_container(watched.recv(65536))
        except BlockingIOError:
            break
        except OSError:
            is_reason = True  # ENOBUFS: something was missed.
    return is_reason


def _is_of_a_container(message: bytes) -> bool:
    """Tell whether a message of rtnetlink(7) is of a container's end of a bridge: each start makes dozens of them."""
    if len(message) < LINK_ATTRIBUTES_AT or int.from_bytes(message[4:6], sys.byteorder) not in LINK_MESSAGES:
        return False
    at = LINK_ATTRIBUTES_AT
    while at + 4 <= len(message):
        size = int.from_bytes(message[at : at + 2], sys.byteorder)
        if int.from_bytes(message[at + 2 : at + 4], sys.byteorder) == IFLA_IFNAME:
            return message[at + 4 : at + size].startswith(b"veth")
        at += max(4, (size + 3) & ~3)
    return False


def read_facts(config: OverlayConfig | None) -> Facts:
    """Take one look at the host; without a configuration, at whatever was ever made here."""
    with IPRoute() as route:
        links = netlink.read_links(route)
        addresses = tuple(netlink.read_addresses(route, links))
        routes = tuple(netlink.read_routes(route, links))
        name = config.tunnel if config else _any_tunnel(links.values())
        index, tunnel = next(((index, link) for index, link in links.items() if link.name == name), (0, None))
        is_vxlan = tunnel is not None and tunnel.vxlan is not None
        neighbours = tuple(netlink.read_neighbours(route, index)) if is_vxlan else ()
        port = tunnel.vxlan.port if tunnel is not None and tunnel.vxlan is not None else 0
        forwarding = tuple(netlink.read_forwarding(route, index, port)) if is_vxlan else ()
    return Facts(
        links=tuple(links.values()),
        addresses=addresses,
        routes=routes,
        neighbours=neighbours,
        forwarding=forwarding,
        wireguard=_read_wireguard(tunnel),
        table=firewall.read_table(),
        docker_rules=firewall.read_docker_rules(),
        sockets=wireguard.list_sockets({link.name for link in links.values()}),
        ip_forward=IP_FORWARD.read_text().strip() != "0",
    )


def _blind(error: Exception) -> OverlayReport:
    return OverlayReport(None, None, failures=(f"cannot look at this host: {error}",))


def _is_new_to_peers(before: OverlayConfig | None, config: OverlayConfig) -> bool:
    return before is None or (before.underlay_address, before.peers) != (config.underlay_address, config.peers)


def _greet_peers(config: OverlayConfig) -> None:
    """Have the peers learn at once where this host is now."""
    device = wireguard.read_process(config.tunnel)
    if device is not None:
        # wireguard-go goes on sending from the address it used last; on newer kernels, where that fails with another
        # error than it expects, for some 20 s after the address is gone.  Telling it an endpoint makes it choose anew.
        same = tuple(PeerChange(peer.public_key, endpoint=peer.endpoint) for peer in device.peers if peer.endpoint)
        wireguard.configure_process(ConfigureWireGuard(config.tunnel, None, None, same, "choose the source anew"))
    wireguard.nudge(peer.gateway for peer in config.peers)


def _any_tunnel(links: Iterable[Link]) -> str:
    return next((link.name for link in links if link.mark == MARK or link.name in TUNNELS.values()), "")


def _read_wireguard(tunnel: Link | None) -> WireGuard | None:
    match kind_in_use(tunnel), tunnel:
        case "wireguard kernel", Link(name=name):
            return wireguard.read_kernel(name)
        case "wireguard-go", Link(name=name):
            return wireguard.read_process(name)
    return None


class _Hands:
    """Carries single steps out, within the thread that opened the netlink socket."""

    def __init__(self, route: IPRoute, wireguard_go: str, own_port: int) -> None:
        self._route = route
        self._wireguard_go = wireguard_go
        self._own_port = own_port

    def carry_out(self, action: Action) -> None:
        """Carry out one step, or raise."""
        match action:
            case EnableForwarding():
                IP_FORWARD.write_text("1\n")
            case LoadRules(script=script):
                firewall.load_rules(script)
            case DropRules():
                firewall.drop_rules()
            case PutDockerRule(rule=rule):
                firewall.put_docker_rule(rule)
            case RemoveDockerRule(rule=rule):
                firewall.remove_docker_rule(rule)
            case CreateTunnel() | SetLink() | StopChecksumOffload() | RemoveTunnel() | ConfigureWireGuard():
                self._change_tunnel(action)
            case _:
                self._change_paths(action)

    def _change_tunnel(
        self, action: CreateTunnel | SetLink | StopChecksumOffload | RemoveTunnel | ConfigureWireGuard
    ) -> None:
        match action:
            case CreateTunnel(vxlan=Vxlan() as vxlan):
                netlink.create_vxlan(self._route, action, vxlan)
            case CreateTunnel(link=link):
                if not netlink.create_wireguard(self._route, link):
                    wireguard.start_process(link, self._wireguard_go)
            case SetLink(link=link, mtu=mtu):
                netlink.set_link(self._route, link, mtu)
            case StopChecksumOffload(link=link):
                netlink.stop_tx_checksum(link)
            case RemoveTunnel(link=link):
                netlink.remove_link(self._route, link)
                wireguard.end_process(link)
            case ConfigureWireGuard(link=link):
                links = netlink.read_links(self._route).values()
                is_kernel = any((at.name, at.kind) == (link, "wireguard") for at in links)
                (wireguard.configure_kernel if is_kernel else wireguard.configure_process)(action)

    def _change_paths(
        self,
        action: PutAddress
        | RemoveAddress
        | PutRoute
        | RemoveRoute
        | PutNeighbour
        | RemoveNeighbour
        | PutForwarding
        | RemoveForwarding,
    ) -> None:
        match action:
            case PutAddress(address=address):
                netlink.put_address(self._route, address)
            case RemoveAddress(address=address):
                netlink.remove_address(self._route, address)
            case PutRoute():
                netlink.put_route(self._route, action)
            case RemoveRoute(route=route):
                netlink.remove_route(self._route, route)
            case PutNeighbour(link=link, neighbour=neighbour):
                netlink.put_neighbour(self._route, link, neighbour)
            case RemoveNeighbour(link=link, neighbour=neighbour):
                netlink.remove_neighbour(self._route, link, neighbour)
            case PutForwarding(link=link, forwarding=way):
                netlink.put_forwarding(self._route, link, way, self._own_port)
            case RemoveForwarding(link=link, forwarding=way):
                netlink.remove_forwarding(self._route, link, way, self._own_port)
            case _:
                assert_never(action)
