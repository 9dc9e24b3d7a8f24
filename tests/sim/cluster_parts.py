"""What surrounds a simulated node: a disk, a container engine and a network, each with faults drawn from a seed.

They stand at the ports of the production drivers and outlive any one run of a daemon, as the real things do.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar
from zlib import crc32

import trio

from dns.zone import Zone
from node.drive.consensus_ports import Transport
from node.drive.link import Caller, Handler, LinkDownError, RequestFailedError
from node.engine.memory import MemoryEngine
from node.ports import ContainerSpec, EngineContainer, EngineError, EngineVersion, NetworkSpec, Unavailable
from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId
from protocol.messages import Kind
from protocol.raft.vocabulary import Output, SavedState, Snapshot
from protocol.swim.messages import Address
from tests.sim.raft_cluster import Disk

T = TypeVar("T")

LAND = 0.5
"""Chance that what was under way when a daemon was killed happens all the same."""


@dataclass(eq=False)
class SimDisk:
    """The Storage port in memory: a write is whole or not at all, and a kill may come before or after it."""

    rng: Random
    disk: Disk = field(default_factory=lambda: Disk(SavedState()))
    commit: Index = field(default_factory=lambda: Index(0))
    slowness: float = 0.002
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def load(self) -> tuple[SavedState, Index]:
        async with self._turn:
            await self._wait()
            return self.disk.saved, self.commit

    async def load_snapshot(self) -> Snapshot | None:
        async with self._turn:
            await self._wait()
            return self.disk.snapshot

    async def write(self, output: Output, commit: Index) -> None:
        def put() -> None:
            self.disk.write(output)
            self.commit = commit

        await self._put(put)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        def put() -> None:
            self.disk.snapshot = snapshot
            saved = self.disk.saved
            self.disk.saved = SavedState(saved.hard, snapshot.meta, saved.entries)

        await self._put(put)

    async def _put(self, put: Callable[[], None]) -> None:
        async with self._turn:
            try:
                await self._wait()
            except trio.Cancelled:
                if self.rng.random() < LAND:
                    put()
                raise
            put()

    async def _wait(self) -> None:
        await trio.sleep(self.rng.uniform(0.2, 1.0) * self.slowness)


@dataclass(eq=False)
class SimEngine:
    """The Engine port: a MemoryEngine that takes its time and finishes what a killed daemon had asked for."""

    memory: MemoryEngine
    rng: Random
    later: Callable[[Callable[[], Awaitable[object]]], None]
    """Has a call carried out although nobody waits for it."""
    on_stop: Callable[[EngineContainer], None]
    """Told of each container that a daemon has stopped or removed."""
    slowness: float = 0.05

    async def version(self) -> EngineVersion:
        return await self.memory.version()

    async def list_containers(self) -> tuple[EngineContainer, ...]:
        await self._wait()
        return await self.memory.list_containers()

    async def has_image(self, image: str) -> bool:
        return await self.memory.has_image(image)

    async def pull(self, image: str) -> None:
        await self._call(lambda: self.memory.pull(image))

    async def create(self, spec: ContainerSpec) -> str:
        return await self._call(lambda: self.memory.create(spec))

    async def start(self, external_id: str) -> None:
        await self._call(lambda: self.memory.start(external_id))

    async def stop(self, external_id: str, timeout: float) -> None:
        self._tell(external_id)
        await self._call(lambda: self.memory.stop(external_id, timeout))

    async def remove(self, external_id: str) -> None:
        self._tell(external_id)
        await self._call(lambda: self.memory.remove(external_id))

    async def ensure_network(self, spec: NetworkSpec) -> None:
        await self.memory.ensure_network(spec)

    async def remove_network(self, name: str) -> None:
        await self.memory.remove_network(name)

    async def watch(self, wake: Callable[[], None]) -> None:
        await self.memory.watch(wake)

    def containers(self) -> list[EngineContainer]:
        """What is there now, whether or not the engine answers."""
        return [held.seen for held in self.memory._held.values()]

    def _tell(self, external_id: str) -> None:
        held = self.memory._held.get(external_id)
        if held is not None:
            self.on_stop(held.seen)

    async def _call(self, act: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._wait()
        except trio.Cancelled:
            if self.rng.random() < LAND:
                self.later(act)
            raise
        result = await act()
        await self._wait()
        return result

    async def _wait(self) -> None:
        await trio.sleep(self.rng.uniform(0.1, 1.0) * self.slowness)


async def ignore_engine_errors(act: Callable[[], Awaitable[object]]) -> None:
    """Carry out what a daemon that is gone had asked an engine for."""
    with suppress(EngineError):
        await act()


@dataclass(eq=False)
class ZoneKeeper:
    """A host's DNS server: it outlives the daemon and answers from the zone that it was given last."""

    told: Callable[[Zone], None]
    zone: Zone | None = None

    async def publish(self, zone: Zone) -> int:
        await trio.lowlevel.checkpoint()
        if zone is not self.zone:
            self.zone = zone
            self.told(zone)
        return zone.serial

    async def status(self) -> object:
        await trio.lowlevel.checkpoint()
        return None

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass(eq=False)
class Port:
    """Where one running daemon is reached."""

    node: NodeId
    nursery: trio.Nursery
    address: Address
    is_member: Callable[[NodeId], bool]
    on_message: Callable[[NodeId, bytes], None]
    on_lost: Callable[[NodeId], None]
    handlers: dict[Kind, Handler]
    datagrams: trio.MemorySendChannel[tuple[bytes, tuple[str, int]]]
    pace: "Pace"


