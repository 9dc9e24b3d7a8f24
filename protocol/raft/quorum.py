"""Counting majorities, and which changes of configuration are one safe step.

Pure arithmetic over voters; keeps nothing.  Learners never count.  Rules from Ongaro's dissertation, 3.4 and 4.1.
"""

from collections.abc import Callable, Collection
from typing import TypeVar

from protocol.ids import NodeId
from protocol.raft.messages import MAX_LEARNERS, MAX_VOTERS, Config
from protocol.raft.vocabulary import ConfigRefused

_Value = TypeVar("_Value", bound=float)


def majority(voters: int) -> int:
    """Return how many of `voters` are more than half."""
    return voters // 2 + 1


def has_quorum(config: Config, those: Collection[NodeId]) -> bool:
    """Do `those` contain a majority of the voters?"""
    return bool(config.voters) and sum(voter in those for voter in config.voters) >= majority(len(config.voters))


def quorum_value(config: Config, value_of: Callable[[NodeId], _Value]) -> _Value:
    """Return the largest value that a majority of the voters has reached; there must be voters."""
    values = sorted((value_of(voter) for voter in config.voters), reverse=True)
    return values[majority(len(values)) - 1]


def check_change(old: Config, new: Config) -> None:
    """4.1: raise ConfigRefused unless any majority of `old` shares a voter with any majority of `new`.

    Adding or removing one voter guarantees that.  Learners may come and go in any number, but 4.2.1: a new voter
    must have been a learner, so that it had a chance to catch up.
    """
    if not new.voters:
        raise ConfigRefused("expected at least one voter")
    if len(new.voters) > MAX_VOTERS or len(new.learners) > MAX_LEARNERS:
        raise ConfigRefused(f"expected at most {MAX_VOTERS} voters and {MAX_LEARNERS} learners")
    changed = set(old.voters) ^ set(new.voters)
    if len(changed) > 1:
        raise ConfigRefused(f"expected at most one voter to differ, got {len(changed)}; make the changes one by one")
    strangers = set(new.voters) - set(old.members)
    if strangers:
        raise ConfigRefused(f"expected a new voter to be a learner first, which {min(strangers)} is not")
