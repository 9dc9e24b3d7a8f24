"""Plans the overlay of one host: from what it has to what it is to have, in steps that say why.

Level-triggered: the plan depends on the two pictures only; carried out and planned again it is empty, and without a
configuration it removes every trace.  What others made is never changed: it becomes a warning.  Rules come before
links and routes, so that no packet passes unguarded.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from node.plan.overlay_model import (
    LABEL_SUFFIX,
    MARK,
    ROUTE_PROTOCOL,
    TUNNELS,
    Address,
    Facts,
    Forwarding,
    Kind,
    Link,
    Neighbour,
    OverlayConfig,
    OverlayReport,
    Peer,
    PeerReport,
    Route,
    Vxlan,
    WireGuard,
    WireGuardPeer,
    vxlan_mac,
)
from node.plan.overlay_rules import docker_rules, render_script, script_digest
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

KEEPALIVE = 25
"""Seconds; keeps ways through NAT open, and has a host that comes back call the others by itself."""

STALE_AFTER = 180.0
"""Seconds after which WireGuard refuses a session: with no handshake since, a peer's endpoint is doubtful."""

OVERHEAD = {"wireguard": 60, "vxlan": 50}
"""Bytes around a packet on an IPv4 underlay; WireGuard's would be 80 on IPv6."""

DEFAULT_UNDERLAY_MTU = 1500
MIN_MTU = 576

Told = Mapping[bytes, tuple[str, int]]
"""The endpoint last told to the device, by public key."""


@dataclass(frozen=True, slots=True)
class OverlayPlan:
    """What is to be done, in order, and what an operator should know."""

    actions: tuple[Action, ...] = ()
    warnings: tuple[str, ...] = ()


def plan_overlay(config: OverlayConfig | None, facts: Facts, told: Told, now: float) -> OverlayPlan:
    """Return the steps from `facts` to `config`; None asks for no trace.

    `told` lets a peer's new endpoint through at once, while an endpoint that WireGuard itself has learned from a
    peer's authenticated packets is left alone as long as its session lives.
    """
    if config is None:
        return _plan_removal(facts)
    doomed = _doomed_tunnels(config, facts)
    actions: list[Action] = [*_plan_rules(config, facts)]
    if not facts.ip_forward:
        actions.append(EnableForwarding("containers reach others through this host"))
    actions += [RemoveTunnel(name, why) for name, why in sorted(doomed.items())]
    left = _without(facts, set(doomed))
    route_actions, warnings = _plan_routes(config, left)
    backstop = [action for action in route_actions if isinstance(action, PutRoute) and action.route.link is None]
    actions += backstop
    actions += _plan_tunnel(config, left)
    if config.mode == "wireguard":
        actions += _plan_wireguard(config, left.wireguard, told, now)
    actions += _plan_addresses(config, left)
    if config.mode == "vxlan":
        actions += [*_plan_neighbours(config, left), *_plan_forwarding(config, left)]
    actions += [action for action in route_actions if action not in backstop]
    actions += _plan_docker(config, left)
    return OverlayPlan(tuple(actions), (*warnings, *_warnings(config, facts)))


def tunnel_mtu(config: OverlayConfig, facts: Facts) -> int:
    """Return the MTU that tunnel, bridge and containers are to have."""
    if config.mtu is not None:
        return config.mtu
    underlay = _underlay(config, facts)
    if underlay is not None:
        return max(MIN_MTU, underlay.mtu - OVERHEAD[config.mode])
    # The underlay's address comes and goes with its lease: hold on to what there is.
    tunnel = facts.link(config.tunnel)
    return tunnel.mtu if tunnel else DEFAULT_UNDERLAY_MTU - OVERHEAD[config.mode]


def kind_in_use(link: Link | None) -> Kind | None:
    """Return the data path that a tunnel's link stands for."""
    kinds: dict[str, Kind] = {"wireguard": "wireguard kernel", "tun": "wireguard-go", "vxlan": "vxlan"}
    return kinds.get(link.kind) if link else None


