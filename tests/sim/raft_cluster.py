"""A whole Raft group in virtual time: network, disks and crashes from one seed, safety checked after every event.

The driver below obeys outputs as the real one must: one durable write, then send, then apply.  A crash may come
before the write, or between it and the sending; what was not written is lost.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from heapq import heappop, heappush
from math import inf
from random import Random
from zlib import crc32

from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    NOBODY,
    Config,
    Entry,
    EntryKind,
    RaftMessage,
    VoteReply,
    decode_config,
    decode_message,
    encode_message,
)
from protocol.raft.quorum import majority
from protocol.raft.vocabulary import Limits, Output, ReadAnswer, Role, SavedState, Snapshot, Timing


def node_id(letter: str) -> NodeId:
    return NodeId(letter * 32)


class SafetyBroken(AssertionError):
    """One of Raft's invariants does not hold; the message says which, and the seed."""


class Machine:
    """A state machine whose state is the digest of everything applied, padded so that it needs several chunks."""

    def __init__(self) -> None:
        self.index = Index(0)
        self.digest = b""

    def apply(self, entry: Entry) -> None:
        self.index = entry.index
        self.digest = sha256(self.digest + f"{entry.index} {entry.term} {entry.kind}".encode() + entry.data).digest()

    def save(self) -> bytes:
        return self.digest * 5

    def load(self, snapshot: Snapshot) -> None:
        self.index, self.digest = snapshot.meta.index, snapshot.state[:32]


class Disk:
    """What survives a crash."""

    def __init__(self, saved: SavedState) -> None:
        self.saved = saved
        self.snapshot: Snapshot | None = None

    def write(self, output: Output) -> None:
        entries = self.saved.entries
        if output.install is not None:
            self.snapshot = output.install
        if output.truncate_from is not None:
            entries = tuple(e for e in entries if e.index < output.truncate_from)
        if output.compact_to is not None:
            entries = tuple(e for e in entries if e.index > output.compact_to)
        meta = self.snapshot.meta if self.snapshot else None
        self.saved = SavedState(output.hard or self.saved.hard, meta, entries + output.append)

    def config(self) -> Config:
        """Return the latest configuration that is written here."""
        for entry in reversed(self.saved.entries):
            if entry.kind is EntryKind.CONFIG:
                return decode_config(entry.data)
        return self.saved.snapshot.config if self.saved.snapshot else NOBODY

    def holds(self, index: Index, term: Term) -> bool:
        if self.saved.snapshot is not None and self.saved.snapshot.index >= index:
            return True
        return any(e.index == index and e.term == term for e in reversed(self.saved.entries))


@dataclass
class Member:
    """One host: its disk outlives the rest."""

    name: NodeId
    disk: Disk
    raft: Raft | None = None
    machine: Machine = field(default_factory=Machine)
    life: int = 0
    alarm: int = 0
    died_at: float = 0.0
    slowness: float = 0.0
    seen_commit: int = 0


@dataclass
class Faults:
    """Chances per message, or per output that writes, of each fault."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.004
    crash_before_write: float = 0.0
    crash_before_send: float = 0.0
    crash_after_send: float = 0.0


class Checker:
    """The invariants of Ongaro's dissertation, figure 3.2, over all that ever happened in one group."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._leaders: dict[Term, NodeId] = {}
        self._votes: dict[tuple[NodeId, Term], NodeId] = {}
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
        for entry in output.append:
            prev_term = raft.term_at(Index(entry.index - 1))
            known = self._written.setdefault((entry.index, entry.term), (entry, prev_term or Term(0)))
            same = prev_term is None or known == (entry, prev_term)
            self.require(same, f"log matching: {member.name[0]} holds another entry {entry.index} of {entry.term}")

    def check_config(self, member: Member) -> None:
        """4.1: the latest configuration in the log is in force, also after entries were dropped."""
        assert member.raft is not None
        self.require(member.raft.config == member.disk.config(), f"{member.name[0]} follows another configuration")

    def check_send(self, sender: NodeId, receiver: NodeId, message: RaftMessage) -> None:
        """One vote a term, whatever crashes came between."""
        if isinstance(message, VoteReply) and message.granted and not message.pre:
            self._check_vote(sender, receiver, message.term)

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


