"""Probe datagrams: only key holders are answered, never with more than they sent, and never for ever."""

import pytest
from hypothesis import given, strategies as st

from protocol import probe

KEY = probe.derive_probe_key(b"secret", b"n" * 16)
OTHER = probe.derive_probe_key(b"secret", b"m" * 16)
SIZES = st.integers(probe.ANSWER_BYTES, probe.MAX_PROBE_BYTES)


def expecting(key: bytes = KEY, until: float = 10.0) -> probe.ProbeKeys:
    keys = probe.ProbeKeys()
    assert keys.expect(key, 0.0, until)
    return keys


@given(st.integers(0, 65535), SIZES)
def test_question_is_answered_with_its_number_and_size_and_no_more_bytes(sequence: int, size: int) -> None:
    question = probe.encode_question(KEY, sequence, size)
    answer = expecting().answer(question, 1.0)
    assert len(question) == size
    assert probe.is_probe(question)
    assert answer is not None
    assert len(answer) <= len(question)
    assert probe.decode_answer(KEY, answer) == probe.Answer(sequence, size)


def test_question_under_another_key_is_met_with_silence() -> None:
    assert expecting().answer(probe.encode_question(OTHER, 1), 1.0) is None
    assert probe.ProbeKeys().answer(probe.encode_question(KEY, 1), 1.0) is None


def test_answer_is_no_question_and_question_is_no_answer() -> None:
    question = probe.encode_question(KEY, 1)
    answer = expecting().answer(question, 1.0)
    assert answer is not None
    assert expecting().answer(answer, 1.0) is None
    assert probe.decode_answer(KEY, question) is None
    assert probe.decode_answer(OTHER, answer) is None


@given(st.integers(0, probe.ANSWER_BYTES - 1), st.integers(1, 255))
def test_forged_question_is_met_with_silence(position: int, flip: int) -> None:
    question = bytearray(probe.encode_question(KEY, 1))
    question[position] ^= flip
    assert expecting().answer(bytes(question), 1.0) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_met_with_silence(raw: bytes) -> None:
    assert expecting().answer(raw, 1.0) is None
    assert probe.decode_answer(KEY, raw) is None


def test_question_cut_on_its_way_is_met_with_silence() -> None:
    assert expecting().answer(probe.encode_question(KEY, 1, 1400)[:1300], 1.0) is None


def test_answers_end_with_the_time_they_were_promised_for() -> None:
    keys = expecting(until=10.0)
    assert keys.answer(probe.encode_question(KEY, 1), 9.9)
    assert keys.answer(probe.encode_question(KEY, 1), 10.0) is None


def test_answers_under_one_key_are_counted() -> None:
    keys = expecting()
    answers = [keys.answer(probe.encode_question(KEY, 1), 1.0) for _ in range(probe.MAX_ANSWERS_PER_KEY + 3)]
    assert sum(answer is not None for answer in answers) == probe.MAX_ANSWERS_PER_KEY


def test_rounds_under_way_are_bounded_and_make_room_when_they_end() -> None:
    keys = probe.ProbeKeys()
    made = [probe.derive_probe_key(b"s", bytes([each]) * 16) for each in range(probe.MAX_KEYS + 1)]
    assert all(keys.expect(key, 0.0, 5.0) for key in made[:-1])
    assert not keys.expect(made[-1], 1.0, 5.0)
    assert keys.expect(made[0], 1.0, 6.0)
    assert keys.expect(made[-1], 5.0, 9.0)


def test_short_nonce_and_impossible_size_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        probe.derive_probe_key(b"s", b"short")
    with pytest.raises(ValueError, match="expected a probe"):
        probe.encode_question(KEY, 1, probe.ANSWER_BYTES - 1)


def test_probe_is_nothing_to_wireguard_or_vxlan() -> None:
    first = probe.encode_question(KEY, 1)[0]
    assert first not in (1, 2, 3, 4)
    assert not first & 0x08
