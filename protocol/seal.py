"""Sealing: gossip datagrams under a rotating group key, what the cluster keeps under keys derived from that key, and
boxes that one recipient alone can open.

Datagrams and kept secrets: AES-256-GCM. Derived keys: HKDF-SHA256. Boxes: X25519, HKDF-SHA256, ChaCha20-Poly1305,
built like RFC 9180's base mode. All chance is passed in as bytes. A group seal never says which host made it.

Replay: there is no replay window; whoever replays a sealed datagram can only repeat what a host once said. SWIM bears
that as it bears duplication and delay: claims are ordered by incarnation, acks by a sequence number that is valid for
one probe, and a replayed ping or sync request costs one answer. Rotating the key ends the life of what was recorded.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.errors import AuthenticityError

SEAL_VERSION: Final = 1
KEY_BYTES: Final = 32
KEY_ID_BYTES: Final = 4
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
DATAGRAM_SEAL_BYTES: Final = 1 + KEY_ID_BYTES + NONCE_BYTES + TAG_BYTES
"""What sealing adds to a datagram."""
BOX_SEAL_BYTES: Final = 1 + KEY_BYTES + NONCE_BYTES + TAG_BYTES
"""What sealing to a recipient adds to a plaintext."""
MAX_KEYS: Final = 8
"""Keys in one keyring: the one in use, the next one, and a few on their way out."""
MAX_BOX_BYTES: Final = 64 * 1024
"""Longest plaintext of a box; boxes carry keys and small secrets."""

_KEY_ID_LABEL: Final = b"corral gossip key id v1"
_BOX_LABEL: Final = b"corral sealed box v1"
_DERIVED_LABEL: Final = b"corral derived key v1 "
_VERSION_BYTE: Final = bytes([SEAL_VERSION])


def key_id(key: bytes) -> bytes:
    """Return the four bytes that name `key` on the wire without giving it away."""
    return hashlib.sha256(_KEY_ID_LABEL + key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class Keyring:
    """The group keys: seals with `primary`, opens with any; rotate by adding to `others`, promoting, removing."""

    primary: bytes = field(repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)
    _ciphers: dict[bytes, AESGCM] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        keys = dict.fromkeys((self.primary, *self.others))
        if len(keys) > MAX_KEYS:
            raise ValueError(f"expected at most {MAX_KEYS} gossip keys, got {len(keys)}")
        for key in keys:
            if len(key) != KEY_BYTES:
                raise ValueError(f"expected a gossip key of {KEY_BYTES} bytes, got {len(key)}")
        ciphers = {key_id(key): AESGCM(key) for key in keys}
        if len(ciphers) != len(keys):
            raise ValueError("two gossip keys have the same id; draw another key")
        object.__setattr__(self, "_ciphers", ciphers)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key of the ring once, the primary first."""
        return tuple(dict.fromkeys((self.primary, *self.others)))

    def cipher(self, wanted: bytes) -> AESGCM | None:
        """Return the cipher of the key with that id, if the ring holds it."""
        return self._ciphers.get(wanted)


