"""Who should vote: one voter for one or two hosts, three from three hosts, five from seven, spread over zones.

A pure planner: from the configuration and who is alive to at most one change of one voter.  Level-triggered: the
leader calls it again once the change is committed, until there is nothing to do.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from protocol.ids import NodeId
from protocol.raft.messages import MAX_VOTERS, Config, make_config
from protocol.raft.quorum import has_quorum

REPLACE_AFTER = 30.0
"""Seconds that a voter must have been dead before another host takes its vote."""


@dataclass(frozen=True, slots=True)
class VoterPlan:
    """The next configuration to propose."""

    config: Config
    why: str


@dataclass(frozen=True, slots=True)
class HostView:
    """What the leader knows of the members when it plans."""

    me: NodeId
    dead_since: Mapping[NodeId, float]
    """Members that gossip holds dead, and since when; all others are taken to be alive."""
    caught_up: Collection[NodeId]
    zones: Mapping[NodeId, str]
    lost_log: Collection[NodeId] = ()
    """Members that have lost entries which they had acknowledged."""
    drained: Collection[NodeId] = ()
    """Hosts that are about to go: they hand over their votes first, and get none."""
    preferred: Collection[NodeId] = ()
    """Hosts that get a vote before all others, and keep it."""
    wanted: int | None = None
    """How many should vote, if not as `wanted_voters` has it."""
    leaves: bool = False
    """Whether `me` is no host any more and leads only until it can go: its own vote counts for nothing to come."""


def wanted_voters(hosts: int) -> int:
    """Return how many of `hosts` should vote."""
    if hosts >= 7:
        return 5
    return 3 if hosts >= 3 else min(hosts, 1)


def plan_voters(config: Config, view: HostView, now: float, replace_after: float = REPLACE_AFTER) -> VoterPlan | None:
    """Return the one change that brings the voters nearer to what they should be, or None if there is none.

    Never proposes voters of whom no majority is alive.  A dead voter is kept until a learner can take its place:
    without one, dropping it would win nothing and lose a voter that may come back.
    """
    members, voters = len(config.members) - view.leaves, len(config.voters) - view.leaves
    target = min(view.wanted or wanted_voters(members), members, MAX_VOTERS)
    fit = [n for n in config.learners if n in view.caught_up and n not in view.dead_since and n not in view.lost_log]
    candidates = [node for node in fit if node not in view.drained]
    lost = [v for v in config.voters if now - view.dead_since.get(v, now) >= replace_after and v != view.me]
    forgetful = [voter for voter in config.voters if voter in view.lost_log and voter != view.me]
    drained = [voter for voter in config.voters if voter in view.drained and voter != view.me]
    plan = None
    if forgetful:
        # 3.8: it may vote as somebody who has promised nothing yet. As a learner it can be caught up and come back.
        plan = _demote(config, forgetful[0], "has lost a part of its log")
    elif voters > target:
        plan = _demote_spare(config, view)
    elif drained and candidates:
        plan = _hand_over(config, drained[0], candidates, view)
    elif lost and candidates:
        # Out before in: the newcomer's vote is then not needed for the change that makes it a voter.
        plan = _demote(config, lost[0], "is dead, and a learner can take its place")
    elif voters < target and _is_worth_adding(voters, len(candidates)):
        plan = _promote(config, _best(config, candidates, view), f"{members} hosts should have {target}")
    elif plain := _plain_voter(config, candidates, view):
        plan = _hand_over(config, plain, [n for n in candidates if n in view.preferred], view)
    if plan is None or not has_quorum(plan.config, set(plan.config.voters) - view.dead_since.keys()):
        return None
    return plan


def _is_worth_adding(voters: int, candidates: int) -> bool:
    # An even number tolerates no more failures than the odd one below it: pass through, do not stay.
    return candidates >= (1 if voters % 2 == 0 else 2)


def _hand_over(config: Config, drained: NodeId, candidates: Collection[NodeId], view: HostView) -> VoterPlan:
    # In before out, but for an even number on the way: the drained voter is alive, and its vote good until then.
    if len(config.voters) % 2 == 0:
        return _demote(config, drained, "another votes in its place")
    return _promote(config, _best(config, candidates, view), f"it takes the vote of {drained}")


def _plain_voter(config: Config, candidates: Collection[NodeId], view: HostView) -> NodeId | None:
    """Return a voter that has to make room for a preferred host, None if no such host waits."""
    plain = [voter for voter in config.voters if voter not in view.preferred and voter != view.me]
    if not plain or not set(candidates) & set(view.preferred):
        return None
    return max(plain, key=lambda v: (v in view.dead_since, _crowd(config, view, v), v))


def _best(config: Config, candidates: Collection[NodeId], view: HostView) -> NodeId:
    return min(candidates, key=lambda n: (n not in view.preferred, _crowd(config, view, n), n))


def _demote_spare(config: Config, view: HostView) -> VoterPlan:
    spare = [voter for voter in config.voters if voter != view.me]
    gone = max(
        spare,
        key=lambda v: (v in view.dead_since, v in view.drained, v not in view.preferred, _crowd(config, view, v), v),
    )
    return _demote(config, gone, f"{len(config.members)} hosts need fewer voters")


def _crowd(config: Config, view: HostView, node: NodeId) -> int:
    """Return how many voters share the zone of `node`; hosts without a zone share none."""
    zones = Counter(view.zones[voter] for voter in config.voters if voter in view.zones)
    return zones[view.zones[node]] if node in view.zones else 0


def _promote(config: Config, node: NodeId, why: str) -> VoterPlan:
    return VoterPlan(make_config([*config.voters, node], set(config.learners) - {node}), f"{node} gets a vote: {why}")


def _demote(config: Config, node: NodeId, why: str) -> VoterPlan:
    return VoterPlan(
        make_config(set(config.voters) - {node}, [*config.learners, node]), f"{node} loses its vote: {why}"
    )
