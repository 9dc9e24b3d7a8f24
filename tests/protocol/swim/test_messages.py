"""Gossip messages: round trips, bounds, and junk."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DecodeError
from protocol.ids import Incarnation
from protocol.swim import MAX_DATAGRAM_BYTES, Meta, State
from protocol.swim.messages import (
    BODY_BUDGET_BYTES,
    GOSSIP_KIND,
    MAX_INCARNATION,
    MAX_PACKET_MESSAGES,
    SYNC_OVERHEAD_BYTES,
    Ack,
    Alive,
    Dead,
    Left,
    Message,
    Nack,
    Ping,
    PingRequest,
    Record,
    Suspect,
    SyncReply,
    SyncRequest,
    decode_packet,
    encode_message,
    encode_packet,
    encode_sync,
    validate_meta,
)
from protocol.wire import Frame, encode_envelope
from tests.protocol.swim.builders import ME, B, datagram, meta

nodes = st.integers(0, 2**128 - 1).map(lambda n: f"{n:032x}")
seqs, incarnations = st.integers(0, 2**32 - 1), st.integers(0, MAX_INCARNATION)
metas = st.builds(
    Meta,
    name=st.text("abc-.", min_size=1, max_size=60),
    address=st.ip_addresses(v=4).filter(lambda ip: not ip.is_multicast and not ip.is_unspecified).map(str),
    port=st.integers(1, 65535),
    api_port=st.integers(1, 65535),
    feature_level=st.integers(0, 99),
    environment=st.integers(0, 99),
    version=st.text("0123456789.", max_size=12),
    labels=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=3),
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, seqs, nodes),
    st.builds(PingRequest, seqs, nodes),
    st.builds(Ack, seqs, nodes),
    st.builds(Nack, seqs),
    st.builds(Alive, nodes, incarnations, metas),
    st.builds(Suspect, nodes, incarnations, nodes),
    st.builds(Dead, nodes, incarnations, nodes),
    st.builds(Left, nodes, incarnations),
)
records = st.builds(Record, nodes, st.sampled_from(State), incarnations, metas)


@settings(max_examples=100, deadline=None)
@given(sent=st.lists(messages, max_size=3))
def test_datagram_decodes_to_what_was_encoded(sent: list[Message]) -> None:
    packet = decode_packet(datagram(B, *sent))
    assert (packet.sender, list(packet.messages)) == (B, sent)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(records, max_size=3), seq=seqs)
def test_sync_part_decodes_to_what_was_encoded(rows: list[Record], seq: int) -> None:
    body = encode_sync(SyncReply, seq, 1, 3, [encode_message(row) for row in rows])
    assert decode_packet(encode_packet(B, [body])).messages == (SyncReply(seq, 1, 3, tuple(rows)),)
    assert len(body) <= SYNC_OVERHEAD_BYTES + sum(len(encode_message(row)) for row in rows)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), wrapped=st.booleans())
def test_decoding_raises_nothing_but_decode_error_on_any_bytes(data: bytes, wrapped: bool) -> None:
    try:
        decode_packet(encode_envelope(Frame(GOSSIP_KIND, 0, data)) if wrapped else data)
    except DecodeError:
        pass


@pytest.mark.parametrize("seed", [1])
def test_damaged_datagrams_raise_nothing_but_decode_error(seed: int) -> None:
    rng = Random(seed)
    sound = datagram(B, Ping(1, ME), Alive(B, Incarnation(1), meta(2)), Suspect(ME, Incarnation(3), B))
    for _ in range(10_000):
        broken = bytearray(sound)
        for _ in range(rng.randrange(1, 5)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            decode_packet(bytes(broken[: rng.randrange(len(broken) + 1)]))
        except DecodeError:
            pass


def test_full_datagram_stays_within_its_budget() -> None:
    body = msgspec.msgpack.encode(bytes(BODY_BUDGET_BYTES - 3))
    assert len(body) == BODY_BUDGET_BYTES
    assert len(encode_packet(B, [body])) <= MAX_DATAGRAM_BYTES


def test_datagram_longer_than_allowed_is_refused_both_ways() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode_packet(B, [msgspec.msgpack.encode(bytes(MAX_DATAGRAM_BYTES))])
    with pytest.raises(DecodeError, match="at most"):
        decode_packet(bytes(MAX_DATAGRAM_BYTES + 1))


@pytest.mark.parametrize(
    "body",
    [
        [99, 1, ME],
        [1, -1, ME],
        [1, 2**32, ME],
        [1, 1, ME[:-1]],
        [1, 1, ME.replace("0", "G")],
        [1, 1, ME + "\n"],
        [6, ME, MAX_INCARNATION + 1, B],
        [5, ME, 0, ["a b", "10.0.0.1", 1, 1]],
        [5, ME, 0, ["a", "not an address", 1, 1]],
        [5, ME, 0, ["a", "0.0.0.0", 1, 1]],
        [5, ME, 0, ["a", "224.0.0.1", 1, 1]],
        [5, ME, 0, ["a", "10.0.0.1", 0, 1]],
        [5, ME, 0, ["a", "10.0.0.1", 1, 65536]],
        [5, ME, 0, ["a", "10.0.0.1", 1, 1, 0, 0, "", {"k": "v" * 129}]],
        [5, ME, 0, ["a", "10.0.0.1", 1, 1, 0, 0, "", {str(n): "" for n in range(17)}]],
        [5, ME, 0, ["a", "10.0.0.1", 1, 1, 0, 0, "", {str(n): "v" * 120 for n in range(5)}]],
        [9, 1, 0, 1, [[ME, 4, 0, ["a", "10.0.0.1", 1, 1]]]],
    ],
)
def test_message_out_of_bounds_is_refused(body: object) -> None:
    with pytest.raises(DecodeError):
        decode_packet(encode_packet(B, [msgspec.msgpack.encode(body)]))


def test_trailing_fields_of_a_newer_release_are_ignored() -> None:
    body = msgspec.msgpack.encode([3, 7, B, "new"])
    assert decode_packet(encode_packet(B, [body])).messages == (Ack(7, B),)


def test_push_pull_part_among_other_messages_is_refused() -> None:
    with pytest.raises(DecodeError, match="alone"):
        decode_packet(datagram(B, SyncRequest(1, 0, 1, ()), SyncRequest(2, 0, 1, ())))


def test_more_messages_than_the_bound_are_refused() -> None:
    payload = msgspec.msgpack.encode([B, [[4, 1]] * (MAX_PACKET_MESSAGES + 1)])
    with pytest.raises(DecodeError):
        decode_packet(encode_envelope(Frame(GOSSIP_KIND, 0, payload)))


def test_datagram_of_another_kind_is_refused() -> None:
    with pytest.raises(DecodeError, match="kind"):
        decode_packet(encode_envelope(Frame(GOSSIP_KIND + 1, 0, b"")))


@pytest.mark.parametrize("labels", [{"k": "v" * 129}, {str(n): "v" * 120 for n in range(5)}])
def test_own_words_too_long_to_be_gossiped_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not fit"):
        validate_meta(Meta("a", "10.0.0.1", 1, 1, labels=labels))
