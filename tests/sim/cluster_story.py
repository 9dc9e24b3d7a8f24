"""One life of a cluster from one seed: hosts join and leave, clients change things, and whatever can break breaks.

When the faults end, the cluster must be as it should be within SETTLE_WITHIN seconds.
"""

from collections.abc import Awaitable, Callable
from random import Random

import trio

from node.commands import RemoveHost
from node.model import host_of_node
from tests.sim.cluster import Cluster, SimHost, run_seeded
from tests.sim.cluster_check import Broken, Checker
from tests.sim.cluster_clients import Client, persist

MAX_HOSTS = 5
SETTLE_WITHIN = 150.0
"""Seconds of virtual time; the longest back-off of an agent is 60."""
CLIENTS = 2
IDLE = 15.0


class Story:
    """The run of one seed."""

    def __init__(self, seed: int, *, faults: int | None = None) -> None:
        self.seed = seed
        self.rng = Random(seed + 1)
        self.check = Checker(seed)
        self.faults = self.rng.randint(8, 24) if faults is None else faults
        self.trace = ""
        self.told: list[str] = []
        self.settled_after = 0.0
        self._names = 0

    def run(self) -> None:
        print(f"seed {self.seed}")
        run_seeded(self.seed, self._live)

    def tell(self, what: str) -> None:
        self.told.append(f"{trio.current_time():.2f} {what}")
        self.cluster.note(what)

    async def _live(self) -> None:
        async with trio.open_nursery() as nursery:
            self.cluster = Cluster(self.seed, nursery, self.check)
            self.nursery = nursery
            self.cluster.found()
            nursery.start_soon(self.check.watch_engines, self.cluster)
            with trio.CancelScope() as working:
                async with trio.open_nursery() as clients:
                    for number in range(CLIENTS):
                        client = Client(self.cluster, self.check, Random(self.rng.getrandbits(64)), f"c{number}")
                        clients.start_soon(client.run)
                    await self._tell_story()
                    working.cancel()
            self._end_faults()
            await self._wait_settled()
            await self._check_idle()
            leader = self.cluster.leader()
            assert leader is not None
            assert leader.life is not None
            self.check.check_promises(leader.life.consensus.state)
            self.trace = self.cluster.trace
            nursery.cancel_scope.cancel()

    async def _tell_story(self) -> None:
        for _ in range(self.rng.choice([0, 1, 2, 2, 2, 3, 4])):
            await self._join()
            await trio.sleep(self.rng.choice([0.5, 3.0, 8.0]) * self.rng.random())
        acts = self._acts()
        for _ in range(self.faults):
            await trio.sleep(self.rng.choice([0.05, 0.5, 2.0, 6.0, 12.0]) * self.rng.uniform(0.2, 1.0))
            await self.rng.choice(acts)()

    def _acts(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self._join,
            self._kill_some,
            self._kill_some,
            self._kill_leader,
            self._kill_leader,
            self._lose_power,
            self._partition,
            self._partition,
            self._break_links,
            self._pause_engine,
            self._slow_engine,
            self._slow_disk,
            self._delete_container,
            self._end_container,
            self._lose_messages,
            self._set_clock,
            self._remove_host,
        ]

    async def _wait_settled(self) -> None:
        start = trio.current_time()
        why: str | None = ""
        while trio.current_time() < start + SETTLE_WITHIN:
            why = self.check.why_not_settled(self.cluster)
            if why is None:
                self.settled_after = trio.current_time() - start
                return
            await trio.sleep(0.5)
        raise Broken(f"seed {self.seed}: not settled after {SETTLE_WITHIN} s: {why}")

    async def _check_idle(self) -> None:
        """Nobody says anything new while nothing happens."""
        if any(host.stage in ("joining", "leaving") for host in self.cluster.hosts.values()):
            return
        before = self._applied()
        await trio.sleep(IDLE)
        self.check.require(self._applied() == before, f"the log grew from {before} while nothing happened")
        why = self.check.why_not_settled(self.cluster)
        self.check.require(why is None, f"no longer settled, though nothing happened: {why}")

    def _applied(self) -> int:
        leader = self.cluster.leader()
        return leader.life.consensus.consensus.applied_index if leader and leader.life else 0

    # Faults.

    async def _join(self) -> None:
        if len(self.cluster.hosts) >= MAX_HOSTS:
            return
        host = self.cluster.add_host()
        self.tell(f"{host.name} joins")
        self.nursery.start_soon(self._admit, host)

    async def _admit(self, host: SimHost) -> None:
        rng = Random(self.rng.getrandbits(64))
        while (await persist(self.cluster, rng, self.cluster.admission_of(host))).done is None:
            await trio.sleep(1.0)
        host.stage = "member"
        self.cluster.start(host)

    def _pick(self, hosts: list[SimHost]) -> SimHost | None:
        return self.rng.choice(hosts) if hosts else None

    async def _kill_some(self) -> None:
        if (host := self._pick(self.cluster.running())) is not None:
            await self._kill(host)

    async def _kill_leader(self) -> None:
        if (host := self.cluster.leader()) is not None:
            await self._kill(host)

    async def _kill(self, host: SimHost) -> None:
        away = self.rng.choice([0.0, 0.3, 3.0, 12.0, 40.0]) * self.rng.uniform(0.5, 1.0)
        self.tell(f"{host.name} is killed for {away:.1f} s")
        await self.cluster.kill(host)
        self._later(away, lambda: self.cluster.start(host))

    async def _lose_power(self) -> None:
        for host in self.cluster.running():
            await self._kill(host)

    async def _partition(self) -> None:
        nodes = sorted(self.cluster.network.ports)
        side = {node for node in nodes if self.rng.random() < 0.5}
        self.tell(f"{sorted(self.cluster.hosts[node].name for node in side)} are cut off")
        self.cluster.network.partition(side)
        self._later(self.rng.choice([1.0, 5.0, 25.0]) * self.rng.random(), self.cluster.network.cut.clear)

    async def _break_links(self) -> None:
        self.tell("links break")
        for one in list(self.cluster.network.ports):
            for other in list(self.cluster.network.ports):
                if one != other:
                    self.cluster.network.break_link(one, other, 0.5)

    async def _pause_engine(self) -> None:
        if (host := self._pick(list(self.cluster.hosts.values()))) is not None:
            self.tell(f"the engine of {host.name} pauses")
            host.engine.memory.is_up = False
            self._later(self.rng.uniform(0.5, 20), lambda: setattr(host.engine.memory, "is_up", True))

    async def _slow_engine(self) -> None:
        if (host := self._pick(list(self.cluster.hosts.values()))) is not None:
            self.tell(f"the engine of {host.name} is slow")
            host.engine.slowness = self.rng.choice([1.0, 5.0])
            self._later(self.rng.uniform(0.5, 20), lambda: setattr(host.engine, "slowness", 0.05))

    async def _slow_disk(self) -> None:
        if (host := self._pick(list(self.cluster.hosts.values()))) is not None:
            self.tell(f"the disk of {host.name} is slow")
            host.disk.slowness = self.rng.choice([0.1, 0.5, 2.0])
            self._later(self.rng.uniform(0.5, 10), lambda: setattr(host.disk, "slowness", 0.002))

    async def _delete_container(self) -> None:
        if (host := self._pick(list(self.cluster.hosts.values()))) is not None and host.engine.memory.is_up:
            held = host.engine.containers()
            if held:
                one = self.rng.choice(held)
                self.tell(f"{one.name} is removed from {host.name} by hand")
                await host.engine.memory.remove(one.external_id)

    async def _end_container(self) -> None:
        for host in self.cluster.hosts.values():
            for one in host.engine.containers():
                if self.rng.random() < 0.3:
                    self.tell(f"{one.name} on {host.name} ends")
                    host.engine.memory.exit(one.external_id, self.rng.choice([0, 1, 137]))

    async def _lose_messages(self) -> None:
        network = self.cluster.network
        network.loss, network.duplicate = self.rng.choice([(0.1, 0.1), (0.3, 0.2), (0.6, 0.0)])
        network.delay = self.rng.choice([0.004, 0.05, 0.2])
        self.tell(f"messages are lost: {network.loss}, late by {network.delay}")
        self._later(self.rng.uniform(0.5, 15), self._calm_network)

    async def _set_clock(self) -> None:
        if (host := self._pick(list(self.cluster.hosts.values()))) is not None:
            host.skew_ms += self.rng.choice([-3_600_000, -8_000, 8_000, 3_600_000])
            self.tell(f"the clock of {host.name} is off by {host.skew_ms} ms")

    async def _remove_host(self) -> None:
        hosts = self.cluster.members()
        if len(hosts) < 2:
            return
        host = self.rng.choice(hosts)
        host.stage = "leaving"
        self.tell(f"{host.name} is removed")
        self.nursery.start_soon(self._take_out, host)

    async def _take_out(self, host: SimHost) -> None:
        """Remove it as a person does, then stop its daemon once the group goes on without it."""
        rng = Random(self.rng.getrandbits(64))
        while not self._is_out_of_state(host):
            others = [one for one in self.cluster.members() if one.life and one.life.consensus.has_state]
            for one in others[:1]:
                assert one.life is not None
                row = host_of_node(one.life.consensus.state, host.node)
                if row is not None:
                    await persist(self.cluster, rng, RemoveHost(id=row.id))
            await trio.sleep(0.5)
        while self._is_in_group(host):
            await trio.sleep(0.5)
        self.tell(f"{host.name} is out of the group")
        host.stage = "gone"
        await self.cluster.kill(host)

    def _is_out_of_state(self, host: SimHost) -> bool:
        leader = self.cluster.leader()
        if leader is None or leader.life is None or not leader.life.consensus.leads_currently:
            return False
        return host_of_node(leader.life.consensus.state, host.node) is None

    def _is_in_group(self, host: SimHost) -> bool:
        leader = self.cluster.leader()
        if leader is None or leader is host or leader.life is None or not leader.life.consensus.leads_currently:
            return True
        raft = leader.life.consensus.raft
        return host.node in raft.config.members or not raft.is_config_committed

    # Ends of faults.

    def _later(self, delay: float, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await trio.sleep(delay)
            act()

        self.nursery.start_soon(wait)

    def _calm_network(self) -> None:
        network = self.cluster.network
        network.loss, network.duplicate, network.delay = 0.0, 0.0, 0.004

    def _end_faults(self) -> None:
        self.tell("faults end")
        self._calm_network()
        self.cluster.network.cut.clear()
        for host in self.cluster.hosts.values():
            host.engine.memory.is_up, host.engine.slowness, host.disk.slowness = True, 0.05, 0.002
            self.cluster.start(host)