class Cluster:
    """Members, a network between them, and a clock that jumps from event to event."""

    def __init__(self, seed: int, rng: Random, timing: Timing, limits: Limits) -> None:
        self.rng = rng
        self.now = 0.0
        self.faults = Faults()
        self.check = Checker(seed)
        self.members: dict[NodeId, Member] = {}
        self.cut: set[frozenset[NodeId]] = set()
        self.acknowledged: dict[bytes, Index] = {}
        self._timing = timing
        self._limits = limits
        self._reading: dict[tuple[NodeId, int, int], int] = {}
        self._waiting: dict[Index, tuple[NodeId, Term, bytes]] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._pushed = 0
        self._proposals = 0
        self._trace = sha256()

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    def at(self, time: float, act: Callable[[], None]) -> None:
        self._pushed += 1
        heappush(self._queue, (time, self._pushed, act))

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> None:
        while self._queue and self._queue[0][0] <= end and not done():
            time, _, act = heappop(self._queue)
            self.now = max(self.now, time)
            act()
        if not done():
            self.now = end

    # Members.

    def add_host(self, name: NodeId, saved: SavedState | None = None) -> None:
        self.members[name] = Member(name, Disk(saved or SavedState()))
        self.start(name)

    def start(self, name: NodeId) -> None:
        member = self.members[name]
        if member.raft is not None:
            return
        rng = Random(self.rng.getrandbits(64))
        member.machine = Machine()
        if member.disk.snapshot is not None:
            member.machine.load(member.disk.snapshot)
        saved = member.disk.saved
        member.raft = Raft(name, saved=saved, timing=self._timing, limits=self._limits, rng=rng, now=self.now)
        member.life += 1
        member.seen_commit = member.machine.index
        self._schedule(member)

    def kill(self, name: NodeId, *, is_noticed: bool = True) -> None:
        member = self.members[name]
        if member.raft is None:
            return
        member.raft = None
        member.life += 1
        member.died_at = self.now
        self._note("kill", name[0])
        if is_noticed:
            for other in self.members.values():
                if other.raft is not None and frozenset((name, other.name)) not in self.cut:
                    self._later(other, self.rng.uniform(0, 0.3), lambda r: r.handle_peer_lost(name, self.now))

    def leader(self) -> Raft | None:
        """The leader of the highest term among the living."""
        leaders = [m.raft for m in self.members.values() if m.raft is not None and m.raft.is_leader]
        return max(leaders, key=lambda raft: raft.term, default=None)

    # Inputs.

    def act_on(self, name: NodeId, act: Callable[[Raft], None]) -> None:
        """Give a member one input and carry out what follows."""
        member = self.members[name]
        if member.raft is not None:
            act(member.raft)
            self._obey(member)

    def propose(self, name: NodeId, size: int = 8) -> None:
        """Propose a fresh command at `name`, if it leads and takes it."""
        raft = self.members[name].raft
        if raft is None or not raft.is_leader:
            return
        self._proposals += 1
        command = f"{self._proposals} ".encode().ljust(size, b".")
        try:
            index, term = raft.propose((command,), self.now)
        except ProtocolError as error:
            self.check.events[type(error).__name__] += 1
            return
        self._waiting[index] = (name, term, command)
        self._obey(self.members[name])

    def read(self, name: NodeId) -> None:
        """Ask `name` for a read index, if it leads."""
        member = self.members[name]
        if member.raft is not None and member.raft.is_leader:
            number = member.raft.read_index(self.now)
            self._reading[(name, member.life, number)] = len(self.check.committed)
            self._obey(member)

    def _answer_read(self, member: Member, read: ReadAnswer) -> None:
        """6.4: what was committed when the question came is within what the answer covers."""
        floor = self._reading.pop((member.name, member.life, read.number))
        self.check.events["read failed" if read.index is None else "read"] += 1
        is_fresh = read.index is None or read.index >= floor
        self.check.require(is_fresh, f"{member.name[0]} answered a read at {read.index}, {floor} was committed")

    def _later(self, member: Member, delay: float, act: Callable[[Raft], None]) -> None:
        life = member.life
        self.at(self.now + delay, lambda: self.act_on(member.name, act) if member.life == life else None)

    def _schedule(self, member: Member) -> None:
        """Wake the member when it wants to be; only its latest wish counts."""
        raft = member.raft
        assert raft is not None
        member.alarm += 1
        alarm, life = member.alarm, member.life

        def ring() -> None:
            if member.alarm == alarm and member.life == life:
                self.act_on(member.name, lambda raft: raft.handle_timer(self.now))

        if raft.wake_at < inf:
            self.at(max(self.now, raft.wake_at) + member.slowness, ring)

    # Outputs.

    def _obey(self, member: Member) -> None:
        raft = member.raft
        assert raft is not None
        output = raft.take_output()
        self._note(member.name[0], raft.role.value, raft.term, raft.commit_index, raft.last_index, len(output.send))
        has_written = bool(output.hard or output.append or output.install or output.truncate_from)
        if has_written and self._crashes(member, "before write", self.faults.crash_before_write):
            return
        self.check.check_write(member, output)
        member.disk.write(output)
        if has_written:
            self.check.check_config(member)
        if has_written and self._crashes(member, "before send", self.faults.crash_before_send):
            return
        for envelope in output.send:
            self.check.check_send(member.name, envelope.to, envelope.message)
            self._transmit(member, envelope.to, envelope.message)
        if has_written and self._crashes(member, "after send", self.faults.crash_after_send):
            return
        for read in output.reads:
            self._answer_read(member, read)
        self._apply(member, output)
        self.check.check_member(member, self.members)
        if output.load_snapshot and member.disk.snapshot is not None:
            snapshot = member.disk.snapshot
            self._later(member, 0.01, lambda r: r.handle_snapshot_loaded(snapshot, self.now))
        self._schedule(member)

    def _crashes(self, member: Member, when: str, chance: float) -> bool:
        if self.rng.random() >= chance:
            return False
        self.check.events[f"crash {when}"] += 1
        self.kill(member.name)
        if self.rng.random() < 0.7:
            self.at(self.now + self.rng.random() * 0.2, lambda: self.start(member.name))
        return True

    def _transmit(self, member: Member, to: NodeId, message: RaftMessage) -> None:
        self.check.events[type(message).__name__] += 1
        encoded = encode_message(message)
        self._note(to[0], crc32(encoded))
        copies = 2 if self.rng.random() < self.faults.duplicate else 1
        for _ in range(copies):
            if self.rng.random() < self.faults.loss or to not in self.members:
                continue
            delay = self.rng.uniform(0.2, 1.0) * self.faults.delay + member.slowness
            self.at(self.now + delay, self._arrival(member.name, to, encoded))

    def _arrival(self, sender: NodeId, to: NodeId, encoded: bytes) -> Callable[[], None]:
        def arrive() -> None:
            if frozenset((sender, to)) in self.cut:
                return
            message = decode_message(encoded)
            receiver = self.members[to]
            if receiver.slowness:
                self._later(receiver, receiver.slowness, lambda r: r.handle_message(sender, message, self.now))
            else:
                self.act_on(to, lambda r: r.handle_message(sender, message, self.now))

        return arrive

    def _apply(self, member: Member, output: Output) -> None:
        if output.install is not None:
            self.check.events["install"] += 1
            member.machine.load(output.install)
            self.check.check_digest(member)
        for entry in output.apply:
            self.check.check_apply(member, entry)
            member.machine.apply(entry)
            self.check.check_digest(member)
            self._acknowledge(member, entry)

    def _acknowledge(self, member: Member, entry: Entry) -> None:
        name, term, command = self._waiting.get(entry.index, ("", 0, b""))
        if name == member.name and term == entry.term:
            self.check.require(entry.data == command, f"entry {entry.index} is not what was proposed")
            self.acknowledged[command] = entry.index

    # What the hosts' keepers do.

    def make_snapshot(self, name: NodeId) -> None:
        member = self.members[name]
        if member.raft is None or member.machine.index <= member.raft.snapshot_index:
            return
        meta = member.raft.snapshot_meta(member.machine.index)
        member.disk.snapshot = Snapshot(meta, member.machine.save())
        member.disk.saved = replace(member.disk.saved, snapshot=meta)
        self.check.events["snapshot made"] += 1
        self.act_on(name, lambda raft: raft.handle_snapshot_made(meta, self.now))

    def partition(self, side: set[NodeId]) -> None:
        """Cut every link between `side` and the rest, both ways."""
        rest = self.members.keys() - side
        self.cut = {frozenset((one, other)) for one in side for other in rest}
        self._note("cut", sorted(n[0] for n in side))

    def heal(self) -> None:
        self.cut = set()

    def _note(self, *what: object) -> None:
        self._trace.update(f"{self.now:.6f} {what}\n".encode())
