"""Clients whose calls and answers are recorded, for the linearizability checker: registers, and names to be had once.

A register is the description of an environment; a name is an environment's name that several clients want.
"""

from dataclasses import dataclass, field
from random import Random

import trio

from node.commands import AnyCommand, CreateEnvironment, UpdateEnvironment
from node.model import Done, State
from node.ports import RefusedError
from tests.sim.cluster import Cluster, SimHost
from tests.sim.cluster_clients import submit_at, wait_barrier_at
from tests.sim.history import Call, History
from tests.sim.linearizability import LINEARIZABLE, UNDECIDED, Model, Name, Register, check_all

REGISTERS = 2
NAME_EVERY = 7.0
"""Seconds for which one name is wanted."""


@dataclass(eq=False)
class Registers:
    """The history, and what the clients know of each other."""

    cluster: Cluster
    history: History = field(default_factory=History)
    ids: dict[str, int] = field(default_factory=dict)
    """Register → environment."""
    values: int = 0

    def next_value(self) -> str:
        self.values += 1
        return f"v{self.values}"

    def why_not_linearizable(self) -> str | None:
        verdicts = check_all(self.history.operations(), _model_of, max_steps=200_000)
        bad = [verdict for verdict in verdicts if verdict.outcome not in (LINEARIZABLE, UNDECIDED)]
        return str(bad[0]) if bad else None


def _model_of(key: str) -> Model:
    return Register() if key.startswith("register") else Name()


@dataclass(eq=False)
class RegisterClient:
    """Writes, reads what it wrote, and wants names, through any node."""

    shared: Registers
    rng: Random
    name: str

    async def run(self) -> None:
        while True:
            await trio.sleep(self.rng.choice([0.05, 1.0, 4.0]) * self.rng.random())
            await self.rng.choice([self._write, self._write, self._read, self._read, self._want_name])()

    async def _write(self) -> None:
        register = f"register{self.rng.randrange(REGISTERS)}"
        environment = self.shared.ids.get(register)
        if environment is None:
            await self._make(register)
            return
        value = self.shared.next_value()
        # The read begins with the write: this node's state then is the one after some entry since.
        read = self._begin(register, "read")
        write = self._begin(register, "write", value)
        host = await self._send(UpdateEnvironment(id=environment, description=value), write, None)
        if host is not None and host.life is not None and host.life.consensus.has_state:
            seen = host.life.consensus.state.environments[environment].description
            read.ok(seen, now=trio.current_time(), note=host.name)

    async def _read(self) -> None:
        register = f"register{self.rng.randrange(REGISTERS)}"
        environment, host = self.shared.ids.get(register), self._pick()
        if environment is None or host is None:
            return
        read = self._begin(register, "read")
        if await wait_barrier_at(host, self.rng.choice([0.3, 2.0])) and host.life is not None:
            seen = host.life.consensus.state.environments[environment].description
            read.ok(seen, now=trio.current_time(), note=host.name)

    async def _make(self, register: str) -> None:
        uuid = f"{register}-{self.shared.next_value()}"
        host = self._pick()
        command = CreateEnvironment(uuid=uuid, name=register)
        if host is None:
            return
        try:
            done = await submit_at(host, command, 2.0)
        except RefusedError:
            environment = _environment_of(host, register)
            if environment is not None:
                self.shared.ids.setdefault(register, environment)
            return
        if done is not None:
            self.shared.ids.setdefault(register, done.id)

    async def _want_name(self) -> None:
        name = f"name{int(trio.current_time() / NAME_EVERY)}"
        create = self._begin(name, "create")
        command = CreateEnvironment(uuid=f"{name}-{self.shared.next_value()}", name=name)
        host = await self._send(command, create, True)
        if host is not None and host.life is not None:
            there = sum(row.name == name for row in host.life.consensus.state.environments.values())
            self.shared.cluster.note("name", name, there)

    async def _send(self, command: AnyCommand, call: Call, result: object) -> SimHost | None:
        """Submit once; return the host that said yes."""
        host = self._pick()
        if host is None:
            call.fail(now=trio.current_time(), note="no node")
            return None
        try:
            done: Done | None = await submit_at(host, command, self.rng.choice([0.3, 2.0, 8.0]))
        except RefusedError as error:
            # Nothing else refuses these two, so a refusal is an answer.
            call.ok(False, now=trio.current_time(), note=f"{host.name}: {error.code}")
            return None
        if done is None:
            call.unknown(note=host.name)
            return None
        call.ok(True if result else None, now=trio.current_time(), note=host.name)
        return host

    def _begin(self, key: str, kind: str, argument: str | None = None) -> Call:
        return self.shared.history.begin(self.name, key, kind, argument, now=trio.current_time())

    def _pick(self) -> SimHost | None:
        hosts = [host for host in self.shared.cluster.members() if host.life and host.life.consensus.has_state]
        return self.rng.choice(hosts) if hosts else None


def _environment_of(host: SimHost, name: str) -> int | None:
    life = host.life
    if life is None or not life.consensus.has_state:
        return None
    state: State = life.consensus.state
    return next((row.id for row in state.environments.values() if row.name == name and row.removed is None), None)
