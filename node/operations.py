"""What the API can have this node itself do: examine itself, and leave the cluster without harming it.

Leaving first makes sure that those who stay keep a majority, then takes the host out of the state and the group, and
last removes all trace of it here.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import trio

from node.api.errors import ApiError
from node.assembly import Parts
from node.commands import RemoveHost
from node.model import host_of_node
from node.ports import EngineError, RefusedError, Unavailable
from protocol.ids import NodeId

HANDOVER_TIMEOUT = 30.0
SETTLE = 1.0
"""How long a follower waits after its removal: the leader stops talking to it at once, so it cannot see the outcome."""


def keeps_majority(voters: Collection[NodeId], alive: Collection[NodeId], leaving: NodeId) -> bool:
    """Whether the voters that stay can still decide, going by who is alive."""
    staying = [voter for voter in voters if voter != leaving]
    return not staying or sum(voter in alive for voter in staying) > len(staying) // 2


class NodeOperations:
    """The operations of this node; `is_leaving` is set once there is no way back."""

    def __init__(self, parts: Parts, stop: trio.Event) -> None:
        self._parts = parts
        self._stop = stop
        self.is_leaving = False

    async def doctor(self) -> Sequence[Mapping[str, Any]]:
        """Examine this host and its paths."""
        findings = await self._parts.doctor.examine()
        return [
            {"check": each.check, "level": each.level, "detail": each.detail, "try": each.try_} for each in findings
        ]

    async def transfer(self, host_id: int | None) -> None:
        """Have that host lead, or whichever voter is furthest."""
        consensus = self._parts.base.consensus
        host = None if host_id is None else consensus.state.hosts.get(host_id)
        if host_id is not None and (host is None or host.state == "removed"):
            raise ApiError("Not Found", "there is no such host")
        try:
            await consensus.transfer_leadership(None if host is None else host.node)
        except RefusedError as refused:
            raise ApiError(refused.code, str(refused)) from None

    async def leave(self, *, force: bool) -> None:
        """Take this host out of the cluster and remove all trace of it here; the daemon ends afterwards."""
        consensus, me = self._parts.base.consensus, self._parts.identity.node
        host = host_of_node(consensus.state, me)
        others = [h for h in consensus.state.hosts.values() if h.state != "removed" and h.node != me]
        if not others and not force:
            raise ApiError(
                "Conflict", "this is the last host: leaving ends the cluster and forgets its stacks; use --force"
            )
        if host is not None and others:
            try:
                self._check_majority()
                await consensus.group.handover.try_transfer()
                self._note_wish(True)
                await consensus.submit(RemoveHost(id=host.id))
                await self._hand_over()
            except (Unavailable, ApiError):
                if not force:
                    self._note_wish(False)
                    raise
        await self._remove_traces()
        self.is_leaving = True
        self._stop.set()

    def _note_wish(self, is_leaving: bool) -> None:
        """Have those who would report it as trouble know that this host is removed because it asked for that."""
        self._parts.upkeep.is_leaving = self._parts.base.link.is_leaving = is_leaving

    def _check_majority(self) -> None:
        consensus = self._parts.base.consensus
        alive = {m.node for m in consensus.members.values() if m.status in ("alive", "suspect")}
        if not keeps_majority(consensus.raft.config.voters, alive, self._parts.identity.node):
            raise ApiError(
                "Conflict",
                "without this host too few voters are alive to decide anything; bring the others back first "
                "(`node status` lists them), or --force leaves all the same",
            )

    async def _hand_over(self) -> None:
        """Wait until the group goes on without this node's vote."""
        consensus, me = self._parts.base.consensus, self._parts.identity.node
        with trio.move_on_after(HANDOVER_TIMEOUT):
            while consensus.is_leader and me in consensus.raft.config.voters:
                self._parts.leading.wakeup.set()
                await trio.sleep(0.1)
            await trio.sleep(SETTLE)
            return
        raise Unavailable("no other host has taken over this host's vote; see `node status`, or leave with --force")

    async def _remove_traces(self) -> None:
        parts = self._parts
        try:
            await parts.agent.remove_all()
            if parts.overlaying is not None:
                await parts.overlaying.remove()
        except EngineError as error:
            again = "see to that, and `node leave --force` takes away the rest"
            raise ApiError("Conflict", f"this host is not clean yet: {error}; {again}") from None
        await parts.names.stop_server()
