"""The words of gossip: every message members exchange, and the datagram they travel in.

A datagram is a wire envelope around [sender, messages]; before sealing it never exceeds MAX_DATAGRAM_BYTES, so that it
crosses any usual path unfragmented. Decoding is strict on types and bounds and tolerant of trailing fields, which a
newer release may add once every member's feature level has them.
"""

import ipaddress
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec

from protocol.errors import DecodeError
from protocol.ids import Incarnation, NodeId
from protocol.wire import Frame, decode_envelope, encode_envelope

GOSSIP_KIND: Final = 1
"""The wire kind of gossip datagrams."""
MAX_DATAGRAM_BYTES: Final = 1200
PACKET_OVERHEAD_BYTES: Final = 48
"""Envelope (7), sender (34) and array headers (4) of a datagram, rounded up."""
BODY_BUDGET_BYTES: Final = MAX_DATAGRAM_BYTES - PACKET_OVERHEAD_BYTES
SYNC_OVERHEAD_BYTES: Final = 24
MAX_META_BYTES: Final = 512
MAX_PACKET_MESSAGES: Final = 128
MAX_INCARNATION: Final = 2**53
MAX_SYNC_DATAGRAMS: Final = 32
"""Datagrams in one half of a push/pull; about 200 members. Larger groups send a random choice each time."""

_NodeId: TypeAlias = Annotated[NodeId, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
_Incarnation: TypeAlias = Annotated[Incarnation, msgspec.Meta(ge=0, le=MAX_INCARNATION)]
_Seq: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65535)]
_Level: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
_Part: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_SYNC_DATAGRAMS)]
_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[\x21-\x7e]{1,128}\Z")]
_Version: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A[\x21-\x7e]{0,32}\Z")]
_Key: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Value: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
_Labels: TypeAlias = Annotated[dict[_Key, _Value], msgspec.Meta(max_length=16)]


class Address(NamedTuple):
    """Where datagrams go: an IP address and a UDP port."""

    ip: str
    port: int


class State(IntEnum):
    """What is believed of a member; within one incarnation the higher value wins."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What a member says of itself; at most MAX_META_BYTES encoded."""

    name: _Name
    address: str
    """An IPv4 or IPv6 address, under which the member receives gossip and peer links."""
    port: _Port
    api_port: _Port
    feature_level: _Level = 0
    environment: _Level = 0
    version: _Version = ""
    labels: _Labels = {}


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Are you there?  Answered only by `target`: another member may have taken over its address."""

    seq: _Seq
    target: _NodeId


class PingRequest(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Ping `target` for me, and tell me with an Ack or, in time, with a Nack."""

    seq: _Seq
    target: _NodeId


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`node` answered the probe that carried `seq`."""

    seq: _Seq
    node: _NodeId


class Nack(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """I hear you, but the target of your PingRequest has not answered me so far (Lifeguard)."""

    seq: _Seq


class Alive(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The member says so itself."""

    node: _NodeId
    incarnation: _Incarnation
    meta: Meta


class Suspect(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """`accuser` probed the member in vain."""

    node: _NodeId
    incarnation: _Incarnation
    accuser: _NodeId


class Dead(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """A suspicion ran out at `accuser`."""

    node: _NodeId
    incarnation: _Incarnation
    accuser: _NodeId


class Left(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The member says goodbye."""

    node: _NodeId
    incarnation: _Incarnation


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One row of a member table, as a push/pull carries it."""

    node: _NodeId
    state: State
    incarnation: _Incarnation
    meta: Meta


_Records: TypeAlias = Annotated[tuple[Record, ...], msgspec.Meta(max_length=MAX_PACKET_MESSAGES)]


class SyncRequest(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Here is my table, part `part` of `parts`; send me yours (once, on part 0)."""

    seq: _Seq
    part: _Part
    parts: _Part
    records: _Records


class SyncReply(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The table asked for by the SyncRequest with this `seq`."""

    seq: _Seq
    part: _Part
    parts: _Part
    records: _Records


Claim: TypeAlias = Alive | Suspect | Dead | Left
Message: TypeAlias = Ping | PingRequest | Ack | Nack | Alive | Suspect | Dead | Left | SyncRequest | SyncReply
_Messages: TypeAlias = Annotated[tuple[Message, ...], msgspec.Meta(max_length=MAX_PACKET_MESSAGES)]


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """The content of one datagram."""

    sender: _NodeId
    messages: _Messages


_encode = msgspec.msgpack.Encoder().encode
_decode_packet = msgspec.msgpack.Decoder(Packet).decode


def encode_message(message: Message | Record) -> bytes:
    """Return one message or record as it stands inside a datagram."""
    return _encode(message)


def encode_sync(
    message: type[SyncRequest] | type[SyncReply], seq: int, part: int, parts: int, rows: Sequence[bytes]
) -> bytes:
    """Return one part of a push/pull around records that are encoded already."""
    return _encode([message.__struct_config__.tag, seq, part, parts, [msgspec.Raw(row) for row in rows]])


def encode_packet(sender: NodeId, bodies: Sequence[bytes]) -> bytes:
    """Return a datagram with encoded messages in it; raises ValueError if it would be longer than allowed."""
    payload = _encode([sender, [msgspec.Raw(body) for body in bodies]])
    data = encode_envelope(Frame(GOSSIP_KIND, 0, payload))
    if len(data) > MAX_DATAGRAM_BYTES or len(bodies) > MAX_PACKET_MESSAGES:
        raise ValueError(f"expected a datagram of at most {MAX_DATAGRAM_BYTES} bytes, got {len(data)}")
    return data


def decode_packet(data: bytes) -> Packet:
    """Return what a datagram holds, or raise DecodeError."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise DecodeError(f"expected a datagram of at most {MAX_DATAGRAM_BYTES} bytes, got {len(data)}")
    frame = decode_envelope(data)
    if frame.kind != GOSSIP_KIND:
        raise DecodeError(f"expected a datagram of kind {GOSSIP_KIND} (gossip), got kind {frame.kind}")
    try:
        packet = _decode_packet(frame.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"expected gossip messages: {error!s:.200}") from None
    for message in packet.messages:
        # One request, one answer: a datagram full of requests would be a lever.
        if isinstance(message, SyncRequest | SyncReply) and len(packet.messages) > 1:
            raise DecodeError("expected a part of a push/pull to travel alone")
        _check_metas(message)
    return packet


def _check_metas(message: Message) -> None:
    match message:
        case Alive(meta=meta):
            check_meta(meta)
        case SyncRequest() | SyncReply():
            for record in message.records:
                check_meta(record.meta)
        case _:
            pass


def check_meta(meta: Meta) -> None:
    """Raise DecodeError if others would refuse `meta`."""
    size = len(_encode(meta))
    if size > MAX_META_BYTES:
        raise DecodeError(f"expected a member's own words to fit {MAX_META_BYTES} bytes, got {size}")
    try:
        address = ipaddress.ip_address(meta.address)
    except ValueError:
        raise DecodeError(f"expected an IP address, got {meta.address[:60]!r}") from None
    if address.is_unspecified or address.is_multicast:
        raise DecodeError(f"expected an address others can send to, got {meta.address}")


def validate_meta(meta: Meta) -> None:
    """Raise ValueError if `meta`, built by ourselves, would be refused by others."""
    try:
        check_meta(msgspec.msgpack.decode(_encode(meta), type=Meta))
    except (msgspec.MsgspecError, DecodeError) as error:
        raise ValueError(f"not fit to be gossiped: {error}") from None
