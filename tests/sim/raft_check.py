"""The invariants that every event of a simulated Raft group is held against; knows everything, changes nothing."""

from collections import Counter
from math import inf

from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    NOBODY,
    AppendRequest,
    Entry,
    EntryKind,
    RaftMessage,
    SnapshotChunk,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    decode_config,
)
from protocol.raft.quorum import majority
from protocol.raft.vocabulary import HardState, Output, Role
from tests.sim.raft_parts import Member


class SafetyBroken(AssertionError):
    """One of Raft's invariants does not hold; the message says which, and the seed."""


class Checker:
    """The invariants of Ongaro's dissertation, figure 3.2, over all that ever happened in one group."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._leaders: dict[Term, NodeId] = {}
        self._votes: dict[tuple[NodeId, Term], NodeId] = {}
        self._last_of: dict[tuple[NodeId, Term], tuple[Term, Index]] = {}
        """The end of a candidate's log when it asked for votes."""
        self._written: dict[tuple[Index, Term], tuple[Entry, Term]] = {}
        self.committed: list[Entry] = []
        self._committed_in: list[Term] = []
        self.digests: dict[Index, bytes] = {Index(0): b""}
        self.events: Counter[str] = Counter()

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            raise SafetyBroken(f"seed {self.seed}: {what}")

    def check_write(self, member: Member, output: Output) -> None:
        """Log matching: an entry is the same, after an entry of the same term, wherever its index and term occur."""
        raft = member.raft
        assert raft is not None
        if output.install is not None:
            meta = output.install.meta
            agrees = raft.term_at(meta.index) in (None, meta.term)
            self.require(agrees, f"5.2: {member.name[0]} keeps a log that disagrees with the snapshot at {meta.index}")
        for entry in output.append:
            prev_term = raft.term_at(Index(entry.index - 1))
            known = self._written.setdefault((entry.index, entry.term), (entry, prev_term or Term(0)))
            same = prev_term is None or known == (entry, prev_term)
            self.require(same, f"log matching: {member.name[0]} holds another entry {entry.index} of {entry.term}")
            is_own = raft.is_leader and entry.term == raft.term
            self.require(not is_own or raft.heir is None, f"3.10: {member.name[0]} proposes while it hands over")
            if entry.kind is EntryKind.CONFIG and is_own:
                self._check_step(member, entry)
            if entry.kind is EntryKind.CONFIG and raft.is_leader and entry.term == raft.term:
                # 4.1: the correction of 2015, that one change at a time is safe only after an entry of the own term.
                has_own = raft.term_at(raft.commit_index) == raft.term
                self.require(has_own, f"{member.name[0]} changes the group before it has committed an entry")

    def _check_step(self, member: Member, entry: Entry) -> None:
        """4.1: at most one voter differs from the configuration before."""
        changed = set(member.disk.config().voters) ^ set(decode_config(entry.data).voters)
        is_first = member.disk.config() == NOBODY
        self.require(is_first or len(changed) <= 1, f"{member.name[0]} changes {len(changed)} voters at once")

    def check_config(self, member: Member) -> None:
        """4.1: the latest configuration in the log is in force, also after entries were dropped."""
        assert member.raft is not None
        self.require(member.raft.config == member.disk.config(), f"{member.name[0]} follows another configuration")

    def check_send(self, sender: Member, receiver: NodeId, message: RaftMessage, heir: Member | None = None) -> None:
        """One vote a term, whatever crashes came between; 3.6.1: and none for a log that lacks what the voter has."""
        if isinstance(message, TimeoutNow) and sender.raft is not None and heir is not None:
            has_all = heir.disk.holds(sender.raft.last_index, sender.raft.term_at(sender.raft.last_index) or Term(0))
            self.require(has_all, f"3.10: {sender.name[0]} hands over to {heir.name[0]}, which lacks entries")
            is_voter = receiver in sender.disk.config().voters
            self.require(is_voter, f"3.10: {sender.name[0]} hands over to {receiver[0]}, which has no vote")
        if isinstance(message, VoteRequest):
            self._last_of[sender.name, message.term] = (message.last_term, message.last_index)
        if isinstance(message, VoteReply) and message.granted and not message.pre:
            self._check_vote(sender.name, receiver, message.term)
            hard = sender.disk.saved.hard
            is_durable = hard.term > message.term or hard == HardState(message.term, receiver)
            self.require(is_durable, f"3.8: {sender.name[0]} votes in term {message.term}, and its disk says {hard}")
            assert sender.raft is not None
            own = (sender.raft.term_at(sender.raft.last_index) or Term(0), sender.raft.last_index)
            is_fit = self._last_of[receiver, message.term] >= own
            self.require(is_fit, f"{sender.name[0]} votes for {receiver[0]}, whose log is older")

    def check_heard(
        self,
        member: Member,
        sender: NodeId,
        message: RaftMessage,
        before: tuple[Term, bool],
        now: float,
        timeout: float,
    ) -> None:
        """4.2.3: nobody who leads, or hears a leader, goes on to another term because a candidate asks for a vote."""
        raft = member.raft
        assert raft is not None
        if isinstance(message, VoteRequest) and not message.is_transfer:
            term, has_led = before
            content = has_led or self._silence(member, term, now) < timeout
            self.require(raft.term == term or not content, f"4.2.3: {sender[0]} takes {member.name[0]} from its leader")
        if isinstance(message, AppendRequest | SnapshotChunk) and (raft.leader, raft.term) == (sender, message.term):
            member.heard = (sender, message.term, now)

    def check_promise(self, member: Member, message: RaftMessage, now: float, timeout: float) -> None:
        """9.6: nor does it promise its vote to anybody."""
        raft = member.raft
        assert raft is not None
        if isinstance(message, VoteReply) and message.pre and message.granted:
            silent = self._silence(member, raft.term, now)
            content = raft.is_leader or silent < timeout
            self.require(not content, f"4.2.3: {member.name[0]} promises a vote {silent:.3f} s after its leader spoke")

    def _silence(self, member: Member, term: Term, now: float) -> float:
        """For how long it has heard nothing from the leader of the term it is in."""
        return now - member.heard[2] if member.heard is not None and member.heard[1] == term else inf

    def _check_vote(self, voter: NodeId, candidate: NodeId, term: Term) -> None:
        first = self._votes.setdefault((voter, term), candidate)
        self.require(first == candidate, f"{voter[0]} voted twice in term {term}")

    def check_apply(self, member: Member, entry: Entry) -> None:
        """State machine safety: nobody ever applies another entry at an index."""
        self.require(entry.index == member.machine.index + 1, f"{member.name[0]} applies {entry.index} out of turn")
        if entry.index > len(self.committed):
            assert member.raft is not None
            self.committed.append(entry)
            self._committed_in.append(member.raft.term)
        known = self.committed[entry.index - 1]
        self.require(entry == known, f"state machine safety: {member.name[0]} applies another {entry.index}")

    def check_pieces(self, member: Member, *, is_spoiling: bool) -> None:
        """5.2: a snapshot that arrives whole is what was sent, unless somebody spoilt it on the way."""
        assert member.raft is not None
        member.has_spoilt = member.has_spoilt or is_spoiling
        spoilt = member.raft._following.incoming.spoilt_wholes
        self.require(spoilt == 0 or member.has_spoilt, f"{member.name[0]} put a snapshot together wrongly")

    def check_contact(self, member: Member, now: float, bound: float) -> None:
        """6.2: nobody leads on for long without a majority."""
        is_cut_off = member.raft is not None and member.raft.is_leader and now - member.lonely_since > bound
        self.require(not is_cut_off, f"{member.name[0]} leads {now - member.lonely_since:.1f} s without a majority")

    def check_digest(self, member: Member) -> None:
        machine = member.machine
        known = self.digests.setdefault(machine.index, machine.digest)
        self.require(machine.digest == known, f"{member.name[0]} has another state at {machine.index}")

    def check_member(self, member: Member, members: dict[NodeId, Member]) -> None:
        raft = member.raft
        assert raft is not None
        self.require(raft.commit_index >= member.seen_commit, f"{member.name[0]} took back a commit")
        self.require(raft.commit_index <= raft.last_index, f"{member.name[0]} committed what it does not have")
        if raft.role in (Role.CANDIDATE, Role.LEADER):
            self._check_vote(member.name, member.name, raft.term)
        if raft.is_leader:
            first = self._leaders.setdefault(raft.term, member.name)
            self.require(first == member.name, f"election safety: two leaders of term {raft.term}")
            self._check_completeness(raft)
            if raft.commit_index > member.seen_commit:
                self._check_majority(raft, members)
        member.seen_commit = raft.commit_index

    def _check_completeness(self, raft: Raft) -> None:
        # What counts is the term in which an entry was committed, not its own: a leader that has been replaced
        # need not have what its successor commits of an earlier term.
        for entry, term in zip(reversed(self.committed), reversed(self._committed_in), strict=True):
            if entry.index <= raft.snapshot_index:
                return
            if term < raft.term:
                kept = raft.term_at(entry.index) == entry.term
                self.require(kept, f"leader completeness: {raft.me[0]} lacks entry {entry.index}")
                return

    def _check_majority(self, raft: Raft, members: dict[NodeId, Member]) -> None:
        index = raft.commit_index
        term = raft.term_at(index)
        assert term is not None
        voters = raft.config.voters
        holders = sum(members[voter].disk.holds(index, term) for voter in voters)
        # 3.6.2: more holders than needed do not commit an entry of an earlier term by themselves.
        self.require(term == raft.term, f"{raft.me[0]} committed {index} of term {term} by counting in {raft.term}")
        self.require(holders >= majority(len(voters)), f"{raft.me[0]} committed {index} held by {holders} voters")
