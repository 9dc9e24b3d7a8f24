"""What the leader does beyond ordering commands: plans, and keeps the Raft group's membership what it should be.

Level-triggered: woken by a new state, by gossip or by time, it re-reads everything, submits what the pure planners
want, and sleeps.  On a follower it sleeps.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from math import inf
from random import Random

import trio

from node.commands import Batch, SealCaKey
from node.drive.consensus import Consensus
from node.drive.wakeup import Wakeup
from node.model import State
from node.plan.everything import Picture
from node.plan.members import plan_members
from node.plan.rounds import Planner
from node.ports import RefusedError, Unavailable
from protocol.ids import NodeId
from protocol.raft.messages import Config
from protocol.raft.vocabulary import PeerStatus
from protocol.raft.voters import HostView, plan_voters

SETTLE = 0.01
"""A burst of changes is planned for once, this many seconds after the first."""
APART = 0.05
"""While changes never end, the leader plans no more often."""
AT_LEAST_EVERY = 1.0
RETRY_AFTER = 0.5
SEAL_TIMEOUT = 2.0
VOTE_LABEL = "corral.vote"
"""A host's label: `yes` prefers it as a voter, `no` takes its vote as soon as another can have it."""
HAND_OVER_AGAIN = 10.0
"""Seconds after which a drained leader tries once more to let another lead: while it tries, it takes no changes."""
FAREWELL = 1.0
"""Once out of the group a node hears nothing more, not even that it was removed."""

SILENT = 2.0
"""Seconds without an answer after which a member is not counted on; heartbeats are many times as frequent."""

log = logging.getLogger("corral.leading")


