"""The scene of gossip alone: a group under every fault that tests/sim/swim_cluster knows, watched for its rules.

Always: what a host believes of another moves to higher claims only, and whoever refutes does so in a higher incarnation
than it was accused in.  In the end: all who are up know of each other.
"""

from random import Random

from protocol.ids import Incarnation, NodeId
from protocol.swim.core import Swim
from protocol.swim.messages import State
from tests.sim.swim_cluster import Host, SwimCluster

TROUBLE = 25.0
SETTLE_WITHIN = 90.0


class GossipStory:
    """One life of a group from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(f"{seed} gossip")
        self.cluster = SwimCluster(self.rng.randint(3, 7), seed)
        self._believed: dict[tuple[int, NodeId], tuple[Swim, Incarnation, State]] = {}

    def run(self) -> None:
        cluster = self.cluster
        acts = (self._kill, self._restart, self._pause, self._resume, self._cut, self._heal, self._weather)
        end = cluster.now + TROUBLE
        while cluster.now < end:
            self._watch(self.rng.choice([0.1, 0.5, 2.0]))
            self.rng.choice(acts)(self.rng.choice(cluster.hosts))
        cluster.end_faults()
        start = cluster.now
        while not cluster.is_converged():
            self._watch(0.5)
            self._require(cluster.now < start + SETTLE_WITHIN, f"not converged: {cluster.describe()}")
        deaths = len(cluster.deaths())
        self._watch(10.0)
        self._require(len(cluster.deaths()) == deaths, "somebody was buried although nothing is wrong")

    def _watch(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / 0.1))):
            self.cluster.run(0.1)
            for host in self.cluster.hosts:
                self._check(host)

    def _check(self, host: Host) -> None:
        for node, member in host.swim.members.items():
            known = self._believed.get((host.number, node))
            if known is not None and known[0] is host.swim:
                # Of one incarnation a suspicion may be all that is taken back, and only by a higher one.
                grew = (member.incarnation, member.state) >= known[1:]
                self._require(grew, f"{host.number} went back from {known[1:]} to {member.incarnation} {member.state}")
            self._believed[host.number, node] = (host.swim, member.incarnation, member.state)

    def _require(self, holds: bool, what: str) -> None:
        assert holds, f"seed {self.seed} at {self.cluster.now:.1f}: {what}"

    def _kill(self, host: Host) -> None:
        if sum(each.is_up for each in self.cluster.hosts) > 2 and host.is_up and not host.is_paused:
            self.cluster.kill(host)

    def _restart(self, _: Host) -> None:
        for host in self.cluster.hosts:
            if not host.is_up:
                self.cluster.restart(host)

    def _pause(self, host: Host) -> None:
        if host.is_up:
            self.cluster.pause(host)

    def _resume(self, _: Host) -> None:
        for host in self.cluster.hosts:
            if host.is_paused and host.is_up:
                self.cluster.resume(host)

    def _cut(self, host: Host) -> None:
        others = [each for each in self.cluster.hosts if each is not host]
        some = self.rng.sample(others, self.rng.randint(1, len(others)))
        self.cluster.cut([host], some, one_way=self.rng.random() < 0.5)

    def _heal(self, _: Host) -> None:
        self.cluster.heal()

    def _weather(self, _: Host) -> None:
        network = self.cluster.network
        network.loss, network.duplication = self.rng.choice([0.0, 0.1, 0.3]), self.rng.choice([0.0, 0.2])
        network.delay = self.rng.choice([(0.0005, 0.003), (0.01, 0.3), (0.1, 1.5)])
