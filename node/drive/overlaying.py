"""Keeps this host's bridge network and overlay what the state says, and reports what is in use.

Level-triggered: woken by a changed set of hosts, by netlink and by time; reads, compares, mends.  While the daemon is
down everything it made goes on working.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from node.drive.consensus import Consensus
from node.drive.wakeup import Wakeup
from node.model import Host, host_of_node
from node.overlay.overlay import Overlay
from node.plan.overlay_model import OverlayReport, gateway_of
from node.plan.peers import render_overlay
from node.ports import Engine, EngineError, NetworkSpec
from protocol.ids import NodeId

AT_LEAST_EVERY = 60.0
RETRY_AFTER = 2.0
REMOVE_ROUNDS = 5
ATTEMPT_TIMEOUT = 30.0
"""How long what was begun is waited for before all is removed: an engine that hangs has no end."""
NETWORK_NAME = "corral"
BRIDGE = "corral0"

log = logging.getLogger("corral.overlay")


@dataclass(slots=True, eq=False)
class Overlaying:
    """The overlay's loop on this host; `ready` is set once containers may be attached."""

    me: NodeId
    address: str
    private_key: bytes
    consensus: Consensus
    engine: Engine
    overlay: Overlay
    wakeup: Wakeup
    ready: trio.Event
    on_news: Callable[[], None] = lambda: None
    """Called when another kind of tunnel, or another MTU, has come into use."""
    report: OverlayReport | None = None
    trouble: str | None = None
    """Why the overlay is not as it should be, for `status` and `doctor`."""
    _loop: trio.CancelScope = field(default_factory=trio.CancelScope)
    _is_ending: bool = False
    _ended: trio.Event = field(default_factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply until cancelled, or until all is to be removed."""
        try:
            with self._loop:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch)
                    task_status.started()
                    while not self._is_ending:
                        wait = AT_LEAST_EVERY if await self._attempt(self._apply) else RETRY_AFTER
                        await self.wakeup.wait(at_most=wait, settle=0.05)
                    nursery.cancel_scope.cancel()
        finally:
            self._ended.set()

    async def remove(self) -> None:
        """Take away all trace, the bridge network included; containers must be gone.

        EngineError says what of it remains, after some attempts.
        """
        # The loop would see that something is missing and make it again.  What it has begun is waited for: the engine
        # goes on with a request that is given up, and would make the network after it was removed.
        self._is_ending = True
        self.wakeup.set()
        with trio.move_on_after(ATTEMPT_TIMEOUT):
            await self._ended.wait()
        self._loop.cancel()
        await self._ended.wait()
        left = 0
        # The engine lets go of a container's end of the network a moment after the container.
        while not await self._attempt(lambda: self.engine.remove_network(NETWORK_NAME)):
            left += 1
            if left == REMOVE_ROUNDS:
                break
            await trio.sleep(RETRY_AFTER)
        await self.overlay.apply(None)
        if left == REMOVE_ROUNDS:
            what = f"the Docker network {NETWORK_NAME} is still here: {self.trouble}"
            raise EngineError("failed", f"{what}; `docker network rm {NETWORK_NAME}`")

    async def _watch(self) -> None:
        while True:
            try:
                await self.overlay.watch(self.wakeup.set)
            except* Exception:
                # Unwatched, the overlay is still looked at every AT_LEAST_EVERY: nothing here is worth the daemon.
                log.exception("watching the overlay broke off")
            await trio.sleep(RETRY_AFTER)

    async def _attempt(self, step: Callable[[], Awaitable[None]]) -> bool:
        """Do `step`; what the host or the engine refuses is kept as trouble and tried again later."""
        try:
            await step()
        except (EngineError, OSError, ValueError, RuntimeError) as error:
            if str(error) != self.trouble:
                log.warning("the overlay is not complete: %s", error)
            self.trouble = str(error)
            return False
        return True

    async def _apply(self) -> None:
        if not self.consensus.has_state:
            return
        state = self.consensus.state
        host = host_of_node(state, self.me)
        if host is None or not host.subnet:
            return
        config = render_overlay(state, host, self.private_key, self.address)
        report = await self.overlay.apply(config)
        if report.mtu is not None:
            # The bridge is Docker's to make, with the MTU of the tunnel; what belongs on it follows once it is there.
            await self.engine.ensure_network(_network_of(host, report.mtu))
            report = await self.overlay.apply(config) if report.failures else report
        is_news = self.report is None or (self.report.kind, self.report.mtu) != (report.kind, report.mtu)
        self.report = report
        if is_news:
            self.on_news()
        if report.failures:
            raise RuntimeError("; ".join(report.failures))
        self.trouble = None
        self.ready.set()


def _network_of(host: Host, mtu: int) -> NetworkSpec:
    return NetworkSpec(name=NETWORK_NAME, bridge=BRIDGE, subnet=host.subnet, gateway=gateway_of(host.subnet), mtu=mtu)