@dataclass(eq=False)
class Pace:
    """How fast a host's processes get on; they pass here before each step."""

    lag: float = 0.0
    _is_paused: bool = False
    _resumed: trio.Event = field(default_factory=trio.Event)

    @property
    def is_even(self) -> bool:
        return not self._is_paused and not self.lag

    async def wait(self) -> None:
        if self.lag:
            await trio.sleep(self.lag)
        while self._is_paused:
            await self._resumed.wait()

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._resumed.set()
        self._resumed = trio.Event()


@dataclass(eq=False)
class Network:
    """Carries frames and datagrams between running daemons, late, twice, out of order or not at all."""

    rng: Random
    nursery: trio.Nursery
    note: Callable[..., None]
    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.004
    cuts: dict[object, set[tuple[NodeId, NodeId]]] = field(default_factory=dict)
    """Who made it → directions (from, to) in which nothing arrives."""
    ports: dict[NodeId, Port] = field(default_factory=dict)

    def is_cut(self, sender: NodeId, receiver: NodeId) -> bool:
        return any((sender, receiver) in cut for cut in self.cuts.values())

    def cut(self, by: object, pairs: Iterable[tuple[NodeId, NodeId]]) -> None:
        """Let nothing arrive in these directions until `heal`."""
        self.cuts[by] = set(pairs)

    def heal(self, by: object) -> None:
        self.cuts.pop(by, None)

    def open(self, port: Port) -> None:
        self.ports[port.node] = port

    def close(self, node: NodeId) -> None:
        """A daemon ended: most of those who had a connection to it notice."""
        del self.ports[node]
        for other in list(self.ports):
            if not self.is_cut(node, other):
                self.break_link(node, other, 0.9)

    def partition(self, by: object, side: set[NodeId]) -> None:
        """Cut `side` off; a few notice at once, the others hear nothing more."""
        rest = self.ports.keys() - side
        self.cut(by, [pair for one in side for other in rest for pair in ((one, other), (other, one))])
        for one in sorted(side):
            for other in sorted(rest):
                self.break_link(one, other, 0.3)
                self.break_link(other, one, 0.3)

    def break_link(self, lost: NodeId, at: NodeId, chance: float) -> None:
        if self.rng.random() < chance:
            self._later(self.rng.uniform(0, 0.1), at, lambda port: port.on_lost(lost))

    def send(self, sender: NodeId, to: NodeId, payload: bytes) -> None:
        """One Raft message."""
        self.note("raft", sender[:4], to[:4], crc32(payload))
        for _ in range(self._copies()):
            self._later(self._latency(), to, self._arrival(sender, payload))

    def send_datagram(self, source: Address, sender: NodeId, to: Address, data: bytes) -> None:
        receiver = next((port.node for port in self.ports.values() if port.address == to), None)
        if receiver is None:
            return

        def arrive(port: Port) -> None:
            if not self.is_cut(sender, port.node):
                with suppress(trio.WouldBlock):
                    port.datagrams.send_nowait((data, (source.ip, source.port)))

        for _ in range(self._copies()):
            self._later(self._latency(), receiver, arrive)

    async def request(self, sender: NodeId, to: NodeId, kind: Kind, payload: bytes, timeout: float) -> bytes:
        """A request and its reply; each may be lost, and the request may be carried out although the reply is."""
        answer: list[bytes | str] = []
        done = trio.Event()
        self.note("request", sender[:4], to[:4], kind, len(payload))
        for _ in range(self._copies()):
            self._later(self._latency(), to, self._question(sender, kind, payload, answer, done))
        with trio.move_on_after(timeout):
            if to not in self.ports:
                await trio.sleep(self._latency())
            else:
                await done.wait()
        if not answer:
            raise LinkDownError(f"node {to[:8]} did not answer")
        if isinstance(answer[0], str):
            raise RequestFailedError(answer[0])
        return answer[0]

    def _arrival(self, sender: NodeId, payload: bytes) -> Callable[[Port], None]:
        def arrive(port: Port) -> None:
            if not self.is_cut(sender, port.node) and port.is_member(sender):
                port.on_message(sender, payload)

        return arrive

    def _question(
        self, sender: NodeId, kind: Kind, payload: bytes, answer: list[bytes | str], done: trio.Event
    ) -> Callable[[Port], None]:
        async def work(port: Port) -> None:
            await port.pace.wait()
            try:
                reply: bytes | str = await port.handlers[kind](Caller(sender, "192.0.2.1"), payload)
            except (ProtocolError, LinkDownError, RequestFailedError, Unavailable) as error:
                reply = str(error)
            if self._copies():
                await trio.sleep(self._latency())
                if not self.is_cut(port.node, sender) and not answer:
                    answer.append(reply)
                    done.set()

        def arrive(port: Port) -> None:
            if self.is_cut(sender, port.node):
                return
            if not port.is_member(sender):
                done.set()
                return
            port.nursery.start_soon(work, port)

        return arrive

    def _later(self, delay: float, to: NodeId, act: Callable[[Port], None]) -> None:
        """Act on the daemon that runs on `to` now; a later one knows nothing of it."""
        port = self.ports.get(to)
        if port is None:
            return

        async def wait() -> None:
            await trio.sleep(delay)
            if self.ports.get(to) is port:
                act(port)

        self.nursery.start_soon(wait)

    def _copies(self) -> int:
        if self.rng.random() < self.loss:
            return 0
        return 2 if self.rng.random() < self.duplicate else 1

    def _latency(self) -> float:
        # Most are quick; some are late enough to be overtaken.
        late = 20.0 if self.rng.random() < 0.02 else 1.0
        return self.rng.uniform(0.1, 1.0) * self.delay * late


@dataclass(eq=False)
class SimTransport(Transport):
    """The Transport port of one node."""

    me: NodeId
    network: Network
    watch: Callable[[NodeId, bytes], None]
    """Told of each Raft message before it leaves."""

    def send(self, node: NodeId, payload: bytes) -> None:
        self.watch(node, payload)
        self.network.send(self.me, node, payload)

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes:
        return await self.network.request(self.me, node, kind, payload, timeout)


@dataclass(eq=False)
class SimSocket:
    """As much of a UDP socket as the gossip driver uses."""

    me: NodeId
    address: Address
    network: Network
    arrived: trio.MemoryReceiveChannel[tuple[bytes, tuple[str, int]]]
    pace: Pace

    async def recvfrom(self, size: int) -> tuple[bytes, Any]:
        got = await self.arrived.receive()
        await self.pace.wait()
        return got

    async def sendto(self, data: bytes, to: tuple[str, int]) -> int:
        await trio.lowlevel.checkpoint()
        await self.pace.wait()
        self.network.send_datagram(self.address, self.me, Address(*to), data)
        return len(data)
