"""Frames: what goes in comes out, and no bytes whatever do more than raise DecodeError."""

import tracemalloc
from random import Random

import msgpack
import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DecodeError
from protocol.wire import (
    ENVELOPE_BYTES,
    MAX_FRAME_BYTES,
    MAX_KIND,
    MAX_NUMBER,
    MAX_PAYLOAD_BYTES,
    Frame,
    FrameReader,
    decode_envelope,
    encode_envelope,
    encode_frame,
)

frames = st.builds(Frame, st.integers(0, MAX_KIND), st.integers(0, MAX_NUMBER), st.binary(max_size=300))


@settings(max_examples=100, deadline=None)
@given(sent=st.lists(frames, max_size=6), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_stream_gives_back_the_frames_however_it_is_cut(sent: list[Frame], cuts: list[int]) -> None:
    stream, reader, got = b"".join(map(encode_frame, sent)), FrameReader(), []
    at = turn = 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        got += reader.feed(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert got == sent
    assert reader.pending_bytes == 0


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_reader_returns_frames_or_raises_decode_error_on_any_bytes(data: bytes) -> None:
    try:
        assert isinstance(FrameReader().feed(data), list)
    except DecodeError:
        pass


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=200))
def test_envelope_decodes_or_raises_decode_error_on_any_bytes(body: bytes) -> None:
    try:
        assert isinstance(decode_envelope(body), Frame)
    except DecodeError:
        pass


@pytest.mark.parametrize("seed", [20])
def test_ten_thousand_random_byte_strings_leave_memory_bounded(seed: int) -> None:
    rng = Random(seed)
    reader = FrameReader()
    tracemalloc.start()
    try:
        for _ in range(10_000):
            try:
                reader.feed(rng.randbytes(rng.randrange(400)))
            except DecodeError:
                reader = FrameReader()
        assert reader.pending_bytes <= MAX_FRAME_BYTES
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_FRAME_BYTES
    finally:
        tracemalloc.stop()


def test_reader_refuses_a_frame_too_long_by_its_length_alone() -> None:
    with pytest.raises(DecodeError, match="its length says"):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


def test_reader_refuses_an_empty_frame() -> None:
    with pytest.raises(DecodeError):
        FrameReader().feed(bytes(4))


def test_reader_holds_a_stranger_to_a_smaller_limit() -> None:
    with pytest.raises(DecodeError):
        FrameReader(max_frame_bytes=100).feed((101).to_bytes(4, "big"))


def test_reader_goes_on_refusing_after_it_lost_its_place() -> None:
    reader = FrameReader()
    with pytest.raises(DecodeError):
        reader.feed(b"\xff" * 8)
    with pytest.raises(DecodeError, match="lost its place"):
        reader.feed(encode_frame(Frame(1, 1, b"")))


def test_largest_payload_fits_a_frame_and_one_byte_more_is_refused() -> None:
    largest = Frame(MAX_KIND, MAX_NUMBER, bytes(MAX_PAYLOAD_BYTES))
    assert FrameReader().feed(encode_frame(largest)) == [largest]
    with pytest.raises(ValueError, match="payload"):
        encode_frame(Frame(0, 0, bytes(MAX_PAYLOAD_BYTES + 1)))


def test_envelope_adds_no_more_than_it_says() -> None:
    assert len(encode_envelope(Frame(MAX_KIND, MAX_NUMBER, bytes(70_000)))) <= 70_000 + ENVELOPE_BYTES


@pytest.mark.parametrize(
    "frame", [Frame(-1, 0, b""), Frame(MAX_KIND + 1, 0, b""), Frame(0, -1, b""), Frame(0, 2**64, b"")]
)
def test_encoding_refuses_numbers_out_of_range(frame: Frame) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_frame(frame)


@pytest.mark.parametrize(
    "value",
    [
        [2, 1, 1, b""],
        [True, 1, 1, b""],
        [1, True, 1, b""],
        [1, 1, True, b""],
        [1, MAX_KIND + 1, 1, b""],
        [1, 1, -1, b""],
        [1, 1, 1, "text"],
        [1, 1, 1],
        [1, 1, 1, b"", 0],
        {1: 1},
        [1, 1, 1, [[]]],
        None,
    ],
)
def test_envelope_refuses_every_other_value(value: object) -> None:
    with pytest.raises(DecodeError):
        decode_envelope(msgpack.packb(value))


def test_envelope_refuses_bytes_after_its_end() -> None:
    with pytest.raises(DecodeError):
        decode_envelope(encode_envelope(Frame(1, 1, b"x")) + b"\0")


def test_envelope_refuses_deep_nesting() -> None:
    with pytest.raises(DecodeError):
        decode_envelope(b"\x91" * 100_000)
