"""How each kind of fault is done to a simulated cluster, and how all of them end.

What a fault needs that is not there (a leader, a second host) makes it do nothing.  What takes a disk away for good is
done only while the group can spare its host, as nothing is promised beyond that.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import trio

from node.commands import (
    ActivateService,
    CreateService,
    CreateStack,
    DeactivateService,
    RemoveHost,
    RemoveStack,
    SingleCommand,
    UpdateService,
)
from node.model import DEFAULT_ENVIRONMENT_ID, LaunchConfig, State, host_of_node
from node.ports import RefusedError, Unavailable
from protocol.ids import NodeId
from tests.sim.cluster import Cluster, SimHost
from tests.sim.cluster_check import Checker
from tests.sim.cluster_clients import persist
from tests.sim.faults import Fault

CALM_DELAY = 0.004
OLD_NAMES = 4


class Acts:
    """Carries faults out; each is given a source of chance of its own."""

    def __init__(
        self, cluster: Cluster, check: Checker, nursery: trio.Nursery, tell: Callable[[str], None], max_hosts: int
    ) -> None:
        self.cluster = cluster
        self.check = check
        self.nursery = nursery
        self.tell = tell
        self.max_hosts = max_hosts
        self.are_over = False
        self.people = nursery
        """Where those live who ask for things; they go before the faults end."""
        self._removing = 0

    async def do(self, fault: Fault) -> None:
        act: Callable[[Random], Awaitable[None]] = getattr(self, f"_{fault.kind}")
        await act(Random(fault.seed))

    def end(self) -> None:
        """Leave the cluster alone from now on."""
        self.are_over = True
        self.tell("faults end")
        self._calm_network()
        self.cluster.network.cuts.clear()
        for host in self.cluster.hosts.values():
            host.engine.memory.is_up, host.engine.slowness = True, 0.05
            host.disk.slowness, host.disk.trouble = 0.002, None
            host.pace.lag = 0.0
            host.pace.resume()
            self.cluster.start(host)

    # Helpers.

    def _later(self, delay: float, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await trio.sleep(delay)
            act()

        self.nursery.start_soon(wait)

    def _any(self, rng: Random, hosts: list[SimHost] | None = None) -> SimHost | None:
        hosts = list(self.cluster.hosts.values()) if hosts is None else hosts
        return rng.choice(hosts) if hosts else None

    def _state(self, rng: Random) -> State | None:
        hosts = [host for host in self.cluster.members() if host.life and host.life.consensus.has_state]
        host = self._any(rng, hosts)
        return host.life.consensus.state if host is not None and host.life is not None else None

    def _ask(self, rng: Random, *commands: SingleCommand) -> None:
        """Have a person ask for these, one after the other, whatever comes of it."""

        async def ask() -> None:
            own = Random(rng.getrandbits(64))
            for command in commands:
                await persist(self.cluster, own, command)

        self.people.start_soon(ask)

    # Processes and machines.

    async def _kill(self, rng: Random) -> None:
        if (host := self._any(rng, self.cluster.running())) is not None:
            await self._kill_host(rng, host)

    async def _kill_leader(self, rng: Random) -> None:
        if (host := self.cluster.leader()) is not None:
            await self._kill_host(rng, host)

    async def _kill_host(self, rng: Random, host: SimHost) -> None:
        away = rng.choice([0.0, 0.3, 3.0, 12.0, 40.0]) * rng.uniform(0.5, 1.0)
        self.tell(f"{host.name} is killed for {away:.1f} s")
        await self.cluster.kill(host)
        self._later(away, lambda: self.cluster.start(host))

    async def _lose_power(self, rng: Random) -> None:
        for host in self.cluster.running():
            await self._kill_host(rng, host)

    async def _pause(self, rng: Random) -> None:
        leader = self.cluster.leader()
        host = leader if leader is not None and rng.random() < 0.4 else self._any(rng, self.cluster.running())
        if host is not None:
            span = rng.choice([0.3, 1.5, 4.0, 20.0]) * rng.uniform(0.5, 1.0)
            self.tell(f"{host.name} stands still for {span:.1f} s")
            host.pace.pause()
            self._later(span, host.pace.resume)

    async def _slow_host(self, rng: Random) -> None:
        if (host := self._any(rng, self.cluster.running())) is not None:
            host.pace.lag = rng.choice([0.01, 0.05, 0.3])
            self.tell(f"{host.name} is slow, {host.pace.lag} s a step")
            self._later(rng.uniform(1, 15), lambda: setattr(host.pace, "lag", 0.0))

    async def _set_clock(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            host.skew_ms += rng.choice([-3_600_000, -8_000, 8_000, 3_600_000])
            self.tell(f"the clock of {host.name} is off by {host.skew_ms} ms")

    # Between them.

    async def _partition(self, rng: Random) -> None:
        nodes = sorted(self.cluster.network.ports)
        side = {node for node in nodes if rng.random() < 0.5}
        self._cut_off(rng, side)

    async def _isolate_leader(self, rng: Random) -> None:
        if (host := self.cluster.leader()) is not None:
            self._cut_off(rng, {host.node})

    def _cut_off(self, rng: Random, side: set[NodeId]) -> None:
        by = object()
        span = rng.choice([1.0, 5.0, 10.0, 25.0]) * rng.uniform(0.2, 1.0)
        names = sorted(self.cluster.hosts[node].name for node in side)
        self.tell(f"{names} are cut off for {span:.1f} s")
        self.cluster.network.partition(by, side)
        self._later(span, lambda: self.cluster.network.heal(by))

    def _two(self, rng: Random) -> tuple[SimHost, SimHost] | None:
        running = self.cluster.running()
        if len(running) < 2:
            return None
        one, other = rng.sample(running, 2)
        leader = self.cluster.leader()
        return (leader, other) if leader is not None and leader is not other and rng.random() < 0.6 else (one, other)

    async def _cut_one_way(self, rng: Random) -> None:
        if (pair := self._two(rng)) is not None:
            sender, receiver = pair if rng.random() < 0.5 else pair[::-1]
            span, by = rng.uniform(0.5, 15), object()
            self.tell(f"nothing arrives at {receiver.name} from {sender.name} for {span:.1f} s")
            self.cluster.network.cut(by, [(sender.node, receiver.node)])
            self._later(span, lambda: self.cluster.network.heal(by))

    async def _cut_pair(self, rng: Random) -> None:
        if (pair := self._two(rng)) is not None:
            span, by = rng.uniform(0.5, 20), object()
            self._cut_both(by, *pair)
            self.tell(f"{pair[0].name} and {pair[1].name} cannot reach each other for {span:.1f} s")
            self._later(span, lambda: self.cluster.network.heal(by))

    def _cut_both(self, by: object, one: SimHost, other: SimHost) -> None:
        self.cluster.network.cut(by, [(one.node, other.node), (other.node, one.node)])

    async def _flap(self, rng: Random) -> None:
        if (pair := self._two(rng)) is None:
            return
        one, other = pair
        self.tell(f"the link between {one.name} and {other.name} flaps")
        every, times, by = rng.choice([0.1, 0.5, 2.0]), rng.randint(3, 10), object()

        async def flap() -> None:
            for _ in range(times):
                if self.are_over:
                    break
                self._cut_both(by, one, other)
                self.cluster.network.break_link(one.node, other.node, 0.5)
                await trio.sleep(every)
                self.cluster.network.heal(by)
                await trio.sleep(every)

        self.nursery.start_soon(flap)

    async def _break_links(self, rng: Random) -> None:
        self.tell("links break")
        for one in list(self.cluster.network.ports):
            for other in list(self.cluster.network.ports):
                if one != other:
                    self.cluster.network.break_link(one, other, 0.5)

    async def _bad_weather(self, rng: Random) -> None:
        network = self.cluster.network
        network.loss, network.duplicate = rng.choice([(0.0, 0.5), (0.1, 0.1), (0.3, 0.2), (0.6, 0.0)])
        network.delay = rng.choice([CALM_DELAY, 0.05, 0.2, 0.5])
        self.tell(f"messages are lost: {network.loss}, doubled: {network.duplicate}, late by {network.delay}")
        self._later(rng.uniform(0.5, 15), self._calm_network)

    def _calm_network(self) -> None:
        network = self.cluster.network
        network.loss, network.duplicate, network.delay = 0.0, 0.0, CALM_DELAY

    # Disks.

    async def _slow_disk(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            host.disk.slowness = rng.choice([0.1, 0.5, 2.0])
            self.tell(f"the disk of {host.name} is slow")
            self._later(rng.uniform(0.5, 10), lambda: setattr(host.disk, "slowness", 0.002))

    async def _fill_disk(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            self.tell(f"the disk of {host.name} is full")
            host.disk.trouble = "full"
            self._later(rng.choice([0.5, 5, 20]), lambda: setattr(host.disk, "trouble", None))

    async def _fail_flush(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            self.tell(f"the disk of {host.name} does not flush")
            host.disk.trouble = "flush"
            self._later(rng.choice([0.1, 1, 8]), lambda: setattr(host.disk, "trouble", None))

    async def _flip_bits(self, rng: Random) -> None:
        await self._lose_disk(rng, "has rot", lambda host: host.disk.flip_bits(rng))

    async def _wipe_disk(self, rng: Random) -> None:
        await self._lose_disk(rng, "is empty", lambda host: host.disk.wipe())

    async def _lose_disk(self, rng: Random, how: str, act: Callable[[SimHost], None]) -> None:
        host = self._spare(rng)
        if host is None:
            return
        self.tell(f"{host.name} is killed, and then its disk {how}")
        await self.cluster.kill(host)
        act(host)
        await trio.sleep(rng.uniform(0.5, 4))
        self.cluster.start(host)
        self._removing += 1
        self.nursery.start_soon(self._replace, rng, host)

    def _spare(self, rng: Random) -> SimHost | None:
        """A host without which a majority of the voters goes on, while nobody else is away for good or about to be."""
        leader = self.cluster.leader()
        if self._removing or leader is None or leader.life is None or not leader.life.consensus.leads_currently:
            return None
        raft = leader.life.consensus.raft
        if len(raft.config.voters) < 3 or not raft.is_config_committed or len(self.cluster.members()) < 4:
            return None
        return self._any(rng, [host for host in self.cluster.running() if host.stage == "member"])

    async def _replace(self, rng: Random, host: SimHost) -> None:
        """A person takes out a host whose disk is lost, once it has been seen to refuse, and puts another in."""
        await trio.sleep(rng.uniform(3, 8))
        # A disk that is full too, or a daemon that is killed again, says later what is wrong with it.
        while host.stage == "member" and (host.life is None or not host.life.consensus.has_state):
            await trio.sleep(0.5)
        if host.stage == "refused":
            self.tell(f"{host.name} refused its disk and is removed")
            host.stage = "leaving"
            await self._take_out(rng, host)
            if len(self.cluster.members()) < self.max_hosts:
                self.join()
        self._removing -= 1

    # Engines and containers.

    async def _pause_engine(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            self.tell(f"the engine of {host.name} pauses")
            host.engine.memory.is_up = False
            self._later(rng.uniform(0.5, 20), lambda: setattr(host.engine.memory, "is_up", True))

    async def _slow_engine(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None:
            self.tell(f"the engine of {host.name} is slow")
            host.engine.slowness = rng.choice([1.0, 5.0])
            self._later(rng.uniform(0.5, 20), lambda: setattr(host.engine, "slowness", 0.05))

    async def _delete_container(self, rng: Random) -> None:
        if (host := self._any(rng)) is not None and host.engine.memory.is_up:
            held = host.engine.containers()
            if held:
                one = rng.choice(held)
                self.tell(f"{one.name} is removed from {host.name} by hand")
                await host.engine.memory.remove(one.external_id)

    async def _end_containers(self, rng: Random) -> None:
        for host in self.cluster.hosts.values():
            for one in host.engine.containers():
                if rng.random() < 0.3:
                    self.tell(f"{one.name} on {host.name} ends")
                    host.engine.memory.exit(one.external_id, rng.choice([0, 1, 137]))

    # People.

    async def _join(self, rng: Random) -> None:
        if sum(host.stage != "gone" for host in self.cluster.hosts.values()) < self.max_hosts:
            self.join()

    def join(self) -> None:
        """Bring in a new host."""
        host = self.cluster.add_host()
        self.tell(f"{host.name} joins")
        self.nursery.start_soon(self._admit, host)

    async def _admit(self, host: SimHost) -> None:
        rng = Random(f"{self.cluster.seed} {host.name}")
        while (await persist(self.cluster, rng, self.cluster.admission_of(host))).done is None:
            await trio.sleep(1.0)
        host.stage = "member"
        self.cluster.start(host)

    async def _remove_host(self, rng: Random) -> None:
        await self._remove(rng, self._any(rng, self.cluster.members()))

    async def _remove_leader(self, rng: Random) -> None:
        await self._remove(rng, self.cluster.leader())

    async def _remove(self, rng: Random, host: SimHost | None) -> None:
        if host is None or host.stage != "member" or len(self.cluster.members()) < 2 or self._removing:
            return
        self.tell(f"{host.name} is removed")
        host.stage = "leaving"
        self._removing += 1

        async def remove() -> None:
            await self._take_out(rng, host)
            self._removing -= 1

        self.nursery.start_soon(remove)

    async def _take_out(self, rng: Random, host: SimHost) -> None:
        """Remove it as a person does, then stop its daemon once the group goes on without it."""
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

    async def _hand_over(self, rng: Random) -> None:
        host = self.cluster.leader() if rng.random() < 0.7 else self._any(rng, self.cluster.running())
        if host is None or host.life is None or not host.life.consensus.has_state:
            return
        self.tell(f"{host.name} is asked to let another lead")
        consensus = host.life.consensus

        async def ask() -> None:
            with suppress(RefusedError, Unavailable):
                await consensus.transfer_leadership()

        self.people.start_soon(ask)

    async def _deactivate_all(self, rng: Random) -> None:
        state = self._state(rng)
        if state is not None:
            self.tell("somebody deactivates everything")
            ids = [row.id for row in state.services.values() if row.removed is None]
            self._ask(rng, *(DeactivateService(id=one) for one in ids), *(ActivateService(id=one) for one in ids))

    async def _delete_stack(self, rng: Random) -> None:
        """Make a stack with services that use its host's ports, and delete it while it is deployed."""
        name = f"hasty{rng.getrandbits(20)}"

        async def act() -> None:
            made = await self._persist(
                rng, CreateStack(uuid=name, environment_id=DEFAULT_ENVIRONMENT_ID, name=name), "stack"
            )
            if made is None:
                return
            for number in range(rng.randint(1, 3)):
                launch = LaunchConfig(image_uuid="docker:image3", ports=rng.choice([(), ("80",), ("6543:80",)]))
                command = CreateService(
                    uuid=f"{name}-{number}",
                    stack_id=made,
                    name=f"s{number}",
                    launch=launch,
                    scale=rng.randint(1, 6),
                    start_on_create=True,
                )
                await self._persist(rng, command, "service")
            await trio.sleep(rng.choice([0.05, 0.5, 2.0]))
            self.tell(f"stack {name} is deleted while it is deployed")
            while await self._persist(rng, RemoveStack(id=made), "stack") is None and not self.are_over:
                await trio.sleep(0.5)

        self.people.start_soon(act)

    async def _persist(self, rng: Random, command: SingleCommand, kind: str) -> int | None:
        done = (await persist(self.cluster, rng, command)).done
        return done.id if done is not None and done.kind == kind else None

    async def _scale_fast(self, rng: Random) -> None:
        if not self.check.services:
            return
        wanted = rng.choice(self.check.services)
        scales = [rng.randint(0, 5) for _ in range(rng.randint(3, 8))]
        self.tell(f"service {wanted.uuid} is scaled to {scales}")
        # Nobody promised which of these wins over what its owner asks for meanwhile.
        wanted.unanswered.update(scales)
        self._ask(rng, *(UpdateService(id=wanted.service_id, scale=scale) for scale in scales))

    async def _take_names(self, rng: Random) -> None:
        """Ask for names that are taken, or about to be."""
        state = self._state(rng)
        if state is None:
            return
        taken = [row.name for row in state.stacks.values()][-OLD_NAMES:] or ["first"]
        self.tell(f"somebody wants {taken} too")
        for name in taken:
            uuid = f"again{rng.getrandbits(40)}"
            self._ask(rng, CreateStack(uuid=uuid, environment_id=DEFAULT_ENVIRONMENT_ID, name=name.upper()))
