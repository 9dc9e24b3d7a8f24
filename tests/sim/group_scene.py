"""The scene of a Raft group alone: the story of tests/sim/raft_story, with somebody who asks for what is not safe."""

from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config
from tests.sim.raft_story import Story

BOLD = 0.3


class BoldStory(Story):
    """Asks for several changes of voters at once, too, which the core must refuse."""

    def _odd_config(self, config: Config) -> Config | None:
        if len(config.voters) < 3 or self.rng.random() >= BOLD:
            return super()._odd_config(config)
        gone: set[NodeId] = set(self.rng.sample(config.voters, 2))
        return make_config(set(config.voters) - gone, set(config.learners) | gone)
