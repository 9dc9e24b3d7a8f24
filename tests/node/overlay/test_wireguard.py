"""The two forms in which a WireGuard change is told to a device and read back."""

import importlib
from random import Random
from typing import Any

import pytest

from node.overlay.uapi import parse_device, parse_errno, render_set
from node.overlay.wireguard import WireGuardError, kernel_peer, parse_kernel, start_process
from node.plan.overlay_model import WireGuard, WireGuardPeer
from node.plan.overlay_steps import ConfigureWireGuard, PeerChange

KEY, PEER, OTHER = (Random(seed).randbytes(32) for seed in range(3))

ANSWER = f"""private_key={KEY.hex()}
listen_port=51820
public_key={PEER.hex()}
preshared_key={"00" * 32}
protocol_version=1
endpoint=192.0.2.7:51821
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=148
rx_bytes=92
persistent_keepalive_interval=25
allowed_ip=10.42.7.0/24
public_key={OTHER.hex()}
errno=0

"""


def test_set_names_only_what_changes() -> None:
    step = ConfigureWireGuard(
        "corral-wg",
        None,
        51820,
        (PeerChange(OTHER, remove=True), PeerChange(PEER, False, ("192.0.2.7", 51821), ("10.42.7.0/24",), 25)),
        "why",
    )
    assert render_set(step).decode().splitlines() == [
        "set=1",
        "listen_port=51820",
        f"public_key={OTHER.hex()}",
        "remove=true",
        f"public_key={PEER.hex()}",
        "endpoint=192.0.2.7:51821",
        "persistent_keepalive_interval=25",
        "replace_allowed_ips=true",
        "allowed_ip=10.42.7.0/24",
        "",
    ]


def test_private_key_is_not_shown_when_a_step_is_printed() -> None:
    assert KEY.hex() not in repr(ConfigureWireGuard("corral-wg", KEY, None, (), "why"))
    assert repr(KEY) not in repr(WireGuard(KEY, 1))


def test_get_is_read_back() -> None:
    assert parse_device(ANSWER) == WireGuard(
        KEY,
        51820,
        (
            WireGuardPeer(PEER, ("192.0.2.7", 51821), frozenset({"10.42.7.0/24"}), 25, 1700000000.0, 92, 148),
            WireGuardPeer(OTHER),
        ),
    )


def test_fresh_device_without_a_key_is_read() -> None:
    assert parse_device("listen_port=4\nerrno=0\n\n") == WireGuard(b"", 4)


def test_error_number_is_found_at_the_end() -> None:
    assert parse_errno("errno=-22\n\n") == -22
    with pytest.raises(ValueError, match="errno="):
        parse_errno("listen_port=4\n")


def through_netlink(*peers: dict[str, Any]) -> WireGuard:
    """Encode a request as pyroute2 does for the kernel, and read the bytes as an answer of the kernel's."""
    library: Any = importlib.import_module("pyroute2.netlink.generic.wireguard")
    builder = library.AsyncWireGuard.__new__(library.AsyncWireGuard)
    messages = []
    for peer in peers:
        message = library.wgmsg()
        builder._wg_set_peer(message, peer)
        message.encode()
        decoded = library.wgmsg(message.data)
        decoded.decode()
        messages.append(decoded)
    return parse_kernel(messages)


def test_kernel_request_holds_the_whole_peer() -> None:
    change = PeerChange(PEER, False, ("192.0.2.7", 51821), ("10.42.7.0/24",), 25)
    expected = WireGuardPeer(PEER, ("192.0.2.7", 51821), frozenset({"10.42.7.0/24"}), 25)
    assert through_netlink(kernel_peer(change)).peers == (expected,)


def test_kernel_answer_of_many_messages_joins_the_ranges_of_a_peer() -> None:
    first = PeerChange(PEER, False, ("192.0.2.7", 51821), ("10.42.7.0/24",), 25)
    rest = PeerChange(PEER, allowed=("10.42.8.0/24",))
    (peer,) = through_netlink(kernel_peer(first), kernel_peer(rest)).peers
    assert peer.allowed == {"10.42.7.0/24", "10.42.8.0/24"}
    assert peer.endpoint == ("192.0.2.7", 51821)


def test_kernel_request_for_a_removal_says_nothing_else() -> None:
    assert set(kernel_peer(PeerChange(PEER, remove=True))) == {"public_key", "remove"}
    assert set(kernel_peer(PeerChange(PEER, endpoint=("192.0.2.7", 1)))) == {
        "public_key",
        "endpoint_addr",
        "endpoint_port",
    }


def test_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(WireGuardError, match="install the package wireguard-go"):
        start_process("corral-absent", "no-such-wireguard-go")
