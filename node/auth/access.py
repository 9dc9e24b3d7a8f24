"""Who a caller is: decided from its credentials and the replicated state, in one place, before anything else.

Pure.  Says nothing about single resources; those are found, or not found, within what a Caller may see.  The ways of
saying who one is: section 2.1 of the v1 API.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from node.auth.keys import SALT_BYTES, hash_secret, secret_matches
from node.auth.sessions import MAX_TOKEN_CHARS, Session, account_of, read_session
from node.model import Account, ApiKey, State
from node.state.members import find_account

MAX_AUTHORIZATION_CHARS = 4096
BEARER_USER = "X-API-BEARER="
"""Basic with this and a project's id as the user: the password is a session's token, used inside that project."""

_NOBODYS_HASH = hash_secret("", bytes(SALT_BYTES))

AuthType = Literal["AdminAuth", "BasicAuth", "RegistrationToken", "TokenAccount", "TokenAuth"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its sender."""

    authorization: str | None = None
    is_local: bool = False
    """It came over the unix socket, which only root can open."""
    enforce: bool = False
    """X-ENFORCE-AUTHENTICATION: do not let open access stand in for a key."""
    token: str | None = None
    """From the query or the cookie; counts only without an Authorization header."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An administrator, somebody with an account, the holder of one environment's key, or nobody we know."""

    kind: Literal["admin", "user", "environment", "anonymous"]
    environment_id: int | None = None
    is_local: bool = False
    key_id: int | None = None
    account_id: int | None = None
    """Whose session or key it is; None for an administrator without an account of its own."""
    session: Session | None = None
    project: str | None = None
    """The project that Basic `X-API-BEARER=PROJECTID` names, as written."""

    @property
    def auth_type(self) -> AuthType:
        """How it proved who it is, in the words of audit logs."""
        if self.session is not None:
            return "TokenAuth"
        return "AdminAuth" if self.key_id is None else "BasicAuth"


ANONYMOUS = Caller("anonymous")


def decide(credentials: Credentials, state: State, keys: Sequence[bytes] = (), now_ms: int = 0) -> Caller:
    """Return who is calling; a wrong secret and an unknown key cost the same.  `keys` sign sessions."""
    if credentials.is_local:
        return Caller("admin", is_local=True)
    proven = _proven(credentials, state, keys, now_ms)
    if proven is not None:
        return proven
    if state.cluster.open_access and not credentials.enforce:
        return Caller("admin")
    return ANONYMOUS


def _proven(credentials: Credentials, state: State, keys: Sequence[bytes], now_ms: int) -> Caller | None:
    scheme, _, value = (credentials.authorization or "").partition(" ")
    if len(value) > MAX_AUTHORIZATION_CHARS:
        return None
    project, token = None, credentials.token
    if scheme.lower() == "bearer":
        token = value.strip()
    elif credentials.authorization is not None:
        pair = _parse_basic(scheme, value)
        if pair is None:
            return None
        if not pair[0].startswith(BEARER_USER):
            return _holder(_proven_key(pair, state), state)
        project, token = pair[0].removeprefix(BEARER_USER), pair[1]
    if not token or len(token) > MAX_TOKEN_CHARS:
        return None
    session = read_session(keys, token, cluster_id=state.cluster.id, now_ms=now_ms)
    account = None if session is None else account_of(session, state)
    return None if account is None else _person(account, session=session, project=project)


def _person(account: Account, **more: object) -> Caller | None:
    """Only people's accounts act; those of the cluster's own kinds stand for no caller."""
    if account.kind not in ("admin", "user") or account.state != "active":
        return None
    return Caller("admin" if account.kind == "admin" else "user", account_id=account.id, **more)  # type: ignore[arg-type]


def _holder(key: ApiKey | None, state: State) -> Caller | None:
    if key is None:
        return None
    if key.account_id is not None:
        account = find_account(state, key.account_id)
        return None if account is None else _person(account, key_id=key.id)
    if key.environment_id is None:
        return Caller("admin", key_id=key.id)
    environment = state.environments.get(key.environment_id)
    if environment is None or environment.state != "active":
        return None
    return Caller("environment", key.environment_id, key_id=key.id)


def _proven_key(pair: tuple[str, str], state: State) -> ApiKey | None:
    access, secret = pair
    key = next((row for row in state.api_keys.values() if row.public == access and row.state == "active"), None)
    stored = _NOBODYS_HASH if key is None else key.secret_hash
    is_right = secret_matches(stored, secret)
    return key if is_right else None


def _parse_basic(scheme: str, token: str) -> tuple[str, str] | None:
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    access, colon, secret = text.partition(":")
    return (access, secret) if colon else None