def report_overlay(config: OverlayConfig | None, facts: Facts, now: float) -> OverlayReport:
    """Return what the facts say of the overlay; the configuration only lends the peers their names."""
    name = config.tunnel if config else next((link.name for link in facts.links if _is_ours(link)), "")
    tunnel = facts.link(name)
    by_key = {peer.public_key: peer for peer in config.peers} if config else {}
    peers: list[PeerReport] = []
    if facts.wireguard is not None:
        peers = [_report_peer(by_key.get(have.public_key), have, now) for have in facts.wireguard.peers]
    elif config is not None and config.mode == "vxlan":
        ways = {way.mac: way.endpoint for way in facts.forwarding}
        peers = [
            PeerReport(peer.node, peer.subnet, ways.get(vxlan_mac(peer.gateway)), None, 0, 0) for peer in config.peers
        ]
    return OverlayReport(kind_in_use(tunnel), tunnel.mtu if tunnel else None, tuple(peers))


def clamp_key(private_key: bytes) -> bytes:
    """Return a private key as WireGuard keeps and shows it (RFC 7748, section 5)."""
    return bytes([private_key[0] & 248, *private_key[1:31], private_key[31] & 127 | 64])


def _report_peer(peer: Peer | None, have: WireGuardPeer, now: float) -> PeerReport:
    age = max(0.0, now - have.handshake_at) if have.handshake_at else None
    endpoint = f"{have.endpoint[0]}:{have.endpoint[1]}" if have.endpoint else None
    subnet = peer.subnet if peer else ", ".join(sorted(have.allowed))
    return PeerReport(peer.node if peer else "", subnet, endpoint, age, have.rx_bytes, have.tx_bytes)


def _is_ours(link: Link) -> bool:
    # By name as well: a daemon killed between making a link and marking it leaves one without a mark.
    return link.mark == MARK or link.name in TUNNELS.values()


def _doomed_tunnels(config: OverlayConfig | None, facts: Facts) -> dict[str, str]:
    """Return the tunnels to remove, with the reason, leftover sockets of wireguard-go among them."""
    doomed = {}
    for link in facts.links:
        if config is not None and link.name == config.tunnel:
            if why := _misfit(config, link, facts):
                doomed[link.name] = why
        elif _is_ours(link):
            doomed[link.name] = f"{link.name} is no longer wanted"
    for name in facts.sockets:
        link_of_socket = facts.link(name)
        if link_of_socket is None or link_of_socket.kind != "tun":
            doomed.setdefault(name, f"wireguard-go left its socket for {name} behind")
    return doomed


def _misfit(config: OverlayConfig, link: Link, facts: Facts) -> str | None:
    if config.mode == "vxlan":
        if link.kind != "vxlan":
            return f"{link.name} is {link.kind or 'a plain link'}, not vxlan"
        if link.vxlan != _wanted_vxlan(config) or link.mac != vxlan_mac(config.gateway):
            return f"{link.name} has another underlay address, port, identifier or link address"
        return None
    if link.kind not in ("wireguard", "tun"):
        return f"{link.name} is {link.kind or 'a plain link'}, not WireGuard"
    return f"{link.name} does not answer as WireGuard" if facts.wireguard is None else None


def _without(facts: Facts, gone: set[str]) -> Facts:
    """Return the facts as they will be once these tunnels are removed: the kernel takes all that hangs on them."""
    if not gone:
        return facts
    return Facts(
        links=tuple(link for link in facts.links if link.name not in gone),
        addresses=tuple(address for address in facts.addresses if address.link not in gone),
        routes=tuple(route for route in facts.routes if route.link not in gone),
        docker_rules=facts.docker_rules,
        table=facts.table,
        ip_forward=facts.ip_forward,
    )


def _plan_rules(config: OverlayConfig, facts: Facts) -> list[Action]:
    if facts.table == script_digest(config):
        return []
    reasons = {None: "is absent", "": "was altered by somebody else"}
    return [
        LoadRules(render_script(config), f"the nft table {reasons.get(facts.table, 'is for another configuration')}")
    ]


def _wanted_vxlan(config: OverlayConfig) -> Vxlan:
    return Vxlan(config.vni, config.listen_port, config.underlay_address)


def _plan_tunnel(config: OverlayConfig, facts: Facts) -> list[Action]:
    actions: list[Action] = []
    link, mtu, name = facts.link(config.tunnel), tunnel_mtu(config, facts), config.tunnel
    vxlan = _wanted_vxlan(config) if config.mode == "vxlan" else None
    if link is None:
        mac = vxlan_mac(config.gateway) if vxlan else ""
        actions.append(CreateTunnel(name, vxlan, mac, f"{name} is absent"))
    # Before it comes up: nothing may leave with checksums that no hardware fills in behind the VXLAN header.
    if vxlan and (link is None or link.tx_checksum):
        actions.append(StopChecksumOffload(name, "checksum offload corrupts VXLAN on some kernels and behind NAT"))
    if link is None or (link.mtu, link.is_up, link.mark) != (mtu, True, MARK):
        actions.append(SetLink(name, mtu, f"{name} is to be up, with MTU {mtu} and our mark"))
    return actions


