"""What the driver gives the Raft core and what it gets back: saved state, settings, outputs, events, refusals.

Words only.  The order in which an Output is to be obeyed is part of the contract and written at its fields.
"""

from dataclasses import dataclass
from enum import Enum

from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ENTRIES,
    MAX_CHUNK_BYTES,
    Config,
    Entry,
    EntryKind,
    RaftMessage,
    SnapshotMeta,
    encode_config,
    make_config,
)

_NO_TERM = Term(0)


class Role(Enum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class NotLeader(ProtocolError):
    """A proposal at a member that does not lead; `leader` is who does, as far as it knows."""

    def __init__(self, leader: NodeId | None) -> None:
        super().__init__(f"not the leader; try {leader}" if leader else "not the leader, and none is known; try later")
        self.leader = leader


class ConfigInFlight(ProtocolError):
    """A configuration change while another one, or the leader's first entry, is not committed; try again later."""


class ConfigRefused(ProtocolError):
    """A configuration change that is not one safe step."""


class ProposalsFull(ProtocolError):
    """More uncommitted entries than the leader will hold; try again once some have committed."""


class TransferRefused(ProtocolError):
    """Leadership cannot be handed over to that member."""


class HandingOver(ProtocolError):
    """3.10: the leader takes nothing new while another member is about to lead; try again within a second."""


@dataclass(frozen=True, slots=True)
class HardState:
    """3.8: what must survive a restart besides log and snapshot."""

    term: Term = _NO_TERM
    vote: NodeId | None = None


@dataclass(frozen=True, slots=True)
class SavedState:
    """What a member finds on its disk. All empty: a newcomer, passive until a leader makes it a voter."""

    hard: HardState = HardState()
    snapshot: SnapshotMeta | None = None
    entries: tuple[Entry, ...] = ()
    """In order without gaps; may reach back behind the snapshot, must continue after it."""


def bootstrap(me: NodeId) -> SavedState:
    """Return the state of a new group whose only member is `me`; write it to disk before the first start."""
    config = Entry(Index(1), Term(1), EntryKind.CONFIG, encode_config(make_config([me])))
    return SavedState(HardState(Term(1), me), None, (config,))


@dataclass(frozen=True, slots=True)
class Timing:
    """Spans in seconds. The defaults suit a LAN and event loops that are sometimes late by a few hundred ms."""

    election_timeout: float = 1.0
    """Silence after which a leader is doubted; also how long a follower refuses votes after it heard the leader."""

    election_spread: float = 0.5
    """Each wait for an election is longer by a random part of this."""

    heartbeat_interval: float = 0.15

    lost_delay: float = 0.05
    """After the link to the leader broke, campaign this much later, plus a random part of `lost_spread`."""

    lost_spread: float = 0.15


DEFAULT_TIMING = Timing()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is sent, held and kept."""

    batch_bytes: int = MAX_BATCH_BYTES
    batch_entries: int = MAX_BATCH_ENTRIES
    window: int = 8
    """AppendRequests with entries on their way to one follower."""
    inflight_bytes: int = 4 << 20
    """Payload on its way to one follower, after which nothing more leaves until it has replied."""
    chunk_bytes: int = MAX_CHUNK_BYTES
    """One chunk at a time is on its way to a follower, so that commits need not queue behind a snapshot."""
    snapshot_receivers: int = 2
    """Followers that are sent a snapshot at the same time; others wait."""
    keep_entries: int = 1024
    """Entries kept behind a snapshot, so that a slow follower needs no snapshot."""
    hold_entries: int = 65536
    """Entries kept at most because a snapshot that is being sent would otherwise be followed by a gap."""
    uncommitted_entries: int = 2048
    """Entries that wait for a majority, after which the leader refuses proposals.

    Well below the number of results that the state remembers for retries: else one that waits behind so many others
    could not be told any more, when its turn comes, from one that was applied before them and forgotten.
    """
    uncommitted_bytes: int = 64 << 20
    """Payload that waits for a majority, after which the leader refuses proposals."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Envelope:
    to: NodeId
    message: RaftMessage


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state machine's state, as bytes that only the driver understands."""

    meta: SnapshotMeta
    state: bytes


@dataclass(frozen=True, slots=True)
class LeaderChanged:
    leader: NodeId | None
    term: Term


@dataclass(frozen=True, slots=True)
class RoleChanged:
    role: Role
    term: Term


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The latest configuration in the log, which is in force; `committed` once it can no longer be taken back."""

    config: Config
    index: Index
    committed: bool


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """6.4: the answer to `Raft.read_index`."""

    number: int
    index: Index | None
    """Once applied up to here, a replica's state is no older than the question; it may not be committed yet.

    None: leadership was lost.
    """


@dataclass(frozen=True, slots=True)
class LogLost:
    """A member refuses what it had acknowledged: its disk was wiped or put back. It counts for nothing as a voter.

    Of a voter that has no log at all, a new leader knows only that it had acknowledged the first entry.
    """

    peer: NodeId
    acknowledged: Index
    found: Index


Event = LeaderChanged | RoleChanged | ConfigChanged | LogLost


@dataclass(frozen=True, slots=True)
class Output:
    """What the driver owes the group after one input, or after several.

    `hard`, `install`, `truncate_from`, `compact_to` and `append` are one durable write, carried out in this order.
    Then come `send`, then `install` into the state machine, then `apply`.
    """

    hard: HardState | None
    """Fsync this before anything in `send` leaves the host."""

    install: Snapshot | None
    """A verified snapshot that replaces the state machine and any snapshot on disk."""

    truncate_from: Index | None
    """Delete the log entries from here on."""

    compact_to: Index | None
    """Delete the log entries up to here, this one included; doing so late costs only space."""

    append: tuple[Entry, ...]
    """Add these to the log."""

    send: tuple[Envelope, ...]
    """Messages to hand to the transport; losing one is allowed."""

    apply: tuple[Entry, ...]
    """Newly committed entries of all kinds, without gaps, to apply in order."""

    load_snapshot: bool
    """A follower needs the latest durable snapshot: read it, then call `handle_snapshot_loaded`."""

    events: tuple[Event, ...]

    wake_at: float
    """Call `handle_timer` no later than this, in the driver's clock, after all messages that have arrived."""

    reads: tuple[ReadAnswer, ...] = ()


class ProgressState(Enum):
    PROBE = "probe"
    """Where the logs agree is not known: one request at a time."""

    REPLICATE = "replicate"
    """It is known: requests are sent without waiting for replies, up to a window."""

    SNAPSHOT = "snapshot"
    """What the follower needs next is compacted away: it gets a snapshot in chunks."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """What the leader knows of another member."""

    match: Index
    state: ProgressState
    heard_at: float
    is_caught_up: bool
    """4.2.1: may become a voter without holding up commits."""
    has_lost_log: bool = False
    """Has lost entries that it had acknowledged; must become a learner before it may be trusted again."""
