"""Seals: what only key holders can read or make, and how keys rotate."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import AuthenticityError
from protocol.seal import (
    BOX_SEAL_BYTES,
    DATAGRAM_SEAL_BYTES,
    MAX_BOX_BYTES,
    MAX_KEYS,
    Keyring,
    new_private_key,
    open_datagram,
    open_sealed,
    public_of,
    seal_datagram,
    seal_to,
)

OLD, NEW, ALIEN = (bytes([n]) * 32 for n in (1, 2, 3))
NONCE = bytes(range(12))
ALICE, BOB, ONCE = (new_private_key(bytes([n]) * 32) for n in (11, 12, 13))


def box(plaintext: bytes = b"the CA key", context: bytes = b"") -> bytes:
    return seal_to(public_of(ALICE), plaintext, ephemeral_private=ONCE, nonce=NONCE, context=context)


@settings(max_examples=50, deadline=None)
@given(plaintext=st.binary(max_size=1200), nonce=st.binary(min_size=12, max_size=12))
def test_datagram_opens_to_what_was_sealed(plaintext: bytes, nonce: bytes) -> None:
    sealed = seal_datagram(Keyring(OLD), plaintext, nonce)
    assert len(sealed) == len(plaintext) + DATAGRAM_SEAL_BYTES
    assert open_datagram(Keyring(OLD), sealed) == plaintext


def test_rotation_never_leaves_two_hosts_unable_to_talk() -> None:
    steps = [Keyring(OLD), Keyring(OLD, (NEW,)), Keyring(NEW, (OLD,)), Keyring(NEW)]
    for before, after in pairwise(steps):
        assert open_datagram(after, seal_datagram(before, b"x", NONCE)) == b"x"
        assert open_datagram(before, seal_datagram(after, b"x", NONCE)) == b"x"


def test_datagram_of_an_unknown_key_is_refused_by_its_id() -> None:
    with pytest.raises(AuthenticityError, match="does not hold"):
        open_datagram(Keyring(OLD), seal_datagram(Keyring(ALIEN), b"x", NONCE))


def test_datagram_with_any_byte_changed_is_refused() -> None:
    sealed = seal_datagram(Keyring(OLD), b"hello", NONCE)
    for at in range(len(sealed)):
        forged = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(AuthenticityError):
            open_datagram(Keyring(OLD), forged)


@pytest.mark.parametrize("seed", [21])
def test_ten_thousand_random_byte_strings_are_refused(seed: int) -> None:
    rng, ring = Random(seed), Keyring(OLD, (NEW,))
    for _ in range(10_000):
        with pytest.raises(AuthenticityError):
            open_datagram(ring, rng.randbytes(rng.randrange(100)))


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33)])
def test_keyring_refuses_keys_of_another_length(key: bytes) -> None:
    with pytest.raises(ValueError, match="gossip key"):
        Keyring(key)
    with pytest.raises(ValueError, match="gossip key"):
        Keyring(OLD, (key,))


def test_keyring_refuses_more_keys_than_its_bound() -> None:
    with pytest.raises(ValueError, match="at most"):
        Keyring(OLD, tuple(bytes([n]) * 32 for n in range(10, 10 + MAX_KEYS)))


def test_keyring_does_not_print_its_keys() -> None:
    assert repr(Keyring(OLD, (NEW,))) == "Keyring()"


def test_sealing_refuses_a_nonce_of_another_length() -> None:
    with pytest.raises(ValueError, match="nonce"):
        seal_datagram(Keyring(OLD), b"x", b"short")


@settings(max_examples=30, deadline=None)
@given(plaintext=st.binary(max_size=300), context=st.binary(max_size=20))
def test_box_opens_for_its_recipient_and_context(plaintext: bytes, context: bytes) -> None:
    sealed = box(plaintext, context)
    assert len(sealed) == len(plaintext) + BOX_SEAL_BYTES
    assert open_sealed(ALICE, sealed, context=context) == plaintext


def test_box_does_not_open_for_anybody_else() -> None:
    with pytest.raises(AuthenticityError):
        open_sealed(BOB, box())


def test_box_does_not_open_for_another_context() -> None:
    with pytest.raises(AuthenticityError):
        open_sealed(ALICE, box(context=b"ca-key"), context=b"registry")


def test_box_with_any_byte_changed_is_refused() -> None:
    sealed = box()
    for at in range(len(sealed)):
        forged = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(AuthenticityError):
            open_sealed(ALICE, forged)


def test_box_with_an_ephemeral_key_of_low_order_is_refused() -> None:
    with pytest.raises(AuthenticityError):
        open_sealed(ALICE, b"\x01" + bytes(32) + NONCE + bytes(16))


def test_sealing_refuses_a_public_key_of_low_order_or_length() -> None:
    for public in (bytes(32), b"short"):
        with pytest.raises(ValueError, match="public key"):
            seal_to(public, b"x", ephemeral_private=ONCE, nonce=NONCE)


def test_boxes_have_a_largest_size() -> None:
    with pytest.raises(ValueError, match="at most"):
        box(bytes(MAX_BOX_BYTES + 1))
    with pytest.raises(AuthenticityError):
        open_sealed(ALICE, b"\x01" + bytes(MAX_BOX_BYTES + BOX_SEAL_BYTES))


def test_private_key_refuses_what_is_not_32_random_bytes() -> None:
    for entropy in (b"", bytes(32), bytes(31)):
        with pytest.raises(ValueError, match="random bytes"):
            new_private_key(entropy)
