"""API keys: how they are drawn, what is stored of them, and how a caller's secret is compared.  (Cluster keys: ring.)

Decides nothing about what a key may do.  Shapes from section 2.1 of the v1 API: access = 20 upper-case hex digits,
secret = 40 alphanumerics without the look-alikes O 0 l I, stored as a salted SHA-256 (200 random bits need no slow
hash).
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from random import Random

ACCESS_CHARS = 20
SECRET_CHARS = 40
SALT_BYTES = 16
SECRET_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
MAX_SECRET_CHARS = 256
"""A longer secret is refused before it is hashed."""

_STORED_BYTES = SALT_BYTES + hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class ApiKeySecret:
    """A key at the one moment when its secret is known in clear: its creation."""

    access: str
    secret: str = field(repr=False)
    stored: bytes = field(repr=False)
    """What state keeps, see `hash_secret`."""


def new_api_key(rng: Random) -> ApiKeySecret:
    """Draw a key from `rng` (pass `random.SystemRandom()` outside simulations)."""
    access = f"{rng.getrandbits(4 * ACCESS_CHARS):0{ACCESS_CHARS}X}"
    secret = "".join(rng.choice(SECRET_ALPHABET) for _ in range(SECRET_CHARS))
    return ApiKeySecret(access, secret, hash_secret(secret, rng.randbytes(SALT_BYTES)))


def hash_secret(secret: str, salt: bytes) -> bytes:
    """Return the salt followed by the SHA-256 over it and the secret: the only form in which a secret is kept."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes, got {len(salt)}")
    return salt + hashlib.sha256(salt + secret.encode(errors="surrogatepass")).digest()


def secret_matches(stored: bytes, secret: str) -> bool:
    """Compare in constant time; anything not written by `hash_secret` matches nothing."""
    if len(stored) != _STORED_BYTES or len(secret) > MAX_SECRET_CHARS:
        return False
    return hmac.compare_digest(stored, hash_secret(secret, stored[:SALT_BYTES]))
