"""The scene of the state alone: state machine, planners, agents and names of several hosts, without Raft or a network.

A log that random people, reporting agents and changing leaders append to, each knowing only what it has applied; hosts
that lag, start again from snapshots, and lose steps half done.  What must hold is checked after each entry and step.
"""

from collections.abc import Callable
from hashlib import sha256
from random import Random

from node.commands import AnyCommand, Batch, CreateStack, InitCluster, Proposal, ReportContainers, SingleCommand
from node.drive.agent import carry_out
from node.model import DEFAULT_ENVIRONMENT_ID, host_of_node
from node.plan.agent import plan_host
from node.plan.agent_steps import (
    AgentMemory,
    note_begun,
    note_done,
    note_failed,
    note_report_lost,
    note_reported,
    pruned,
)
from node.plan.everything import Picture
from node.plan.rounds import Planner
from node.ports import EngineError
from node.state import apply_proposals, decode_state, encode_state, state_digest
from node.state.indexes import Indexes
from protocol.ids import NodeId
from tests.fakes.states import admit
from tests.sim.cluster import run_seeded
from tests.sim.state_check import StateChecker
from tests.sim.state_parts import Seat
from tests.sim.state_wishes import Wisher, draw_service

STEPS = 1000
SETTLE_ROUNDS = 150
START_MS = 1_460_440_800_000


