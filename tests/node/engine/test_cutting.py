"""Docker's multiplexed output and its logs, in whatever pieces they arrive."""

from random import Random

import pytest

from node.engine.cutting import MAX_LINE_BYTES, Demultiplexer, LogCutter
from node.ports import BOTH, ERR, OUT, LogLine

AT = "2016-04-12T06:00:00.123456789Z"


def frame(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def stamped(text: bytes) -> bytes:
    return AT.encode() + b" " + text


def cut(data: bytes, *, step: int, has_terminal: bool = False) -> list[LogLine]:
    cutter = LogCutter(has_terminal=has_terminal)
    found = [line for at in range(0, len(data), step) for line in cutter.feed(data[at : at + step])]
    return found + cutter.end()


@pytest.mark.parametrize("step", [1, 3, 8, 50, 10_000])
def test_lines_are_the_same_in_whatever_pieces_they_come(step: int) -> None:
    data = frame(OUT, stamped(b"one\n")) + frame(ERR, stamped(b"\n")) + frame(OUT, stamped(b"two words\n"))
    assert cut(data, step=step) == [LogLine(OUT, AT, b"one"), LogLine(ERR, AT, b""), LogLine(OUT, AT, b"two words")]


@pytest.mark.parametrize("step", [3, 50, 10_000])
def test_terminal_has_no_frames_and_ends_lines_with_two_characters(step: int) -> None:
    data = stamped(b"one\r\n") + stamped(b"two\r\n")
    assert cut(data, step=step, has_terminal=True) == [LogLine(BOTH, AT, b"one"), LogLine(BOTH, AT, b"two")]


def test_long_line_that_came_in_several_messages_is_one_line() -> None:
    data = frame(OUT, stamped(b"a" * 100)) + frame(OUT, stamped(b"b" * 100 + b"\n"))
    assert cut(data, step=10_000) == [LogLine(OUT, AT, b"a" * 100 + b"b" * 100)]


def test_line_without_end_is_given_in_parts_of_bounded_length() -> None:
    lines = cut(frame(OUT, stamped(b"x" * 300_000)), step=7_000)
    assert b"".join(line.line for line in lines) == b"x" * 300_000
    assert all(line.at == AT and len(line.line) <= MAX_LINE_BYTES for line in lines)


def test_text_without_a_time_is_kept_whole() -> None:
    assert cut(frame(ERR, b"no time here\n"), step=100) == [LogLine(ERR, "", b"no time here")]


def test_last_line_without_an_end_is_given_at_the_end() -> None:
    assert cut(frame(OUT, stamped(b"prompt> ")), step=100) == [LogLine(OUT, AT, b"prompt> ")]


def test_junk_of_any_kind_gives_lines_and_never_raises() -> None:
    for seed in range(200):
        rng = Random(seed)
        assert isinstance(cut(rng.randbytes(rng.randrange(400)), step=rng.randrange(1, 50)), list), seed


def test_pieces_of_a_frame_are_given_as_they_come() -> None:
    demultiplexer = Demultiplexer()
    whole = frame(ERR, b"abcdef")
    assert demultiplexer.feed(whole[:10]) == [(ERR, b"ab", True)]
    assert demultiplexer.feed(whole[10:]) == [(ERR, b"cdef", False)]
