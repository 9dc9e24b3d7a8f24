"""What rides in the frames of the peer link, apart from Raft's and the join conversation's own records.

A frame is (kind, number, payload); a request and its reply share the number, one-way frames use 0.
"""

from enum import IntEnum

import msgspec

from protocol.errors import DecodeError
from protocol.ids import NodeId

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


OPEN_TO_STRANGERS = frozenset({Kind.PREFLIGHT, Kind.JOIN})


class Submit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Ask the leader to order a command."""

    proposal: str
    """Random id of the proposal: the same one again is applied once."""
    command: bytes


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


_encoder = msgspec.msgpack.Encoder()
_submit = msgspec.msgpack.Decoder(Submit)
_submit_reply = msgspec.msgpack.Decoder(SubmitReply)
_execute_reply = msgspec.msgpack.Decoder(ExecuteReply)


def encode(record: Submit | SubmitReply | ExecuteReply) -> bytes:
    """Return the record's bytes."""
    return _encoder.encode(record)


def decode_submit(data: bytes) -> Submit:
    """Read a Submit, or raise DecodeError."""
    if len(data) > MAX_SUBMIT_BYTES:
        raise DecodeError(f"a submit of {len(data)} bytes; the limit is {MAX_SUBMIT_BYTES}")
    try:
        return _submit.decode(data)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a submit: {error}") from None


def decode_submit_reply(data: bytes) -> SubmitReply:
    """Read a SubmitReply, or raise DecodeError."""
    try:
        return _submit_reply.decode(data)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a reply to a submit: {error}") from None


def decode_execute_reply(data: bytes) -> ExecuteReply:
    """Read an ExecuteReply, or raise DecodeError."""
    try:
        return _execute_reply.decode(data)
    except msgspec.MsgspecError as error:
        raise DecodeError(f"not a reply to a command: {error}") from None
