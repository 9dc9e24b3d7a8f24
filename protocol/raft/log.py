"""The replicated log of one member: entries behind a base, the configurations in them, what is committed and applied.

Keeps the entries in memory and notes what the disk still lacks; never decides what to append or commit.
Section numbers are those of Ongaro's dissertation.
"""

from bisect import bisect_right
from collections.abc import Sequence

from protocol.errors import ProtocolError
from protocol.ids import Index, Term
from protocol.raft.messages import NOBODY, Config, Entry, EntryKind, SnapshotMeta, decode_config
from protocol.raft.vocabulary import Limits


class Log:
    """Entries from `base_index` + 1 on; the base itself is known only by its term."""

    def __init__(self, snapshot: SnapshotMeta | None, entries: Sequence[Entry]) -> None:
        self.snapshot = snapshot or SnapshotMeta(Index(0), Term(0), NOBODY)
        self.base_index, self.base_term, self._entries = _settle(self.snapshot, entries)
        self.commit_index = self.snapshot.index
        self.applied_index = self.snapshot.index
        self._configs = [(self.snapshot.index, self.snapshot.config)]
        self._note_configs(self._entries)
        self.uncommitted_bytes = self._count_uncommitted()
        self._unsaved_from = Index(self.last_index + 1)
        self._truncate_from: Index | None = None
        self._compact_to: Index | None = None

    @property
    def last_index(self) -> Index:
        return self._entries[-1].index if self._entries else self.base_index

    @property
    def last_term(self) -> Term:
        return self._entries[-1].term if self._entries else self.base_term

    # 4.1: a configuration is in force from the moment it is in the log, committed or not.

    @property
    def config(self) -> Config:
        return self._configs[-1][1]

    @property
    def config_index(self) -> Index:
        return self._configs[-1][0]

    @property
    def is_config_committed(self) -> bool:
        return self.config_index <= self.commit_index

    @property
    def possible_configs(self) -> tuple[Config, ...]:
        """The latest configuration and, while that may still be taken back, the one before."""
        known = 1 if self.is_config_committed else 2
        return tuple(config for _, config in self._configs[-known:])

    def config_at(self, index: Index) -> Config:
        """Return the configuration in force at `index`, which must not lie behind the snapshot."""
        return next(config for since, config in reversed(self._configs) if since <= index)

    def term_at(self, index: Index) -> Term | None:
        """Return the term of the entry at `index`, or None if it is compacted away or not there yet."""
        if index == self.base_index:
            return self.base_term
        if index == self.snapshot.index:
            return self.snapshot.term
        if self.base_index < index <= self.last_index:
            return self._entries[index - self.base_index - 1].term
        return None

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """3.6.1: may a candidate with such a last entry have our vote?"""
        return (last_term, last_index) >= (self.last_term, self.last_index)

    def batch(self, first: Index, limits: Limits) -> tuple[Entry, ...]:
        """Return entries from `first` on for one request: at least one, if there is any, within the limits."""
        start = first - self.base_index - 1
        size = 0
        for count, entry in enumerate(self._entries[start : start + limits.batch_entries]):
            size += len(entry.data)
            if size > limits.batch_bytes and count:
                return tuple(self._entries[start : start + count])
        return tuple(self._entries[start : start + limits.batch_entries])

    def back_up(self, index: Index, term: Term) -> tuple[Index, Term]:
        """3.5: return our last entry at or before `index` whose term is at most `term`, as (index, term).

        Terms never fall along a log, so a log that disagrees can only agree there or before: a round trip skips
        a whole term.  Never goes behind the base.
        """
        stop = min(index, self.last_index) - self.base_index
        if stop < 0:
            return (index, Term(0))
        found = bisect_right(self._entries, term, 0, stop, key=lambda entry: entry.term)
        if found == 0:
            return (self.base_index, self.base_term)
        entry = self._entries[found - 1]
        return (entry.index, entry.term)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries that follow the last one."""
        self._entries.extend(entries)
        self._note_configs(entries)
        self.uncommitted_bytes += sum(len(entry.data) for entry in entries)

    def accept(self, entries: Sequence[Entry]) -> None:
        """3.5: take a leader's entries, which follow one that we have; drop our own from the first conflict on."""
        for position, entry in enumerate(entries):
            if self.term_at(entry.index) == entry.term:
                continue
            if entry.index <= self.last_index:
                self._truncate(entry.index)
            self.append(entries[position:])
            return

    def commit_to(self, index: Index) -> bool:
        """Move the commit index forward to `index`; False if it is there already."""
        if index <= self.commit_index:
            return False
        first = self.commit_index - self.base_index
        self.uncommitted_bytes -= sum(len(entry.data) for entry in self._entries[first : index - self.base_index])
        self.commit_index = index
        return True

    def compact(self, meta: SnapshotMeta, keep: int, held: Index | None = None) -> None:
        """Forget entries that the snapshot replaces, except the last `keep` of them and those after `held`."""
        self.snapshot = meta
        config = self.config_at(meta.index)
        self._configs = [(meta.index, config), *(pair for pair in self._configs if pair[0] > meta.index)]
        new_base = Index(min(meta.index - keep, meta.index if held is None else held))
        new_term = self.term_at(new_base)
        if new_base > self.base_index and new_term is not None:
            del self._entries[: new_base - self.base_index]
            self.base_index, self.base_term = new_base, new_term
            self._compact_to = new_base

    def restore(self, meta: SnapshotMeta, keep: int) -> None:
        """5.2: continue from a leader's snapshot, which reaches further than what we know to be committed."""
        self.commit_index = self.applied_index = meta.index
        if self.term_at(meta.index) == meta.term:
            # The snapshot describes a prefix of our log: what follows stays.
            self.compact(meta, keep)
            self.uncommitted_bytes = self._count_uncommitted()
            return
        # The disk may still hold entries from before the base: none of them may stay in front of a gap.
        self._truncate_disk(Index(1))
        self._entries, self.uncommitted_bytes = [], 0
        self._configs = [(meta.index, meta.config)]
        self.snapshot, self.base_index, self.base_term = meta, meta.index, meta.term
        self._unsaved_from = Index(meta.index + 1)

    def is_replayable(self, meta: SnapshotMeta) -> bool:
        """Could we go back to this snapshot and apply from there what is committed?"""
        return meta.index >= self.snapshot.index and self.term_at(meta.index) == meta.term

    def rewind(self, meta: SnapshotMeta, keep: int) -> None:
        """Begin again from a snapshot of what is applied already: what follows it is handed over once more."""
        self.applied_index = meta.index
        self.compact(meta, keep)

    def take_changes(self) -> tuple[Index | None, Index | None, tuple[Entry, ...]]:
        """Hand over what the disk lacks as (truncate from, compact to, append), and count it as saved."""
        first = max(self._unsaved_from, self.base_index + 1)
        changes = (self._truncate_from, self._compact_to, tuple(self._entries[first - self.base_index - 1 :]))
        self._truncate_from = self._compact_to = None
        self._unsaved_from = Index(self.last_index + 1)
        return changes

    def take_committed(self) -> tuple[Entry, ...]:
        """Hand over what is committed and was not handed over yet."""
        start, stop = self.applied_index - self.base_index, self.commit_index - self.base_index
        self.applied_index = self.commit_index
        return tuple(self._entries[start:stop])

    def _truncate(self, index: Index) -> None:
        if index <= self.commit_index:
            raise ProtocolError(f"asked to drop entry {index}, but all up to {self.commit_index} are committed")
        dropped = self._entries[index - self.base_index - 1 :]
        self.uncommitted_bytes -= sum(len(entry.data) for entry in dropped)
        del self._entries[index - self.base_index - 1 :]
        self._configs = [pair for pair in self._configs if pair[0] < index]
        self._truncate_disk(index)

    def _truncate_disk(self, index: Index) -> None:
        if index < self._unsaved_from:
            self._truncate_from = min(index, self._truncate_from or index)
            self._unsaved_from = index

    def _count_uncommitted(self) -> int:
        return sum(len(entry.data) for entry in self._entries[self.commit_index - self.base_index :])

    def _note_configs(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind is EntryKind.CONFIG and entry.index > self.snapshot.index:
                self._configs.append((entry.index, decode_config(entry.data)))


def _settle(snapshot: SnapshotMeta, entries: Sequence[Entry]) -> tuple[Index, Term, list[Entry]]:
    """Return base index, base term and entries of a log found on disk; ValueError if they do not fit together."""
    for position, entry in enumerate(entries):
        if entry.index != entries[0].index + position:
            raise ValueError(f"the log has a gap before entry {entry.index}")
    if not entries or entries[-1].index < snapshot.index:
        return snapshot.index, snapshot.term, []
    first = entries[0]
    if first.index > snapshot.index + 1:
        raise ValueError(f"the log begins at {first.index}, but the snapshot ends at {snapshot.index}")
    if first.index == snapshot.index + 1:
        return snapshot.index, snapshot.term, list(entries)
    if entries[snapshot.index - first.index].term != snapshot.term:
        raise ValueError(f"log and snapshot disagree on the term of entry {snapshot.index}")
    if first.index == 1:
        return Index(0), Term(0), list(entries)
    # The term before the first entry kept is gone from the disk; the first entry itself serves as the base.
    return first.index, first.term, list(entries[1:])
