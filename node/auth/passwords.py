"""Passwords as argon2id hashes: made and compared in threads, at most two at once, in the same time for everybody.

The costs are OWASP's smallest recommended; a hash made with others is still understood, and reported as one to renew.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

TIME_COST = 2
MEMORY_KIB = 19_456
LANES = 1
AT_ONCE = 2
"""Each takes MEMORY_KIB while it lasts."""
MAX_WAITING = 64
MAX_PASSWORD_CHARS = 1024
"""A longer one is refused before it is hashed."""

_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$Y29ycmFsLW5vYm9keXMtMQ$ZGlnZXN0LW9mLW5vLXBhc3N3b3JkLWF0LWFsbC0tMDE"
"""Compared with where there is no account, so that the time taken tells nobody which logins there are."""


class TooManyWaiting(Exception):
    """More people are logging in at this moment than the node is willing to keep waiting."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing a password came to."""

    is_right: bool
    is_old: bool = False
    """Right, but hashed with other costs than today's: to be hashed anew."""


class Passwords:
    """Hashes and compares; one object per node."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return what the state may keep of a password."""
        return await self._run(lambda: _hasher().hash(password))

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """Compare with a hash, or for an unknown account with nothing; both take as long."""
        if len(password) > MAX_PASSWORD_CHARS:
            stored, password = None, ""
        compared = _NOBODYS if stored is None else stored
        verdict = await self._run(lambda: _verify(compared, password))
        return Verdict(False) if stored is None else verdict

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise TooManyWaiting(f"{self._waiting} others are being checked: try again in a moment")
        self._waiting += 1
        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter)
        finally:
            self._waiting -= 1


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher  # Loaded in the thread of the first login: most nodes never see one.

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=LANES)


def _verify(stored: str, password: str) -> Verdict:
    from argon2.exceptions import Argon2Error, InvalidHashError

    try:
        _hasher().verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return Verdict(False)
    return Verdict(True, is_old=_hasher().check_needs_rehash(stored))
