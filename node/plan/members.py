"""Who belongs to the Raft group: every host of the state, no one else; one change at a time.

Pure and level-triggered.  A new host comes in as a learner; who votes is `protocol.raft.voters`' decision.
"""

from collections.abc import Collection

from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config
from protocol.raft.quorum import has_quorum


def plan_members(
    config: Config,
    hosts: Collection[NodeId],
    me: NodeId,
    *,
    caught_up: Collection[NodeId] = (),
    key_holders: Collection[NodeId] = (),
    dead: Collection[NodeId] = (),
) -> Config | None:
    """Return the next configuration that brings the group nearer to `hosts`, or None when it is there.

    `me` leads.  A leader that is no host any more goes last: once another voter alive holds the CA key it takes itself
    out, and with that it steps down (4.2.2).  A voter keeps its vote while those who would be left have no majority
    that is not `dead`: without it nothing could be committed any more, not even the change itself.
    """
    missing = sorted(set(hosts) - set(config.members))
    if missing:
        return make_config(config.voters, (*config.learners, *missing))
    gone = [node for node in config.members if node not in hosts and node != me]
    learners = [node for node in config.learners if node not in gone]
    if len(learners) < len(config.learners):
        return make_config(config.voters, learners)
    voters_gone = [node for node in config.voters if node in gone]
    for voter in sorted(voters_gone, key=lambda node: node not in dead):
        left = _without(config, voter)
        if has_quorum(left, set(left.voters) - set(dead)):
            return left
    if voters_gone or me in hosts:
        return None
    if len(config.voters) > 1:
        left = _without(config, me)
        alive = set(left.voters) - set(dead)
        return left if has_quorum(left, alive) and alive & set(key_holders) else None
    heirs = sorted(set(config.learners) & set(caught_up))
    if not heirs:
        return None
    return make_config((*config.voters, heirs[0]), [node for node in config.learners if node != heirs[0]])


def _without(config: Config, voter: NodeId) -> Config:
    return make_config([node for node in config.voters if node != voter], config.learners)
