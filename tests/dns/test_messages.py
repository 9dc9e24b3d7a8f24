"""The rules of dns.messages: each message survives its bytes, and no other bytes get in."""

import msgpack
import pytest
from hypothesis import given, settings, strategies as st

from dns import messages
from dns.messages import Ack, FrameError, Full, Message, NeedFull, Refused, Status, StatusReply, Stop
from dns.zone import Alias, Change
from tests.dns.questions import WEB_1, make_shop

MESSAGES: list[Message] = [
    Full(make_shop(names={"x.rancher.internal": Alias("example.com"), "y.rancher.internal": ()})),
    Change(7, 9, {"a.rancher.internal": (WEB_1,)}, ("b",), {WEB_1: ("s",)}, ("10.42.1.1",), ("1.1.1.1",)),
    Status(),
    Stop(),
    Ack(7),
    NeedFull(3),
    Refused("because"),
    StatusReply(7, 1, "0.1", 12, {"ready": 12}, ("udp 127.0.0.1:53",), ""),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_survives_its_bytes(message: Message) -> None:
    frame = messages.encode_frame(message)
    assert messages.decode_length(frame[:4]) == len(frame) - 4
    assert messages.decode_body(frame[4:]) == message


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (["Change", 1, 1, 2, {"UPPER": []}, [], {}, [], None, None, None], "'UPPER' cannot be served"),
        (["Change", 1, 1, 2, {"a": ["300.1.1.1"]}, [], {}, [], None, None, None], "cannot be served"),
        (["Change", 1, 1, 2, {}, [], {"nobody": []}, [], None, None, None], "expected an address"),
        (["Change", 1, 0, 2, {}, [], {}, [], None, None, None], "expected a serial"),
        (["Full", 1, 1, "", {}, {}, [], [], []], "expected a domain"),
        (["Full", 1, 1, "a", {}, {}, [], ["10.0.0.0/99"], []], "10.0.0.0/99"),
        (["Full", 2, 1], "version 2 of Full is unknown"),
        (["Nonsense", 1], "starts with a kind"),
        (["Full", 1, 1], "not enough values"),
    ],
)
def test_frame_that_breaks_a_rule_is_refused_by_name(fields: list[object], why: str) -> None:
    with pytest.raises(FrameError, match=why):
        messages.decode_body(msgpack.packb(fields))


@pytest.mark.parametrize(
    ("fields", "message"), [(["Status", 9], Status()), (["Stop", 9, "more"], Stop()), (["Ack", 9, 7, "more"], Ack(7))]
)
def test_what_ends_a_server_is_read_in_any_version(fields: list[object], message: Message) -> None:
    assert messages.decode_body(msgpack.packb(fields)) == message


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=64), st.lists(st.from_type(object) | st.just("Full")).map(repr).map(str.encode)))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        messages.decode_body(body)
    except FrameError:
        pass


def test_length_out_of_bounds_is_refused_before_anything_is_read() -> None:
    for prefix in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
        with pytest.raises(FrameError, match="at most"):
            messages.decode_length(prefix)
