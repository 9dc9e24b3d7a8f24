"""The agent: the only writer to this host's engine.  Makes it match the state and reports what it saw.

Level-triggered: woken by a new state, an engine event or a finished step, it lists, plans and acts.  Steps run side
by side, one per container at a time; how many and in which order is decided by `node.plan.agent`, not here.
"""

import logging
from collections.abc import Callable

import trio

from node.commands import Observation, ReportContainers
from node.drive.consensus import Consensus
from node.drive.wakeup import Wakeup
from node.model import Host, host_of_node
from node.plan.agent import pick_own, plan_host
from node.plan.agent_steps import (
    AgentMemory,
    AnyAction,
    Create,
    Pull,
    Remove,
    Restart,
    Start,
    Stop,
    note_begun,
    note_done,
    note_failed,
    note_report_lost,
    note_reported,
    pruned,
)
from node.ports import Engine, EngineContainer, EngineError, RefusedError, Unavailable
from protocol.ids import NodeId

SETTLE = 0.005
APART = 0.02
"""While changes never end, the engine is asked no more often."""
AT_LEAST_EVERY = 30.0
ENGINE_RETRY = 2.0
STEPS_AT_ONCE = 6
"""More creations at once make an engine slower, not faster."""
REMOVE_TIMEOUT = 5.0
REMOVE_ROUNDS = 3
LAST_STEPS_TIMEOUT = 60.0

log = logging.getLogger("corral.agent")


class Agent:
    """The agent's loop on this host; nothing is made or started before `ready` is set: it would have no network."""

    def __init__(
        self, me: NodeId, consensus: Consensus, engine: Engine, *, ready: trio.Event, now_ms: Callable[[], int]
    ) -> None:
        self._me = me
        self._consensus = consensus
        self._engine = engine
        self._ready = ready
        self._now_ms = now_ms
        self._memory = AgentMemory()
        self._limit = trio.CapacityLimiter(STEPS_AT_ONCE)
        self._reporting = trio.Lock()
        self._is_leaving: bool = False
        self.wakeup = Wakeup()
        self.trouble: str | None = None
        """Why the engine cannot be used, for `status`."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look and act until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._engine.watch, self.wakeup.set)
            nursery.start_soon(self._wake_when_ready)
            task_status.started()
            await self._consensus.wait_state()
            while True:
                wait = AT_LEAST_EVERY
                try:
                    wait = await self._look(nursery)
                    self.trouble = None
                except EngineError as error:
                    if self.trouble is None:
                        log.warning("the engine cannot be used: %s", error)
                    self.trouble = str(error)
                    wait = ENGINE_RETRY
                await self.wakeup.wait(at_most=wait, settle=SETTLE, apart=APART)

    async def _wake_when_ready(self) -> None:
        await self._ready.wait()
        self.wakeup.set()

    async def remove_all(self) -> None:
        """Stop and remove every container of ours on this host: it leaves.  EngineError says what remains."""
        self._is_leaving = True
        with trio.move_on_after(LAST_STEPS_TIMEOUT):
            await self._wait_last_steps()
        for _ in range(REMOVE_ROUNDS):
            left = await self._list_own()
            if not left:
                return
            async with trio.open_nursery() as nursery:
                for container in left:
                    nursery.start_soon(self._remove_one, container)
        if left := await self._list_own():
            names = ", ".join(sorted(one.name for one in left))
            raise EngineError("failed", f"these containers are still here: {names}; `docker rm -f` them")

    async def _wait_last_steps(self) -> None:
        """Wait for what makes or starts a container at this moment; a pull makes none, and may take very long."""
        while any(one.busy not in (None, Pull) for one in self._memory.attempts.values()):
            await trio.sleep(0.1)

    async def _list_own(self) -> tuple[EngineContainer, ...]:
        return pick_own(self._consensus.state, await self._engine.list_containers())

    async def _remove_one(self, container: EngineContainer) -> None:
        async with self._limit:
            try:
                await self._engine.stop(container.external_id, REMOVE_TIMEOUT)
                await self._engine.remove(container.external_id)
            except EngineError as error:
                log.warning("container %s is not removed yet: %s", container.name, error)

    async def _look(self, nursery: trio.Nursery) -> float:
        """Make one round; return how long to wait for the next if nothing happens."""
        host = host_of_node(self._consensus.state, self._me)
        if host is None:
            return AT_LEAST_EVERY
        # As it was before the listing: a step that ends meanwhile may not show in the list, so it still counts as busy.
        memory = self._memory
        have = await self._engine.list_containers()
        # Read after the listing: a row that the state has lost meanwhile must not make its container a stray.
        state, now = self._consensus.state, self._now_ms()
        self._forget_what_is_gone(host, have)
        plan = plan_host(state, host.id, have, memory, now, state_is_current=self._consensus.is_current)
        if plan.observations:
            self._memory = note_reported(self._memory, plan.observations)
            nursery.start_soon(self._report, plan.observations)
        for action in filter(self._may_begin, plan.actions):
            log.info("%s: %s", type(action).__name__.lower(), action.why)
            self._memory = note_begun(self._memory, action)
            nursery.start_soon(self._act, action)
        return AT_LEAST_EVERY if plan.wake_at is None else max(0.0, (plan.wake_at - now) / 1000)

    def _may_begin(self, action: AnyAction) -> bool:
        if self._is_leaving:
            return False
        return self._ready.is_set() or isinstance(action, Stop | Remove)

    def _forget_what_is_gone(self, host: Host, have: tuple[EngineContainer, ...]) -> None:
        rows = [row for row in self._consensus.state.containers.values() if row.host_id == host.id]
        keys = {row.uuid for row in rows} | {one.external_id for one in have}
        self._memory = pruned(self._memory, keys, {row.id for row in rows})

    async def _act(self, action: AnyAction) -> None:
        async with self._limit:
            try:
                await carry_out(self._engine, action)
            except EngineError as error:
                log.warning("%s failed: %s", action.why, error)
                self._memory = note_failed(self._memory, action, error.code, str(error), self._now_ms())
            else:
                self._memory = note_done(self._memory, action)
        self.wakeup.set()

    async def _report(self, observations: tuple[Observation, ...]) -> None:
        """Tell the cluster; one report at a time, so that a later one never overtakes an earlier one."""
        async with self._reporting:
            try:
                await self._consensus.submit(ReportContainers(node=self._me, observations=observations))
            except (Unavailable, RefusedError) as error:
                log.debug("a report did not get through: %s", error)
                self._memory = note_report_lost(self._memory)
                await trio.sleep(1.0)
                self.wakeup.set()


async def carry_out(engine: Engine, action: AnyAction) -> None:
    """Have the engine do one step; EngineError if it cannot."""
    match action:
        case Pull(image=image):
            await engine.pull(image)
        case Create(spec=spec):
            await engine.start(await engine.create(spec))
        case Start(external_id=external_id):
            await engine.start(external_id)
        case Stop(external_id=external_id, timeout=timeout):
            await engine.stop(external_id, timeout)
        case Restart(external_id=external_id, timeout=timeout):
            await engine.stop(external_id, timeout)
            await engine.start(external_id)
        case Remove(external_id=external_id):
            await engine.remove(external_id)
