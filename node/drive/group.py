"""What a member of the Raft group does beyond ordering commands: read barriers, handing over, comparing states, alarms.

Holds the parts together and passes on what the core says; decides nothing itself.
"""

import logging
from collections.abc import Awaitable, Callable

from node.drive.barriers import Barriers, Call
from node.drive.consensus_ports import Offload, Transport
from node.drive.digests import Digests
from node.drive.handover import Handover
from node.model import State
from node.ports import ConsensusView, FollowerView
from protocol.ids import Index, NodeId
from protocol.messages import Kind
from protocol.raft.core import Raft
from protocol.raft.vocabulary import ConfigChanged, LeaderChanged, LogLost, Output

log = logging.getLogger("corral.group")


def view_of(
    raft: Raft, applied: Index, now: float, *, stale_since: int | None, snapshot_at: int | None
) -> ConsensusView:
    """Return what a node knows of its group, for people."""
    followers = {
        node: FollowerView(
            match=peer.match, state=peer.state.value, heard_ago=now - peer.heard_at, is_caught_up=peer.is_caught_up
        )
        for node, peer in raft.peers(now).items()
    }
    return ConsensusView(
        node=raft.me,
        role=raft.role.value,
        term=raft.term,
        leader=raft.leader,
        voters=raft.config.voters,
        learners=raft.config.learners,
        commit_index=raft.commit_index,
        applied_index=applied,
        last_index=raft.last_index,
        stale_since=stale_since,
        followers=followers,
        snapshot_index=raft.snapshot_index,
        snapshot_at=snapshot_at,
    )


class Group:
    """This node's dealings with the other members, apart from proposals."""

    def __init__(
        self,
        me: NodeId,
        transport: Transport,
        *,
        raft: Callable[[], Raft | None],
        applied: Callable[[], Index],
        state: Callable[[], State | None],
        call: Call,
        make_snapshot: Callable[[], Awaitable[None]],
        offload: Offload,
        retry_interval: float,
    ) -> None:
        self._me = me
        self._call = call
        self._make_snapshot = make_snapshot
        self._lost_logs: dict[NodeId, str] = {}

        def leader() -> NodeId | None:
            core = raft()
            return None if core is None else core.leader

        self.barriers = Barriers(me, transport, leader, applied, call, retry_interval)
        self.handover = Handover(me, transport, raft, call)
        self.digests = Digests(me, transport, offload, raft, applied, state, self._replace_state)
        self.handlers = {
            Kind.READ_INDEX: self.barriers.answer,
            Kind.TRANSFER: self.handover.answer,
            Kind.DIGEST: self.digests.answer,
        }

    @property
    def alarms(self) -> tuple[str, ...]:
        return (*self._lost_logs.values(), *self.digests.alarms.values())

    def note_output(self, output: Output) -> None:
        """Pass on what the core has to say."""
        self.barriers.note_reads(output.reads)
        for event in output.events:
            match event:
                case LogLost(peer, acknowledged, found):
                    self._lost_logs[peer] = (
                        f"node {peer[:8]} had entry {acknowledged} and now has none after {found}: its disk was wiped "
                        "or put back; it votes again once it has caught up as a learner"
                    )
                    log.error("%s", self._lost_logs[peer])
                case ConfigChanged(config, _, True):
                    lost = self._lost_logs.items()
                    self._lost_logs = {peer: text for peer, text in lost if peer in config.voters}
                case LeaderChanged():
                    self._lost_logs.clear()
                    self.barriers.note_progress()
                case _:
                    pass

    def note_applied(self) -> None:
        """The state here is that of a later entry."""
        self.barriers.note_progress()
        self.digests.note_applied()

    async def _replace_state(self, peer: NodeId) -> None:
        """Give `peer` this leader's state; if it is the leader's own that differs, let another lead and do so."""
        if peer == self._me:
            await self.handover.try_transfer()
            return
        await self._make_snapshot()
        # The core has been called to take note of the snapshot before it is called with this.
        self._call(lambda raft, now: raft.replace_state(peer, now) if raft.is_leader else None)
