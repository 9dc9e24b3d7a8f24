"""Who a caller is taken for: by unix socket, by key, in open mode, and otherwise nobody."""

import base64
from random import Random

import msgspec
import pytest

from node import commands as c
from node.auth.access import ANONYMOUS, Caller, Credentials, decide
from node.auth.keys import ApiKeySecret, new_api_key
from node.auth.sessions import issue_session
from node.model import ApiKey, State
from node.state.members import find_account
from tests.fakes.replica import START, FakeReplica
from tests.fakes.states import done

KEY = new_api_key(Random(1))
ADMIN_KEY = new_api_key(Random(2))


def basic(access: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{access}:{secret}".encode()).decode()


def row(key: ApiKeySecret, number: int, environment_id: int | None, **more: object) -> ApiKey:
    made = ApiKey(
        id=number, uuid=str(number), created=0, environment_id=environment_id, public=key.access, secret_hash=key.stored
    )
    return msgspec.structs.replace(made, **more)


def state(*, open_access: bool = False, **more: object) -> State:
    founded = FakeReplica(open_access=open_access).state
    keys = {1: row(KEY, 1, 5, **more), 2: row(ADMIN_KEY, 2, None)}
    return msgspec.structs.replace(founded, api_keys=keys)


def test_local_caller_is_an_administrator() -> None:
    assert decide(Credentials(is_local=True), state()) == Caller("admin", is_local=True)


def test_environment_key_is_that_environments() -> None:
    caller = decide(Credentials(basic(KEY.access, KEY.secret)), state())
    assert caller == Caller("environment", 5, key_id=1)


def test_key_without_environment_is_an_administrators() -> None:
    assert decide(Credentials(basic(ADMIN_KEY.access, ADMIN_KEY.secret)), state()).kind == "admin"


def test_key_counts_for_what_it_is_even_in_open_mode() -> None:
    assert decide(Credentials(basic(KEY.access, KEY.secret)), state(open_access=True)).kind == "environment"


@pytest.mark.parametrize("key_state", ["inactive", "removed"])
def test_key_that_is_not_active_opens_nothing(key_state: str) -> None:
    assert decide(Credentials(basic(KEY.access, KEY.secret)), state(state=key_state)) == ANONYMOUS


def test_key_of_a_removed_environment_opens_nothing() -> None:
    changed = state()
    gone = msgspec.structs.replace(changed.environments[5], state="removed", removed=1)
    changed = msgspec.structs.replace(changed, environments={5: gone})
    assert decide(Credentials(basic(KEY.access, KEY.secret)), changed) == ANONYMOUS


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xfe").decode(),
        basic(KEY.access, KEY.secret[:-1]),
        basic(KEY.access, ""),
        basic(KEY.access.lower(), KEY.secret),
        basic("", ""),
        basic(KEY.access, ADMIN_KEY.secret),
        basic(KEY.access, "x" * 5000),
        "Bearer x",
    ],
)
def test_anything_but_a_right_key_is_nobody(authorization: str | None) -> None:
    assert decide(Credentials(authorization), state()) == ANONYMOUS


def test_open_mode_lets_everybody_in_as_an_administrator_unless_authentication_is_enforced() -> None:
    assert decide(Credentials(), state(open_access=True)).kind == "admin"
    assert decide(Credentials(basic("X", "Y")), state(open_access=True)).kind == "admin"
    assert decide(Credentials(enforce=True), state(open_access=True)) == ANONYMOUS


def test_key_of_an_account_acts_with_that_accounts_rights() -> None:
    founded = done(FakeReplica().state, c.CreateAccount(uuid="a", kind="user"))
    for kind, wanted in (("user", "user"), ("admin", "admin")):
        changed = done(founded, c.UpdateAccount(id=7, kind=kind))  # type: ignore[arg-type]
        changed = msgspec.structs.replace(changed, api_keys={3: row(KEY, 3, None, account_id=7)})
        caller = decide(Credentials(basic(KEY.access, KEY.secret)), changed)
        assert caller == Caller(wanted, key_id=3, account_id=7)  # type: ignore[arg-type]
        assert caller.auth_type == "BasicAuth"
        inactive = done(changed, c.SetAccountState(id=7, state="inactive"))
        assert decide(Credentials(basic(KEY.access, KEY.secret)), inactive) == ANONYMOUS


SIGNING = (b"k" * 32,)


def with_session() -> tuple[State, str]:
    founded = done(FakeReplica().state, c.CreateAccount(uuid="a", kind="user"))
    token, _ = issue_session(SIGNING, founded.accounts[7], cluster_id=founded.cluster.id, session_id="s", now_ms=START)
    return founded, token


def test_session_is_taken_from_each_place_it_may_come_in() -> None:
    founded, token = with_session()
    for credentials in (
        Credentials(f"Bearer {token}"),
        Credentials(token=token),
        Credentials(basic("X-API-BEARER=1a5", token)),
    ):
        caller = decide(credentials, founded, SIGNING, START)
        assert (caller.kind, caller.account_id, caller.auth_type) == ("user", 7, "TokenAuth")
        assert caller.project == ("1a5" if (credentials.authorization or "").startswith("Basic") else None)
        assert decide(credentials, founded, (b"x" * 32,), START) == ANONYMOUS


def test_authorization_header_decides_alone_when_it_is_given() -> None:
    founded, token = with_session()
    assert decide(Credentials(basic("X", "Y"), token=token), founded, SIGNING, START) == ANONYMOUS


def test_accounts_of_the_clusters_own_kinds_are_no_callers() -> None:
    founded = FakeReplica().state
    system = find_account(founded, 2)
    assert system is not None
    token, _ = issue_session(SIGNING, system, cluster_id=founded.cluster.id, session_id="s", now_ms=START)
    assert decide(Credentials(f"Bearer {token}"), founded, SIGNING, START) == ANONYMOUS
