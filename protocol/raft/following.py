"""What only a follower does with its log: take a leader's entries, and put together the snapshot it sends.

Whom to follow, and in which term, is decided in core before anything comes here.
Section numbers are those of Ongaro's dissertation.
"""

from protocol.ids import Index, Term
from protocol.raft.log import Log
from protocol.raft.messages import AppendReply, AppendRequest, SnapshotChunk, SnapshotReply
from protocol.raft.snapshots import IncomingSnapshot
from protocol.raft.vocabulary import Limits, Snapshot


class Following:
    """The follower's side of replication; outlives terms, because a snapshot may come from several leaders."""

    def __init__(self, log: Log, limits: Limits) -> None:
        self._log = log
        self._limits = limits
        self.incoming = IncomingSnapshot()
        self._install: Snapshot | None = None

    def take_entries(self, request: AppendRequest) -> AppendReply:
        """3.5: add what the leader sent if it follows what we have, and say up to where the logs agree."""
        last = Index(request.prev_index + len(request.entries))
        prev_term = self._log.term_at(request.prev_index)
        if request.prev_index >= self._log.commit_index and prev_term != request.prev_term:
            hint = self._log.back_up(request.prev_index, request.prev_term)
            return AppendReply(request.term, False, request.prev_index, *hint, request.seq)
        # 3.6.3: what we know to be committed is in every leader's log, so that much agrees already.
        self._log.accept([entry for entry in request.entries if entry.index > self._log.commit_index])
        # 3.5: beyond `last`, our entries may be ones that the leader does not have.
        self._log.commit_to(min(request.commit, last))
        return AppendReply(request.term, True, max(last, self._log.commit_index), Index(0), Term(0), request.seq)

    def take_chunk(self, chunk: SnapshotChunk) -> SnapshotReply:
        """5.2: add a piece of a snapshot, take over the whole once it is complete, and say what to send next."""
        is_news = chunk.meta.index > self._log.commit_index
        # What follows the snapshot has to be applied to it again, so it must still be in our log.
        if not is_news and not (chunk.replaces and self._log.is_replayable(chunk.meta)):
            return SnapshotReply(chunk.term, chunk.meta.index, self.incoming.offset, True)
        snapshot = self.incoming.accept(chunk)
        if snapshot is not None:
            if is_news:
                self._log.restore(snapshot.meta, self._limits.keep_entries)
            else:
                self._log.rewind(snapshot.meta, self._limits.keep_entries)
            self._install = snapshot
        return SnapshotReply(chunk.term, chunk.meta.index, self.incoming.offset, snapshot is not None)

    def take_install(self) -> Snapshot | None:
        """Hand over the snapshot that is to replace the state machine, once."""
        install, self._install = self._install, None
        return install
