"""Short ways to say what a core owes its disk."""

from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, make_config
from protocol.raft.vocabulary import HardState, Output, Snapshot

A = NodeId("a" * 32)


def entry(index: int, term: int = 1, data: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.COMMAND, data)


def output(
    *entries: Entry,
    hard: HardState | None = None,
    truncate_from: int | None = None,
    compact_to: int | None = None,
    install: Snapshot | None = None,
) -> Output:
    return Output(
        hard=hard,
        install=install,
        truncate_from=None if truncate_from is None else Index(truncate_from),
        compact_to=None if compact_to is None else Index(compact_to),
        append=entries,
        send=(),
        apply=(),
        load_snapshot=False,
        events=(),
        wake_at=0.0,
    )


def snapshot(index: int, state: bytes) -> Snapshot:
    return Snapshot(SnapshotMeta(Index(index), Term(1), make_config([A])), state)
