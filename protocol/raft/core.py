"""Leader election, log replication, snapshots and membership, without a clock, a socket or a disk.

The driver (node/drive/consensus.py) owns time and I/O.  It feeds inputs, then calls `take_output` and obeys it in the
order that Output states: persist, send, apply.  What is in an output therefore counts as persisted here.  Equal
inputs give equal outputs; chance enters only through `rng`.  Section numbers are those of Ongaro's dissertation.
"""

from collections.abc import Mapping
from math import inf
from random import Random
from typing import assert_never

from protocol.ids import Index, NodeId, Term
from protocol.raft.election import Election
from protocol.raft.following import Following
from protocol.raft.leadership import Leadership
from protocol.raft.log import Log
from protocol.raft.messages import (
    MAX_ENTRY_BYTES,
    AppendReply,
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    PreVoteRequest,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    encode_config,
)
from protocol.raft.quorum import check_change
from protocol.raft.vocabulary import (
    DEFAULT_LIMITS,
    DEFAULT_TIMING,
    ConfigChanged,
    ConfigInFlight,
    ConfigRefused,
    Envelope,
    Event,
    HandingOver,
    LeaderChanged,
    Limits,
    NotLeader,
    Output,
    PeerStatus,
    ProposalsFull,
    ReadAnswer,
    Role,
    RoleChanged,
    SavedState,
    Snapshot,
    Timing,
)