def seal_datagram(keyring: Keyring, plaintext: bytes, nonce: bytes) -> bytes:
    """Return version, key id, nonce and ciphertext; `nonce` must be fresh random bytes for every datagram."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"expected a nonce of {NONCE_BYTES} bytes, got {len(nonce)}")
    header = _VERSION_BYTE + key_id(keyring.primary)
    cipher = keyring.cipher(header[1:])
    assert cipher is not None, "the primary key is always in the ring"
    return header + nonce + cipher.encrypt(nonce, plaintext, header)


def open_datagram(keyring: Keyring, data: bytes) -> bytes:
    """Return what a holder of one of our keys sealed, or raise AuthenticityError.

    A datagram of another cluster costs a dictionary look-up, one with a forged key id costs one opening.
    """
    if len(data) < DATAGRAM_SEAL_BYTES or data[0] != SEAL_VERSION:
        raise AuthenticityError(f"expected a datagram sealed in version {SEAL_VERSION}, got {len(data)} other bytes")
    header, nonce = data[: 1 + KEY_ID_BYTES], data[1 + KEY_ID_BYTES : 1 + KEY_ID_BYTES + NONCE_BYTES]
    cipher = keyring.cipher(header[1:])
    if cipher is None:
        raise AuthenticityError(f"sealed with gossip key {header[1:].hex()}, which this host does not hold")
    try:
        return cipher.decrypt(nonce, data[1 + KEY_ID_BYTES + NONCE_BYTES :], header)
    except InvalidTag:
        raise AuthenticityError(f"not sealed with gossip key {header[1:].hex()}, although it says so") from None


def derive_key(key: bytes, purpose: bytes) -> bytes:
    """Return a key of its own for `purpose`, from which `key` and those for other purposes cannot be found."""
    if not purpose:
        raise ValueError("expected to be told what the key is for")
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=_DERIVED_LABEL + purpose).derive(key)


def seal_kept(key: bytes, plaintext: bytes, *, nonce: bytes, context: bytes) -> bytes:
    """Return what only a holder of `key` can open, and only as what belongs to `context`; `nonce` is fresh."""
    if len(plaintext) > MAX_BOX_BYTES:
        raise ValueError(f"expected at most {MAX_BOX_BYTES} bytes to seal, got {len(plaintext)}")
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"expected a nonce of {NONCE_BYTES} bytes, got {len(nonce)}")
    header = _VERSION_BYTE + key_id(key)
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext, header + context)


def open_kept(keys: Iterable[bytes], blob: bytes, *, context: bytes) -> bytes:
    """Return what was sealed for `context` under one of `keys`, or raise AuthenticityError."""
    if not DATAGRAM_SEAL_BYTES <= len(blob) <= DATAGRAM_SEAL_BYTES + MAX_BOX_BYTES or blob[0] != SEAL_VERSION:
        raise AuthenticityError(f"expected a secret sealed in version {SEAL_VERSION}, got {len(blob)} other bytes")
    header, nonce = blob[: 1 + KEY_ID_BYTES], blob[1 + KEY_ID_BYTES : 1 + KEY_ID_BYTES + NONCE_BYTES]
    key = next((key for key in keys if key_id(key) == header[1:]), None)
    if key is None:
        raise AuthenticityError(f"sealed with key {header[1:].hex()}, which this cluster does not use")
    try:
        return AESGCM(key).decrypt(nonce, blob[1 + KEY_ID_BYTES + NONCE_BYTES :], header + context)
    except InvalidTag:
        raise AuthenticityError("this secret was altered, or sealed for another purpose") from None


def new_private_key(entropy: bytes) -> bytes:
    """Return an X25519 private key made of 32 random bytes, in the form everything here takes."""
    if len(entropy) != KEY_BYTES or not any(entropy):
        raise ValueError(f"expected {KEY_BYTES} random bytes, got {len(entropy)}")
    return X25519PrivateKey.from_private_bytes(entropy).private_bytes_raw()


def public_of(private: bytes) -> bytes:
    """Return the public key to hand out for `private`."""
    return _private(private).public_key().public_bytes_raw()


def seal_to(
    public_key: bytes, plaintext: bytes, *, ephemeral_private: bytes, nonce: bytes, context: bytes = b""
) -> bytes:
    """Return a box that only the holder of `public_key`'s private half can open, and only for the same `context`.

    `ephemeral_private` is for this box alone: fresh from `new_private_key`, then forgotten.
    """
    if len(plaintext) > MAX_BOX_BYTES:
        raise ValueError(f"expected at most {MAX_BOX_BYTES} bytes to seal, got {len(plaintext)}")
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"expected a nonce of {NONCE_BYTES} bytes, got {len(nonce)}")
    header = _VERSION_BYTE + public_of(ephemeral_private) + nonce
    try:
        key = _box_key(_private(ephemeral_private), public_key, header[1 : 1 + KEY_BYTES], public_key)
    except ValueError:
        raise ValueError("expected a sound X25519 public key of 32 bytes to seal to") from None
    return header + ChaCha20Poly1305(key).encrypt(nonce, plaintext, header + context)


def open_sealed(private_key: bytes, blob: bytes, *, context: bytes = b"") -> bytes:
    """Return what was sealed to us for `context`, or raise AuthenticityError."""
    if not BOX_SEAL_BYTES <= len(blob) <= BOX_SEAL_BYTES + MAX_BOX_BYTES or blob[0] != SEAL_VERSION:
        raise AuthenticityError(f"expected a box sealed in version {SEAL_VERSION}, got {len(blob)} other bytes")
    private = _private(private_key)
    ephemeral, nonce = blob[1 : 1 + KEY_BYTES], blob[1 + KEY_BYTES : 1 + KEY_BYTES + NONCE_BYTES]
    header, body = blob[: 1 + KEY_BYTES + NONCE_BYTES], blob[1 + KEY_BYTES + NONCE_BYTES :]
    try:
        key = _box_key(private, ephemeral, ephemeral, private.public_key().public_bytes_raw())
        return ChaCha20Poly1305(key).decrypt(nonce, body, header + context)
    except (InvalidTag, ValueError):
        raise AuthenticityError("this box was not sealed to this host's key, or not for this purpose") from None


def _private(raw: bytes) -> X25519PrivateKey:
    if len(raw) != KEY_BYTES:
        raise ValueError(f"expected a private key of {KEY_BYTES} bytes, got {len(raw)}")
    return X25519PrivateKey.from_private_bytes(raw)


def _box_key(private: X25519PrivateKey, peer: bytes, ephemeral: bytes, recipient: bytes) -> bytes:
    # Both public keys are part of the derivation (RFC 9180, 4.1), so that a box cannot be passed off as one for
    # another recipient; `exchange` raises ValueError for points of low order.
    shared = private.exchange(X25519PublicKey.from_public_bytes(peer))
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=_BOX_LABEL + ephemeral + recipient).derive(shared)
