"""The overlay in memory keeps the contract; the real one does so in `tests/live/test_overlay.py`."""

import pytest

from node.plan.overlay_model import Mode
from tests.fakes.overlay import OverlayInMemory
from tests.node.overlay.contract import check_contract
from tests.node.plan.test_overlay import bare_host, make_config


@pytest.mark.parametrize("mode", ["wireguard", "vxlan"])
async def test_overlay_in_memory_keeps_the_contract(mode: Mode) -> None:
    await check_contract(OverlayInMemory(bare_host()), make_config(mode))
