"""The scene of a Raft group alone: the story of tests/sim/raft_story, with somebody who asks for what is not safe."""

from protocol.ids import NodeId
from protocol.raft.messages import AppendReply, Config, RaftMessage, make_config
from tests.sim.raft_check import Checker
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

    def _odd_config(self, config: Config) -> Config | None:
        if len(config.voters) < 3 or self.rng.random() >= BOLD:
            return super()._odd_config(config)
        gone: set[NodeId] = set(self.rng.sample(config.voters, 2))
        return make_config(set(config.voters) - gone, set(config.learners) | gone)
