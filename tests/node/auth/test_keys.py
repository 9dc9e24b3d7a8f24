"""API keys: their shape, and that only a hash is kept."""

import re
from random import Random

import pytest
from hypothesis import given, strategies as st

from node.auth import keys


@given(st.integers(0, 2**32))
def test_key_has_the_shape_of_the_v1_api(seed: int) -> None:
    key = keys.new_api_key(Random(seed))
    assert re.fullmatch(r"[0-9A-F]{20}", key.access)
    assert re.fullmatch(r"[0-9A-Za-z]{40}", key.secret)
    assert not set(key.secret) & set("O0lI")
    assert keys.secret_matches(key.stored, key.secret)


def test_key_shows_neither_secret_nor_hash_in_its_representation() -> None:
    key = keys.new_api_key(Random(1))
    assert key.secret not in repr(key)
    assert key.stored.hex() not in repr(key)
    assert repr(key.stored) not in repr(key)
    assert key.secret.encode() not in key.stored


def test_equal_secrets_are_stored_differently() -> None:
    assert keys.hash_secret("s", bytes(16)) != keys.hash_secret("s", b"\1" * 16)


@given(st.text())
def test_other_secret_matches_nothing(other: str) -> None:
    key = keys.new_api_key(Random(1))
    assert not keys.secret_matches(key.stored, other)


@pytest.mark.parametrize("stored", [b"", b"secret", bytes(47), bytes(49)])
def test_a_stored_value_of_another_form_matches_nothing(stored: bytes) -> None:
    assert not keys.secret_matches(stored, "")


def test_a_lone_surrogate_or_an_endless_secret_is_refused_quietly() -> None:
    key = keys.new_api_key(Random(1))
    assert not keys.secret_matches(key.stored, "\ud800")
    assert not keys.secret_matches(key.stored, "a" * (keys.MAX_SECRET_CHARS + 1))


def test_salt_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="salt of 16 bytes"):
        keys.hash_secret("s", b"")
