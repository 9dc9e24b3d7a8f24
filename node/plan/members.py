"""Who belongs to the Raft group: every host of the state, no one else; one change at a time.

Pure and level-triggered.  A new host comes in as a learner; who votes is `protocol.raft.voters`' decision.
"""

from collections.abc import Collection

from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config


def plan_members(
    config: Config,
    hosts: Collection[NodeId],
    me: NodeId,
    *,
    caught_up: Collection[NodeId] = (),
    key_holders: Collection[NodeId] = (),
) -> Config | None:
    """Return the next configuration that brings the group nearer to `hosts`, or None when it is there.

    `me` leads.  A leader that is no host any more goes last: once another voter holds the CA key it takes itself out,
    and with that it steps down (4.2.2).
    """
    missing = sorted(set(hosts) - set(config.members))
    if missing:
        return make_config(config.voters, (*config.learners, *missing))
    gone = [node for node in config.members if node not in hosts and node != me]
    learners = [node for node in config.learners if node not in gone]
    if len(learners) < len(config.learners):
        return make_config(config.voters, learners)
    voters_gone = [node for node in config.voters if node in gone]
    if voters_gone:
        return _without(config, voters_gone[0])
    if me in hosts:
        return None
    if len(config.voters) > 1:
        return _without(config, me) if set(config.voters) & set(key_holders) - {me} else None
    heirs = sorted(set(config.learners) & set(caught_up))
    if not heirs:
        return None
    return make_config((*config.voters, heirs[0]), [node for node in config.learners if node != heirs[0]])


def _without(config: Config, voter: NodeId) -> Config:
    return make_config([node for node in config.voters if node != voter], config.learners)
