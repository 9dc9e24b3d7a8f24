"""Sessions: tokens of 16 hours that any node verifies, by the cluster's signing keys, and the state takes back.

Pure but for PyJWT's arithmetic.  A token says which account, and with which count of its sessions it was issued; what
ends sessions raises that count, a logout names its one session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from node.model import Account, State
from node.state.members import find_account

SESSION_MS = 57_600_000
MAX_TOKEN_CHARS = 2048
MAX_AHEAD_MS = 300_000
"""How much later than now, by this node's clock, a token may say it was issued: clocks of hosts differ."""

_AUDIENCE = "session"
_ALGORITHM = "HS256"


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says; whether it still counts is `account_of`'s to tell."""

    account_id: int
    sessions: int
    """The account's count when it was issued."""
    session_id: str
    ends: int


def issue_session(
    keys: Sequence[bytes], account: Account, *, cluster_id: str, session_id: str, now_ms: int
) -> tuple[str, Session]:
    """Return a token for an account, and what it says."""
    import jwt  # Loaded with the first login: most nodes never see one.

    session = Session(account.id, account.sessions, session_id, now_ms + SESSION_MS)
    claims = {
        "aud": _AUDIENCE,
        "iss": cluster_id,
        "sub": f"1a{session.account_id}",
        "gen": session.sessions,
        "jti": session.session_id,
        "iat": now_ms // 1000,
        "exp": session.ends // 1000,
    }
    return jwt.encode(claims, keys[0], algorithm=_ALGORITHM), session


def read_session(keys: Sequence[bytes], token: str, *, cluster_id: str, now_ms: int) -> Session | None:
    """Return what a token says, if this cluster issued it and its time is not over."""
    if len(token) > MAX_TOKEN_CHARS or token.count(".") != 2:
        return None
    import jwt

    for key in keys:
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                issuer=cluster_id,
                # Its own clock would be the host's; ours is an argument.
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "aud", "iss"]},
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError):
            return None
        return _session_of(claims, now_ms)
    return None


def _session_of(claims: dict[str, object], now_ms: int) -> Session | None:
    match claims:
        case {"sub": str(subject), "gen": int(sessions), "jti": str(session_id), "iat": int(issued), "exp": int(ends)}:
            number = subject.removeprefix("1a")
            is_now = issued * 1000 <= now_ms + MAX_AHEAD_MS and now_ms < ends * 1000
            if is_now and number.isascii() and number.isdecimal():
                return Session(int(number), sessions, session_id, ends * 1000)
    return None


def account_of(session: Session, state: State) -> Account | None:
    """Return whose session it is, None once it was ended: by logging out, a new password, or for a lost account."""
    account = find_account(state, session.account_id)
    if account is None or account.state != "active" or account.sessions != session.sessions:
        return None
    return None if session.session_id in state.ended_sessions else account
