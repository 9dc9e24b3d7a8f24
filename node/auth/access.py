"""Who a caller is: decided from its credentials and the replicated state, in one place, before anything else.

Pure.  Says nothing about single resources; those are found, or not found, within what a Caller may see.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from node.auth.keys import SALT_BYTES, hash_secret, secret_matches
from node.model import ApiKey, State

MAX_AUTHORIZATION_CHARS = 1024

_NOBODYS_HASH = hash_secret("", bytes(SALT_BYTES))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its sender."""

    authorization: str | None = None
    is_local: bool = False
    """It came over the unix socket, which only root can open."""
    enforce: bool = False
    """X-ENFORCE-AUTHENTICATION: do not let open access stand in for a key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An administrator, the holder of one environment's key, or nobody we know."""

    kind: Literal["admin", "environment", "anonymous"]
    environment_id: int | None = None
    is_local: bool = False
    key_id: int | None = None


ANONYMOUS = Caller("anonymous")


def decide(credentials: Credentials, state: State) -> Caller:
    """Return who is calling; a wrong secret and an unknown key cost the same."""
    if credentials.is_local:
        return Caller("admin", is_local=True)
    key = _proven_key(credentials.authorization, state)
    if key is not None:
        if key.environment_id is None:
            return Caller("admin", key_id=key.id)
        environment = state.environments.get(key.environment_id)
        if environment is not None and environment.state == "active":
            return Caller("environment", key.environment_id, key_id=key.id)
    if state.cluster.open_access and not credentials.enforce:
        return Caller("admin")
    return ANONYMOUS


def _proven_key(authorization: str | None, state: State) -> ApiKey | None:
    pair = _parse_basic(authorization)
    if pair is None:
        return None
    access, secret = pair
    key = next((row for row in state.api_keys.values() if row.public == access and row.state == "active"), None)
    stored = _NOBODYS_HASH if key is None else key.secret_hash
    is_right = secret_matches(stored, secret)
    return key if is_right else None


def _parse_basic(authorization: str | None) -> tuple[str, str] | None:
    if authorization is None or len(authorization) > MAX_AUTHORIZATION_CHARS:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    access, colon, secret = text.partition(":")
    return (access, secret) if colon else None
