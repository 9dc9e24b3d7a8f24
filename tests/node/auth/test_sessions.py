"""Sessions: taken by every node with the cluster's keys until their time is over or the state ends them."""

import base64
import json

import msgspec
import pytest
from hypothesis import given, strategies as st

from node import commands as c
from node.auth.sessions import MAX_AHEAD_MS, SESSION_MS, Session, account_of, issue_session, read_session
from node.model import State
from node.state.members import find_account
from tests.fakes.states import done, found

KEYS = (bytes(32), b"1" * 32)
NOW = 1_460_440_800_000


def with_account() -> State:
    state = done(found(), c.CreateAccount(uuid="a", name="alice"))
    return done(state, c.CreatePassword(uuid="p", account_id=7, login="alice", secret_hash="h"))


def issued(state: State, now: int = NOW, key: bytes = KEYS[0]) -> str:
    account = find_account(state, 7)
    assert account is not None
    return issue_session((key,), account, cluster_id=state.cluster.id, session_id="s1", now_ms=now)[0]


def read(state: State, token: str, now: int = NOW) -> Session | None:
    return read_session(KEYS, token, cluster_id=state.cluster.id, now_ms=now)


def test_session_lasts_sixteen_hours_and_no_longer() -> None:
    state = with_account()
    token = issued(state)
    session = read(state, token, NOW + SESSION_MS - 1000)
    assert session == Session(7, 0, "s1", NOW + SESSION_MS)
    assert account_of(session, state) == state.accounts[7]
    assert read(state, token, NOW + SESSION_MS) is None


def test_session_of_an_older_key_of_the_ring_is_taken_and_of_another_cluster_is_not() -> None:
    state = with_account()
    assert read(state, issued(state, key=KEYS[1])) is not None
    assert read(state, issued(state, key=b"2" * 32)) is None
    other = msgspec.structs.replace(state, cluster=msgspec.structs.replace(state.cluster, id="ff" * 16))
    assert read(state, issued(other)) is None


def test_session_from_the_future_is_refused_beyond_what_clocks_differ() -> None:
    state = with_account()
    assert read(state, issued(state, NOW + MAX_AHEAD_MS)) is not None
    assert read(state, issued(state, NOW + MAX_AHEAD_MS + 1000)) is None


@pytest.mark.parametrize(
    "command",
    [
        c.SetPassword(id=1, old_hash="h", secret_hash="new"),
        c.SetAccountState(id=7, state="inactive"),
        c.SetAccountState(id=7, state="removed"),
        c.UpdatePassword(id=1, state="inactive"),
        c.EndSession(session_id="s1", account_id=7, ends=NOW + SESSION_MS),
    ],
    ids=lambda command: type(command).__name__,
)
def test_session_is_ended_by_what_takes_the_right_away(command: c.AnyCommand) -> None:
    state = with_account()
    session = read(state, issued(state))
    assert session is not None
    assert account_of(session, done(state, command, at=NOW)) is None


def test_deactivating_ends_sessions_for_good() -> None:
    state = with_account()
    session = read(state, issued(state))
    assert session is not None
    for wanted in ("inactive", "active"):
        state = done(state, c.SetAccountState(id=7, state=wanted))
    assert account_of(session, state) is None


def test_token_without_a_signature_or_for_another_purpose_is_refused() -> None:
    state = with_account()
    header, body, signature = issued(state).split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).decode().rstrip("=")
    assert read(state, f"{none}.{body}.") is None
    assert read(state, f"{none}.{body}.{signature}") is None
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "aud": "logs"}).encode()).decode().rstrip("=")
    assert read(state, f"{header}.{other}.{signature}") is None
    import jwt

    for changed in ({"aud": "logs"}, {"gen": "0"}, {"sub": "1a²"}, {"exp": None}, {"iat": "x"}, {"jti": 5}):
        token = jwt.encode({**claims, **changed}, KEYS[0], algorithm="HS256")
        assert read(state, token) is None, changed


@given(place=st.integers(0, 10_000), letter=st.sampled_from("Aa0_-.="))
def test_altered_token_is_refused_and_never_an_exception(place: int, letter: str) -> None:
    state = with_account()
    token = issued(state)
    place %= len(token)
    altered = token[:place] + letter + token[place + 1 :]
    session = read(state, altered)
    assert session is None or session == read(state, token)


@given(text=st.text(alphabet="abc.{}=\x00é", max_size=40))
def test_any_text_is_no_session(text: str) -> None:
    assert read_session(KEYS, text, cluster_id="c", now_ms=NOW) is None
