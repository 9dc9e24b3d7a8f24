"""What only a leader does: bring every other member's log, or snapshot, up to its own, and count who has what.

Lives as long as one leadership.  Never changes role or term, never moves the commit index: core decides that.
Section numbers are those of Ongaro's dissertation.
"""

from collections.abc import Callable
from math import inf
from typing import TypeVar

from protocol.ids import Index, NodeId, Term
from protocol.raft.log import Log
from protocol.raft.messages import AppendReply, AppendRequest, RaftMessage, SnapshotReply, TimeoutNow
from protocol.raft.progress import Progress
from protocol.raft.quorum import quorum_value
from protocol.raft.snapshots import OutgoingSnapshot
from protocol.raft.vocabulary import (
    Limits,
    LogLost,
    PeerStatus,
    ProgressState,
    ReadAnswer,
    Snapshot,
    Timing,
    TransferRefused,
)

_Word = TypeVar("_Word", bound=float)
Send = Callable[[NodeId, RaftMessage], None]


class Leadership:
    """The leader's view of the other members during one term."""

    def __init__(self, me: NodeId, term: Term, log: Log, *, timing: Timing, limits: Limits, send: Send) -> None:
        self._me = me
        self._term = term
        self._log = log
        self._timing = timing
        self._limits = limits
        self._send = send
        self._progress: dict[NodeId, Progress] = {}
        self._seq = 0
        self._outgoing: OutgoingSnapshot | None = None
        self._load_wanted = False
        self._turns: list[NodeId] = []
        """Who is sent a snapshot now."""
        self._reads: list[tuple[int, int, Index]] = []
        """Number, the last `seq` sent before it was asked, index."""
        self.lost_logs: list[LogLost] = []
        """News of members that have lost their logs, to be handed over."""
        self.heir: NodeId | None = None
        """3.10: to whom leadership is being handed over, until `_transfer_until`."""
        self._transfer_until = inf
        self._is_heir_told = False
        self.first_index = Index(log.last_index + 1)
        """Where the entry is that this leader appends first."""

    def follow_config(self, now: float) -> None:
        """4.1: take up members that appear in the log's configuration, drop those that do not."""
        members = set(self._log.config.members) - {self._me}
        for peer in self._progress.keys() - members:
            del self._progress[peer]
        for learner in self._log.config.learners:
            if learner in self._progress:
                self._progress[learner].has_lost_log = False
        for peer in sorted(members - self._progress.keys()):
            self._progress[peer] = Progress(Index(self._log.last_index + 1), now)
        self._drop_idle_snapshot()

    # Counting.

    def quorum_index(self) -> Index:
        """3.5: the last entry that a majority of the voters has; our own log counts only if we are a voter."""
        return quorum_value(self._log.config, self._match_of)

    def quorum_heard_at(self, now: float) -> float:
        """6.2: since when no majority of the voters has been heard."""
        return quorum_value(self._log.config, lambda peer: self._heard_at(peer, now))

    def _match_of(self, peer: NodeId) -> Index:
        return self._log.last_index if peer == self._me else self._trusted(peer, self._progress[peer].match, Index(0))

    def _heard_at(self, peer: NodeId, now: float) -> float:
        return now if peer == self._me else self._trusted(peer, self._progress[peer].heard_at, -inf)

    def _trusted(self, peer: NodeId, word: _Word, nothing: _Word) -> _Word:
        """3.8: a voter that has lost its log may have lost its vote too: it does not count until it is a learner."""
        return nothing if self._progress[peer].has_lost_log else word

    def status(self, now: float) -> dict[NodeId, PeerStatus]:
        timeout = self._timing.election_timeout
        return {peer: progress.status(now, timeout) for peer, progress in sorted(self._progress.items())}

    # 6.4: reads that need no entry in the log.

    def begin_read(self, number: int, now: float) -> None:
        """Have the others confirm that we lead; only replies to what is sent from now on count."""
        # 6.4: until an entry of our own term is committed, our commit index may lie behind what earlier leaders
        # acknowledged; all of that lies before our first entry.
        index = max(self._log.commit_index, self.first_index)
        self._reads.append((number, self._seq, index))
        self._send_round(now)

    def take_reads(self) -> list[ReadAnswer]:
        """Hand over the reads that are confirmed."""
        if not self._reads:
            return []
        heard = quorum_value(self._log.config, self._heard_seq)
        ready = [ReadAnswer(number, index) for number, seq, index in self._reads if seq < heard]
        self._reads = [read for read in self._reads if read[1] >= heard]
        return ready

    def fail_reads(self) -> list[ReadAnswer]:
        """Hand over the reads that nobody will confirm any more."""
        failed, self._reads = [ReadAnswer(number, None) for number, _, _ in self._reads], []
        return failed

    def _heard_seq(self, peer: NodeId) -> float:
        return inf if peer == self._me else self._trusted(peer, self._progress[peer].heard_seq, 0)

    # 3.10: handing over leadership.

    def begin_transfer(self, to: NodeId | None, now: float) -> NodeId:
        """Choose who is to lead, and let it know as soon as it has the whole log; TransferRefused if nobody can."""
        voters = [v for v in self._log.config.voters if v in self._progress and not self._progress[v].has_lost_log]
        timeout = self._timing.election_timeout

        def fitness(voter: NodeId) -> tuple[bool, Index, float]:
            progress = self._progress[voter]
            return now - progress.heard_at < timeout, progress.match, progress.heard_at

        heir = to or max(voters, key=fitness, default=None)
        if heir is None or heir not in voters:
            raise TransferRefused(f"expected another voter, which {heir} is not" if heir else "there is no other voter")
        if heir == self.heir:
            return heir  # Under way; whoever asks again must not keep proposals out for longer.
        self.heir, self._transfer_until, self._is_heir_told = heir, now + timeout, False
        self._replicate_to(heir, self._progress[heir], now)
        self._tell_heir()
        return heir

    def wake_at(self, now: float) -> float:
        """Return when heartbeats are due, or the end of a transfer if that comes first."""
        return min(now + self._timing.heartbeat_interval, self._transfer_until)

    def _tell_heir(self) -> None:
        if self.heir is None or self.heir not in self._progress or self._is_heir_told:
            return
        # 3.10: with the whole log it can be elected, and what was proposed here goes on there.
        if self._progress[self.heir].match == self._log.last_index:
            self._is_heir_told = True
            self._send(self.heir, TimeoutNow(self._term))

    def _check_transfer(self, now: float) -> None:
        """Tell the heir again, in case that was lost; give up once an election timeout has passed."""
        self._is_heir_told = False
        if now >= self._transfer_until:
            self.heir, self._transfer_until = None, inf
        self._tell_heir()

    # Sending.

    def replicate(self, now: float) -> None:
        """Send every member what it lacks, as far as its window allows, and the commit index if that moved."""
        for peer, progress in self._progress.items():
            self._replicate_to(peer, progress, now)

    def send_heartbeats(self, now: float) -> None:
        """3.4: show every member that we lead; the replies also uncover requests that were lost."""
        self._check_transfer(now)
        self._send_round(now)

    def _send_round(self, now: float) -> None:
        for peer, progress in self._progress.items():
            if progress.state is ProgressState.SNAPSHOT:
                # Agrees with any log. Its purpose is to be heard while a chunk takes its time.
                self._send_append(peer, Index(0), Term(0))
                if now - progress.chunk_at >= self._timing.election_timeout:
                    if progress.is_chunk_out:
                        self._pass_turn(peer)
                    self._send_chunk(peer, progress, now)
                continue
            prev_term = self._log.term_at(Index(progress.next - 1))
            if prev_term is None:
                self._replicate_to(peer, progress, now)
            else:
                self._send_append(peer, Index(progress.next - 1), prev_term)

    def _replicate_to(self, peer: NodeId, progress: Progress, now: float) -> None:
        while progress.state is not ProgressState.SNAPSHOT:
            prev = Index(progress.next - 1)
            prev_term = self._log.term_at(prev)
            if prev_term is None:
                progress.become_snapshot(now)
                self._send_chunk(peer, progress, now)
                return
            has_room = progress.has_room(self._limits)
            entries = self._log.batch(progress.next, self._limits) if has_room else ()
            is_probe = progress.state is ProgressState.PROBE
            if not entries and (not has_room if is_probe else progress.sent_commit >= self._log.commit_index):
                return
            request = AppendRequest(self._term, prev, prev_term, entries, self._log.commit_index, self._next_seq())
            self._send(peer, request)
            last = entries[-1].index if entries else prev
            payload = sum(len(entry.data) for entry in entries) if entries else None
            progress.note_sent(last, self._log.commit_index, payload)

    def _send_append(self, peer: NodeId, prev: Index, prev_term: Term) -> None:
        self._send(peer, AppendRequest(self._term, prev, prev_term, (), self._log.commit_index, self._next_seq()))

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    # Replies. A peer that is no longer a member has no progress, and what it says does not matter.

    def handle_append_reply(self, peer: NodeId, reply: AppendReply, now: float) -> None:
        progress = self._progress.get(peer)
        if progress is None or reply.index > self._log.last_index:
            return
        progress.heard_at = now
        if reply.seq <= self._seq:
            progress.heard_seq = max(progress.heard_seq, reply.seq)
        if reply.ok:
            self._note_match(progress, reply.index, now)
            if progress.state is ProgressState.PROBE and reply.seq >= progress.since_seq:
                progress.become_replicate(self._seq + 1)
            elif progress.can_do_without_snapshot(self._log.base_index):
                progress.become_probe(Index(progress.match + 1), self._seq + 1)
                self._drop_idle_snapshot()
        elif progress.state is not ProgressState.SNAPSHOT and reply.seq >= progress.since_seq:
            found, _ = self._log.back_up(reply.hint_index, reply.hint_term)
            if progress.breaks_its_word(reply.index, reply.seq) or self._is_wiped_voter(peer, reply):
                self._note_loss(peer, progress, found)
            progress.become_probe(min(Index(found + 1), reply.index), self._seq + 1)
        self._replicate_to(peer, progress, now)
        self._tell_heir()

    def _is_wiped_voter(self, peer: NodeId, reply: AppendReply) -> bool:
        """4.2.1: a voter was a learner first, and had a log then, whether or not it has shown that to this leader."""
        is_blank = reply.index > 0 and (reply.hint_index, reply.hint_term) == (0, 0)
        return is_blank and peer in self._log.config.voters and not self._progress[peer].has_lost_log

    def _note_loss(self, peer: NodeId, progress: Progress, found: Index) -> None:
        """3.8: what a voter says counts no more.  A learner's never did: it is caught up as any other."""
        self.lost_logs.append(LogLost(peer, max(progress.match, Index(1)), found))
        progress.distrust(Index(found + 1), self._seq + 1)
        progress.has_lost_log = peer in self._log.config.voters

    def handle_snapshot_reply(self, peer: NodeId, reply: SnapshotReply, now: float) -> None:
        progress = self._progress.get(peer)
        if progress is None or reply.index > self._log.last_index:
            return
        progress.heard_at = now
        if progress.state is not ProgressState.SNAPSHOT:
            return
        if reply.done:
            self._note_match(progress, reply.index, now)
            progress.become_probe(Index(progress.match + 1), self._seq + 1)
            self._drop_idle_snapshot()
            self._serve_waiting(now)
            self._replicate_to(peer, progress, now)
            return
        if self._outgoing is None or self._outgoing.meta.index != reply.index:
            return
        progress.is_chunk_out = False
        if reply.offset > progress.offset:
            progress.offset = reply.offset
            self._send_chunk(peer, progress, now)
        else:
            # An old reply, or a follower that began anew. Answering at once would let each duplicate start a
            # second stream of chunks: the retry in `send_heartbeats` goes on from here.
            progress.offset = reply.offset

    def handle_peer_lost(self, peer: NodeId) -> None:
        """What is on its way to `peer` will not arrive: find out again where its log ends."""
        progress = self._progress.get(peer)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe(Index(progress.match + 1), self._seq + 1)

    def _note_match(self, progress: Progress, index: Index, now: float) -> None:
        progress.acknowledge(index, self._seq + 1)
        progress.note_round(self._log.last_index, now, self._timing.election_timeout)

    def replace_state(self, peer: NodeId, now: float) -> None:
        """Send our snapshot to a member that needs none for its log, because its state is not what it should be."""
        progress = self._progress.get(peer)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_snapshot(now, replaces=True)
            self._send_chunk(peer, progress, now)

    # Snapshots. The driver loads one on demand, all followers that need one share it, and it goes with the last.

    def take_load_request(self) -> bool:
        wanted, self._load_wanted = self._load_wanted, False
        return wanted

    def handle_snapshot_loaded(self, snapshot: Snapshot, now: float) -> None:
        receivers = self._receivers()
        if not receivers or snapshot.meta.index < self._log.base_index:
            return
        if self._outgoing is not None and self._outgoing.meta == snapshot.meta:
            return
        self._outgoing = OutgoingSnapshot(snapshot)
        for peer in receivers:
            self._progress[peer].offset = 0
            self._send_chunk(peer, self._progress[peer], now)

    def _send_chunk(self, peer: NodeId, progress: Progress, now: float) -> None:
        progress.chunk_at, progress.is_chunk_out = now, False
        if not self._has_turn(peer):
            return
        if self._outgoing is None or self._outgoing.meta.index < self._log.base_index:
            self._load_wanted = True
            return
        progress.is_chunk_out = True
        self._send(
            peer,
            self._outgoing.cut_chunk(
                self._term, progress.offset, self._limits.chunk_bytes, replaces=progress.is_replacing
            ),
        )

    def _has_turn(self, peer: NodeId) -> bool:
        """A snapshot must leave room for commits: only so many followers get it at the same time."""
        waiting = self._receivers()
        self._turns = [each for each in self._turns if each in waiting]
        if peer not in self._turns and len(self._turns) < self._limits.snapshot_receivers:
            self._turns.append(peer)
        return peer in self._turns

    def _receivers(self) -> list[NodeId]:
        return [peer for peer, progress in self._progress.items() if progress.state is ProgressState.SNAPSHOT]

    def _pass_turn(self, peer: NodeId) -> None:
        """Whoever lets chunks go unanswered does not hold up the others."""
        waiting = [each for each in self._receivers() if each not in self._turns]
        if peer in self._turns and waiting:
            self._turns.remove(peer)
            self._turns.append(min(waiting, key=lambda each: self._progress[each].chunk_at))

    def _serve_waiting(self, now: float) -> None:
        for peer in self._receivers():
            if peer not in self._turns:
                self._send_chunk(peer, self._progress[peer], now)

    def held_index(self) -> Index | None:
        """Return the snapshot that is being sent: the log behind it is still needed, within a bound."""
        if self._outgoing is None or self._log.last_index - self._outgoing.meta.index > self._limits.hold_entries:
            return None
        return self._outgoing.meta.index

    def _drop_idle_snapshot(self) -> None:
        if not self._receivers():
            self._outgoing = None