class Raft:
    """One member's view of the group."""

    def __init__(
        self,
        me: NodeId,
        *,
        saved: SavedState,
        rng: Random,
        now: float,
        timing: Timing = DEFAULT_TIMING,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.me = me
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self._timing = timing
        self._limits = limits
        self._log = Log(saved.snapshot, saved.entries)
        self._election = Election(me, saved.hard, self._log, timing=timing, rng=rng)
        self._leading: Leadership | None = None
        self._following = Following(self._log, limits)
        self._asked_reads = 0
        self._reads: list[ReadAnswer] = []
        self._outbox: list[Envelope] = []
        self._told = self._news()
        self.wake_at = self._election.patience_end(now)
        if self.config.voters == (me,):
            self.wake_at = now  # Nobody else could lead or be disturbed.

    # What the driver may look at.

    @property
    def term(self) -> Term:
        return self._election.term

    @property
    def is_leader(self) -> bool:
        return self.role is Role.LEADER

    @property
    def config(self) -> Config:
        """The latest configuration in the log, which is in force even if it is not committed."""
        return self._log.config

    @property
    def is_config_committed(self) -> bool:
        return self._log.is_config_committed

    def may_belong(self, node: NodeId) -> bool:
        """Whether a node is a member, or is one if a change that is not committed is taken back."""
        return any(node in config.members for config in self._log.possible_configs)

    @property
    def commit_index(self) -> Index:
        return self._log.commit_index

    @property
    def applied_index(self) -> Index:
        """The last entry, or snapshot, handed over to be applied."""
        return self._log.applied_index

    @property
    def last_index(self) -> Index:
        return self._log.last_index

    @property
    def snapshot_index(self) -> Index:
        return self._log.snapshot.index

    def term_at(self, index: Index) -> Term | None:
        """Return the term of the entry at `index`, or None if it is compacted away or not there yet."""
        return self._log.term_at(index)

    def snapshot_meta(self, index: Index) -> SnapshotMeta:
        """Return what to write on a snapshot of the state machine at `index`, which must have been applied."""
        term = self._log.term_at(index)
        if term is None or not self.snapshot_index <= index <= self.applied_index:
            raise ValueError(f"expected an index from {self.snapshot_index} to {self.applied_index}, got {index}")
        return SnapshotMeta(index, term, self._log.config_at(index))

    @property
    def heir(self) -> NodeId | None:
        """3.10: to whom we are handing over leadership."""
        return None if self._leading is None else self._leading.heir

    def peers(self, now: float) -> Mapping[NodeId, PeerStatus]:
        """Return what a leader knows of the others; empty if we do not lead."""
        return {} if self._leading is None else self._leading.status(now)

    # Inputs.

    def handle_message(self, sender: NodeId, message: RaftMessage, now: float) -> None:
        """Act on what `sender` said. Everything may come late, twice, in any order, or from a former member."""
        if isinstance(message, PreVoteRequest):
            self._answer_pre_vote(sender, message, now)
            return
        # 3.10: a candidate that its leader has chosen may disturb those who hear that leader.
        if isinstance(message, VoteRequest) and not message.is_transfer and self._is_content(now):
            return
        is_promise = isinstance(message, VoteReply) and message.pre and message.granted
        if message.term > self.term and not is_promise:
            self._become_follower(message.term, now)
        match message:
            case VoteRequest():
                self._answer_vote(sender, message, now)
            case VoteReply():
                self._count_vote(sender, message, now)
            case AppendRequest():
                self._answer_append(sender, message, now)
            case SnapshotChunk():
                self._answer_chunk(sender, message, now)
            case AppendReply() | SnapshotReply():
                self._note_reply(sender, message, now)
            case TimeoutNow():
                self._take_over(sender, message, now)
            case _:
                assert_never(message)

    def handle_timer(self, now: float) -> None:
        """Act on deadlines that have passed; early calls are harmless."""
        if now < self.wake_at:
            return
        if self._leading is not None:
            if now - self._leading.quorum_heard_at(now) >= self._timing.election_timeout:
                # 6.2: cut off from the majority, which may have another leader by now.
                self._become_follower(self.term, now)
                return
            self._leading.send_heartbeats(now)
            self.wake_at = self._leading.wake_at(now)
        elif self._election.may_campaign:
            self._become_pre_candidate(now)
        else:
            self.leader = None
            self.wake_at = inf

    def handle_peer_lost(self, peer: NodeId, now: float) -> None:
        """The link to `peer` broke. If that was our leader, do not wait out the whole timeout.

        Others may still hear the leader; then they refuse the pre-vote and nothing is disturbed.
        """
        if self._leading is not None:
            self._leading.handle_peer_lost(peer)
        elif peer == self.leader:
            self.wake_at = min(self.wake_at, self._election.note_lost(now))

    def propose(self, commands: tuple[bytes, ...], now: float) -> tuple[Index, Term]:
        """Append commands to the log; return the index of the first and their term, the others follow it.

        A command is committed once the entry at its index is handed over in `apply` with that same term; if another
        term shows up there, it is lost.
        """
        leading = self._require_free_leader()
        if not commands or max(map(len, commands)) > MAX_ENTRY_BYTES:
            raise ValueError(f"expected commands of at most {MAX_ENTRY_BYTES} bytes")
        waiting, waiting_bytes = self.last_index - self.commit_index, self._log.uncommitted_bytes
        if waiting + len(commands) > self._limits.uncommitted_entries or waiting_bytes > self._limits.uncommitted_bytes:
            raise ProposalsFull(f"{waiting} entries, {waiting_bytes} bytes, wait for a majority already; try later")
        first = Index(self.last_index + 1)
        self._log.append(
            [Entry(Index(first + n), self.term, EntryKind.COMMAND, command) for n, command in enumerate(commands)]
        )
        leading.replicate(now)
        self._advance_commit(now)
        return first, self.term

    def propose_config(self, config: Config, now: float) -> Index:
        """Append a configuration, in force at once; raise if it is not the one safe step allowed at this time."""
        leading = self._require_free_leader()
        # 4.1: one change at a time, and none before an entry of this term is committed: until then an earlier
        # leader's change may still be under way elsewhere, and its majorities need not meet ours.
        if not self.is_config_committed or self.commit_index < leading.first_index:
            raise ConfigInFlight("an earlier change is not committed yet; try again once it is")
        check_change(self.config, config)
        peers = leading.status(now)
        for voter in set(config.voters) - set(self.config.voters) - {self.me}:
            if not peers[voter].is_caught_up:
                raise ConfigRefused(f"expected a new voter to have caught up, which {voter} has not")
        index = Index(self.last_index + 1)
        self._log.append([Entry(index, self.term, EntryKind.CONFIG, encode_config(config))])
        leading.follow_config(now)
        leading.replicate(now)
        self._advance_commit(now)
        return index

    def read_index(self, now: float) -> int:
        """6.4: ask up to where a read must have applied to be linearizable; return its number in `Output.reads`.

        The answer comes once a majority has shown, after this call, that it knows of no later leader.
        """
        leading = self._require_leader()
        self._asked_reads += 1
        leading.begin_read(self._asked_reads, now)
        return self._asked_reads

    def transfer(self, to: NodeId | None, now: float) -> NodeId:
        """3.10: hand leadership over to the voter `to`, or to the one that is furthest; return which.

        Proposals are refused until that is done.  If nobody has taken over within an election timeout, we lead on.
        """
        leading = self._require_leader()
        heir = leading.begin_transfer(to, now)
        self.wake_at = min(self.wake_at, leading.wake_at(now))
        return heir

    def replace_state(self, peer: NodeId, now: float) -> None:
        """Have `peer` take our latest snapshot in place of its own state, which differs from everybody else's."""
        self._require_leader().replace_state(peer, now)

    def handle_snapshot_made(self, meta: SnapshotMeta, now: float) -> None:
        """The driver has saved a snapshot (see `snapshot_meta`): forget entries that it replaces."""
        if self.snapshot_index < meta.index <= self.applied_index:
            held = None if self._leading is None else self._leading.held_index()
            self._log.compact(meta, self._limits.keep_entries, held)

    def handle_snapshot_loaded(self, snapshot: Snapshot, now: float) -> None:
        """The driver has read its latest snapshot, which `load_snapshot` asked for."""
        if self._leading is not None:
            self._leading.handle_snapshot_loaded(snapshot, now)

    # Output.

    def take_output(self) -> Output:
        """Hand over everything owed so far, and forget it."""
        if self._leading is not None:
            self._reads += self._leading.take_reads()
        send, reads = tuple(self._outbox), tuple(self._reads)
        self._outbox, self._reads = [], []
        truncate_from, compact_to, append = self._log.take_changes()
        return Output(
            hard=self._election.take_hard(),
            install=self._following.take_install(),
            truncate_from=truncate_from,
            compact_to=compact_to,
            append=append,
            send=send,
            apply=self._log.take_committed(),
            load_snapshot=self._leading is not None and self._leading.take_load_request(),
            reads=reads,
            events=self._take_events(),
            wake_at=self.wake_at,
        )

    def _news(self) -> tuple[Event, ...]:
        config = ConfigChanged(self.config, self._log.config_index, self.is_config_committed)
        return RoleChanged(self.role, self.term), LeaderChanged(self.leader, self.term), config

    def _take_events(self) -> tuple[Event, ...]:
        told, self._told = self._told, self._news()
        news: list[Event] = [new for old, new in zip(told, self._told, strict=True) if new != old]
        if self._leading is not None:
            news += self._leading.lost_logs
            self._leading.lost_logs = []
        return tuple(news)

    # Roles change in the _become_* methods and nowhere else.

    def _become_follower(self, term: Term, now: float, leader: NodeId | None = None) -> None:
        self._election.enter(term)
        if self.role is not Role.FOLLOWER:
            self.wake_at = self._election.patience_end(now)
        if self._leading is not None:
            self._reads += self._leading.fail_reads()
        self.role, self.leader, self._leading = Role.FOLLOWER, leader, None

    def _become_pre_candidate(self, now: float) -> None:
        self.role, self.leader = Role.PRE_CANDIDATE, None
        self.wake_at = self._election.campaign_end(now)
        self._ask_voters(self._election.ask())
        if self._election.count(self.me):
            self._become_candidate(now)

    def _become_candidate(self, now: float, *, is_transfer: bool = False) -> None:
        self.role, self.leader = Role.CANDIDATE, None
        self.wake_at = self._election.campaign_end(now)
        self._ask_voters(self._election.stand(is_transfer=is_transfer))
        if self._election.count(self.me):
            self._become_leader(now)

    def _become_leader(self, now: float) -> None:
        self.role, self.leader = Role.LEADER, self.me
        leading = Leadership(self.me, self.term, self._log, timing=self._timing, limits=self._limits, send=self._send)
        self._leading = leading
        leading.follow_config(now)
        # 6.4: an entry of our own term, whose commit brings along all before it.
        self._log.append([Entry(leading.first_index, self.term, EntryKind.NOOP, b"")])
        leading.replicate(now)
        self.wake_at = leading.wake_at(now)
        self._advance_commit(now)

    # Election.

    def _is_content(self, now: float) -> bool:
        """4.2.3: a member that has a leader does not help to replace it."""
        return self.is_leader or (self.leader is not None and self._election.hears_leader(now))

    def _ask_voters(self, request: PreVoteRequest | VoteRequest) -> None:
        for voter in self.config.voters:
            if voter != self.me:
                self._send(voter, request)

    def _answer_pre_vote(self, sender: NodeId, request: PreVoteRequest, now: float) -> None:
        if request.term > self.term and self._is_content(now):
            return
        self._send(sender, self._election.answer_pre_vote(request))

    def _answer_vote(self, sender: NodeId, request: VoteRequest, now: float) -> None:
        reply = self._election.answer_vote(sender, request)
        if reply.granted:
            self.wake_at = self._election.patience_end(now)
        self._send(sender, reply)

    def _count_vote(self, sender: NodeId, reply: VoteReply, now: float) -> None:
        if reply.pre:
            is_asked = self.role is Role.PRE_CANDIDATE and reply.term == self.term + 1
            if is_asked and reply.granted and self._election.count(sender):
                self._become_candidate(now)
        elif self.role is Role.CANDIDATE and reply.term == self.term:
            if not reply.granted:
                self.wake_at = min(self.wake_at, self._election.retry_at(now))
            elif self._election.count(sender):
                self._become_leader(now)

    def _take_over(self, sender: NodeId, message: TimeoutNow, now: float) -> None:
        # 3.10: our leader wants us to lead: no pre-vote, as those who hear the leader would refuse it.
        if message.term == self.term and sender == self.leader and self.me in self.config.voters:
            self._become_candidate(now, is_transfer=True)

    # Replication, as a follower.

    def _follows(self, sender: NodeId, now: float) -> bool:
        """Follow whoever leads our term; a second leader of one term cannot be, and is not listened to."""
        if self.is_leader or (self.role is Role.FOLLOWER and self.leader not in (None, sender)):
            return False
        if self.role is not Role.FOLLOWER or self.leader is None:
            self._become_follower(self.term, now, sender)
        self._election.note_heard(sender, now)
        self.wake_at = self._election.patience_end(now)
        return True

    def _answer_append(self, sender: NodeId, request: AppendRequest, now: float) -> None:
        if request.term < self.term:
            # The former leader learns from our term that it is one. If it leads our term by now, this answers
            # nothing that it asked in this one (6.4), so it carries no `seq`.
            self._send(sender, AppendReply(self.term, False, request.prev_index, Index(0), Term(0), 0))
        elif self._follows(sender, now):
            self._send(sender, self._following.take_entries(request))

    def _answer_chunk(self, sender: NodeId, chunk: SnapshotChunk, now: float) -> None:
        if chunk.term < self.term:
            self._send(sender, SnapshotReply(self.term, chunk.meta.index, 0, False))
        elif self._follows(sender, now):
            self._send(sender, self._following.take_chunk(chunk))

    # Replication, as the leader.

    def _note_reply(self, sender: NodeId, reply: AppendReply | SnapshotReply, now: float) -> None:
        if self._leading is None or reply.term < self.term:
            return
        if isinstance(reply, AppendReply):
            self._leading.handle_append_reply(sender, reply, now)
        else:
            self._leading.handle_snapshot_reply(sender, reply, now)
        self._advance_commit(now)

    def _advance_commit(self, now: float) -> None:
        leading = self._require_leader()
        index = leading.quorum_index()
        # 3.6.2: entries of earlier terms are committed only by one of our own after them: a majority that has them
        # may still be overruled by a leader of a term in between.
        if self._log.term_at(index) != self.term or not self._log.commit_to(index):
            return
        leading.replicate(now)
        if self.is_config_committed and self.me not in self.config.voters:
            # 4.2.2: a leader leads until the change that takes its vote is committed, and no longer.
            self._become_follower(self.term, now)

    def _require_leader(self) -> Leadership:
        if self._leading is None:
            raise NotLeader(self.leader)
        return self._leading

    def _require_free_leader(self) -> Leadership:
        leading = self._require_leader()
        # 3.10: what came now would have to reach the next leader too before it could begin.
        if leading.heir is not None:
            raise HandingOver(f"{leading.heir} is about to lead; try again once it does")
        return leading

    def _send(self, to: NodeId, message: RaftMessage) -> None:
        self._outbox.append(Envelope(to, message))
