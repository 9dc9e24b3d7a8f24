"""The wire format: whatever a core says comes back as it was, and nothing else comes in."""

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DecodeError
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import (
    MAX_BATCH_ENTRIES,
    MAX_CHUNK_BYTES,
    MAX_ENTRY_BYTES,
    MAX_MESSAGE_BYTES,
    AppendReply,
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    PreVoteRequest,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    decode_config,
    decode_message,
    encode_config,
    encode_message,
    make_config,
)

A, B, C = (NodeId(letter * 32) for letter in "abc")

terms = st.integers(1, 1 << 62).map(Term)
indexes = st.integers(1, 1 << 61).map(Index)
numbers = st.integers(0, 1 << 62)
configs = st.lists(st.sampled_from([A, B, C]), unique=True, min_size=1).map(lambda n: make_config(n[:1], n[1:]))
metas = st.builds(SnapshotMeta, indexes, terms, configs)


@st.composite
def append_requests(draw: st.DrawFn) -> AppendRequest:
    term, prev = draw(terms), draw(indexes)
    commands = draw(st.lists(st.binary(max_size=20), max_size=5))
    entries = [Entry(Index(prev + n), term, EntryKind.COMMAND, data) for n, data in enumerate(commands, 1)]
    return AppendRequest(term, prev, term, tuple(entries), draw(indexes), draw(numbers))


@st.composite
def chunks(draw: st.DrawFn) -> SnapshotChunk:
    piece, offset = draw(st.binary(min_size=1, max_size=20)), draw(st.integers(0, 1000))
    size = offset + len(piece) + draw(st.integers(0, 1000))
    return SnapshotChunk(draw(terms), draw(metas), size, draw(st.integers(0, 0xFFFFFFFF)), offset, piece)


messages: st.SearchStrategy[RaftMessage] = st.one_of(
    st.builds(PreVoteRequest, terms, indexes, terms),
    st.builds(VoteRequest, terms, indexes, terms, st.booleans()),
    st.builds(TimeoutNow, terms),
    st.builds(VoteReply, terms, st.booleans(), st.booleans()),
    append_requests(),
    st.builds(AppendReply, terms, st.booleans(), indexes, indexes, terms, numbers),
    chunks(),
    st.builds(SnapshotReply, terms, indexes, numbers, st.booleans()),
)


@settings(max_examples=100, deadline=None)
@given(messages)
def test_message_comes_back_as_it_was_sent(message: RaftMessage) -> None:
    assert decode_message(encode_message(message)) == message


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_message_or_a_decode_error(encoded: bytes) -> None:
    try:
        decode_message(encoded)
    except DecodeError:
        pass


@settings(max_examples=200, deadline=None)
@given(messages, st.data())
def test_damaged_message_gives_a_message_or_a_decode_error(message: RaftMessage, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] = data.draw(st.integers(0, 255))
    try:
        decode_message(bytes(encoded))
    except DecodeError:
        pass


def make_append(*entries: Entry, term: int = 3) -> AppendRequest:
    return AppendRequest(Term(term), Index(4), Term(2), entries, Index(0), 1)


def command(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.COMMAND, data)


META = SnapshotMeta(Index(1), Term(1), make_config([A]))

REFUSED: dict[str, RaftMessage] = {
    "a gap before the first entry": make_append(command(6, 3)),
    "a gap between entries": make_append(command(5, 3), command(7, 3)),
    "terms that fall": make_append(command(5, 3), command(6, 2)),
    "an entry from before the term of the one in front": make_append(command(5, 1)),
    "an entry from the future": make_append(command(5, 4)),
    "a configuration that is none": make_append(Entry(Index(5), Term(3), EntryKind.CONFIG, b"junk")),
    "an entry that is too large": make_append(command(5, 3, bytes(MAX_ENTRY_BYTES + 1))),
    "too many entries": make_append(*(command(5 + n, 3) for n in range(MAX_BATCH_ENTRIES + 1))),
    "a negative term": VoteRequest(Term(-1), Index(0), Term(0)),
    "a term without room for another": VoteRequest(Term(1 << 63), Index(0), Term(0)),
    "a chunk beyond the end": SnapshotChunk(Term(1), META, 4, 0, 2, b"xyz"),
    "a chunk of nothing": SnapshotChunk(Term(1), META, 4, 0, 2, b""),
    "a snapshot of nothing": SnapshotChunk(Term(1), SnapshotMeta(Index(0), Term(0), make_config([A])), 1, 0, 0, b"x"),
    "a chunk that is too large": SnapshotChunk(Term(1), META, 1 << 20, 0, 0, bytes(MAX_CHUNK_BYTES + 1)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_decode_refuses(what: str) -> None:
    with pytest.raises(DecodeError):
        decode_message(encode_message(REFUSED[what]))


def test_decode_refuses_more_bytes_than_any_message_has() -> None:
    with pytest.raises(DecodeError, match="at most"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))


def test_largest_entry_fits_into_a_message() -> None:
    largest = make_append(command(5, 3, bytes(MAX_ENTRY_BYTES)))
    assert len(encode_message(largest)) <= MAX_MESSAGE_BYTES
    assert decode_message(encode_message(largest)) == largest


def test_decode_ignores_fields_of_a_later_version() -> None:
    newer = msgspec.msgpack.encode([2, 5, 7, 4, True, "a field to come"])
    assert decode_message(newer) == VoteRequest(Term(5), Index(7), Term(4), True)


def test_decode_takes_a_vote_request_of_an_earlier_version() -> None:
    older = msgspec.msgpack.encode([2, 5, 7, 4])
    assert decode_message(older) == VoteRequest(Term(5), Index(7), Term(4), False)


def test_config_comes_back_as_it_was() -> None:
    config = make_config([C, A], [B])
    assert config.voters == (A, C)
    assert decode_config(encode_config(config)) == config


@pytest.mark.parametrize(
    "wrong", [[1, ["b" * 32, "a" * 32], []], [1, ["a" * 32], ["a" * 32]], [1, ["A" * 32], []], [1, []]]
)
def test_config_refuses_disorder_repetition_and_bad_names(wrong: object) -> None:
    with pytest.raises(DecodeError):
        decode_config(msgspec.msgpack.encode(wrong))


def test_config_refuses_a_node_that_both_votes_and_learns() -> None:
    with pytest.raises(ValueError, match="once"):
        Config((A,), (A,))
