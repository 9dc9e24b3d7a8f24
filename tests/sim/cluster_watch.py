"""The rules of Raft, watched at the ports of whole nodes: at each write, message, apply and load of any of them.

Looks at what is on the disks, not at what a core believes.  Rules from Ongaro's dissertation (figure 3.2 and the
sections named), and one of the driver's: nothing is promised before it is durable.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from node.commands import decode_proposal
from node.drive.proposals import UNREADABLE
from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    RaftMessage,
    VoteReply,
    VoteRequest,
)
from protocol.raft.quorum import majority
from protocol.raft.vocabulary import HardState, Output, Role, SavedState, Timing
from tests.sim.raft_cluster import Disk

DEAF = 3.0
"""Election timeouts without a majority's answer after which nobody may still lead."""


@dataclass(eq=False)
class Seat:
    """What is known of one node."""

    name: str
    disk: Callable[[], Disk]
    timing: Timing
    core: Raft | None = None
    applied: int = 0
    is_restored: bool = False
    """Whether it is known what was applied before."""
    heard: tuple[NodeId, Term, float] | None = None
    """Whom it followed, in which term, when it last said so; None once it had a reason to doubt."""
    lost: set[NodeId] = field(default_factory=set)
    """Whose link broke since the last output."""
    doubted: frozenset[NodeId] = frozenset()
    """Whose link broke before the present output was made."""
    replies: dict[NodeId, float] = field(default_factory=dict)
    """When each other node's answers arrived here last."""
    led_since: float | None = None
    led_with: tuple[NodeId, ...] = ()


