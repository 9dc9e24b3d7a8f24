"""Who is a peer of a host's overlay: the other hosts of its environment, and nobody else."""

import msgspec

from node.commands import CreateEnvironment, RemoveHost
from node.model import State
from node.plan.overlay_model import OverlayConfig, gateway_of
from node.plan.peers import render_overlay
from tests.fakes.states import admit, done, grown, node_id, only_host

PRIVATE = bytes(range(32))


def overlay_of(state: State, number: int) -> OverlayConfig:
    return render_overlay(state, only_host(state, number), PRIVATE, "192.0.2.77")


def test_overlay_has_the_hosts_own_subnet_port_and_key() -> None:
    state = grown(1)
    config, host = overlay_of(state, 1), only_host(state, 1)
    assert (config.subnet, config.gateway) == (host.subnet, gateway_of(host.subnet))
    assert (config.listen_port, config.underlay_address, config.private_key) == (51820, "192.0.2.77", PRIVATE)
    assert (config.mode, config.network) == ("wireguard", "10.42.0.0/16")
    assert config.peers == ()


def test_peers_are_the_other_hosts_in_the_order_of_their_ids() -> None:
    state = grown(3)
    peers = overlay_of(state, 2).peers
    assert [peer.node for peer in peers] == [node_id(1), node_id(3)]
    third = only_host(state, 3)
    assert (peers[1].subnet, peers[1].endpoint, peers[1].port) == (third.subnet, third.address, 51820)
    assert peers[1].gateway == gateway_of(third.subnet)


def test_removed_hosts_are_no_peers() -> None:
    state = grown(3)
    state = done(state, RemoveHost(id=only_host(state, 3).id))
    assert [peer.node for peer in overlay_of(state, 1).peers] == [node_id(2)]


def test_hosts_of_other_environments_are_no_peers() -> None:
    state = done(grown(2), CreateEnvironment(uuid="other", name="other"))
    other = next(key for key, one in state.environments.items() if one.name == "other")
    state = done(state, admit(3, environment_id=other))
    assert [peer.node for peer in overlay_of(state, 1).peers] == [node_id(2)]
    assert overlay_of(state, 3).peers == ()


def test_host_without_an_address_is_no_peer_yet() -> None:
    state = grown(1)
    state = done(state, msgspec.structs.replace(admit(2), address=""))
    assert overlay_of(state, 1).peers == ()
