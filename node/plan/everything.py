"""Everything the leader plans in one round, from the state, what gossip says, the time and a source of uuids.

Pure, level-triggered, bounded: a plan holds at most MAX_COMMANDS commands, and once it has been applied the next one
continues it or is empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from node.commands import SingleCommand
from node.model import State
from node.plan.draft import MAX_COMMANDS, Draft
from node.plan.hosts import plan_hosts
from node.plan.purge import plan_purge
from node.plan.services import plan_services, plan_stacks, plan_standalone
from protocol.ids import NodeId


@dataclass(frozen=True, slots=True)
class Picture:
    """What the leader knows beyond the state."""

    dead_for: Mapping[NodeId, float] = field(default_factory=dict)
    """Seconds since gossip has held a node dead; nodes not named are not held dead."""


def plan(state: State, picture: Picture, now: int, rng: Random) -> tuple[SingleCommand, ...]:
    """Return the commands that take the state towards what is wanted; `now` in milliseconds since the epoch."""
    draft = Draft(state, now, rng)
    plan_hosts(draft, picture.dead_for)
    plan_services(draft)
    plan_standalone(draft)
    plan_stacks(draft)
    plan_purge(draft)
    return tuple(draft.commands[:MAX_COMMANDS])
