"""A host in memory for the overlay's plans: obeys each step as the kernel does, refusals included."""

from dataclasses import replace
from typing import Any, TypeVar

from node.plan.overlay_model import (
    MARK,
    ROUTE_PROTOCOL,
    Facts,
    Link,
    WireGuard,
    WireGuardPeer,
)
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

T = TypeVar("T")


class OverlayHost:
    """Facts that change as steps are carried out; `wireguard_kind` is what this kernel makes of a WireGuard link."""

    def __init__(self, facts: Facts, wireguard_kind: str = "tun") -> None:
        self.facts = facts
        self.wireguard_kind = wireguard_kind

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        """Obey the steps in order; a step that no kernel would take fails the test."""
        for action in actions:
            self._obey_rules(action)
            self._obey_links(action)
            self._obey_paths(action)

    def _obey_rules(self, action: Action) -> None:
        match action:
            case EnableForwarding():
                self._set(ip_forward=True)
            case LoadRules(script=script):
                self._set(table=script.split("chain script_", 1)[1].split(" ", 1)[0])
            case DropRules():
                assert self.facts.table is not None
                self._set(table=None)
            case PutDockerRule(rule=rule):
                assert self.facts.docker_rules is not None
                self._set(docker_rules=(rule, *self.facts.docker_rules))
            case RemoveDockerRule(rule=rule):
                assert self.facts.docker_rules is not None
                assert rule in self.facts.docker_rules
                self._set(docker_rules=tuple(old for old in self.facts.docker_rules if old != rule))

    def _obey_links(self, action: Action) -> None:
        match action:
            case CreateTunnel(link=name, vxlan=vxlan, mac=mac):
                assert self.facts.link(name) is None
                kind = "vxlan" if vxlan else self.wireguard_kind
                link = Link(name, kind, 1420, False, mac=mac, vxlan=vxlan, tx_checksum=True if vxlan else None)
                self._set(links=(*self.facts.links, link))
                if vxlan is None:
                    self._set(wireguard=WireGuard(b"", 1))
                if kind == "tun":
                    self._set(sockets=(*self.facts.sockets, name))
            case SetLink(link=name, mtu=mtu):
                self._change_link(name, mtu=mtu, is_up=True, mark=MARK)
            case StopChecksumOffload(link=name):
                self._change_link(name, tx_checksum=False)
            case RemoveTunnel(link=name):
                self._remove(name)
            case ConfigureWireGuard():
                self._configure(action)

    def _obey_paths(self, action: Action) -> None:
        facts = self.facts
        match action:
            case PutAddress(address=address):
                assert facts.link(address.link)
                place = (address.link, address.address, address.prefix)
                others = [at for at in facts.addresses if (at.link, at.address, at.prefix) != place]
                self._set(addresses=(*others, address))
            case RemoveAddress(address=address):
                self._set(addresses=_without(facts.addresses, address))
            case PutRoute(route=route, replace=is_replacing):
                old = next((at for at in facts.routes if (at.dst, at.metric) == (route.dst, route.metric)), None)
                assert (old is not None) == is_replacing
                assert old is None or old.proto == ROUTE_PROTOCOL, "a route of somebody else's was replaced"
                link = facts.link(route.link) if route.link else None
                assert route.link is None or (link and link.is_up)
                self._set(routes=(*(at for at in facts.routes if at != old), route))
            case RemoveRoute(route=route):
                assert route.proto == ROUTE_PROTOCOL
                self._set(routes=_without(facts.routes, route))
            case PutNeighbour(neighbour=neighbour):
                others_near = [at for at in facts.neighbours if at.address != neighbour.address]
                self._set(neighbours=(*others_near, neighbour))
            case RemoveNeighbour(neighbour=neighbour):
                self._set(neighbours=_without(facts.neighbours, neighbour))
            case PutForwarding(forwarding=way):
                self._set(forwarding=(*(at for at in facts.forwarding if at.mac != way.mac), way))
            case RemoveForwarding(forwarding=way):
                self._set(forwarding=_without(facts.forwarding, way))

    def _configure(self, step: ConfigureWireGuard) -> None:
        have = self.facts.wireguard
        assert have is not None
        peers = {peer.public_key: peer for peer in have.peers}
        for change in step.peers:
            if change.remove:
                del peers[change.public_key]
                continue
            if change.allowed is not None:
                # A range belongs to one peer: the last that is given it.
                gone = frozenset(change.allowed)
                peers = {key: replace(peer, allowed=peer.allowed - gone) for key, peer in peers.items()}
            peers[change.public_key] = _changed(peers.get(change.public_key), change)
        private_key = have.private_key if step.private_key is None else step.private_key
        listen_port = have.listen_port if step.listen_port is None else step.listen_port
        self._set(wireguard=WireGuard(private_key, listen_port, tuple(peers.values())))

    def _change_link(self, name: str, **fields: Any) -> None:
        assert self.facts.link(name)
        self._set(links=tuple(replace(at, **fields) if at.name == name else at for at in self.facts.links))

    def _remove(self, name: str) -> None:
        facts, link = self.facts, self.facts.link(name)
        self._set(
            links=tuple(at for at in facts.links if at.name != name),
            addresses=tuple(at for at in facts.addresses if at.link != name),
            routes=tuple(at for at in facts.routes if at.link != name),
            sockets=tuple(at for at in facts.sockets if at != name),
        )
        if link is not None:
            self._set(wireguard=None, neighbours=(), forwarding=())

    def _set(self, **fields: Any) -> None:
        self.facts = replace(self.facts, **fields)


def _without(things: tuple[T, ...], thing: T) -> tuple[T, ...]:
    assert thing in things
    return tuple(at for at in things if at != thing)


def _changed(old: WireGuardPeer | None, change: PeerChange) -> WireGuardPeer:
    peer = old or WireGuardPeer(change.public_key)
    return replace(
        peer,
        endpoint=change.endpoint or peer.endpoint,
        allowed=peer.allowed if change.allowed is None else frozenset(change.allowed),
        keepalive=peer.keepalive if change.keepalive is None else change.keepalive,
    )
