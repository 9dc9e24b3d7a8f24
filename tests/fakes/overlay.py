"""An overlay that works on a host in memory: the same plans and reports, no kernel."""

from collections.abc import Callable
from dataclasses import replace

import trio

from node.plan.overlay import plan_overlay, report_overlay
from node.plan.overlay_model import Facts, Findings, OverlayConfig, OverlayReport, Underlay
from tests.fakes.overlay_host import OverlayHost


class OverlayInMemory:
    """Keeps the contract of `node.overlay.Overlay`; a test may change `host.facts` and call `wake_watchers`."""

    def __init__(self, facts: Facts, *, now: float = 0.0) -> None:
        self.host = OverlayHost(facts)
        self.now = now
        self.applied: list[OverlayConfig | None] = []
        self._config: OverlayConfig | None = None
        self._wakes: list[Callable[[], None]] = []

    async def apply(self, config: OverlayConfig | None) -> OverlayReport:
        """Carry the plan out at once."""
        await trio.lowlevel.checkpoint()
        self.applied.append(config)
        told = {peer.public_key: (peer.endpoint, peer.port) for peer in self._config.peers} if self._config else {}
        plan = plan_overlay(config, self.host.facts, told, self.now)
        self.host.carry_out(plan.actions)
        self._config = config
        if plan.actions:
            self.wake_watchers()
        report = report_overlay(config, self.host.facts, self.now)
        return replace(report, done=tuple(action.why for action in plan.actions), warnings=plan.warnings)

    async def inspect(self) -> OverlayReport:
        """Report, changing nothing."""
        await trio.lowlevel.checkpoint()
        plan = plan_overlay(self._config, self.host.facts, {}, self.now)
        owed = tuple(f"owed: {action.why}" for action in plan.actions) if self._config else ()
        report = report_overlay(self._config, self.host.facts, self.now)
        return replace(report, failures=owed, warnings=plan.warnings)

    async def watch(
        self, wake: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Call `wake` after each change."""
        self._wakes.append(wake)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self._wakes.remove(wake)

    async def probe(self, network: str, port: int, ours: tuple[str, ...] = ()) -> Findings:
        """Find a host that has all that an overlay needs, without WireGuard in its kernel."""
        await trio.lowlevel.checkpoint()
        mtus = {link.name: link.mtu for link in self.host.facts.links}
        carriers = (at for at in self.host.facts.addresses if at.link not in ("lo", "corral0", *ours))
        underlays = tuple(Underlay(at.link, at.address, mtus[at.link]) for at in carriers)
        return Findings(False, True, "/usr/bin/wireguard-go", True, None, (), underlays, False)

    def wake_watchers(self) -> None:
        """Wake whoever watches."""
        for wake in self._wakes:
            wake()
