"""Tickets: short-lived tokens that open one kind of websocket for what their claims say, at any node of the cluster.

Whoever may do a thing asks the API for a ticket, and the socket takes nothing else as proof (API.md section 7): a JWT
in the query, its claims readable by the client, signed with HS256 under the cluster's signing key.  Pure.
"""

from collections.abc import Mapping
from typing import Any

from node.auth.ring import ClusterKeys

LIFETIME_MS = 300_000
MAX_TOKEN_CHARS = 8192
AUDIENCE = "socket"
"""Keeps tickets and the sessions of people apart, which the same key signs."""


def issue(keys: ClusterKeys, claims: Mapping[str, Any], now: int) -> str:
    """Return a ticket that is good for five minutes from `now`, milliseconds since the epoch."""
    # Imported where the first ticket needs it: most nodes never issue one.
    import jwt

    times = {"iat": now // 1000, "exp": (now + LIFETIME_MS) // 1000}
    return jwt.encode({**claims, **times, "aud": AUDIENCE}, keys.signing[0], algorithm="HS256")


def read(keys: ClusterKeys, token: str, now: int) -> Mapping[str, Any] | None:
    """Return the claims of a ticket that is good `now`, None for anything else."""
    import jwt

    if len(token) > MAX_TOKEN_CHARS:
        return None
    for key in keys.signing:
        try:
            # The clock is ours to pass; everything else is checked by the library.
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue
        expires = claims["exp"]
        is_good = isinstance(expires, int) and not isinstance(expires, bool) and now < expires * 1000
        return claims if is_good else None
    return None
