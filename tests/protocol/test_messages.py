"""What rides in the frames of the peer link: read back as written, junk and excess refused."""

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DecodeError
from protocol.ids import NodeId
from protocol.messages import (
    MAX_SUBMIT_BYTES,
    OPEN_TO_STRANGERS,
    ExecuteReply,
    Kind,
    Submit,
    SubmitReply,
    TransferReply,
    decode_execute_reply,
    decode_submit,
    decode_submit_reply,
    decode_transfer_reply,
    encode,
)


@settings(max_examples=50)
@given(st.text(max_size=64), st.binary(max_size=256))
def test_submit_is_read_as_it_was_written(proposal: str, command: bytes) -> None:
    submit = Submit(proposal, command)
    assert decode_submit(encode(submit)) == submit


@pytest.mark.parametrize("leader", [None, NodeId("a" * 32)])
def test_reply_is_read_as_it_was_written(leader: NodeId | None) -> None:
    reply = SubmitReply(False, leader, "this node does not lead")
    assert decode_submit_reply(encode(reply)) == reply


@pytest.mark.parametrize("reply", [ExecuteReply(b"done", None), ExecuteReply(None, NodeId("a" * 32), "not here")])
def test_reply_to_a_command_is_read_as_it_was_written(reply: ExecuteReply) -> None:
    assert decode_execute_reply(encode(reply)) == reply


@pytest.mark.parametrize("reply", [TransferReply(NodeId("a" * 32)), TransferReply(None, "there is no other voter")])
def test_reply_to_a_wish_to_hand_over_is_read_as_it_was_written(reply: TransferReply) -> None:
    assert decode_transfer_reply(encode(reply)) == reply


@settings(max_examples=100)
@given(st.binary(max_size=64))
def test_junk_is_a_decode_error_or_a_record(data: bytes) -> None:
    for decode in (decode_submit, decode_submit_reply, decode_execute_reply, decode_transfer_reply):
        try:
            decode(data)
        except DecodeError:
            continue


@pytest.mark.parametrize("fields", [[], ["p"], ["p", b"c", "more"], [1, b"c"], ["p", "text"], {"proposal": "p"}])
def test_submit_with_other_fields_is_refused(fields: object) -> None:
    with pytest.raises(DecodeError, match="not a submit"):
        decode_submit(msgspec.msgpack.encode(fields))


def test_reply_with_a_field_too_many_is_refused() -> None:
    with pytest.raises(DecodeError, match="not a reply"):
        decode_submit_reply(msgspec.msgpack.encode([True, None, "", 1]))


def test_submit_beyond_its_bound_is_refused_unread() -> None:
    with pytest.raises(DecodeError, match=str(MAX_SUBMIT_BYTES)):
        decode_submit(encode(Submit("p", bytes(MAX_SUBMIT_BYTES))))


def test_strangers_may_only_ask_to_join() -> None:
    assert {Kind.PREFLIGHT, Kind.JOIN} == OPEN_TO_STRANGERS


def test_kinds_keep_their_numbers() -> None:
    """Releases live together: a number once given stays."""
    known = {"RAFT": 1, "REPLY": 2, "FAILED": 3, "SUBMIT": 4, "PREFLIGHT": 5, "JOIN": 6, "ADMIT": 7, "RENEW": 8}
    assert {kind.name: int(kind) for kind in Kind if kind.name in known} == known
