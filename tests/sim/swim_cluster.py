"""A whole gossip group in virtual time, from one seed: loss, delay, duplication, partitions, pauses, kills, restarts.

Drives the real cores the way a node does and owns everything else: the clock, the network and the faults.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from protocol.ids import Incarnation, NodeId, new_node_id
from protocol.swim import (
    MAX_DATAGRAM_BYTES,
    Address,
    Event,
    MemberDied,
    Meta,
    Swim,
    SwimTiming,
)

SOCKET_BUFFER_DATAGRAMS = 400
"""What a paused host's socket keeps; the rest is lost, as it would be."""


@dataclass(slots=True)
class Host:
    """One simulated host and the daemon on it."""

    number: int
    node: NodeId
    address: Address
    swim: Swim
    is_up: bool = True
    is_paused: bool = False
    wake_at: float = 0.0
    backlog: list[tuple[bytes, Address]] = field(default_factory=list)


@dataclass(slots=True)
class Network:
    """What the network does to datagrams."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.0005, 0.003)
    blocked: set[tuple[int, int]] = field(default_factory=set)
    """Pairs (from, to) of host numbers; one-way."""


class SwimCluster:
    """Hosts numbered from 0, one event queue."""

    def __init__(self, size: int, seed: int, timing: SwimTiming | None = None) -> None:
        self.rng = Random(seed)
        self.now = 100.0
        self.timing = timing or SwimTiming()
        self.network = Network()
        self.hosts: list[Host] = []
        self.history: list[tuple[float, int, Event]] = []
        self.sent = 0
        self._at: dict[Address, Host] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._hash = hashlib.sha256()
        for number in range(size):
            self.add(number)

    def add(self, number: int) -> Host:
        """Start a new host that joins through host 0."""
        node = new_node_id(self.rng)
        address = Address(f"10.0.{number // 250}.{number % 250 + 1}", 7946)
        host = Host(number, node, address, self._boot(node, address))
        self.hosts.append(host)
        self._at[address] = host
        if number:
            host.swim.join([self.hosts[0].address], self.now)
        self._drain(host)
        return host

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Advance; return whether `until` came true (checked ten times a second)."""
        end = self.now + seconds
        while self.now < end:
            if until is not None and until():
                return True
            self._run_to(min(end, self.now + 0.1))
        return until is not None and until()

    def settle(self, seconds: float = 60.0) -> None:
        """Run until everybody up knows everybody up."""
        assert self.run(seconds, self.is_converged), f"not converged after {seconds} s: {self.describe()}"

    def is_converged(self) -> bool:
        up = frozenset(host.node for host in self.hosts if host.is_up)
        return all(host.swim.alive == up for host in self.hosts if host.is_up)

    def describe(self) -> str:
        return " ".join(f"{host.number}:{len(host.swim.alive)}" for host in self.hosts if host.is_up)

    def kill(self, host: Host) -> None:
        """SIGKILL: no goodbye."""
        host.is_up = False
        self._at.pop(host.address, None)

    def restart(self, host: Host, address: Address | None = None) -> None:
        """Same identity, nothing remembered of its incarnation, perhaps another address."""
        host.address = address or host.address
        host.swim = self._boot(host.node, host.address)
        host.is_up, host.is_paused, host.backlog = True, False, []
        self._at[host.address] = host
        host.swim.join([other.address for other in self.hosts if other.is_up and other is not host][:3], self.now)
        self._drain(host)

    def pause(self, host: Host) -> None:
        """SIGSTOP."""
        host.is_paused = True

    def resume(self, host: Host) -> None:
        """SIGCONT: the socket's backlog comes at once."""
        host.is_paused = False
        backlog, host.backlog = host.backlog, []
        if self.rng.random() < 0.5:
            host.swim.handle_timer(self.now)
        for data, source in backlog:
            host.swim.handle_datagram(data, source, self.now)
            self._drain(host)
        host.swim.handle_timer(self.now)
        self._drain(host)

    def move(self, host: Host, address: Address) -> None:
        """Give a running host another address, which it tells the others."""
        self._at.pop(host.address, None)
        host.address = address
        self._at[address] = host
        host.swim.update_meta(_meta(address), self.now)
        self._drain(host)

    def poke(self, host: Host) -> None:
        """Obey a host's output after calling its core directly."""
        self._drain(host)

    def end_faults(self) -> None:
        """Heal, wake, and restart everything."""
        self.heal()
        self.network.loss = self.network.duplication = 0.0
        for host in self.hosts:
            if host.is_paused and host.is_up:
                self.resume(host)
            elif not host.is_up:
                self.restart(host)

    def cut(self, side: Iterable[Host], other: Iterable[Host], *, one_way: bool = False) -> None:
        """Block datagrams from `side` to `other`, and back unless `one_way`."""
        others = list(other)
        for a in side:
            for b in others:
                self.network.blocked.add((a.number, b.number))
                if not one_way:
                    self.network.blocked.add((b.number, a.number))

    def heal(self) -> None:
        self.network.blocked.clear()

    def deaths(self, since: float = 0.0) -> list[tuple[float, int, NodeId]]:
        """Every death declared: when, by which host, of whom."""
        return [(at, who, e.member.node) for at, who, e in self.history if isinstance(e, MemberDied) and at >= since]

    def trace_hash(self) -> str:
        """Digest of every datagram delivered and every event, with its time."""
        return self._hash.hexdigest()

    def _boot(self, node: NodeId, address: Address) -> Swim:
        rng = Random(self.rng.getrandbits(64))
        return Swim(node, _meta(address), timing=self.timing, rng=rng, now=self.now, incarnation=Incarnation(0))

    def _run_to(self, end: float) -> None:
        while self._queue and self._queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self._queue)
            act()
        self.now = end

    def _schedule(self, at: float, act: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._queue, (at, self._serial, act))

    def _drain(self, host: Host) -> None:
        output = host.swim.take_output()
        for datagram in output.send:
            assert len(datagram.data) <= MAX_DATAGRAM_BYTES
            self._carry(host, datagram.to, datagram.data)
        for event in output.events:
            self.history.append((self.now, host.number, event))
            self._hash.update(f"{self.now:.6f} {host.number} {event}".encode())
        if output.wake_at != host.wake_at:
            host.wake_at, swim = output.wake_at, host.swim
            if output.wake_at < float("inf"):
                self._schedule(max(self.now, output.wake_at), lambda: self._wake(host, swim, output.wake_at))

    def _wake(self, host: Host, swim: Swim, wake_at: float) -> None:
        if host.is_up and not host.is_paused and host.swim is swim and host.wake_at == wake_at:
            host.wake_at = -1.0
            swim.handle_timer(self.now)
            self._drain(host)

    def _carry(self, sender: Host, to: Address, data: bytes) -> None:
        self.sent += 1
        source = sender.address
        copies = 2 if self.rng.random() < self.network.duplication else 1
        for _ in range(copies):
            if self.rng.random() >= self.network.loss:
                arrive_at = self.now + self.rng.uniform(*self.network.delay)
                self._schedule(arrive_at, lambda: self._deliver(sender.number, source, to, data))

    def _deliver(self, sender: int, source: Address, to: Address, data: bytes) -> None:
        host = self._at.get(to)
        if host is None or (sender, host.number) in self.network.blocked:
            return
        if host.is_paused:
            if len(host.backlog) < SOCKET_BUFFER_DATAGRAMS:
                host.backlog.append((data, source))
            return
        self._hash.update(f"{self.now:.6f} {sender}>{host.number} ".encode() + data)
        host.swim.handle_datagram(data, source, self.now)
        self._drain(host)


def _meta(address: Address) -> Meta:
    return Meta(name=f"h{address.ip}", address=address.ip, port=address.port, api_port=8080)
