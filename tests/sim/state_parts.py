"""What the scene of the state consists of: a host with its engine, its replica and its agent, and what people wish."""

from collections.abc import Callable
from random import Random

import msgspec

from node import commands as c
from node.commands import SingleCommand
from node.engine.memory import MemoryEngine
from node.model import DEFAULT_ENVIRONMENT_ID, LaunchConfig, State
from node.plan.agent_steps import AgentMemory, AnyAction
from node.plan.rounds import Planner
from node.ports import EngineContainer
from node.state.indexes import Indexes
from tests.fakes.states import admit, node_id

WEB = LaunchConfig(image_uuid="docker:web:1")
LAUNCHES = (
    *(WEB, WEB),
    msgspec.structs.replace(WEB, ports=("80:80",)),
    msgspec.structs.replace(WEB, ports=("80:80", "53:53/udp")),
    msgspec.structs.replace(WEB, ports=("8080/tcp",)),
    msgspec.structs.replace(WEB, network_mode="host"),
)
WHY = "a person"


class Seat:
    """One host."""

    def __init__(self, number: int, now: Callable[[], int], skew_ms: int) -> None:
        self.number = number + 1
        self.name = f"h{self.number}"
        self.node = node_id(self.number)
        self.engine = MemoryEngine(now)
        self.skew_ms = skew_ms
        self.is_dead = False
        self.memory = AgentMemory()
        self.busy: list[AnyAction] = []
        self.state: State | None = None
        self.applied = 0
        self.indexes = Indexes()
        self.planner = Planner()
        self.is_current = True
        self.current_from = 0
        """How many entries were committed when the daemon began."""

    def held(self) -> tuple[EngineContainer, ...]:
        return tuple(each.seen for each in self.engine._held.values())


def draw_wish(rng: Random, state: State, hosts: int) -> SingleCommand:
    """Return what somebody asks for; some of it cannot be."""

    def some(table: dict[int, object]) -> int:
        living = [key for key, row in table.items() if getattr(row, "removed", None) is None]
        return rng.choice(living or [1])

    uuid = f"u{rng.getrandbits(64):016x}"
    stack, service, container = some({**state.stacks}), some({**state.services}), some({**state.containers})
    host = some({**state.hosts})
    wishes: tuple[tuple[float, Callable[[], SingleCommand]], ...] = (
        (1, lambda: c.CreateStack(uuid=uuid, environment_id=DEFAULT_ENVIRONMENT_ID, name=rng.choice("abc"))),
        (6, lambda: draw_service(rng, uuid, stack)),
        (4, lambda: c.UpdateService(id=service, scale=rng.randint(0, 5))),
        (1, lambda: c.ActivateService(id=service)),
        (1, lambda: c.DeactivateService(id=service)),
        (0.4, lambda: c.RemoveService(id=service)),
        (0.05, lambda: c.RemoveStack(id=stack)),
        (2, lambda: _draw_container(rng, uuid)),
        (
            3,
            lambda: c.SetContainerDesired(id=container, desired=rng.choice(["running", "stopped", "removed"]), why=WHY),
        ),
        (1, lambda: c.RestartContainer(id=container)),
        (0.3, lambda: c.SetHostState(id=host, state=rng.choice(["active", "active", "inactive"]))),
        (0.1, lambda: c.RemoveHost(id=host)),
        (1, lambda: admit(rng.randint(1, hosts))),
    )
    return rng.choices([wish for _, wish in wishes], [weight for weight, _ in wishes])[0]()


def draw_service(rng: Random, uuid: str, stack_id: int) -> SingleCommand:
    return c.CreateService(
        uuid=uuid,
        stack_id=stack_id,
        name=rng.choice(["web", "db", "cache", "mail"]),
        launch=rng.choice(LAUNCHES),
        scale=rng.randint(1, 4),
        start_on_create=rng.random() < 0.9,
    )


def _draw_container(rng: Random, uuid: str) -> SingleCommand:
    return c.CreateContainer(
        uuid=uuid,
        environment_id=DEFAULT_ENVIRONMENT_ID,
        name=f"one{rng.randint(1, 9)}",
        launch=rng.choice(LAUNCHES),
        start=rng.random() < 0.8,
    )
