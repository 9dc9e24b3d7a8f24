"""A whole Raft group in virtual time: network, disks and crashes from one seed, safety checked after every event.

The driver below obeys outputs as the real one must: one durable write, then send, then apply.  A crash may come
before the write, or between it and the sending; what was not written is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from heapq import heappop, heappush
from math import inf
from random import Random
from zlib import crc32

import msgspec

from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    Entry,
    RaftMessage,
    SnapshotChunk,
    decode_message,
    encode_message,
)
from protocol.raft.quorum import has_quorum
from protocol.raft.vocabulary import (
    Limits,
    LogLost,
    Output,
    ReadAnswer,
    Role,
    RoleChanged,
    SavedState,
    Snapshot,
    Timing,
)
from tests.sim.raft_check import Checker as Checker
from tests.sim.raft_parts import Disk as Disk, Machine, Member as Member


def node_id(letter: str) -> NodeId:
    return NodeId(letter * 32)


@dataclass
class Faults:
    """Chances per message, or per output that writes, of each fault."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.004
    spoil: float = 0.0
    """Chance that a byte of a snapshot's chunk is another when it arrives."""
    crash_before_write: float = 0.0
    crash_before_send: float = 0.0
    crash_after_send: float = 0.0


class Cluster:
    """Members, a network between them, and a clock that jumps from event to event."""

    def __init__(self, seed: int, rng: Random, timing: Timing, limits: Limits) -> None:
        self.rng = rng
        self.now = 0.0
        self.faults = Faults()
        self.check = Checker(seed)
        self.members: dict[NodeId, Member] = {}
        self.wiped: set[NodeId] = set()
        self.cut: set[frozenset[NodeId]] = set()
        self.acknowledged: dict[bytes, Index] = {}
        self.on_lead: Callable[[Raft], None] = lambda raft: None
        """What happens soon after a member has become leader."""
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
        member.alarm_at = inf
        member.seen_commit = member.machine.index
        member.lonely_since, member.heard = inf, None
        self._note_contacts()
        self._schedule(member)

    def kill(self, name: NodeId, *, is_noticed: bool = True) -> None:
        member = self.members[name]
        if member.raft is None:
            return
        member.raft = None
        member.life += 1
        member.died_at = self.now
        self._note("kill", name[0])
        self._note_contacts()
        if is_noticed:
            for other in self.members.values():
                if other.raft is not None and frozenset((name, other.name)) not in self.cut:
                    self._later(other, self.rng.uniform(0, 0.3), lambda r: self.lose_peer(r, name))

    def lose_peer(self, raft: Raft, peer: NodeId) -> None:
        """Let a member know that its link to `peer` broke."""
        member = self.members[raft.me]
        if member.heard is not None and member.heard[0] == peer:
            member.heard = None
        raft.handle_peer_lost(peer, self.now)

    def _note_contact(self, member: Member) -> None:
        """Note whether a majority is up and not cut off from `member`."""
        config = member.disk.config()
        up = [v for v in config.voters if v == member.name or self._reaches(member.name, v)]
        if has_quorum(config, up):
            member.lonely_since = inf
        else:
            member.lonely_since = min(member.lonely_since, self.now)

    def _reaches(self, one: NodeId, other: NodeId) -> bool:
        peer = self.members.get(other)
        return peer is not None and peer.raft is not None and frozenset((one, other)) not in self.cut

    def _note_contacts(self) -> None:
        for member in self.members.values():
            self._note_contact(member)

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
        """Wake the member when it wants to be, or a little late; never later for what comes in meanwhile."""
        raft = member.raft
        assert raft is not None
        due, life = max(self.now, raft.wake_at) + member.slowness, member.life
        if due == inf or self.now < member.alarm_at <= due:
            return
        member.alarm_at = due

        def ring() -> None:
            if member.life == life and member.alarm_at == due:
                member.alarm_at = inf
                self.act_on(member.name, lambda raft: raft.handle_timer(self.now))

        self.at(due, ring)

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
            self.check.check_send(member, envelope.to, envelope.message, self.members.get(envelope.to))
            self.check.check_promise(member, envelope.message, self.now, self._timing.election_timeout)
            self._transmit(member, envelope.to, envelope.message)
        if has_written and self._crashes(member, "after send", self.faults.crash_after_send):
            return
        for read in output.reads:
            self._answer_read(member, read)
        self._hear(member, output)
        self.check.check_pieces(member, is_spoiling=self.faults.spoil > 0)
        self._apply(member, output)
        self.check.check_member(member, self.members)
        self._note_contact(member)
        self.check.check_contact(member, self.now, 2 * self._timing.election_timeout + 4.0)
        if output.load_snapshot and member.disk.snapshot is not None:
            snapshot = member.disk.snapshot
            self._later(member, 0.01, lambda r: r.handle_snapshot_loaded(snapshot, self.now))
        self._schedule(member)

    def _hear(self, member: Member, output: Output) -> None:
        for event in output.events:
            if isinstance(event, RoleChanged) and event.role is Role.LEADER:
                self._later(member, self.rng.random() * 0.01, self.on_lead)
            if isinstance(event, LogLost):
                self.check.events["log lost"] += 1
                self.check.require(event.peer in self.wiped, f"{event.peer[0]} is said to have lost its log")

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
            if isinstance(message, SnapshotChunk) and self.rng.random() < self.faults.spoil:
                encoded = encode_message(self._spoil(message))
            delay = self.rng.uniform(0.2, 1.0) * self.faults.delay + member.slowness
            self.at(self.now + delay, self._arrival(member.name, to, encoded))

    def _spoil(self, chunk: SnapshotChunk) -> SnapshotChunk:
        """Flip a bit; a sender of an earlier version would not even have told the chunk's checksum."""
        self.check.events["spoilt"] += 1
        place = self.rng.randrange(len(chunk.data))
        spoilt = chunk.data[:place] + bytes([chunk.data[place] ^ 1]) + chunk.data[place + 1 :]
        piece_crc = self.rng.choice([None, chunk.piece_crc])
        return msgspec.structs.replace(chunk, data=spoilt, piece_crc=piece_crc)

    def _arrival(self, sender: NodeId, to: NodeId, encoded: bytes) -> Callable[[], None]:
        def arrive() -> None:
            if frozenset((sender, to)) in self.cut:
                return
            message = decode_message(encoded)
            receiver = self.members[to]
            if receiver.slowness:
                self._later(receiver, receiver.slowness, lambda r: self._hand(r, sender, message))
            else:
                self.act_on(to, lambda r: self._hand(r, sender, message))

        return arrive

    def _hand(self, raft: Raft, sender: NodeId, message: RaftMessage) -> None:
        member, before = self.members[raft.me], (raft.term, raft.is_leader)
        raft.handle_message(sender, message, self.now)
        self.check.check_heard(member, sender, message, before, self.now, self._timing.election_timeout)

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

    def wipe(self, name: NodeId) -> None:
        """Have the host come back with the same name and an empty disk."""
        self.kill(name)
        self.wiped.add(name)
        self.members[name].disk = Disk(SavedState())
        self.start(name)

    def partition(self, side: set[NodeId]) -> None:
        """Cut every link between `side` and the rest, both ways."""
        rest = self.members.keys() - side
        self.cut = {frozenset((one, other)) for one in side for other in rest}
        self._note("cut", sorted(n[0] for n in side))
        self._note_contacts()

    def heal(self) -> None:
        self.cut = set()
        self._note_contacts()

    def _note(self, *what: object) -> None:
        self._trace.update(f"{self.now:.6f} {what}\n".encode())
