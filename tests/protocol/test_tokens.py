"""Join tokens: one word, and a message that fits what went wrong with it."""

import re
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from protocol import tokens
from protocol.errors import DecodeError

DIGEST = bytes(range(32))
TOKEN = tokens.new_join_token("1a5", DIGEST, Random(1))
TEXT = tokens.render_token(TOKEN)


@given(st.from_regex(r"[0-9a-z]{1,32}", fullmatch=True), st.binary(min_size=32, max_size=32), st.integers(0, 2**32))
def test_any_token_survives_its_text(environment_id: str, digest: bytes, seed: int) -> None:
    token = tokens.new_join_token(environment_id, digest, Random(seed))
    text = tokens.render_token(token)
    assert tokens.parse_token(f"  {text}\n") == token
    assert len(text) <= tokens.MAX_TOKEN_CHARS
    assert re.fullmatch(r"\w+", text, re.ASCII)


def test_token_and_its_secret_carry_at_least_128_bits_each() -> None:
    assert tokens.DIGEST_BYTES * 8 >= 128
    assert tokens.SECRET_BYTES * 8 >= 128
    assert len(TOKEN.secret) * 5 == tokens.SECRET_BYTES * 8


def test_secret_does_not_show_in_the_representation() -> None:
    assert TOKEN.secret not in repr(TOKEN)


@pytest.mark.parametrize("keep", range(len("corral1_"), len(TEXT)))
def test_token_cut_anywhere_is_called_cut_and_not_wrong(keep: int) -> None:
    with pytest.raises(DecodeError, match="cut short"):
        tokens.parse_token(TEXT[:keep])


@given(st.integers(len("corral1_1a5_"), len(TEXT) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_token_with_one_other_character_is_called_wrong(position: int, other: str) -> None:
    if TEXT[position] in ("_", other):
        return
    with pytest.raises(DecodeError, match="wrong character"):
        tokens.parse_token(TEXT[:position] + other + TEXT[position + 1 :])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("SWMTKN-1-abc", "no join token"),
        ("corral_1a5", "no join token"),
        (TEXT[10:], "no join token"),
        (TEXT.replace("corral1", "corral2"), "has version 2 and this release reads version 1"),
        (f"{TEXT[:50]} {TEXT[50:]}", "space, line break"),
        (f"{TEXT[:50]}\n{TEXT[50:]}", "space, line break"),
        (TEXT + "x", "checksum is too long"),
        (TEXT + TEXT * 3, "pasted with more"),
        (TEXT + "_extra", "lost a piece"),
        (TEXT.replace("1a5", ""), "wrong character"),
        (TEXT.upper(), "no join token"),
    ],
)
def test_bad_token_is_refused_with_what_is_wrong_and_what_to_do(text: str, why: str) -> None:
    with pytest.raises(DecodeError, match=why) as caught:
        tokens.parse_token(text)
    assert "node token create" in str(caught.value) or "node version" in str(caught.value)
    assert TOKEN.secret not in str(caught.value)


@settings(max_examples=200)
@given(st.text(max_size=200) | st.text("corral1_abz27", max_size=120).map(lambda tail: "corral1_" + tail))
def test_any_text_gives_a_token_or_our_error(text: str) -> None:
    try:
        token = tokens.parse_token(text)
    except DecodeError:
        return
    assert tokens.render_token(token) == text.strip()


def test_token_matches_its_authority_and_no_other() -> None:
    assert TOKEN.matches_ca(DIGEST)
    assert not TOKEN.matches_ca(bytes(32))
    assert not TOKEN.matches_ca(DIGEST[:10])
    assert not TOKEN.matches_ca(b"")


def test_secret_is_stored_as_a_hash_that_only_it_matches() -> None:
    stored = tokens.token_secret_hash(TOKEN.secret)
    assert tokens.secret_matches(stored, TOKEN.secret)
    assert not tokens.secret_matches(stored, TOKEN.secret + "a")
    assert not tokens.secret_matches(stored, "")


@pytest.mark.parametrize(("ends", "now", "is_over"), [(None, 1e12, False), (10.0, 9.9, False), (10.0, 10.0, True)])
def test_token_expires_at_its_time(ends: float | None, now: float, is_over: bool) -> None:
    assert tokens.is_expired(ends, now) is is_over


def test_token_of_a_strange_environment_is_not_made() -> None:
    with pytest.raises(ValueError, match="environment id"):
        tokens.new_join_token("1_5", DIGEST, Random(1))
