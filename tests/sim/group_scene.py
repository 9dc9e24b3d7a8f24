"""The scene of a Raft group alone: the story of tests/sim/raft_story, with somebody who asks for what is not safe."""

from functools import partial

from protocol.ids import NodeId
from protocol.raft.messages import AppendReply, Config, RaftMessage, make_config
from tests.sim.raft_check import Checker
from tests.sim.raft_cluster import Faults
from tests.sim.raft_parts import Member
from tests.sim.raft_story import Story

BOLD = 0.3


class StrictChecker(Checker):
    """Adds what does visible harm in rare orders of events only."""

    def check_send(self, sender: Member, receiver: NodeId, message: RaftMessage, heir: Member | None = None) -> None:
        super().check_send(sender, receiver, message, heir)
        if isinstance(message, AppendReply) and message.ok and sender.raft is not None:
            is_fit = message.term >= sender.raft.term
            self.require(is_fit, f"3.3: {sender.name[0]} takes entries of term {message.term} in {sender.raft.term}")


class BoldStory(Story):
    """Asks for several changes of voters at once, too, which the core must refuse."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.cluster.check = StrictChecker(seed)
        self._strands = seed % 4 == 3
        self._stranded_until = 0.0

    def _trouble(self) -> None:
        if self._strands and self.rng.random() < 0.25:
            self._strand_far()
        elif self.cluster.now > self._stranded_until:
            super()._trouble()

    def _strand_far(self) -> None:
        """Leave the leader alone with a tail that reaches beyond where the others make their next snapshot."""
        leader = self.cluster.leader()
        is_over = self.cluster.now > self._stranded_until
        if leader is None or not self._is_troubled or leader.heir is not None or not is_over:
            return
        for name in self.cluster.members:
            self.cluster.start(name)
        self.cluster.faults = Faults()
        self.cluster.partition({leader.me})
        for _number in range(60):
            self.cluster.propose(leader.me, 6)
        until = self._stranded_until = self.cluster.now + self.rng.uniform(1.0, 3.5)
        for name in self.cluster.members:
            if name != leader.me:
                self.cluster.at(until, partial(self.cluster.make_snapshot, name))
        self.cluster.at(until + 0.01, self.cluster.heal)

    def _odd_config(self, config: Config) -> Config | None:
        if len(config.voters) < 3 or self.rng.random() >= BOLD:
            return super()._odd_config(config)
        gone: set[NodeId] = set(self.rng.sample(config.voters, 2))
        return make_config(set(config.voters) - gone, set(config.learners) | gone)
