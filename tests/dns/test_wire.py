"""The rules of dns.wire: one question read, anything else refused, no bytes that crash."""

import random

import pytest
from hypothesis import given, settings, strategies as st

from dns import wire
from dns.wire import Query, Rejected, parse_query
from tests.dns.questions import ask, read

PLAIN = ask("Web.Shop")


def with_counts(message: bytes, counts: tuple[int, int, int, int]) -> bytes:
    return message[:4] + b"".join(count.to_bytes(2, "big") for count in counts) + message[12:]


def test_query_keeps_the_questions_letters_and_lowers_the_name() -> None:
    query = parse_query(PLAIN)
    assert isinstance(query, Query)
    assert (query.name, query.qtype, query.payload) == ("web.shop", wire.A, 512)
    assert query.question == PLAIN[12:]


@pytest.mark.parametrize(("asked", "given"), [(100, 512), (512, 512), (900, 900), (1232, 1232), (65535, 1232)])
def test_payload_lies_between_512_and_1232(asked: int, given: int) -> None:
    query = parse_query(ask("web", edns=asked))
    assert isinstance(query, Query)
    assert query.edns
    assert query.payload == given


@pytest.mark.parametrize(
    ("message", "rcode"),
    [
        (b"", None),
        (PLAIN[:11], None),
        (PLAIN[:2] + b"\x80\0" + PLAIN[4:], None),
        (PLAIN[:2] + b"\x28\0" + PLAIN[4:], wire.NOTIMP),
        (with_counts(PLAIN, (0, 0, 0, 0)), wire.FORMERR),
        (with_counts(PLAIN, (2, 0, 0, 0)), wire.FORMERR),
        (with_counts(PLAIN, (1, 1, 0, 0)), wire.FORMERR),
        (with_counts(PLAIN, (1, 0, 0, 1)), wire.FORMERR),
        (PLAIN[:-1], wire.FORMERR),
        (PLAIN[:12] + b"\xc0\x0c\0\1\0\1", wire.FORMERR),
        (PLAIN[:12] + b"\x3f" + b"a" * 20, wire.FORMERR),
        (PLAIN[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", wire.FORMERR),
    ],
)
def test_message_that_is_no_single_question_is_rejected(message: bytes, rcode: int | None) -> None:
    assert parse_query(message) == Rejected(rcode)


def test_dot_inside_a_label_does_not_pass_for_two_labels() -> None:
    query = parse_query(PLAIN[:12] + b"\x08web.shop\0\0\1\0\1")
    assert isinstance(query, Query)
    assert query.name == "web\\.shop"


def test_error_repeats_id_opcode_and_rd() -> None:
    reply = read(wire.encode_error(PLAIN, wire.NOTIMP))
    assert (reply.header.id, reply.header.qr, reply.header.rd, reply.header.rcode) == (0x1234, 1, 1, wire.NOTIMP)


@settings(max_examples=200, deadline=None)
@given(message=st.binary(max_size=80), start=st.sampled_from([b"", PLAIN[:12], with_counts(PLAIN, (1, 3, 0, 0))[:12]]))
def test_any_bytes_are_read_or_refused(message: bytes, start: bytes) -> None:
    assert isinstance(parse_query(start + message), Query | Rejected)
    try:
        _, records = wire.read_answers(start + message)
        for record in records:
            wire.read_name(start + message, record.owner_at)
    except wire.MalformedError:
        pass


def test_pointer_loop_ends_in_an_error() -> None:
    with pytest.raises(wire.MalformedError, match="loop"):
        wire.read_name(PLAIN[:12] + b"\xc0\x0c", 12)


def test_ten_thousand_random_strings_are_read_or_refused() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(10_000):
        message = PLAIN[: rng.choice((0, 12))] + rng.randbytes(rng.randrange(64))
        assert isinstance(parse_query(message), Query | Rejected)