class Leading:
    """The leader's loop on this node."""

    def __init__(
        self,
        me: NodeId,
        consensus: Consensus,
        *,
        dead_since: Callable[[], Mapping[NodeId, float]],
        plan_seals: Callable[[State], Sequence[SealCaKey]],
        now_ms: Callable[[], int],
        rng: Random,
        wanted_voters: int | None = None,
    ) -> None:
        self._wanted_voters = wanted_voters
        self._me = me
        self._consensus = consensus
        self._dead_since = dead_since
        self._plan_seals = plan_seals
        self._now_ms = now_ms
        self._rng = rng
        self._absent_since: dict[NodeId, float] = {}
        """Hosts that gossip has never heard of, and since when this leader misses them."""
        self._gone_since: dict[NodeId, float] = {}
        self._hand_over_at = -inf
        self._planner = Planner()
        self.wakeup = Wakeup()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Plan whenever this node leads, until cancelled."""
        task_status.started()
        while True:
            if self._consensus.leads_currently:
                if await self._plan_once():
                    await trio.lowlevel.checkpoint()
                    continue
            else:
                self._absent_since.clear()
                self._hand_over_at = -inf
                self._planner = Planner()
                await self._seal_for_the_leader()
            await self.wakeup.wait(at_most=AT_LEAST_EVERY, settle=SETTLE, apart=APART)

    async def _plan_once(self) -> bool:
        """Make one round; return whether there is more to do at once."""
        state, now = self._consensus.state, trio.current_time()
        dead_since = self._dead_since()
        self._note_absent(state, now)
        await self._plan_group(state, dead_since, now)
        ages = {node: now - since for node, since in (self._absent_since | dict(dead_since)).items()}
        planned = self._planner.round(state, Picture(dead_for=ages), self._now_ms(), self._rng)
        commands = (*self._plan_seals(state), *planned.commands)
        if not commands:
            return planned.more
        try:
            done = await self._consensus.submit(Batch(commands=commands))
            if done.id == 0:
                log.warning("none of %d planned changes was possible: %s", len(commands), commands[0])
                await trio.sleep(RETRY_AFTER)
        except (RefusedError, Unavailable) as error:
            log.warning("planned changes were not taken: %s", error)
            await trio.sleep(RETRY_AFTER)
        self.wakeup.set()
        return False

    def _lately_removed(self, config: Config, hosts: Collection[NodeId], now: float) -> set[NodeId]:
        """Members whose host has just gone: they stay in the group until they have heard of it themselves."""
        gone = [node for node in config.members if node not in hosts and node != self._me]
        self._gone_since = {node: self._gone_since.get(node, now) for node in gone}
        return {node for node, since in self._gone_since.items() if now - since < FAREWELL}

    async def _seal_for_the_leader(self) -> None:
        """A holder of the CA key that does not lead gives voters their copies: the leader may have none."""
        if not (self._consensus.is_current and (seals := self._plan_seals(self._consensus.state))):
            return
        for seal in seals:
            try:
                await self._consensus.submit(seal, timeout=SEAL_TIMEOUT)
            except (RefusedError, Unavailable) as error:
                log.debug("a copy of the CA key is not placed yet: %s", error)

    def _note_absent(self, state: State, now: float) -> None:
        """A host that was admitted and never came is as good as dead: nothing may be placed on it."""
        known = self._consensus.members
        absent = [h.node for h in state.hosts.values() if h.state != "removed" and h.node not in known]
        self._absent_since = {node: self._absent_since.get(node, now) for node in absent}

    async def _plan_group(self, state: State, dead_since: Mapping[NodeId, float], now: float) -> None:
        raft = self._consensus.raft
        if not raft.is_config_committed:
            return
        hosts = {host.node: host for host in state.hosts.values() if host.state != "removed"}
        peers = raft.peers(now)
        caught_up = [node for node, status in peers.items() if status.is_caught_up]
        drained = {node for node, host in hosts.items() if host.state == "inactive"}
        heirs = [v for v in raft.config.voters if v in peers.keys() - drained - dead_since.keys()]
        if self._me in drained and heirs and now >= self._hand_over_at:
            # 3.10: a leader that is drained lets another lead, which then takes its vote.
            self._hand_over_at = now + HAND_OVER_AGAIN
            await self._consensus.group.handover.try_transfer(max(heirs, key=lambda heir: peers[heir].match))
            return
        wanted = hosts.keys() | self._lately_removed(raft.config, hosts.keys(), now)
        holders = state.sealed_ca_keys.keys()
        missed = missed_since(peers, self._absent_since | dict(dead_since), now)
        config = plan_members(
            raft.config, wanted, self._me, caught_up=caught_up, key_holders=holders, dead=missed.keys()
        )
        if config is None:
            view = HostView(
                me=self._me,
                dead_since={node: since for node, since in missed.items() if node in hosts},
                caught_up=caught_up,
                zones={node: host.labels["zone"] for node, host in hosts.items() if "zone" in host.labels},
                lost_log=[node for node, status in peers.items() if status.has_lost_log],
                drained=drained | {node for node, host in hosts.items() if host.labels.get(VOTE_LABEL) == "no"},
                preferred=[node for node, host in hosts.items() if host.labels.get(VOTE_LABEL) == "yes"],
                wanted=self._wanted_voters,
                leaves=self._me not in hosts,
            )
            voters = plan_voters(raft.config, view, now)
            if voters is None:
                return
            log.info("changing who votes: %s", voters.why)
            config = voters.config
        self._consensus.propose_config(config)


def missed_since(
    peers: Mapping[NodeId, PeerStatus], dead_since: Mapping[NodeId, float], now: float
) -> dict[NodeId, float]:
    """Return who is not counted on when the group is changed: also who has not answered this leader, or not lately.

    Gossip does not call dead whom it has never heard of, and a leader that was just started has heard of few.
    Silence alone costs nobody its vote, however long it lasts: its time begins anew with each look.
    """
    silent = {node for node, peer in peers.items() if peer.match == 0 or now - peer.heard_at >= SILENT}
    return dict.fromkeys(silent, now) | dict(dead_since)
