"""What every overlay does, the one in memory and the real one: plain assertions, run by a test of each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import trio

from node.plan.overlay_model import Findings, OverlayConfig, OverlayReport


class AnyOverlay(Protocol):
    """The port, as far as the contract goes."""

    async def apply(self, config: OverlayConfig | None) -> OverlayReport: ...
    async def inspect(self) -> OverlayReport: ...
    async def watch(self, wake: Callable[[], None], *, task_status: trio.TaskStatus[None] = ...) -> None: ...
    async def probe(self, network: str, port: int, ours: tuple[str, ...] = ()) -> Findings: ...


async def check_contract(overlay: AnyOverlay, config: OverlayConfig) -> None:
    """Put an overlay through its life on a host that has the underlay address and nothing of ours; for two peers."""
    assert (await overlay.inspect()).kind is None
    findings = await overlay.probe(config.network, config.listen_port)
    assert config.underlay_address in [underlay.address for underlay in findings.underlays]
    first = await overlay.apply(config)
    assert first.done
    assert first.failures == ()
    assert first.kind is not None
    assert first.mtu is not None
    again = await overlay.apply(config)
    assert again.done == ()
    assert replace(await overlay.inspect(), peers=()) == replace(again, peers=())
    assert {peer.node for peer in again.peers} == {peer.node for peer in config.peers}
    await check_watch(overlay, replace(config, peers=config.peers[:1]))
    gone = await overlay.apply(None)
    assert (gone.kind, gone.mtu, gone.peers, gone.failures) == (None, None, (), ())
    assert (await overlay.apply(None)).done == ()


async def check_watch(overlay: AnyOverlay, config: OverlayConfig) -> None:
    """A change wakes; the report that follows has only the peers that are left."""
    woken = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(overlay.watch, woken.set)
        report = await overlay.apply(config)
        assert [peer.node for peer in report.peers] == [peer.node for peer in config.peers]
        with trio.fail_after(5):
            await woken.wait()
        nursery.cancel_scope.cancel()