@dataclass(eq=False)
class RaftWatch:
    """All that was ever promised in one group."""

    require: Callable[[bool, str], None]
    seats: dict[NodeId, Seat] = field(default_factory=dict)
    committed: list[Entry] = field(default_factory=list)
    _committed_in: list[Term] = field(default_factory=list)
    _leaders: dict[Term, NodeId] = field(default_factory=dict)
    _votes: dict[tuple[NodeId, Term], NodeId] = field(default_factory=dict)
    _written: dict[tuple[Index, Term], tuple[Entry, Term | None]] = field(default_factory=dict)
    _claimed: dict[Term, Index] = field(default_factory=dict)
    _proposals: dict[str, Index] = field(default_factory=dict)
    checks: int = 0

    # A life of a node.

    def starts(self, node: NodeId) -> None:
        seat = self.seats[node]
        seat.applied, seat.is_restored, seat.heard, seat.led_since = 0, False, None, None
        seat.replies.clear()

    def doubts(self, node: NodeId, lost: NodeId) -> None:
        """The core of `node` is told that its link to `lost` broke."""
        seat = self.seats[node]
        seat.lost.add(lost)
        if seat.heard is not None and seat.heard[0] == lost:
            seat.heard = None

    def heard_from(self, node: NodeId, sender: NodeId) -> None:
        self.seats[node].replies[sender] = trio.current_time()

    # What a node does.

    def obeys(self, node: NodeId, raft: Raft, output: Output) -> None:
        """The driver is about to carry out an output."""
        self.checks += 1
        seat = self.seats[node]
        name = seat.name
        if seat.core is not raft:
            # Started, or started again after a failure of the disk: it applies anew from its snapshot on.
            seat.core, seat.is_restored, seat.heard = raft, False, None
        seat.doubted = frozenset(seat.lost)
        seat.lost.clear()
        self.require(raft.commit_index <= raft.last_index, f"{name} committed what it does not have")
        self._check_appended(name, raft, output)
        self._check_content(seat, raft, output)
        if output.install is not None:
            seat.applied, seat.is_restored = output.install.meta.index, True
        for entry in output.apply:
            if not output.append or entry.index < output.append[0].index:
                self._check_apply(seat, raft.term, entry)

    def wrote(self, node: NodeId, raft: Raft, output: Output) -> None:
        """An output is durable.  Before, what came with it is committed by nobody's word, not even a sole voter's."""
        for entry in output.apply:
            if output.append and entry.index >= output.append[0].index:
                self._check_apply(self.seats[node], raft.term, entry)

    def restores(self, node: NodeId, saved: SavedState, commit: Index) -> None:
        """A node begins with what its disk says is committed; it may have been killed as soon as that was written."""
        for entry in saved.entries:
            if entry.index <= commit:
                self._check_committed(self.seats[node].name, saved.hard.term, entry)

    def _check_appended(self, name: str, raft: Raft, output: Output) -> None:
        for entry in output.append:
            prev = raft.term_at(Index(entry.index - 1))
            known = self._written.setdefault((entry.index, entry.term), (entry, prev))
            same = known[0] == entry and (prev is None or known[1] is None or known[1] == prev)
            self.require(same, f"log matching: {name} holds another entry {entry.index} of term {entry.term}")
            if entry.kind is EntryKind.CONFIG and entry.term == raft.term and raft.role is Role.LEADER:
                own = raft.term_at(raft.commit_index)
                self.require(
                    own is None or own == raft.term or entry.index == 1,
                    f"4.1: {name} changes the group before an entry of its term {raft.term} is committed",
                )

    def _check_apply(self, seat: Seat, term: Term, entry: Entry) -> None:
        if seat.is_restored:
            self.require(entry.index == seat.applied + 1, f"{seat.name} applies {entry.index} after {seat.applied}")
        seat.applied, seat.is_restored = entry.index, True
        self._check_committed(seat.name, term, entry)

    def _check_committed(self, name: str, term: Term, entry: Entry) -> None:
        if entry.index == len(self.committed) + 1:
            self.committed.append(entry)
            self._committed_in.append(term)
        if entry.index <= len(self.committed):
            same = self.committed[entry.index - 1] == entry
            self.require(same, f"state machine safety: {name} applies another entry {entry.index}")

    def sends(self, node: NodeId, to: NodeId, message: RaftMessage, raft: Raft | None) -> None:
        """A message leaves; what it promises must be on the disk."""
        self.checks += 1
        match message:
            case VoteReply(granted=True, pre=False):
                self._check_vote(node, message.term, to)
            case VoteRequest():
                self._check_vote(node, message.term, node)
            case AppendReply(ok=True):
                self._check_acknowledged(node, message)
            case AppendRequest():
                self._check_leader(node, message)
                if raft is not None:
                    self.check_commit(node, raft, message.commit)
            case _:
                pass

    def _check_vote(self, node: NodeId, term: Term, candidate: NodeId) -> None:
        seat = self.seats[node]
        hard = seat.disk().saved.hard
        is_durable = hard.term > term or hard == HardState(term, candidate)
        self.require(is_durable, f"3.8: {seat.name} votes in term {term}, and its disk says {hard}")
        first = self._votes.setdefault((node, term), candidate)
        self.require(first == candidate, f"3.4: {seat.name} votes twice in term {term}")

    def _check_acknowledged(self, node: NodeId, reply: AppendReply) -> None:
        seat = self.seats[node]
        saved = seat.disk().saved
        last = saved.entries[-1].index if saved.entries else 0
        held = max(last, saved.snapshot.index if saved.snapshot else 0)
        durable = saved.hard.term > reply.term or held >= reply.index
        self.require(durable, f"3.5: {seat.name} acknowledges {reply.index}, and its disk ends at {held}")

    def _check_content(self, seat: Seat, raft: Raft, output: Output) -> None:
        """4.2.3: whoever hears a leader does not help to replace it.

        Looks at answers when they are made: with a slow disk they leave much later.
        """
        for envelope in output.send:
            match envelope.message:
                case AppendReply(ok=True, term=term) if envelope.to not in seat.doubted:
                    seat.heard = (envelope.to, term, trio.current_time())
                case VoteReply(granted=True, pre=True) if seat.heard is not None and raft.term == seat.heard[1]:
                    silent = trio.current_time() - seat.heard[2]
                    holds = silent >= seat.timing.election_timeout * 0.5
                    self.require(holds, f"4.2.3: {seat.name} promises a vote {silent:.3f} s after it heard its leader")
                case _:
                    pass

    def _check_leader(self, node: NodeId, request: AppendRequest) -> None:
        seat = self.seats[node]
        known = self._leaders.get(request.term)
        if known is None:
            self._leaders[request.term] = node
            self._check_completeness(seat, request.term)
        self.require(known in (None, node), f"election safety: {seat.name} leads in term {request.term} too")

    def _check_completeness(self, seat: Seat, term: Term) -> None:
        """Leader completeness: what was committed in earlier terms is in the log of whoever leads now."""
        disk = seat.disk()
        for entry, since in zip(reversed(self.committed), reversed(self._committed_in), strict=True):
            if since < term:
                kept = disk.holds(entry.index, entry.term)
                self.require(kept, f"leader completeness: {seat.name}, leader of {term}, lacks entry {entry.index}")
                return

    def check_commit(self, node: NodeId, raft: Raft, index: Index) -> None:
        """3.6.2: a leader commits what a majority of the voters has on disk, and counts only entries of its term."""
        term = raft.term
        if raft.role is not Role.LEADER or index <= self._claimed.get(term, 0):
            return
        self._claimed[term] = index
        seat = self.seats[node]
        own = raft.term_at(index)
        if own is None or own != term:
            # Known from an earlier term, when it followed.
            self.require(index <= len(self.committed), f"3.6.2: {seat.name} commits {index} by counting in {term}")
            return
        # 4.1: a change is in force from its own entry on; what lies before it may have been counted before it came.
        groups = (raft.config.voters, raft._log.config_at(max(index, raft.snapshot_index)).voters)
        holders = {node for node, each in self.seats.items() if each.disk().holds(index, own)}
        counts = [f"{len(holders.intersection(voters))} of {len(voters)}" for voters in groups]
        enough = any(len(holders.intersection(voters)) >= majority(len(voters)) for voters in groups)
        self.require(enough, f"{seat.name} committed {index}, which {counts[-1]} voters hold")

    def check_leads(self, node: NodeId, raft: Raft, *, is_even: bool) -> None:
        """6.2: a leader that hears no majority steps down; to be called again and again."""
        seat, now = self.seats[node], trio.current_time()
        if raft.role is not Role.LEADER or not is_even:
            seat.led_since = None
            return
        voters = raft.config.voters
        seat.led_since = now if seat.led_since is None or voters != seat.led_with else seat.led_since
        seat.led_with = voters
        since = now - DEAF * seat.timing.election_timeout
        if seat.led_since > since:
            return
        heard = sum(voter == node or seat.replies.get(voter, 0.0) > since for voter in voters)
        self.require(heard >= majority(len(voters)), f"6.2: {seat.name} leads without a majority since {since:.1f}")

    def describe(self, after: int) -> str:
        """What was committed after an index; rows that are purged when their time has come do not count."""
        news = [_describe(entry) for entry in self.committed[after:]]
        return ", ".join([each for each in news if "PurgeRows" not in each][:3])

    def is_retry(self, entry: Entry) -> bool:
        """Whether an entry repeats a proposal that was committed before."""
        if entry.kind is not EntryKind.COMMAND:
            return False
        try:
            proposal = decode_proposal(entry.data).id
        except UNREADABLE:
            return False
        return self._proposals.setdefault(proposal, entry.index) != entry.index


def _describe(entry: Entry) -> str:
    if entry.kind is not EntryKind.COMMAND:
        return f"{entry.index} {entry.kind.name}"
    try:
        return f"{entry.index} {decode_proposal(entry.data).command}"
    except UNREADABLE:
        return f"{entry.index} unreadable"
