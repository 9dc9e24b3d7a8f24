"""From the replicated state to the overlay that one host is to have: its subnet, and the hosts of its environment.

Pure.  Hosts of other environments are no peers: no route leads to them and no key of theirs is accepted.
"""

from node.model import Host, State
from node.plan.overlay_model import OverlayConfig, Peer, gateway_of


def render_overlay(state: State, host: Host, private_key: bytes, listen_address: str) -> OverlayConfig:
    """Return what the overlay of `host` should be; `private_key` is the host's own and never in the state."""
    peers = tuple(
        Peer(
            node=other.node,
            subnet=other.subnet,
            gateway=gateway_of(other.subnet),
            endpoint=other.address,
            port=other.overlay_port,
            public_key=other.overlay_key,
        )
        for other in sorted(state.hosts.values(), key=lambda each: each.id)
        if other.id != host.id
        and other.environment_id == host.environment_id
        and other.state != "removed"
        and other.subnet
        and other.address
    )
    return OverlayConfig(
        mode=state.cluster.overlay_mode,
        network=state.cluster.overlay_network,
        subnet=host.subnet,
        gateway=gateway_of(host.subnet),
        listen_port=host.overlay_port,
        underlay_address=listen_address,
        private_key=private_key,
        peers=peers,
    )
