"""The cluster's derived keys: equal on every node, apart by purpose, and good through a rotation of the ring."""

import pytest
from hypothesis import given, strategies as st

from node.auth.ring import ClusterKeys, derive_keys
from protocol.errors import AuthenticityError
from protocol.seal import Keyring

OLD, NEW, FOREIGN = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
NONCE = bytes(range(12))


def keys(primary: bytes, *others: bytes) -> ClusterKeys:
    return derive_keys(Keyring(primary, others))


def test_two_nodes_with_one_ring_derive_the_same_keys() -> None:
    assert keys(NEW, OLD) == keys(NEW, OLD)


def test_purposes_and_rings_have_keys_of_their_own() -> None:
    ours, foreign = keys(OLD), keys(FOREIGN)
    assert len({OLD, ours.signing[0], ours.sealing[0], foreign.signing[0], foreign.sealing[0]}) == 5


def test_derivation_stays_as_it_is_since_stored_secrets_depend_on_it() -> None:
    assert keys(OLD).sealing[0].hex() == "a3b33ea7aaf02c371772a9eaeb77314ade49f5abbcd3f0bc68f0a74af5263a73"
    assert keys(OLD).signing[0].hex() == "c6cb2aab994e264b56d0eef9ffbec75d4428c3dfbd7fb7ae4a32b2a5a8c4dca4"


def test_derived_keys_are_not_shown_in_text() -> None:
    assert "\\x" not in repr(keys(OLD))


@given(plaintext=st.binary(max_size=200), context=st.binary(max_size=40), nonce=st.binary(min_size=12, max_size=12))
def test_secret_opens_for_its_own_context_only(plaintext: bytes, context: bytes, nonce: bytes) -> None:
    sealed = keys(OLD).seal(plaintext, nonce=nonce, context=context)
    assert keys(OLD).open(sealed, context=context) == plaintext
    with pytest.raises(AuthenticityError):
        keys(OLD).open(sealed, context=context + b"!")


def test_secret_opens_as_long_as_its_key_is_in_the_ring() -> None:
    sealed = keys(OLD).seal(b"hush", nonce=NONCE, context=b"registry 5")
    assert keys(NEW, OLD).open(sealed, context=b"registry 5") == b"hush"
    with pytest.raises(AuthenticityError, match="does not use"):
        keys(NEW).open(sealed, context=b"registry 5")


def test_secret_is_sealed_with_the_primary_key() -> None:
    sealed = keys(NEW, OLD).seal(b"hush", nonce=NONCE, context=b"")
    assert keys(NEW).open(sealed, context=b"") == b"hush"


@given(blob=st.binary(max_size=200))
def test_any_other_bytes_are_refused(blob: bytes) -> None:
    with pytest.raises(AuthenticityError):
        keys(OLD).open(blob, context=b"")


@pytest.mark.parametrize("place", [0, 2, 7, 20, -1])
def test_altered_secret_is_refused(place: int) -> None:
    sealed = bytearray(keys(OLD).seal(b"hush", nonce=NONCE, context=b""))
    sealed[place] ^= 1
    with pytest.raises(AuthenticityError):
        keys(OLD).open(bytes(sealed), context=b"")


def test_nonce_of_another_length_and_overlong_secret_are_refused_before_sealing() -> None:
    with pytest.raises(ValueError, match="nonce"):
        keys(OLD).seal(b"hush", nonce=b"short", context=b"")
    with pytest.raises(ValueError, match="at most"):
        keys(OLD).seal(bytes(64 * 1024 + 1), nonce=NONCE, context=b"")
