"""Who is to have a copy of the CA key: each voter, and in the end no one else.

Pure and level-triggered.  Every holder gives, since a new leader may have none yet; only the leader takes back, and
nothing before each voter has one.
"""

from collections.abc import Collection
from dataclasses import dataclass

from node.model import Host, State
from protocol.ids import NodeId


@dataclass(frozen=True, slots=True)
class Seals:
    """Hosts that are to be given a copy, and nodes whose copy is to be dropped."""

    give: tuple[Host, ...] = ()
    take_back: tuple[NodeId, ...] = ()


def plan_seals(state: State, voters: Collection[NodeId], me: NodeId, *, leads: bool) -> Seals:
    """Return what `me` is to do about the copies in `state`."""
    holders = state.sealed_ca_keys.keys()
    if me not in holders:
        return Seals()
    hosts = {host.node: host for host in state.hosts.values() if host.state != "removed"}
    give = tuple(hosts[node] for node in sorted(voters) if node in hosts and node not in holders)
    if give:
        return Seals(give=give)
    if not leads or not set(voters) <= holders:
        return Seals()
    return Seals(take_back=tuple(sorted(holders - set(voters))))