def _plan_wireguard(config: OverlayConfig, have: WireGuard | None, told: Told, now: float) -> list[Action]:
    known = {peer.public_key: peer for peer in have.peers} if have else {}
    wanted = {peer.public_key: peer for peer in config.peers}
    # Removals first: an allowed range moves from its old peer to its new one.
    changes = [PeerChange(key, remove=True) for key in sorted(known.keys() - wanted.keys())]
    for key, peer in sorted(wanted.items()):
        if change := _peer_change(peer, known.get(key), told.get(key), now):
            changes.append(change)
    key_change = None if have and have.private_key == clamp_key(config.private_key) else clamp_key(config.private_key)
    port_change = None if have and have.listen_port == config.listen_port else config.listen_port
    if not changes and key_change is None and port_change is None:
        return []
    names = ", ".join(_name_change(change, wanted) for change in changes)
    own = [word for word, changed in (("key", key_change), ("port", port_change)) if changed is not None]
    why = f"{config.tunnel} differs in {', '.join([*own, *([f'peers {names}'] if names else [])])}"
    return [ConfigureWireGuard(config.tunnel, key_change, port_change, tuple(changes), why)]


def _name_change(change: PeerChange, wanted: Mapping[bytes, Peer]) -> str:
    return f"-{change.public_key.hex()[:8]}" if change.remove else wanted[change.public_key].node[:8]


def _peer_change(peer: Peer, have: WireGuardPeer | None, told: tuple[str, int] | None, now: float) -> PeerChange | None:
    endpoint = (peer.endpoint, peer.port)
    if have is None:
        return PeerChange(peer.public_key, False, endpoint, (peer.subnet,), KEEPALIVE)
    is_stale = now - have.handshake_at > STALE_AFTER
    is_news = told is not None and told != endpoint
    must_move = have.endpoint != endpoint and (have.endpoint is None or is_stale or is_news)
    change = PeerChange(
        peer.public_key,
        endpoint=endpoint if must_move else None,
        allowed=None if have.allowed == {peer.subnet} else (peer.subnet,),
        keepalive=None if have.keepalive == KEEPALIVE else KEEPALIVE,
    )
    return None if change == PeerChange(peer.public_key) else change


def _plan_addresses(config: OverlayConfig, facts: Facts) -> list[Action]:
    # The gateway is on the tunnel too, whatever happens to the bridge: what the host itself sends to other hosts'
    # containers has it as its source.
    wanted = {Address(config.tunnel, config.gateway, 32, config.tunnel)}
    if facts.link(config.bridge):
        wanted.add(Address(config.bridge, config.dns_address, 32, config.bridge + LABEL_SUFFIX))
    have = {address for address in facts.addresses if _is_our_address(address, config)}
    places = {(address.link, address.address, address.prefix) for address in wanted}
    stale = [address for address in have - wanted if (address.link, address.address, address.prefix) not in places]
    return [
        *(RemoveAddress(old, f"{old.address} is not wanted on {old.link}") for old in sorted(stale, key=repr)),
        *(PutAddress(new, f"{new.address} is absent from {new.link}") for new in sorted(wanted - have, key=repr)),
    ]


def _is_our_address(address: Address, config: OverlayConfig) -> bool:
    is_resolver = address.link == config.bridge and address.address == config.dns_address
    return address.link == config.tunnel or is_resolver or address.label.endswith(LABEL_SUFFIX)


def _wanted_routes(config: OverlayConfig) -> list[Route]:
    """Return the routes to the peers behind a backstop: no route means unreachable, not the default route."""
    has_gateways = config.mode == "vxlan"
    ways = [Route(peer.subnet, via=peer.gateway if has_gateways else None, link=config.tunnel) for peer in config.peers]
    return [Route(config.network, "unreachable"), *ways]


