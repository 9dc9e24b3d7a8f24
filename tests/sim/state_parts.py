"""What the scene of the state consists of: a host with its engine, its replica and its agent."""

from collections.abc import Callable

from node.engine.memory import MemoryEngine
from node.model import State
from node.plan.agent_steps import AgentMemory, AnyAction
from node.plan.rounds import Planner
from node.ports import EngineContainer
from node.state.indexes import Indexes
from tests.fakes.states import node_id


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