class StateStory:
    """One life of a state from one seed."""

    def __init__(self, seed: int, show: Callable[[str], None]) -> None:
        self.seed = seed
        self.rng = Random(f"{seed} state")
        self.now = START_MS
        self.check = StateChecker(seed)
        self._show = show
        self._trace = sha256()
        self._log: list[Proposal] = []
        self._waiting: dict[str, list[Proposal]] = {}
        """By who sent them, in order; those of several senders overtake each other."""
        self._lost_reports: set[str] = set()
        self._proposals = 0
        self._seats = [
            Seat(number, self._now, self.rng.randint(-4000, 4000)) for number in range(self.rng.randint(2, 4))
        ]
        self._leader = self._seats[0]

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    @property
    def lived(self) -> float:
        return (self.now - START_MS) / 1000

    def run(self) -> None:
        run_seeded(self.seed, self._live)

    def _now(self) -> int:
        return self.now

    async def _live(self) -> None:
        self._found()
        usual = (self._wish, self._plan, self._commit, self._commit, self._advance, self._advance, self._pass_time)
        for _ in range(STEPS):
            seat = self.rng.choice(self._seats)
            die = self.rng.random()
            if die < 0.5:
                self.rng.choice(usual)(seat)
            elif die < 0.94:
                await self.rng.choice((self._look, self._finish, self._finish))(seat)
            elif die < 0.98:
                await self.rng.choice((self._restart, self._end_containers, self._delete))(seat)
            else:
                self.rng.choice((self._lead, self._die, self._pause_engine))(seat)
        await self._settle()

    # The log.

    def _found(self) -> None:
        first = InitCluster(
            cluster_id="c" * 32, ca=b"ca", overlay_network="10.42.0.0/24", overlay_subnet_bits=self.rng.choice([28, 29])
        )
        hosts = [admit(seat.number) for seat in self._seats]
        stack = CreateStack(uuid="s", environment_id=DEFAULT_ENVIRONMENT_ID, name="a")
        services = [draw_service(self.rng, f"v{number}", 1) for number in range(3)]
        commands: list[SingleCommand] = [first, *hosts, stack, *services]
        for command in commands:
            self._offer("people", command)
            self._commit_from("people")

    def _offer(self, sender: str, command: AnyCommand) -> str:
        """Have the leader take a command, at the time that its clock shows and no earlier than what it has applied."""
        self._proposals += 1
        leader = self._leader
        at = max(self.now + leader.skew_ms, leader.state.last_at if leader.state else 0)
        proposal = Proposal(id=f"p{self._proposals}", at=at, command=command)
        self._waiting.setdefault(sender, []).append(proposal)
        return proposal.id

    def _commit(self, _: Seat) -> None:
        for _number in range(self.rng.randint(1, 4)):
            senders = [sender for sender, proposals in self._waiting.items() if proposals]
            if senders:
                self._commit_from(self.rng.choice(senders))

    def _commit_from(self, sender: str) -> None:
        proposal = self._waiting[sender].pop(0)
        self._log.append(proposal)
        self.check.committed(proposal)
        self._note("commit", proposal.id, proposal.command)
        if self.rng.random() < 0.1:
            # Nobody answered in time: it is proposed once more.
            self._waiting.setdefault("retries", []).append(proposal)

    def _advance(self, seat: Seat, most: int = 12) -> None:
        """Have a replica apply some of what is committed."""
        entries = self._log[seat.applied : seat.applied + self.rng.randint(1, most)]
        applied = apply_proposals(seat.state, entries, seat.indexes)
        seat.state, seat.applied = applied.state, seat.applied + len(entries)
        seat.is_current = seat.is_current or seat.applied >= seat.current_from
        self.check.applied(seat, applied.results, self._dead())

    def _note(self, *what: object) -> None:
        self._show(f"{self.lived:8.3f} {' '.join(map(str, what))}")
        self._trace.update(f"{self.now} {what}\n".encode())

    def _pass_time(self, _: Seat) -> None:
        self.now += self.rng.choice([1, 50, 1000, 5000, 40_000])

    # People and the leader.

    def _wish(self, _: Seat) -> None:
        self._offer("people", Wisher(self.rng, self.check.state, len(self._seats)).draw())

    def _plan(self, _: Seat) -> None:
        """The leader plans from what it has applied, and does not wait for what it has planned before."""
        leader = self._leader
        if leader.state is not None and self.rng.random() < 0.9:
            clock = self.now + leader.skew_ms
            planned = leader.planner.round(leader.state, Picture(self._dead()), clock, self.rng)
            if planned.commands:
                self._offer("leader", Batch(commands=planned.commands))

    def _lead(self, seat: Seat) -> None:
        """Another host leads: what the one before had not committed is lost or comes late."""
        self._leader, seat.planner = seat, Planner()
        left = self._waiting.pop("leader", [])
        if self.rng.random() < 0.5:
            self._waiting.setdefault("people", []).extend(left)
        if self.rng.random() < 0.7:
            self._catch_up(seat)

    def _catch_up(self, seat: Seat) -> None:
        while seat.applied < len(self._log):
            self._advance(seat, 50)

    def _dead(self) -> dict[NodeId, float]:
        return {seat.node: 20.0 for seat in self._seats if seat.is_dead}

    def _die(self, seat: Seat) -> None:
        """Gossip holds a host dead, or takes that back."""
        seat.is_dead = not seat.is_dead

    # The agents.

    async def _look(self, seat: Seat) -> None:
        state = seat.state
        host = host_of_node(state, seat.node) if state is not None else None
        if state is None or host is None or not seat.engine.is_up:
            return
        have = await seat.engine.list_containers()
        keys = {row.uuid for row in state.containers.values() if row.host_id == host.id}
        keys |= {one.external_id for one in have}
        seat.memory = pruned(seat.memory, keys, {row.id for row in state.containers.values() if row.host_id == host.id})
        plan = plan_host(state, host.id, have, seat.memory, self.now, state_is_current=seat.is_current)
        if plan.observations:
            self._report(seat, ReportContainers(node=seat.node, observations=plan.observations))
        for action in plan.actions:
            self._note(seat.name, "begins", action.key, action.why)
            seat.memory = note_begun(seat.memory, action)
            seat.busy.append(action)

    def _report(self, seat: Seat, report: ReportContainers) -> None:
        seat.memory = note_reported(seat.memory, report.observations)
        if self.rng.random() < 0.05:
            seat.memory = note_report_lost(seat.memory)
        else:
            self._offer(seat.name, report)

    async def _finish(self, seat: Seat) -> None:
        """Carry out a step that is under way."""
        if not seat.busy:
            return
        action = seat.busy.pop(self.rng.randrange(len(seat.busy)))
        self.check.acts(seat, action)
        try:
            await carry_out(seat.engine, action)
        except EngineError as error:
            seat.memory = note_failed(seat.memory, action, error.code, str(error), self.now)
        else:
            seat.memory = note_done(seat.memory, action)
        self.check.saw_engines(self._seats)

    async def _restart(self, seat: Seat) -> None:
        """The daemon is killed: it begins anew from some snapshot, and knows that it lags once a leader tells it."""
        while seat.busy and self.rng.random() < 0.5:
            await self._finish(seat)
        self._note(seat.name, "restarts")
        seat.busy, seat.memory, seat.indexes, seat.planner = [], AgentMemory(), Indexes(), Planner()
        self._waiting.pop(seat.name, None)
        seat.is_current, seat.current_from = False, len(self._log)
        seat.applied = self.rng.randint(1, max(1, seat.applied))
        before = self.check.states[seat.applied - 1]
        seat.state = decode_state(encode_state(before))
        self.check.require(state_digest(seat.state) == state_digest(before), f"{seat.name} loads another state")

    async def _end_containers(self, seat: Seat) -> None:
        for one in seat.held():
            if self.rng.random() < 0.5:
                seat.engine.exit(one.external_id, self.rng.choice([0, 1]))

    async def _delete(self, seat: Seat) -> None:
        """Somebody removes a container by hand."""
        held = seat.held()
        if held and seat.engine.is_up:
            await seat.engine.remove(self.rng.choice(held).external_id)

    def _pause_engine(self, seat: Seat) -> None:
        seat.engine.is_up = not seat.engine.is_up

    # The end.

    async def _settle(self) -> None:
        """Once left alone, all is as the state wants it, within a bound."""
        for seat in self._seats:
            seat.is_dead, seat.engine.is_up = False, True
        for _ in range(SETTLE_ROUNDS):
            self.now += 5000
            for seat in self._seats:
                self._catch_up(seat)
                await self._look(seat)
                while seat.busy:
                    await self._finish(seat)
            if not any(self._waiting.values()):
                self._plan(self._leader)
            if not any(self._waiting.values()) and self.check.why_not_settled(self._seats) is None:
                return
            while any(self._waiting.values()):
                self._commit(self._leader)
        raise AssertionError(f"seed {self.seed}: not settled: {self.check.why_not_settled(self._seats)}")