def _plan_routes(config: OverlayConfig, facts: Facts) -> tuple[list[Action], list[str]]:
    actions: list[Action] = []
    warnings = []
    have = {route.dst: route for route in facts.routes if route.metric == 0}
    wanted = {route.dst: route for route in _wanted_routes(config)}
    for dst, route in wanted.items():
        old = have.get(dst)
        if old is None:
            actions.append(PutRoute(route, False, f"the route to {dst} is absent"))
        elif old.proto != ROUTE_PROTOCOL:
            warnings.append(f"{dst} is routed to {old.link or old.kind} by somebody else: free it or use another range")
        elif old != route:
            actions.append(PutRoute(route, True, f"the route to {dst} goes another way"))
    for route in facts.routes:
        if _is_our_route(route, facts, config.tunnel) and (route.dst not in wanted or route.metric):
            actions.append(RemoveRoute(route, f"the route to {route.dst} is no longer wanted"))
    return actions, warnings


def _is_our_route(route: Route, facts: Facts, tunnel: str) -> bool:
    if route.proto != ROUTE_PROTOCOL:
        return False
    link = facts.link(route.link) if route.link else None
    return route.kind == "unreachable" or route.link == tunnel or (link is not None and _is_ours(link))


def _plan_neighbours(config: OverlayConfig, facts: Facts) -> list[Action]:
    have = set(facts.neighbours)
    wanted = {Neighbour(peer.gateway, vxlan_mac(peer.gateway)): peer for peer in config.peers}
    addresses = {neighbour.address for neighbour in wanted}
    gone = sorted((old for old in have if old.address not in addresses), key=repr)
    return [
        *(RemoveNeighbour(config.tunnel, old, f"{old.address} is no gateway any more") for old in gone),
        *(
            PutNeighbour(config.tunnel, new, f"the gateway of {peer.node[:8]} is unknown")
            for new, peer in wanted.items()
            if new not in have
        ),
    ]


def _plan_forwarding(config: OverlayConfig, facts: Facts) -> list[Action]:
    have = set(facts.forwarding)
    wanted = {Forwarding(vxlan_mac(peer.gateway), peer.endpoint, peer.port): peer for peer in config.peers}
    macs = {way.mac for way in wanted}
    gone = sorted((old for old in have if old.mac not in macs), key=repr)
    return [
        *(RemoveForwarding(config.tunnel, old, f"nobody at {old.endpoint} is a member") for old in gone),
        *(
            PutForwarding(config.tunnel, new, f"{peer.node[:8]} is at {new.endpoint}")
            for new, peer in wanted.items()
            if new not in have
        ),
    ]


def _plan_docker(config: OverlayConfig | None, facts: Facts) -> list[Action]:
    if facts.docker_rules is None:
        return []
    wanted = docker_rules(config) if config else ()
    return [
        *(
            RemoveDockerRule(rule, "Docker's chain has a rule of ours that is not wanted")
            for rule in facts.docker_rules
            if rule not in wanted
        ),
        *(
            PutDockerRule(rule, "Docker drops what is forwarded, tunnel and bridge are to talk")
            for rule in wanted
            if rule not in facts.docker_rules
        ),
    ]


def _plan_removal(facts: Facts) -> OverlayPlan:
    """Return the steps that leave nothing; the rules go last, so that nothing leaks while routes go."""
    doomed = _doomed_tunnels(None, facts)
    actions: list[Action] = [*_plan_docker(None, facts)]
    actions += [RemoveTunnel(name, why) for name, why in sorted(doomed.items())]
    left = _without(facts, set(doomed))
    for route in left.routes:
        if _is_our_route(route, left, ""):
            actions.append(RemoveRoute(route, "the overlay is not wanted"))
    for address in left.addresses:
        if address.label.endswith(LABEL_SUFFIX) and address.prefix == 32:
            actions.append(RemoveAddress(address, "the overlay is not wanted"))
    if facts.table is not None:
        actions.append(DropRules("the overlay is not wanted"))
    return OverlayPlan(tuple(actions))


def _underlay(config: OverlayConfig, facts: Facts) -> Link | None:
    carriers = (address.link for address in facts.addresses if address.address == config.underlay_address)
    return facts.link(next(carriers, ""))


def _warnings(config: OverlayConfig, facts: Facts) -> list[str]:
    warnings = []
    bridge = facts.link(config.bridge)
    if bridge is None:
        warnings.append(f"{config.bridge} is absent: the engine has not made its network yet")
    elif all((at.link, at.address) != (config.bridge, config.gateway) for at in facts.addresses):
        warnings.append(f"{config.bridge} does not have {config.gateway}: its network is for another subnet")
    if _underlay(config, facts) is None:
        warnings.append(f"no link has the underlay address {config.underlay_address}: advertise another one")
    return warnings
