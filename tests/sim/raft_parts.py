"""What a simulated member of a Raft group consists of: a state machine, a disk that survives crashes, a core."""

from dataclasses import dataclass, field
from hashlib import sha256
from math import inf

from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    NOBODY,
    Config,
    Entry,
    EntryKind,
    decode_config,
)
from protocol.raft.vocabulary import Output, SavedState, Snapshot


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
    alarm_at: float = inf
    died_at: float = 0.0
    slowness: float = 0.0
    seen_commit: int = 0
    has_spoilt: bool = False
    heard: tuple[NodeId, Term, float] | None = None
    """Whom it followed, in which term, when it heard from it last; None once it had a reason to doubt."""
    lonely_since: float = inf
    """Since when it cannot reach a majority of its voters."""
