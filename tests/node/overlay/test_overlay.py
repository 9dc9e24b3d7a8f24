"""The overlay in memory keeps the contract; the real one does so in `tests/live/test_overlay.py`."""

import socket

import pytest

from node.overlay.overlay import drain
from node.plan.overlay_model import Mode
from tests.fakes.overlay import OverlayInMemory
from tests.node.overlay.contract import check_contract
from tests.node.plan.test_overlay import bare_host, make_config


@pytest.mark.parametrize("mode", ["wireguard", "vxlan"])
async def test_overlay_in_memory_keeps_the_contract(mode: Mode) -> None:
    await check_contract(OverlayInMemory(bare_host()), make_config(mode))


def test_drain_takes_a_burst_of_messages_at_once() -> None:
    kernel, watched = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, watched:
        watched.setblocking(False)
        for _ in range(5):
            kernel.send(b"a link changed")
        drain(watched)
        with pytest.raises(BlockingIOError):
            watched.recv(1)
