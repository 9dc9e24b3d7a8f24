"""The overlay's loop on a host and an engine in memory: not ended by its watch, gone when asked."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from node.drive.overlaying import NETWORK_NAME, REMOVE_ROUNDS, RETRY_AFTER, Overlaying
from node.drive.wakeup import Wakeup
from node.engine.memory import MemoryEngine
from node.overlay.overlay import Overlay
from node.ports import EngineError, NetworkSpec
from tests.fakes.consensus import ME, leading_alone, now_ms
from tests.fakes.overlay import OverlayInMemory
from tests.node.plan.test_overlay import bare_host


@dataclass(slots=True, eq=False)
class HoldingEngine(MemoryEngine):
    """An engine that does not let go of its network for a while."""

    refusals: int = 0

    async def remove_network(self, name: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise EngineError("failed", "network corral has active endpoints")
        await MemoryEngine.remove_network(self, name)


@dataclass(slots=True, eq=False)
class SlowEngine(MemoryEngine):
    """An engine that takes a while to make a network, and makes it although nobody waits any more."""

    begun: int = 0

    async def ensure_network(self, spec: NetworkSpec) -> None:
        self.begun += 1
        made = trio.Event()

        async def make() -> None:
            await trio.sleep(0.5)
            await MemoryEngine.ensure_network(self, spec)
            made.set()

        trio.lowlevel.spawn_system_task(make)
        await made.wait()


class FragileOverlay(OverlayInMemory):
    """An overlay whose watch breaks off twice, the second time as a nursery does."""

    watches = 0

    async def watch(
        self, wake: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.watches += 1
        if self.watches == 1:
            raise KeyError("odd")
        if self.watches == 2:
            raise ExceptionGroup("watch", [OSError("no netlink"), KeyError("odd")])
        await OverlayInMemory.watch(self, wake, task_status=task_status)


@asynccontextmanager
async def overlaying(engine: MemoryEngine, overlay: OverlayInMemory) -> AsyncIterator[Overlaying]:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        loop = Overlaying(
            me=ME,
            address="192.0.2.1",
            private_key=bytes(32),
            consensus=consensus,
            engine=engine,
            overlay=cast(Overlay, overlay),
            wakeup=Wakeup(),
            ready=trio.Event(),
        )
        await nursery.start(loop.run)
        yield loop
        nursery.cancel_scope.cancel()


async def test_overlay_goes_on_when_its_watch_breaks_off(autojump_clock: MockClock) -> None:
    overlay = FragileOverlay(bare_host())
    async with overlaying(MemoryEngine(now_ms), overlay):
        await trio.sleep(3 * RETRY_AFTER)
        assert overlay.watches == 3


async def test_network_that_is_being_made_is_removed_as_well(autojump_clock: MockClock) -> None:
    engine, overlay = SlowEngine(now_ms), OverlayInMemory(bare_host())
    async with overlaying(engine, overlay) as loop:
        while not engine.begun:
            await trio.sleep(0.01)
        assert not engine.networks
        await loop.remove()
        await trio.sleep(60)
        assert not engine.networks
        assert overlay.applied[-1] is None


async def test_network_that_is_still_held_is_removed_a_little_later(autojump_clock: MockClock) -> None:
    engine, overlay = HoldingEngine(now_ms, refusals=2), OverlayInMemory(bare_host())
    async with overlaying(engine, overlay) as loop:
        await trio.sleep(60)
        await loop.remove()
        assert not engine.networks
        assert overlay.applied[-1] is None


async def test_network_that_cannot_be_removed_is_named_and_all_else_goes(autojump_clock: MockClock) -> None:
    engine, overlay = HoldingEngine(now_ms, refusals=REMOVE_ROUNDS), OverlayInMemory(bare_host())
    async with overlaying(engine, overlay) as loop:
        await trio.sleep(60)
        with pytest.raises(EngineError, match=f"network {NETWORK_NAME} is still here.*active endpoints"):
            await loop.remove()
        assert overlay.applied[-1] is None
        await loop.remove()
