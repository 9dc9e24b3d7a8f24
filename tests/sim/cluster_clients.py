"""Clients of a simulated cluster: they change things through any node and try again until told yes or no.

What they were promised goes to the checker.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import trio

from node.commands import (
    ActivateService,
    AnyCommand,
    CreateContainer,
    CreateService,
    CreateStack,
    DeactivateService,
    RemoveService,
    SetContainerDesired,
    UpdateService,
)
from node.model import DEFAULT_ENVIRONMENT_ID, Done, LaunchConfig
from node.ports import RefusedError, Unavailable
from tests.sim.cluster import Cluster, Life, SimHost
from tests.sim.cluster_check import Checker, Wanted

T = TypeVar("T")

ATTEMPTS = 20
FIRST_PORT = 7000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client was told in the end; `is_sure` if nothing it sent was left unanswered."""

    done: Done | None
    is_sure: bool


async def persist(cluster: Cluster, rng: Random, command: AnyCommand) -> Outcome:
    """Submit through one random node after another until one says yes or no."""
    is_sure = True
    for _ in range(ATTEMPTS):
        hosts = [host for host in cluster.members() if host.life and host.life.consensus.has_state]
        if hosts:
            try:
                done = await submit_at(rng.choice(hosts), command, rng.choice([0.2, 2.0, 10.0]))
            except RefusedError as error:
                # Refused at a second attempt, the first one may have been heard.
                cluster.note("refused", error.code)
                return Outcome(None, is_sure)
            if done is not None:
                cluster.note("done", done.kind, done.id)
                return Outcome(done, is_sure)
            is_sure = False
        await trio.sleep(rng.random())
    return Outcome(None, is_sure)


async def submit_at(host: SimHost, command: AnyCommand, timeout: float) -> Done | None:
    """Return what came of it, None if nobody knows; a client hears no more once the daemon is killed."""
    life = host.life
    assert life is not None
    return await _ask(life, lambda: life.consensus.submit(command, timeout=timeout))


async def wait_barrier_at(host: SimHost, timeout: float) -> bool:
    """Whether the host can answer for all that anybody was told before."""
    life = host.life
    assert life is not None

    async def wait() -> bool:
        await life.consensus.read_barrier(timeout)
        return True

    return await _ask(life, wait) is not None and host.life is life


async def _ask(life: Life, act: Callable[[], Awaitable[T]]) -> T | None:
    answers = list[T | RefusedError]()

    async def give_up(scope: trio.CancelScope) -> None:
        await life.ended.wait()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up, nursery.cancel_scope)
        try:
            answers.append(await act())
        except RefusedError as error:
            answers.append(error)
        except Unavailable:
            pass
        nursery.cancel_scope.cancel()
    if not answers:
        return None
    if isinstance(answers[0], RefusedError):
        raise answers[0]
    return answers[0]


@dataclass(eq=False)
class Client:
    """One client with stacks and services of its own."""

    cluster: Cluster
    check: Checker
    rng: Random
    name: str
    _stacks: list[int] = field(default_factory=list)
    _services: list[Wanted] = field(default_factory=list)
    _number: int = 0

    async def run(self) -> None:
        """Change one thing after another until cancelled."""
        acts = [
            *[self._create_stack] * 2,
            *[self._create_service] * 3,
            *[self._scale] * 2,
            self._remove_service,
            self._stop_and_start,
            self._run_one_container,
        ]
        while True:
            await trio.sleep(self.rng.choice([0.01, 0.3, 1.5]) * self.rng.random())
            await self.rng.choice(acts)()

    async def _persist(self, command: AnyCommand) -> Outcome:
        return await persist(self.cluster, self.rng, command)

    async def _create_stack(self) -> None:
        name = self._new_name("stack")
        outcome = await self._persist(CreateStack(uuid=name, environment_id=DEFAULT_ENVIRONMENT_ID, name=name))
        if outcome.done is not None:
            self._stacks.append(outcome.done.id)
            self.check.stacks.add(name)

    async def _create_service(self) -> None:
        if not self._stacks:
            return
        name, scale = self._new_name("svc"), self.rng.randint(0, 4)
        port = FIRST_PORT + self._number * 10 + int(self.name[-1])
        launch = LaunchConfig(
            image_uuid=f"docker:image{self.rng.randint(1, 2)}",
            ports=self.rng.choice([(), (), (f"{port}:80",), ("80",)]),
        )
        stack_id = self.rng.choice(self._stacks)
        command = CreateService(
            uuid=name, stack_id=stack_id, name=name, launch=launch, scale=scale, start_on_create=True
        )
        outcome = await self._persist(command)
        if outcome.done is not None:
            wanted = Wanted(name, outcome.done.id, scale)
            self._services.append(wanted)
            self.check.services.append(wanted)

    async def _scale(self) -> None:
        if not self._services:
            return
        wanted, scale = self.rng.choice(self._services), self.rng.randint(0, 4)
        before = frozenset(wanted.unanswered)
        wanted.unanswered.add(scale)
        outcome = await self._persist(UpdateService(id=wanted.service_id, scale=scale))
        if outcome.done is not None:
            wanted.scale = scale
        if outcome.is_sure and scale not in before:
            wanted.unanswered.discard(scale)

    async def _remove_service(self) -> None:
        if len(self._services) < 3:
            return
        wanted = self._services.pop(self.rng.randrange(len(self._services)))
        wanted.may_be_removed = True
        wanted.is_removed = (await self._persist(RemoveService(id=wanted.service_id))).done is not None

    async def _stop_and_start(self) -> None:
        if self._services:
            service_id = self.rng.choice(self._services).service_id
            await self._persist(DeactivateService(id=service_id))
            await trio.sleep(self.rng.random() * 3)
            await self._persist(ActivateService(id=service_id))

    async def _run_one_container(self) -> None:
        name = self._new_name("one")
        launch = LaunchConfig(image_uuid="docker:image1")
        outcome = await self._persist(
            CreateContainer(uuid=name, environment_id=DEFAULT_ENVIRONMENT_ID, name=name, launch=launch)
        )
        if outcome.done is not None and self.rng.random() < 0.5:
            await trio.sleep(self.rng.random() * 4)
            await self._persist(SetContainerDesired(id=outcome.done.id, desired="removed", why="no longer wanted"))

    def _new_name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}-{self.name}"
