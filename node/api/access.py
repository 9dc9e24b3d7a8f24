"""Logging in and out, and the little that changes of accounts need besides the state: hashing and comparing passwords.

One object per node.  It holds no secret but the cluster's signing keys, and no state but the failures of late.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from node.api.errors import ApiError
from node.auth.passwords import Passwords, TooManyWaiting
from node.auth.sessions import Session, issue_session
from node.auth.throttle import Throttle
from node.commands import CreateOwnEnvironment, EndSession, SetPassword
from node.model import Account, Password, State
from node.ports import RefusedError, Replica, Unavailable
from node.state.accounts import MAX_LOGIN, PROVIDER
from node.state.members import find_account, is_member

MIN_PASSWORD_CHARS = 1
MAX_PASSWORD_CHARS = 1024

log = logging.getLogger(__name__)


class Access:
    """What the API asks of passwords and sessions."""

    def __init__(
        self,
        replica: Replica,
        keys: Sequence[bytes],
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float],
        rng: Random,
    ) -> None:
        self.keys = tuple(keys)
        self._replica = replica
        self._now_ms = now_ms
        self._clock = clock
        self._rng = rng
        self._passwords = Passwords()
        self._throttle = Throttle()

    async def hash(self, password: str, field: str) -> str:
        """Return what the state may keep of a new password."""
        if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            code = "MinLengthExceeded" if not password else "MaxLengthExceeded"
            detail = f"{field} has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
            raise ApiError(code, detail, field=field)
        try:
            return await self._passwords.hash(password)
        except TooManyWaiting as busy:
            raise _too_many(str(busy), 1.0) from None

    async def is_right(self, row: Password, password: str, address: str) -> bool:
        """Compare with somebody's password, as often as the throttle lets them."""
        return await self._compare(row, row.login, password, address)

    async def log_in(self, code: str, address: str) -> tuple[str, Account, str]:
        """Return a new session's token, whose it is, and the login; 401 for all that is wrong with `user:password`."""
        state = self._replica.state
        login, colon, password = code.partition(":")
        if not colon or len(login) > MAX_LOGIN:
            raise ApiError("Unauthorized", "expected code as `user:password`")
        row = _password_of(state, login)
        is_right = await self._compare(row, login, password, address)
        account = None if row is None else find_account(state, row.account_id)
        can_act = account is not None and account.state == "active" and account.kind in ("admin", "user")
        if row is None or account is None or not (is_right and can_act) or state.settings.get(PROVIDER) is None:
            log.info("login refused for %r from %s", login[:60], address or "this host")
            raise ApiError("Unauthorized", "the login or the password is wrong")
        await self._greet(account, row, password)
        account = find_account(self._replica.state, account.id) or account
        token, _ = issue_session(
            self.keys,
            account,
            cluster_id=state.cluster.id,
            session_id=f"{self._rng.getrandbits(128):032x}",
            now_ms=self._now_ms(),
        )
        return token, account, row.login

    async def _compare(self, row: Password | None, login: str, password: str, address: str) -> bool:
        if (wait := self._throttle.start(login, address, self._clock())) > 0:
            raise _too_many("too many wrong passwords", wait)
        try:
            verdict = await self._passwords.verify(None if row is None else row.secret_hash, password)
        except TooManyWaiting as busy:
            raise _too_many(str(busy), 1.0) from None
        if verdict.is_right:
            self._throttle.succeed(login, address)
        if verdict.is_old and row is not None:
            renewed = SetPassword(
                id=row.id, old_hash=row.secret_hash, secret_hash=await self._passwords.hash(password), is_same=True
            )
            await self._try(renewed)
        return verdict.is_right

    async def _greet(self, account: Account, row: Password, password: str) -> None:
        """Whoever is member of nothing gets a project of their own."""
        if is_member(self._replica.state, account.id):
            return
        uuids = [f"{self._rng.getrandbits(128):032x}" for _ in range(2)]
        name = f"{row.login[: MAX_LOGIN - 16]}-Default"
        await self._try(CreateOwnEnvironment(uuid=uuids[0], account_id=account.id, name=name, member_uuid=uuids[1]))

    async def log_out(self, session: Session) -> None:
        """End one session everywhere."""
        await self._replica.submit(
            EndSession(session_id=session.session_id, account_id=session.account_id, ends=session.ends)
        )

    async def _try(self, command: Any) -> None:
        """Do what can as well be done at the next login."""
        try:
            await self._replica.submit(command)
        except (RefusedError, Unavailable) as error:
            log.info("put off to the next login: %s", error)


def _password_of(state: State, login: str) -> Password | None:
    wanted = login.lower()
    return next((r for r in state.passwords.values() if r.state == "active" and r.login.lower() == wanted), None)


def login_of(state: State, account_id: int) -> str | None:
    """The login of an account, if it has one."""
    return next((r.login for r in state.passwords.values() if r.account_id == account_id and r.removed is None), None)


def _too_many(why: str, wait: float) -> ApiError:
    seconds = max(1, -int(-wait // 1))
    return ApiError(
        "TooManyRequests", f"{why}: try again in {seconds} s", status=429, headers=(("Retry-After", str(seconds)),)
    )


def code_of(data: Mapping[str, Any]) -> str:
    """What a login sends as `user:password`."""
    code = data.get("code")
    if not isinstance(code, str):
        raise ApiError("MissingRequired", "code is needed: `user:password`", field="code")
    return code
