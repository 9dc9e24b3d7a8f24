"""One life of a cluster from one seed: hosts join, clients change things, and what the scenario says goes wrong.

When the faults end, the cluster must be as it should be within SETTLE_WITHIN seconds.
"""

import shutil
from collections.abc import Callable
from random import Random

import trio

from tests.sim.cluster import Cluster, run_seeded
from tests.sim.cluster_acts import Acts
from tests.sim.cluster_check import Broken, Checker
from tests.sim.cluster_clients import Client
from tests.sim.cluster_registers import RegisterClient, Registers
from tests.sim.faults import Scenario
from tests.sim.sim_disk import in_memory_folder

SETTLE_WITHIN = 150.0
"""Seconds of virtual time; the longest back-off of an agent is 60."""
GROW_WITHIN = 20.0
CLIENTS = 2
REGISTER_CLIENTS = 3
IDLE = 15.0
LATEST = 20.0
"""Seconds after faults after which nothing is under way any more that began before: a message in bad weather takes up
to 10, a step of a slow engine as long, and whoever began it has something to say when it ends."""


class Story:
    """The run of one scenario."""

    def __init__(self, scenario: Scenario, *, show: Callable[[str], None] = lambda line: None) -> None:
        self.scenario = scenario
        self.seed = scenario.seed
        self.rng = Random(self.seed + 1)
        self.check = Checker(self.seed)
        self.trace = ""
        self.told: list[str] = []
        self.lived = 0.0
        """Seconds of virtual time."""
        self._show = show

    def run(self) -> None:
        """Live through it; raises AssertionError, alone or in a group, if something does not hold."""
        self.folder = in_memory_folder()
        try:
            run_seeded(self.seed, self._live)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self, what: str) -> None:
        line = f"{trio.current_time():9.3f} {what}"
        self.told.append(line)
        self._show(line)
        self.cluster.note(what)

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            self.cluster = Cluster(self.seed, nursery, self.check, self.folder)
            self.check.raft_watch = self.cluster.raft_watch
            self.acts = Acts(self.cluster, self.check, nursery, self.tell, self.scenario.hosts[1])
            self.registers = Registers(self.cluster)
            try:
                await self._live_among(nursery)
            finally:
                self.lived = trio.current_time()
                self.trace = self.cluster.trace
            nursery.cancel_scope.cancel()

    async def _live_among(self, nursery: trio.Nursery) -> None:
        self.cluster.found()
        nursery.start_soon(self.check.watch_engines, self.cluster)
        nursery.start_soon(self._tell_leaders)
        async with trio.open_nursery() as clients:
            self.acts.people = clients
            self._start_clients(clients)
            await self._suffer()
            clients.cancel_scope.cancel()
        self.acts.end()
        ended = trio.current_time()
        await self._wait_settled()
        await trio.sleep_until(ended + LATEST)
        await self._wait_settled()
        await self._check_idle()
        leader = self.cluster.leader()
        assert leader is not None
        assert leader.life is not None
        self.check.check_promises(leader.life.consensus.state)
        why = self.registers.why_not_linearizable()
        self.check.require(why is None, f"not linearizable: {why}")

    def _start_clients(self, nursery: trio.Nursery) -> None:
        for number in range(CLIENTS):
            rng = Random(self.rng.getrandbits(64))
            nursery.start_soon(Client(self.cluster, self.check, rng, f"c{number}").run)
        for number in range(REGISTER_CLIENTS):
            rng = Random(self.rng.getrandbits(64))
            nursery.start_soon(RegisterClient(self.registers, rng, f"r{number}").run)

    async def _suffer(self) -> None:
        for _ in range(self.scenario.size - 1):
            self.acts.join()
            await trio.sleep(self.rng.choice([0.0, 0.5, 3.0]) * self.rng.random())
        with trio.move_on_after(GROW_WITHIN):
            while any(host.stage == "joining" for host in self.cluster.hosts.values()):
                await trio.sleep(0.1)
        start = trio.current_time()
        for fault in self.scenario.faults():
            await trio.sleep_until(start + fault.at)
            self.tell(f"#{fault.number} {fault.kind}")
            await self.acts.do(fault)
        await trio.sleep_until(start + self.scenario.minutes * 60)

    async def _tell_leaders(self) -> None:
        """Show who leads, for whoever reads the trace."""
        known: tuple[str, int] | None = None
        while True:
            leader = self.cluster.leader()
            now = (leader.name, leader.life.consensus.raft.term) if leader is not None and leader.life else None
            if now is not None and now != known:
                known = now
                self.tell(f"{now[0]} leads in term {now[1]}")
            await trio.sleep(0.1)

    async def _wait_settled(self) -> None:
        start = trio.current_time()
        why: str | None = ""
        while trio.current_time() < start + SETTLE_WITHIN:
            why = self.check.why_not_settled(self.cluster)
            if why is None:
                self.tell("settled")
                return
            await trio.sleep(0.5)
        raise Broken(f"seed {self.seed}: not settled after {SETTLE_WITHIN} s: {why}")

    async def _check_idle(self) -> None:
        """Nobody says anything new while nothing happens."""
        if any(host.stage in ("joining", "leaving", "refused") for host in self.cluster.hosts.values()):
            return
        before = len(self.cluster.raft_watch.committed)
        await trio.sleep(IDLE)
        grew = self.cluster.raft_watch.describe(before)
        self.check.require(not grew, f"the log grew while nothing happened: {grew}")
        why = self.check.why_not_settled(self.cluster)
        self.check.require(why is None, f"no longer settled, though nothing happened: {why}")
