"""The scene of a Raft group alone: the story of tests/sim/raft_story under a checker that knows a few rules more."""

from protocol.raft.messages import EntryKind
from protocol.raft.vocabulary import Output, Role
from tests.sim.raft_cluster import Checker, Member
from tests.sim.raft_story import Story


class StrictChecker(Checker):
    """Adds the rules of a step that do no visible harm by themselves in most runs."""

    def check_write(self, member: Member, output: Output) -> None:
        super().check_write(member, output)
        raft = member.raft
        assert raft is not None
        changes = [entry for entry in output.append if entry.kind is EntryKind.CONFIG and entry.term == raft.term]
        if changes and raft.role is Role.LEADER and changes[0].index > 1:
            own = raft.term_at(raft.commit_index)
            self.require(own == raft.term, f"4.1: {member.name[0]} changes the group before it committed in its term")


def make_story(seed: int) -> Story:
    """Return the story of a seed, not lived yet."""
    story = Story(seed)
    strict = StrictChecker(seed)
    story.cluster.check = strict
    return story
