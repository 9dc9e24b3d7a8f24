"""The agent on a real plan and an engine in memory: it makes, mends, leaves alone, reports once, and waits."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateService, CreateStack, RemoveService
from node.drive.agent import ENGINE_RETRY, Agent
from node.drive.consensus import Consensus
from node.drive.leading import Leading
from node.engine.memory import NAME_LABEL, UUID_LABEL, MemoryEngine
from node.model import DEFAULT_ENVIRONMENT_ID, Container
from node.ports import ContainerSpec, EngineContainer, EngineError
from tests.fakes.consensus import ME, leading_alone, now_ms
from tests.fakes.states import launch

FOREIGN = ContainerSpec(name="r-shop_web_1", image="somebody/else", labels={})


def labels_of(name: str) -> dict[str, str]:
    return {UUID_LABEL: f"uuid-of-{name}", NAME_LABEL: name}


@dataclass(slots=True, eq=False)
class SharedEngine(MemoryEngine):
    """An engine that runs containers of others too: they hold names and are not listed, as with Docker's filter.

    Creations and removals can be slow or refused.
    """

    creation_takes: float = 0.0
    removals_refused: int = 0

    async def create(self, spec: ContainerSpec) -> str:
        await trio.sleep(self.creation_takes)
        return await MemoryEngine.create(self, spec)

    async def remove(self, external_id: str) -> None:
        if self.removals_refused:
            self.removals_refused -= 1
            raise EngineError("failed", "removal is under way")
        await MemoryEngine.remove(self, external_id)

    async def list_containers(self) -> tuple[EngineContainer, ...]:
        return tuple(one for one in await MemoryEngine.list_containers(self) if one.uuid)


@dataclass(eq=False)
class OneHost:
    """A one-host cluster with its leader's and its agent's loop."""

    consensus: Consensus
    engine: SharedEngine
    agent: Agent

    async def create_service(self, scale: int = 1) -> int:
        stack = CreateStack(uuid="stack", environment_id=DEFAULT_ENVIRONMENT_ID, name="shop")
        stack_id = (await self.consensus.submit(stack)).id
        service = CreateService(
            uuid="service", stack_id=stack_id, name="web", launch=launch(), scale=scale, start_on_create=True
        )
        return (await self.consensus.submit(service)).id

    def rows(self) -> list[Container]:
        return [row for row in self.consensus.state.containers.values() if row.removed is None]

    def are_running(self, count: int) -> bool:
        return [row.seen.status for row in self.rows()] == ["running"] * count

    def held(self) -> list[EngineContainer]:
        return [held.seen for held in self.engine._held.values() if held.seen.uuid]


@asynccontextmanager
async def one_host(*, is_ready: bool = True) -> AsyncIterator[OneHost]:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        leading = Leading(ME, consensus, dead_since=dict, plan_seals=lambda state: (), now_ms=now_ms, rng=Random(3))
        ready = trio.Event()
        if is_ready:
            ready.set()
        engine = SharedEngine(now_ms)
        agent = Agent(ME, consensus, engine, ready=ready, now_ms=now_ms)
        consensus.listen(lambda state, changes: leading.wakeup.set())
        consensus.listen(lambda state, changes: agent.wakeup.set())
        await nursery.start(leading.run)
        await nursery.start(agent.run)
        yield OneHost(consensus, engine, agent)
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.05)


async def test_agent_runs_what_is_placed_here_and_says_so(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service(scale=2)
        await until(lambda: host.are_running(2))
        assert {one.uuid for one in host.held()} == {row.uuid for row in host.rows()}
        assert {one.status for one in host.held()} == {"running"}


async def test_agent_creates_nothing_before_the_network_is_ready(autojump_clock: MockClock) -> None:
    async with one_host(is_ready=False) as host:
        await host.create_service()
        await trio.sleep(60)
        assert not host.held()
        host.agent._ready.set()
        await until(lambda: host.are_running(1))


async def test_agent_reports_stops_and_removes_while_the_network_is_not_ready(autojump_clock: MockClock) -> None:
    async with one_host(is_ready=False) as host:
        stray = await host.engine.create(ContainerSpec(name="r-old", image="x", labels=labels_of("old")))
        await host.engine.start(stray)
        await until(lambda: not host.held())


async def test_agent_makes_a_container_again_that_was_deleted_by_hand(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service()
        await until(lambda: host.are_running(1))
        (before,) = host.held()
        await host.engine.remove(before.external_id)
        await until(lambda: [row.seen.external_id for row in host.rows()] not in ([None], [before.external_id]))
        (after,) = host.held()
        assert (after.uuid, after.status) == (before.uuid, "running")


async def test_agent_starts_a_container_again_that_ended(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service()
        await until(lambda: host.are_running(1))
        host.engine.exit(host.held()[0].external_id, 1)
        await until(lambda: host.are_running(1) and host.rows()[0].seen.starts == 2)


async def test_agent_leaves_a_strangers_container_alone_even_when_it_holds_the_name(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        foreign = await host.engine.create(FOREIGN)
        await host.engine.start(foreign)
        await host.create_service()
        await until(lambda: host.are_running(1))
        assert [one.name for one in host.held()] == [host.rows()[0].uuid], "the name belongs to somebody else"
        assert host.engine._held[foreign].seen.status == "running"
        await host.agent.remove_all()
        assert list(host.engine._held) == [foreign]


async def test_agent_removes_what_the_cluster_does_not_know(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        stray = await host.engine.create(ContainerSpec(name="r-old", image="x", labels=labels_of("old")))
        await host.engine.start(stray)
        await until(lambda: not host.held())


async def test_agent_removes_the_containers_of_a_removed_service(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        service_id = await host.create_service(scale=3)
        await until(lambda: host.are_running(3))
        await host.consensus.submit(RemoveService(id=service_id))
        await until(lambda: not host.held() and not host.rows())


async def test_agent_reports_a_change_once(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service(scale=2)
        await until(lambda: host.are_running(2))
        await trio.sleep(5)
        before = host.consensus.consensus.applied_index
        await trio.sleep(300)
        assert host.consensus.consensus.applied_index == before, "nothing happened, and something was said"


async def test_agent_names_an_engine_that_is_down_and_goes_on_once_it_is_back(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        host.engine.is_up = False
        await host.create_service()
        await until(lambda: host.agent.trouble is not None)
        assert host.agent.trouble == "the engine does not answer"
        assert not host.held()
        host.engine.is_up = True
        await until(lambda: host.are_running(1), seconds=3 * ENGINE_RETRY)
        assert host.agent.trouble is None


async def test_agent_that_leaves_removes_everything_and_makes_nothing_more(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service(scale=2)
        await until(lambda: host.are_running(2))
        await host.agent.remove_all()
        await trio.sleep(60)
        assert not host.held()


async def test_agent_that_leaves_waits_for_a_container_that_is_being_made(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        host.engine.creation_takes = 20.0
        await host.create_service(scale=2)
        await until(lambda: bool(host.agent._memory.attempts))
        await host.agent.remove_all()
        await trio.sleep(60)
        assert not host.held()


async def test_agent_that_leaves_tries_again_what_cannot_be_removed_at_once(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service(scale=2)
        await until(lambda: host.are_running(2))
        host.engine.removals_refused = 2
        await host.agent.remove_all()
        assert not host.held()


async def test_agent_that_leaves_says_what_it_cannot_remove(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service()
        await until(lambda: host.are_running(1))
        host.engine.removals_refused = 1000
        with pytest.raises(EngineError, match=host.held()[0].name):
            await host.agent.remove_all()


async def test_agent_that_leaves_leaves_alone_what_was_committed_from_ours(autojump_clock: MockClock) -> None:
    async with one_host() as host:
        await host.create_service()
        await until(lambda: host.are_running(1))
        (ours,) = host.engine._held.values()
        theirs = await host.engine.create(ContainerSpec(name="curie", image="committed", labels=ours.spec.labels))
        await host.agent.remove_all()
        assert list(host.engine._held) == [theirs]
