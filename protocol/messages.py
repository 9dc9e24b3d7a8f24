"""What rides in the frames of the peer link, apart from Raft's and the join conversation's own records.

A frame is (kind, number, payload); a request and its reply share the number, one-way frames use 0.
"""

from enum import IntEnum

import msgspec

from protocol.errors import DecodeError
from protocol.ids import Index, NodeId

MAX_SUBMIT_BYTES = 1024 * 1024 + 1024


class Kind(IntEnum):
    """What a frame's payload is, and who may send it."""

    RAFT = 1
    """One way: an encoded message of protocol.raft."""
    REPLY = 2
    FAILED = 3
    """The request's handler failed; the payload is text for people."""
    SUBMIT = 4
    PREFLIGHT = 5
    """Also from strangers who hold a join token."""
    JOIN = 6
    """Also from strangers who hold a join token."""
    ADMIT = 7
    """A member passes a stranger's join request on to the leader."""
    RENEW = 8
    PROBE = 9
    EXECUTE = 10
    """As SUBMIT; the reply comes once the command is applied on the leader, and tells its result."""

    READ_INDEX = 11
    """Ask the leader up to where a linearizable read must have applied; without payload, the reply is an index."""
    TRANSFER = 12
    """Ask the leader to hand over to the node that is named, or to whom it likes; the reply is a TransferReply."""
    DIGEST = 13
    """The leader asks for the digest of the state at an index; the reply is empty if that has passed."""
    STREAM = 14
    """The first and only request of a connection, which is a stream from then on: node.drive.wires says of what."""


OPEN_TO_STRANGERS = frozenset({Kind.PREFLIGHT, Kind.JOIN})


class Submit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Ask the leader to order a command."""

    proposal: str
    """Random id of the proposal: the same one again is applied once."""
    command: bytes
    since: int | None = None
    """How many results of changes the sender's state had seen when no copy of this was under way; None: no state."""


class SubmitReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Whether the leader took it; its effect shows when the entry is applied."""

    accepted: bool
    leader: NodeId | None
    """Who leads, when it is not the one asked."""
    detail: str = ""


class ExecuteReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What became of a command.  Without a result it was not ordered here, or may still happen: hand it in again."""

    result: bytes | None
    """The encoded result, done or refused."""
    leader: NodeId | None
    """Who leads, as far as the one asked knows."""
    detail: str = ""


class TransferReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Who leads after leadership was handed over, or why it cannot be; that it failed is no reply but a FAILED."""

    leader: NodeId | None
    refusal: str = ""
    """Without a leader: the wish cannot be fulfilled as long as things are as they are."""


_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What decoding raises for bytes that are none of ours, broken text and deep nesting included."""

_encoder = msgspec.msgpack.Encoder()
_submit = msgspec.msgpack.Decoder(Submit)
_submit_reply = msgspec.msgpack.Decoder(SubmitReply)
_execute_reply = msgspec.msgpack.Decoder(ExecuteReply)
_transfer_reply = msgspec.msgpack.Decoder(TransferReply)


def encode(record: Submit | SubmitReply | ExecuteReply | TransferReply) -> bytes:
    """Return the record's bytes."""
    return _encoder.encode(record)


def decode_submit(data: bytes) -> Submit:
    """Read a Submit, or raise DecodeError."""
    if len(data) > MAX_SUBMIT_BYTES:
        raise DecodeError(f"a submit of {len(data)} bytes; the limit is {MAX_SUBMIT_BYTES}")
    try:
        return _submit.decode(data)
    except _UNREADABLE as error:
        raise DecodeError(f"not a submit: {error}") from None


def decode_submit_reply(data: bytes) -> SubmitReply:
    """Read a SubmitReply, or raise DecodeError."""
    try:
        return _submit_reply.decode(data)
    except _UNREADABLE as error:
        raise DecodeError(f"not a reply to a submit: {error}") from None


def decode_execute_reply(data: bytes) -> ExecuteReply:
    """Read an ExecuteReply, or raise DecodeError."""
    try:
        return _execute_reply.decode(data)
    except _UNREADABLE as error:
        raise DecodeError(f"not a reply to a command: {error}") from None


def decode_transfer_reply(data: bytes) -> TransferReply:
    """Read a TransferReply, or raise DecodeError."""
    try:
        return _transfer_reply.decode(data)
    except _UNREADABLE as error:
        raise DecodeError(f"not a reply to a wish to hand over: {error}") from None


def encode_index(index: Index) -> bytes:
    """Return an index of the log as the payload of a frame."""
    return index.to_bytes(8, "big")


def decode_index(data: bytes) -> Index:
    """Read what `encode_index` wrote, or raise DecodeError."""
    if len(data) != 8:
        raise DecodeError(f"expected an index of 8 bytes, got {len(data)}")
    return Index(int.from_bytes(data, "big"))
