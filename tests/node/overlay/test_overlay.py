"""The overlay in memory keeps the contract; the real one does so in `tests/live/test_overlay.py`."""

import socket
import struct

import pytest

from node.overlay.overlay import drain
from node.plan.overlay_model import Mode
from tests.fakes.overlay import OverlayInMemory
from tests.node.overlay.contract import check_contract
from tests.node.plan.test_overlay import bare_host, make_config


@pytest.mark.parametrize("mode", ["wireguard", "vxlan"])
async def test_overlay_in_memory_keeps_the_contract(mode: Mode) -> None:
    await check_contract(OverlayInMemory(bare_host()), make_config(mode))


LINK_ADDED, LINK_GONE, ROUTE_ADDED = 16, 17, 24


def make_message(kind: int, name: str) -> bytes:
    """Return a message of rtnetlink(7) about a link, its attributes an MTU and its name."""
    mtu = struct.pack("=HHI", 8, 4, 1500)
    named = struct.pack("=HH", 5 + len(name), 3) + name.encode() + b"\0"
    body = bytes(16) + mtu + named + bytes(-len(named) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def drain_after(*messages: bytes) -> bool:
    kernel, watched = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, watched:
        watched.setblocking(False)
        for message in messages:
            kernel.send(message)
        is_reason = drain(watched)
        with pytest.raises(BlockingIOError):
            watched.recv(1)
        return is_reason


@pytest.mark.parametrize("kind", [LINK_ADDED, LINK_GONE])
def test_watch_lets_the_links_of_containers_come_and_go(kind: int) -> None:
    assert not drain_after(*[make_message(kind, "veth12ab34c")] * 5)


@pytest.mark.parametrize("kind", [LINK_ADDED, LINK_GONE])
def test_watch_takes_a_link_for_a_reason_to_look_when_it_may_be_ours(kind: int) -> None:
    assert drain_after(make_message(kind, "veth12ab34c"), make_message(kind, "corral0"))


@pytest.mark.parametrize("message", [b"", b"?", make_message(ROUTE_ADDED, "veth1"), make_message(LINK_ADDED, "")[:32]])
def test_watch_takes_all_other_messages_for_a_reason_to_look(message: bytes) -> None:
    assert drain_after(message)
