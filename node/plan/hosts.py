"""When the leader holds a host down or up again: what gossip says, but only once it has lasted.

Pure; gossip's verdicts and their age come with the picture.
"""

from collections.abc import Mapping

from node.commands import MarkHostDown, MarkHostUp
from node.plan.draft import Draft
from protocol.ids import NodeId

DOWN_AFTER = 10.0
"""Seconds that gossip must have held a host dead."""


def plan_hosts(draft: Draft, dead_for: Mapping[NodeId, float], *, down_after: float = DOWN_AFTER) -> None:
    """Mark hosts; a node that `dead_for` does not name is alive, or was never heard of and gets time."""
    for host in draft.state.hosts.values():
        if host.removed is not None:
            continue
        dead = dead_for.get(host.node)
        if host.up and dead is not None and dead >= down_after:
            draft.emit(MarkHostDown(id=host.id, why=f"{host.name} has not answered for {dead:.0f} s"))
        elif not host.up and dead is None:
            draft.emit(MarkHostUp(id=host.id, why=f"{host.name} answers again"))
