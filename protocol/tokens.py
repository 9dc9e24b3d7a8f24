"""Join tokens: their text, what is wrong with a pasted one, and what may be stored of them.

Knows no cluster: whether a well-formed token is known, expired or rotated is decided in protocol/join.
The text is one word of letters, digits and underscores, so that a double click selects it all:
`corral1_<environment>_<CA digest>_<token id>_<secret>_<checksum>`, base32 in lower case, lengths fixed.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from random import Random

from protocol.errors import DecodeError

DIGEST_BYTES = 20
"""How much of the CA's SHA-256 a token carries: 160 bits, beyond any search for a second CA that fits."""

SECRET_BYTES = 20
TOKEN_ID_BYTES = 5
CHECKSUM_CHARS = 6
MAX_TOKEN_CHARS = 160

_PREFIX = "corral1"
_ENVIRONMENT = re.compile(r"[0-9a-z]{1,32}\Z")
_BASE32 = re.compile(r"[a-z2-7]+\Z")
_PARTS = (("CA digest", 32), ("token id", 8), ("secret", 32), ("checksum", CHECKSUM_CHARS))
ASK_AGAIN = "copy the whole word printed by `node token create`"


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token taken apart; its text form is `render_token`."""

    environment_id: str
    ca_digest: bytes
    """The first DIGEST_BYTES of the CA certificate's SHA-256."""

    token_id: str
    """Names the token in lists and logs; not secret."""

    secret: str = field(repr=False)

    def matches_ca(self, digest: bytes) -> bool:
        """Say whether `digest`, the full SHA-256 of a served CA certificate, is the one this token speaks of."""
        return len(digest) >= DIGEST_BYTES and hmac.compare_digest(self.ca_digest, digest[:DIGEST_BYTES])


def new_join_token(environment_id: str, ca_digest: bytes, rng: Random) -> JoinToken:
    """Draw a token from `rng` (pass `random.SystemRandom()` outside simulations)."""
    if not _ENVIRONMENT.match(environment_id):
        raise ValueError(f"expected an environment id of lower-case letters and digits, got {environment_id[:40]!r}")
    token_id, secret = rng.randbytes(TOKEN_ID_BYTES), rng.randbytes(SECRET_BYTES)
    return JoinToken(environment_id, ca_digest[:DIGEST_BYTES], _to_base32(token_id), _to_base32(secret))


def render_token(token: JoinToken) -> str:
    """Return the word a person copies to the joining host."""
    body = f"{_PREFIX}_{token.environment_id}_{_to_base32(token.ca_digest)}_{token.token_id}_{token.secret}"
    return f"{body}_{_checksum(body)}"


def parse_token(text: str) -> JoinToken:
    """Return the token, or raise DecodeError telling a cut, changed or foreign one apart; never quotes the secret."""
    text = text.strip()
    _refuse_foreign(text)
    parts = text.split("_")[1:]
    lengths = [len(part) for part in parts[1:]]
    for (name, wanted), got in zip(_PARTS, lengths, strict=False):
        if got > wanted:
            raise DecodeError(f"the join token's {name} is too long ({got} characters, not {wanted}): {ASK_AGAIN}")
    if lengths != [wanted for _, wanted in _PARTS]:
        raise DecodeError(f"the join token is cut short or has lost a piece ({len(text)} characters): {ASK_AGAIN}")
    environment_id, digest, token_id, secret, checksum = parts
    if not hmac.compare_digest(checksum.encode(), _checksum(text.rpartition("_")[0]).encode()):
        raise DecodeError(f"the join token has a wrong character in it (its checksum does not fit): {ASK_AGAIN}")
    if not _ENVIRONMENT.match(environment_id) or not all(map(_BASE32.match, (digest, token_id, secret))):
        raise DecodeError(f"the join token is malformed: {ASK_AGAIN}")
    return JoinToken(environment_id, base64.b32decode(digest.upper()), token_id, secret)


def _refuse_foreign(text: str) -> None:
    if not text:
        raise DecodeError(f"the join token is empty: {ASK_AGAIN}")
    version, separator, _ = text.partition("_")
    if not text.startswith("corral"):
        raise DecodeError(f"this is no join token, it does not begin with {_PREFIX}_: {ASK_AGAIN}")
    if separator and version != _PREFIX and version[len("corral") :].isdigit():
        raise DecodeError(
            f"the join token has version {version[len('corral') :][:8]} and this release reads version 1: "
            "install the release that the cluster runs, see `node version` there"
        )
    if len(text) > MAX_TOKEN_CHARS:
        raise DecodeError(f"the join token is too long ({len(text)} characters), it was pasted with more: {ASK_AGAIN}")
    if not re.fullmatch(r"[A-Za-z0-9_]+", text):
        raise DecodeError(f"the join token has a space, line break or sign in it that belongs to none: {ASK_AGAIN}")
    if separator and version != _PREFIX:
        raise DecodeError(f"this is no join token, it does not begin with {_PREFIX}_: {ASK_AGAIN}")


def token_secret_hash(secret: str) -> bytes:
    """Return what the cluster's state keeps of a token's secret; 160 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def secret_matches(stored: bytes, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(stored, token_secret_hash(secret))


def is_expired(expires_at: float | None, now: float) -> bool:
    """Say whether a token that ends at `expires_at` (None: never) has ended."""
    return expires_at is not None and now >= expires_at


def _checksum(body: str) -> str:
    # Guards against slips of the hand, not against forgery: the secret does that.
    return _to_base32(hashlib.sha256(body.encode()).digest()[:5])[:CHECKSUM_CHARS]


def _to_base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()
