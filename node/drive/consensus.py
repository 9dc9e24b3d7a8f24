"""Drives protocol.raft: persists, sends and applies what the core owes, in that order, and answers as a Replica.

One task owns the core.  While it waits for the disk, what arrives queues up and becomes the next batch (group
commit).  Decides nothing itself; a committed command that this release cannot read is skipped, loudly, as on every
other replica.  When the disk fails the core is given up with all that it had promised in memory, and made anew from
what is on the disk once that works: until then this node only answers what it knew.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from random import Random

import trio

from node.commands import AnyCommand, Proposal, decode_proposal
from node.crashing import crash_at
from node.drive.beside import beside
from node.drive.consensus_ports import Applied, Offload, Storage, StoreFailedError, Transport as Transport
from node.drive.disk_trouble import DiskTrouble, first_of, last_words, stand_in
from node.drive.group import Group, view_of
from node.drive.link import Caller, Reply
from node.drive.notices import Notices
from node.drive.obeying import cut_piece, durable_before, is_durable, split_sends
from node.drive.proposals import UNREADABLE, Proposals
from node.drive.snapshots import Snapshots, UnreadableSnapshotError
from node.model import Change, Done, State, host_of_node
from node.ports import ConsensusView, MemberView, Unavailable
from node.state import Indexes, apply_proposals
from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    RaftMessage,
    decode_message,
    encode_message,
)
from protocol.raft.vocabulary import (
    DEFAULT_LIMITS,
    ConfigChanged,
    Envelope,
    LeaderChanged,
    Limits,
    Output,
    Role,
    SavedState,
    Timing,
)

MAX_INBOX = 8192
"""Raft messages waiting for the core; more are dropped, as a lossy network would."""
MAX_INBOX_BYTES = 64 * 1024 * 1024
MAX_STEPS_WITHOUT_TIMER = 8
"""A flood of messages must not hold off the clock for ever."""
INPUTS_PER_STEP = 256
SNAPSHOT_EVERY = 4096
"""Entries applied since the last snapshot after which a new one is made."""
log = logging.getLogger("corral.consensus")


class Consensus:
    """This node's member of the Raft group, and the state it has applied."""

    def __init__(
        self,
        me: NodeId,
        storage: Storage,
        transport: Transport,
        *,
        members: Callable[[], Mapping[NodeId, MemberView]],
        now_ms: Callable[[], int],
        rng: Random,
        timing: Timing | None = None,
        limits: Limits = DEFAULT_LIMITS,
        snapshot_every: int = SNAPSHOT_EVERY,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._me = me
        self._storage = storage
        self._transport = transport
        self._members = members
        self._now_ms = now_ms
        self._rng = rng
        self._timing = timing or Timing()
        self._limits = limits
        self._offload = offload
        self._raft: Raft | None = None
        self._state: State | None = None
        self._indexes = Indexes()
        self._changed, self._wake = trio.Event(), trio.Event()
        self._messages: list[tuple[NodeId, bytes]] = []
        self._message_bytes = self._steps_without_timer = self._last_at = 0
        self._notices = Notices()
        self._calls: list[Callable[[Raft, float], None]] = []
        self._proposals = Proposals(
            me,
            transport,
            leader=lambda: self._raft.leader if self._raft else None,
            state=lambda: self._state,
            wake=lambda: self._wake.set(),
            rng=rng,
            retry_interval=self._timing.heartbeat_interval,
        )
        self._snapshots = Snapshots(
            storage,
            offload,
            now_ms,
            self._call,
            raft=lambda: self._raft,
            applied=lambda: (self._state, self._applied),
            every=snapshot_every,
        )
        self.group = self._make_group()
        self._listeners: list[Applied] = []
        self._group_listeners: list[Callable[[], None]] = []
        self._applied = self._commit_on_disk = self._heard_commit = Index(0)
        self._stale_since: int | None = None
        self._is_current = False
        self._disk = DiskTrouble()
        self.on_unreadable: Callable[[NodeId, str], None] = lambda node, why: None
        self.skipped_entries = 0
        """Committed entries that this release could not read: an alarm when not zero."""

    def _make_group(self) -> Group:
        return Group(
            self._me,
            self._transport,
            raft=lambda: self._raft,
            applied=lambda: self._applied,
            state=lambda: self._state,
            call=self._call,
            make_snapshot=self._snapshots.make,
            offload=self._offload,
            retry_interval=self._timing.heartbeat_interval,
        )

    @property
    def has_state(self) -> bool:
        """False on a newcomer until the first entries or a snapshot arrived."""
        return self._state is not None

    @property
    def state(self) -> State:
        if self._state is None:
            raise Unavailable("this node has not received the cluster's state yet; try again in a moment")
        return self._state

    @property
    def is_leader(self) -> bool:
        return self._raft is not None and self._raft.role is Role.LEADER

    @property
    def leads_currently(self) -> bool:
        """Whether this node leads and has applied all that earlier leaders acknowledged (6.4: an entry of its term)."""
        return self.is_leader and self._state is not None and self.raft.term_at(self._applied) == self.raft.term

    @property
    def is_current(self) -> bool:
        """Whether this node has caught up since it started: no earlier run of it knew anything that it does not.

        True for good once all is applied that a leader said was committed, an entry of its own term among it (6.4):
        before that, a new leader may not know itself of what its predecessor had acknowledged.
        """
        return self._is_current

    @property
    def raft(self) -> Raft:
        """The core, to be read only."""
        if self._raft is None:
            raise RuntimeError("consensus is not running")
        return self._raft

    @property
    def consensus(self) -> ConsensusView:
        since, made_at = self._stale_since, self._snapshots.made_at
        return view_of(self.raft, self._applied, trio.current_time(), stale_since=since, snapshot_at=made_at)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What a person has to know of this node now, and what to do about it."""
        skipped = f"{self.skipped_entries} committed changes were skipped: this release cannot read them; upgrade it"
        others = (*self._snapshots.alarms, *self.group.alarms)
        return (*self._disk.alarms, *others, *([skipped] if self.skipped_entries else ()))

    @property
    def members(self) -> Mapping[NodeId, MemberView]:
        return self._members()

    def may_speak(self, node: NodeId) -> bool:
        """Whether a node that shows a certificate of this cluster may take part in Raft.

        A member of the group is, even if the state has lost its host: it may have to hand over its vote.  Somebody
        unknown is while no leader is known here: it may have come, and come to lead, since this state was current.
        """
        state, raft = self._state, self._raft
        if state is None or raft is None or raft.may_belong(node) or node == raft.leader:
            return True
        return self.is_host(node) or (node not in state.removed_nodes and raft.leader is None)

    def is_host(self, node: NodeId) -> bool:
        """Whether a node is a host of the cluster by this state: only those may ask anything."""
        return self._state is not None and host_of_node(self._state, node) is not None

    def listen(self, listener: Applied) -> None:
        """Have `listener` called at each new state, in the order of application; it must not block."""
        self._listeners.append(listener)

    def listen_group(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when who leads or who belongs to the group has changed; it must not block."""
        self._group_listeners.append(listener)

    async def wait_changed(self, since: State) -> State:
        while self.state is since:
            await self._changed.wait()
        return self.state

    async def wait_state(self) -> State:
        """Wait for the first state."""
        while self._state is None:
            await self._changed.wait()
        return self._state

    def deliver(self, sender: NodeId, payload: bytes) -> None:
        """Take a Raft message from the link."""
        has_room = len(self._messages) < MAX_INBOX and self._message_bytes + len(payload) <= MAX_INBOX_BYTES
        if has_room and self._disk.reason is None:
            self._messages.append((sender, payload))
            self._message_bytes += len(payload)
            self._wake.set()

    def peer_lost(self, node: NodeId) -> None:
        """The link to `node` broke: if it leads, there is reason to doubt it."""
        self._call(lambda raft, now: raft.handle_peer_lost(node, now))

    def propose_config(self, config: Config) -> None:
        """Ask the core for a membership change; a refusal is logged, the planner sees the outcome in the config."""

        def propose(raft: Raft, now: float) -> None:
            try:
                raft.propose_config(config, now)
            except ProtocolError as error:
                log.debug("membership change not possible now: %s", error)

        self._call(propose)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what is on disk, then drive the core until cancelled, and once more after each failure of the disk."""
        raft = await self._make_core()
        task_status.started()
        while True:
            failed = await self._drive(raft)
            raft = await (self._begin_again(raft) if failed is None else self._recover(raft, failed))

    async def _make_core(self) -> Raft:
        """Read everything from the disk: the core starts from that and from nothing else."""
        saved, commit = await self._storage.load()
        await self._restore(saved, commit)
        self._raft = Raft(
            self._me, saved=saved, timing=self._timing, limits=self._limits, rng=self._rng, now=trio.current_time()
        )
        self._stale_since = self._stale_since or self._now_ms()
        return self._raft

    async def _begin_again(self, raft: Raft) -> Raft:
        """Give up a core whose last output was neither saved nor sent; return one made of what is on the disk."""
        self.group.barriers.fail()
        try:
            return await self._make_core()
        except StoreFailedError as error:
            return await self._recover(raft, error)

    async def _drive(self, raft: Raft) -> StoreFailedError | None:
        """Feed and obey the core until the disk fails, or until (None) a leader's snapshot cannot be read."""
        failed: StoreFailedError | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.group.digests.run)
                while True:
                    await self._wait_for_input()
                    self._feed(raft)
                    await self._obey(raft, raft.take_output(), nursery)
        except* UnreadableSnapshotError as unreadable:
            log.error("%s", unreadable.exceptions[0])
        except* StoreFailedError as errors:
            failed = first_of(errors)
        return failed

    def _suspend(self, raft: Raft, error: StoreFailedError) -> None:
        """Stop taking part.  New entries of ours may have left already; nothing that says they were saved here has."""
        log.error("%s; this node does not vote and takes no changes until then", error)
        now = trio.current_time()
        for to, message in last_words(raft, now):
            self._transport.send(to, encode_message(message))
        self._disk.note_failed(str(error), now)
        self._raft = stand_in(raft, self._applied, self._rng, now)
        self._messages, self._message_bytes, self._calls = [], 0, []
        self._stale_since = self._stale_since or self._now_ms()
        self._proposals.block(str(error))
        self.group.barriers.fail()
        for listener in self._group_listeners:
            listener()

    async def _recover(self, raft: Raft, error: StoreFailedError) -> Raft:
        """Stop, and try the disk again and again; return the core made of what is on it."""
        self._suspend(raft, error)
        while True:
            await trio.sleep(self._disk.retry_in)
            try:
                raft = await self._make_core()
            except StoreFailedError as error:
                self._disk.note_still_failing(str(error))
                log.warning("the disk still fails: %s", error)
            else:
                log.warning("the disk works again: this node takes part from entry %d on", raft.last_index)
                self._disk.note_mended(trio.current_time())
                self._proposals.block(None)
                return raft

    async def read_barrier(self, timeout: float) -> None:
        """Return once all is applied here that anybody may have been told before; Unavailable if no quorum says so."""
        await self.group.barriers.wait(timeout)

    async def transfer_leadership(self, to: NodeId | None = None) -> NodeId:
        """Have another voter lead; RefusedError or Unavailable if that cannot be."""
        return await self.group.handover.transfer(to)

    async def submit(self, command: AnyCommand, *, timeout: float = 10.0) -> Done:
        return await self._proposals.submit(command, timeout=timeout)

    async def answer_submit(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.SUBMIT."""
        return await self._proposals.answer(caller, payload)

    def execute(self, caller: Caller, payload: bytes, reply: Reply) -> None:
        """Taker of Kind.EXECUTE."""
        self._proposals.execute(caller, payload, reply)

    def _call(self, call: Callable[[Raft, float], None]) -> None:
        if self._disk.reason is None:
            self._calls.append(call)
            self._wake.set()

    async def _wait_for_input(self) -> None:
        if self._messages or self._proposals.offered or self._calls or self._raft is None:
            await trio.lowlevel.checkpoint()
        else:
            with trio.move_on_at(min(self._raft.wake_at, self._notices.due)):
                await self._wake.wait()
        self._wake = trio.Event()

    def _feed(self, raft: Raft) -> None:
        """Give the core what has arrived: messages before the timer, so that a late loop does not doubt its leader."""
        now = trio.current_time()
        batch, self._messages = self._messages[:INPUTS_PER_STEP], self._messages[INPUTS_PER_STEP:]
        for sender, payload in batch:
            self._message_bytes -= len(payload)
            try:
                message = decode_message(payload)
                if not self._snapshots.refuses(message):
                    raft.handle_message(sender, message, now)
                self._note_commit(raft, message)
            except ProtocolError as error:
                self.on_unreadable(sender, str(error))
        calls, self._calls = self._calls, []
        for call in calls:
            call(raft, now)
        if self._proposals.offered:
            self._last_at = max(self._last_at, self._now_ms())
            self._proposals.propose(raft, self._last_at, now)
        self._steps_without_timer += 1
        if not self._messages or self._steps_without_timer >= MAX_STEPS_WITHOUT_TIMER:
            self._steps_without_timer = 0
            raft.handle_timer(now)

    def _note_commit(self, raft: Raft, message: RaftMessage) -> None:
        """Remember how far a leader says the log is committed: the core goes only as far as it has entries."""
        if isinstance(message, AppendRequest) and message.term == raft.term:
            self._heard_commit = max(self._heard_commit, message.commit)

    async def _obey(self, raft: Raft, output: Output, nursery: trio.Nursery) -> None:
        early, late = split_sends(output, is_leader=raft.is_leader)
        self._send(early)
        if early:
            crash_at("consensus.sent-early")
        async with self._snapshots.lock if output.install is not None else nullcontext():
            state = None if output.install is None else await self._snapshots.read(output.install)
            if is_durable(output) or raft.commit_index >= self._commit_on_disk + self._snapshots.every:
                await self._write(output, raft.commit_index)
                crash_at("consensus.before-send")
            self._send(late)
            if output.send:
                crash_at("consensus.after-send")
            if output.install is not None and state is not None:
                crash_at("consensus.mid-install")
                self._install(output.install.meta.index, state)
        await self._apply(output.apply)
        if output.load_snapshot:
            nursery.start_soon(self._snapshots.load)
        self._note_events(raft, output)
        self._snapshots.begin_if_due(nursery)

    def _send(self, envelopes: Sequence[Envelope]) -> None:
        now = trio.current_time()
        for envelope in (*self._notices.sift(envelopes, now), *self._notices.take_due(now)):
            self._transport.send(envelope.to, encode_message(envelope.message))

    async def _write(self, output: Output, commit: Index) -> None:
        """Make an output durable; apply meanwhile what was durable before and is committed now, if it is much.

        A single entry is applied later: meanwhile it would keep the disk's thread from starting, and replies waiting.
        """
        ready, write = durable_before(output), partial(self._storage.write, output, commit)
        await (beside(write, partial(self._apply, ready)) if len(ready) > 1 else write())
        self._commit_on_disk = commit

    def _note_events(self, raft: Raft, output: Output) -> None:
        self.group.note_output(output)
        for event in output.events:
            match event:
                case LeaderChanged(leader, term):
                    log.info("term %d: %s leads", term, leader[:8] if leader else "nobody")
                    self._stale_since = None if leader else self._now_ms()
                    self._proposals.note_leader()
                case ConfigChanged(config, _, True):
                    log.info("the group has %d voters and %d learners", len(config.voters), len(config.learners))
        if output.events:
            for listener in self._group_listeners:
                listener()
        if not self._is_current and raft.leader is not None:
            heard_all = self._applied >= max(raft.commit_index, self._heard_commit)
            self._is_current = heard_all and raft.term_at(self._applied) == raft.term

    async def _restore(self, saved: SavedState, commit: Index) -> None:
        """Rebuild the state from the snapshot and the entries that are known to be committed."""
        if saved.snapshot is not None:
            self._snapshots.index = saved.snapshot.index
            # After a failure of the disk the state is here still, and further than that mostly.
            if saved.snapshot.index > self._applied and (restored := await self._snapshots.restore()) is not None:
                self._install(*restored)
        await self._apply([entry for entry in saved.entries if self._applied < entry.index <= commit])
        self._commit_on_disk = commit

    def _install(self, index: Index, state: State) -> None:
        self._applied = self._snapshots.index = index
        self._last_at = max(self._last_at, state.last_at)
        self._indexes = Indexes()
        self._replace(state, ())
        self._proposals.note_installed(state)
        self.group.note_applied()

    async def _apply(self, entries: Sequence[Entry]) -> None:
        # Known as committed from the disk, and now committed once more by a leader: those are passed over.
        left = [entry for entry in entries if entry.index > self._applied]
        while left:
            piece = self.group.digests.cut(cut_piece(left))
            left = left[len(piece) :]
            self._apply_piece(piece)
            crash_at("consensus.mid-apply")
            if left:
                await trio.lowlevel.checkpoint()

    def _apply_piece(self, entries: Sequence[Entry]) -> None:
        proposals = [
            proposal
            for entry in entries
            if entry.kind is EntryKind.COMMAND and (proposal := self._read_proposal(entry)) is not None
        ]
        applied = apply_proposals(self._state, proposals, self._indexes)
        self._applied = entries[-1].index
        self._replace(applied.state, applied.changes)
        for proposal, result in zip(proposals, applied.results, strict=True):
            self._proposals.note_applied(proposal.id, result)
        self.group.note_applied()

    def _read_proposal(self, entry: Entry) -> Proposal | None:
        try:
            proposal = decode_proposal(entry.data)
        except UNREADABLE as error:
            self.skipped_entries += 1
            log.error("entry %d is skipped, this release cannot read it: %s", entry.index, error)
            return None
        self._last_at = max(self._last_at, proposal.at)
        return proposal

    def _replace(self, state: State | None, changes: Sequence[Change]) -> None:
        if state is None or state is self._state:
            return
        self._state = state
        self._changed.set()
        self._changed = trio.Event()
        for listener in self._listeners:
            listener(state, changes)
