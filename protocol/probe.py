"""Probe datagrams: do packets of this size get from one host to another, and who answered?

Both sides share a key for some seconds, derived from a secret and a nonce told over a verified link.  Every probe
carries a tag under it and an answer is never longer than its question, so that nobody can use a host as a reflector;
an unknown or forged probe is met with silence.  Does no I/O; times are the caller's clock.

The first byte is no WireGuard message type and has no VXLAN flag, so that both drop a probe they see.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass

MAGIC = b"\xc0CPr"
_HEADER = struct.Struct(">4sBB8sHH")
_TAG_BYTES = 16
ANSWER_BYTES = _HEADER.size + _TAG_BYTES
"""Size of every answer, and of the smallest question."""

MAX_PROBE_BYTES = 9600
MAX_KEYS = 64
MAX_ANSWERS_PER_KEY = 256
_VERSION = 1
_QUESTION, _ANSWER = 1, 2


def derive_probe_key(secret: bytes, nonce: bytes) -> bytes:
    """Return the key both sides use for one round of probes."""
    if len(nonce) < 16:
        raise ValueError(f"expected a nonce of at least 16 bytes, got {len(nonce)}")
    return hmac.digest(secret, b"corral probe 1" + nonce, hashlib.sha256)


def is_probe(packet: bytes) -> bool:
    """Say whether a datagram on a shared port is meant for `ProbeKeys.answer`."""
    return packet.startswith(MAGIC)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: which question arrived at the other side, and at what size."""

    sequence: int
    arrived_bytes: int


def encode_question(key: bytes, sequence: int, size: int = ANSWER_BYTES) -> bytes:
    """Return a probe of exactly `size` bytes."""
    if not ANSWER_BYTES <= size <= MAX_PROBE_BYTES:
        raise ValueError(f"expected a probe of {ANSWER_BYTES} to {MAX_PROBE_BYTES} bytes, got {size}")
    return _seal(key, _QUESTION, sequence, size).ljust(size, b"\0")


def decode_answer(key: bytes, packet: bytes) -> Answer | None:
    """Return the answer, or None for anything that the holder of `key` did not say."""
    opened = _open(packet, {_key_id(key): key}, _ANSWER)
    return None if opened is None else Answer(opened[1], opened[2])


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, b"id", hashlib.sha256)[:8]


def _seal(key: bytes, kind: int, sequence: int, size: int) -> bytes:
    head = _HEADER.pack(MAGIC, _VERSION, kind, _key_id(key), sequence, size)
    return head + hmac.digest(key, head, hashlib.sha256)[:_TAG_BYTES]


def _open(packet: bytes, keys: dict[bytes, bytes], wanted_kind: int) -> tuple[bytes, int, int] | None:
    if not ANSWER_BYTES <= len(packet) <= MAX_PROBE_BYTES:
        return None
    magic, version, kind, key_id, sequence, size = _HEADER.unpack_from(packet)
    if magic != MAGIC or version != _VERSION or kind != wanted_kind or (key := keys.get(key_id)) is None:
        return None
    head, tag = packet[: _HEADER.size], packet[_HEADER.size : ANSWER_BYTES]
    if not hmac.compare_digest(tag, hmac.digest(key, head, hashlib.sha256)[:_TAG_BYTES]):
        return None
    return key_id, sequence, size


@dataclass(slots=True)
class _Expected:
    until: float
    answers_left: int = MAX_ANSWERS_PER_KEY


class ProbeKeys:
    """The keys a host answers for just now; empty most of the time, and then every probe is dropped unread."""

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}
        self._expected: dict[bytes, _Expected] = {}

    def expect(self, key: bytes, now: float, until: float) -> bool:
        """Answer probes under `key` until then; False when MAX_KEYS rounds are under way already."""
        self._forget(now)
        key_id = _key_id(key)
        if len(self._keys) >= MAX_KEYS and key_id not in self._keys:
            return False
        self._keys[key_id], self._expected[key_id] = key, _Expected(until)
        return True

    def answer(self, packet: bytes, now: float) -> bytes | None:
        """Return the answer owed to a datagram's sender, or None: not ours, forged, too late, or asked too often."""
        if not self._keys:
            return None
        self._forget(now)
        opened = _open(packet, self._keys, _QUESTION)
        if opened is None:
            return None
        key_id, sequence, size = opened
        expected = self._expected[key_id]
        if size != len(packet) or expected.answers_left <= 0:
            return None
        expected.answers_left -= 1
        return _seal(self._keys[key_id], _ANSWER, sequence, size)

    def _forget(self, now: float) -> None:
        for key_id in [each for each, expected in self._expected.items() if now >= expected.until]:
            del self._keys[key_id], self._expected[key_id]
