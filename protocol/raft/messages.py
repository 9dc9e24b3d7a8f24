"""What members of the Raft group say to each other, and the records they keep in their logs.

Encodes and decodes, bounds everything a peer can grow, and never decides anything.  The sender of a message is known
from the link it came by, so no message names it.  Structs are arrays on the wire: new fields go at the end, with a
default; the integer tag of each is its version.  Rules from Ongaro's dissertation (chapters 3-5, 9.6).
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from protocol.errors import DecodeError
from protocol.ids import Index, NodeId, Term

MAX_ENTRY_BYTES = 1 << 20
"""The largest payload of one log entry."""

MAX_BATCH_BYTES = 256 << 10
"""Payload bytes after which an AppendRequest takes no further entry; one larger entry travels alone."""

MAX_BATCH_ENTRIES = 512
MAX_CHUNK_BYTES = 256 << 10
MAX_SNAPSHOT_BYTES = 512 << 20
MAX_VOTERS = 15
MAX_LEARNERS = 1024

MAX_MESSAGE_BYTES = MAX_ENTRY_BYTES + (64 << 10)
"""The largest encoded message: one entry of the largest size, or one chunk with its configuration, and some room."""

_LARGEST = 1 << 62

_Term = Annotated[Term, Meta(ge=0, le=_LARGEST)]
_Index = Annotated[Index, Meta(ge=0, le=_LARGEST)]
_Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
_NodeId = Annotated[NodeId, Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class EntryKind(IntEnum):
    NOOP = 0
    """6.4: appended by each new leader, to commit what earlier terms left."""

    COMMAND = 1
    """Bytes for the state machine; the core never looks inside."""

    CONFIG = 2
    """An encoded Config, in force from the moment it is in the log."""


class Entry(Struct, frozen=True, array_like=True):
    """One entry of the replicated log."""

    index: _Index
    term: _Term
    kind: EntryKind
    data: Annotated[bytes, Meta(max_length=MAX_ENTRY_BYTES)]


class Config(Struct, frozen=True, array_like=True, tag=1):
    """Who votes and who only follows; both sorted and disjoint. Build one with `make_config`."""

    voters: Annotated[tuple[_NodeId, ...], Meta(max_length=MAX_VOTERS)]
    learners: Annotated[tuple[_NodeId, ...], Meta(max_length=MAX_LEARNERS)]

    def __post_init__(self) -> None:
        everyone = set(self.voters) | set(self.learners)
        if len(everyone) != len(self.voters) + len(self.learners):
            raise ValueError("expected each node once, as a voter or as a learner")
        if list(self.voters) != sorted(self.voters) or list(self.learners) != sorted(self.learners):
            raise ValueError("expected voters and learners in order")

    @property
    def members(self) -> tuple[NodeId, ...]:
        return tuple(sorted(self.voters + self.learners))


NOBODY = Config((), ())


def make_config(voters: Iterable[NodeId], learners: Iterable[NodeId] = ()) -> Config:
    """Build a Config from members in any order."""
    return Config(tuple(sorted(voters)), tuple(sorted(learners)))


class SnapshotMeta(Struct, frozen=True, array_like=True):
    """What a snapshot replaces: the log up to `index`, and the configuration in force there."""

    index: _Index
    term: _Term
    config: Config


class PreVoteRequest(Struct, frozen=True, array_like=True, tag=1):
    """9.6: would you vote for me, if I raised the term to `term`?"""

    term: _Term
    last_index: _Index
    last_term: _Term


class VoteRequest(Struct, frozen=True, array_like=True, tag=2):
    """3.4: vote for me in `term`."""

    term: _Term
    last_index: _Index
    last_term: _Term
    is_transfer: bool = False
    """3.10: the leader itself has asked the candidate to take over."""


class VoteReply(Struct, frozen=True, array_like=True, tag=3):
    """The answer to either; a granted pre-vote carries the term that was asked about, all else the voter's own."""

    term: _Term
    granted: bool
    pre: bool


