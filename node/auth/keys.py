"""API keys: how they are drawn, what is stored of them, and how a caller's secret is compared.

Decides nothing about what a key may do.  Shapes from section 2.1 of the v1 API: access = 20 upper-case hex digits,
secret = 40 alphanumerics without the look-alikes O 0 l I, stored as a salted SHA-256 (200 random bits need no slow
hash).
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from random import Random

ACCESS_CHARS = 20
SECRET_CHARS = 40
SALT_BYTES = 16
SECRET_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MAX_SECRET_CHARS = 256
"""A longer secret is refused before it is hashed."""

_SCHEME = "sha256"
_STORED = re.compile(r"sha256:([0-9a-f]{32}):([0-9a-f]{64})\Z")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key at the one moment when its secret is known in clear: its creation."""

    access: str
    secret: str = field(repr=False)
    stored: str = field(repr=False)
    """What state keeps, see `hash_secret`."""


def new_api_key(rng: Random) -> ApiKey:
    """Draw a key from `rng` (pass `random.SystemRandom()` outside simulations)."""
    access = f"{rng.getrandbits(4 * ACCESS_CHARS):0{ACCESS_CHARS}X}"
    secret = "".join(rng.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARS))
    return ApiKey(access, secret, hash_secret(secret, rng.randbytes(SALT_BYTES)))


def hash_secret(secret: str, salt: bytes) -> str:
    """Return `sha256:<salt>:<digest>` in hex, the only form in which a secret is kept."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return f"{_SCHEME}:{salt.hex()}:{hashlib.sha256(salt + secret.encode(errors='surrogatepass')).hexdigest()}"


def secret_matches(stored: str, secret: str) -> bool:
    """Compare in constant time; anything not written by `hash_secret` matches nothing."""
    match = _STORED.match(stored)
    if match is None or len(secret) > MAX_SECRET_CHARS:
        return False
    return hmac.compare_digest(stored, hash_secret(secret, bytes.fromhex(match[1])))