class AppendRequest(Struct, frozen=True, array_like=True, tag=4):
    """3.5: entries after `prev_index`; without any, a heartbeat."""

    term: _Term
    prev_index: _Index
    prev_term: _Term
    entries: Annotated[tuple[Entry, ...], Meta(max_length=MAX_BATCH_ENTRIES)]
    commit: _Index
    seq: _Count
    """Grows with each request a leader sends in its term, and comes back in the reply."""


class AppendReply(Struct, frozen=True, array_like=True, tag=5):
    """How far the follower's log now agrees with the leader's, or where to look for the point up to which it does."""

    term: _Term
    ok: bool
    index: _Index
    """Accepted: the logs agree up to here. Refused: the `prev_index` that did not fit."""
    hint_index: _Index
    """Refused: the follower's last entry that may still agree, by its term; `hint_term` is that entry's."""
    hint_term: _Term
    seq: _Count


class SnapshotChunk(Struct, frozen=True, array_like=True, tag=6):
    """5.2: a piece of a snapshot; `size` and `crc` (CRC-32) are those of the whole, `piece_crc` that of `data`."""

    term: _Term
    meta: SnapshotMeta
    size: Annotated[int, Meta(ge=0, le=MAX_SNAPSHOT_BYTES)]
    crc: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
    offset: Annotated[int, Meta(ge=0, le=MAX_SNAPSHOT_BYTES)]
    data: Annotated[bytes, Meta(max_length=MAX_CHUNK_BYTES)]
    piece_crc: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None = None
    """None from a sender of an earlier version."""
    replaces: bool = False
    """Take it although you have applied as much: your state differs from everybody else's."""


class SnapshotReply(Struct, frozen=True, array_like=True, tag=7):
    """`done`: the follower has everything up to `index`; else it waits for the chunk at `offset`."""

    term: _Term
    index: _Index
    offset: _Count
    done: bool


class TimeoutNow(Struct, frozen=True, array_like=True, tag=8):
    """3.10: your log is complete; campaign at once, I am handing over."""

    term: _Term


RaftMessage = (
    PreVoteRequest | VoteRequest | VoteReply | AppendRequest | AppendReply | SnapshotChunk | SnapshotReply | TimeoutNow
)

_encoder = msgspec.msgpack.Encoder()
_message_decoder: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)
_config_decoder = msgspec.msgpack.Decoder(Config)


def encode_config(config: Config) -> bytes:
    return _encoder.encode(config)


def decode_config(encoded: bytes) -> Config:
    """Read the bytes of a CONFIG entry; DecodeError on anything that `encode_config` does not make."""
    try:
        return _config_decoder.decode(encoded)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a configuration: {error}") from error


def encode_message(message: RaftMessage) -> bytes:
    return _encoder.encode(message)


def decode_message(encoded: bytes) -> RaftMessage:
    """Read one message from a peer; DecodeError on anything that breaks a bound or could not come from a sane core."""
    if len(encoded) > MAX_MESSAGE_BYTES:
        raise DecodeError(f"expected a Raft message of at most {MAX_MESSAGE_BYTES} bytes, got {len(encoded)}")
    try:
        message = _message_decoder.decode(encoded)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a Raft message: {error}") from error
    if isinstance(message, AppendRequest):
        _check_entries(message)
    elif isinstance(message, SnapshotChunk):
        _check_chunk(message)
    return message


def _check_entries(request: AppendRequest) -> None:
    index, term = request.prev_index, request.prev_term
    for entry in request.entries:
        if entry.index != index + 1:
            raise DecodeError(f"expected entry {index + 1}, got {entry.index}")
        if not term <= entry.term <= request.term or entry.term == 0:
            raise DecodeError(f"expected entry {entry.index} to be of a term from {term} to {request.term}")
        if entry.kind is EntryKind.CONFIG:
            decode_config(entry.data)
        index, term = entry.index, entry.term


def _check_chunk(chunk: SnapshotChunk) -> None:
    if chunk.meta.index == 0 or chunk.meta.term == 0:
        raise DecodeError("expected a snapshot of at least one entry")
    if chunk.offset + len(chunk.data) > chunk.size:
        raise DecodeError(f"expected a chunk within {chunk.size} bytes, got {len(chunk.data)} at {chunk.offset}")
    if not chunk.data and chunk.size:
        raise DecodeError("expected a chunk with bytes in it")
