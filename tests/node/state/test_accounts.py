"""Accounts, passwords, members, sessions and settings as commands make them."""

from typing import Any

import msgspec

from node import commands as c
from node.commands import AnyCommand
from node.model import Refused, State
from node.state import apply, decode_state
from node.state.accounts import MAX_ENDED_OF_ACCOUNT, PROVIDER
from node.state.members import all_accounts, find_account, is_member, roles_in
from tests.fakes.states import done, found

ENABLE = c.EnableLocalAuth(uuid="p", member_uuid="m", login="root", name="The Admin", secret_hash="hash")


def refusal(state: State, command: AnyCommand) -> Refused:
    applied = apply(state, command, at=1000)
    assert isinstance(applied.result, Refused), applied.result
    assert applied.state is state
    return applied.result


def with_account(state: State, number: int = 7, **more: object) -> State:
    state = done(state, msgspec.structs.replace(c.CreateAccount(uuid=f"a{number}", name=f"n{number}"), **more))
    return done(state, c.CreatePassword(uuid=f"p{number}", account_id=number, login=f"l{number}", secret_hash="h"))


def member(number: int, role: str = "member") -> c.Member:
    return c.Member(uuid=f"m{number}{role}", external_id=f"1a{number}", role=role)  # type: ignore[arg-type]


def test_fixed_accounts_exist_without_rows_and_share_numbers_with_environments() -> None:
    state = found()
    assert [row.id for row in all_accounts(state)] == [1, 2, 3, 4, 6]
    state = done(state, c.CreateEnvironment(uuid="e", name="e"))
    state = done(state, c.CreateAccount(uuid="a"))
    assert (list(state.environments), list(state.accounts)) == ([5, 7], [8])


def test_state_written_before_there_were_accounts_opens() -> None:
    new = ("accounts", "passwords", "members", "settings", "ended_sessions")
    old = {key: value for key, value in msgspec.to_builtins(found()).items() if key not in new}
    old["cluster"]["ca"] = b"ca"
    state = decode_state(msgspec.msgpack.encode(old))
    assert done(state, c.CreateAccount(uuid="a")).accounts[7].kind == "user"


def test_enabling_gives_the_first_administrator_a_login_and_what_nobody_owns() -> None:
    state = done(done(found(), c.SetOpenAccess(open_access=True)), c.CreateEnvironment(uuid="e", name="e"))
    state = done(state, ENABLE)
    admin = find_account(state, 1)
    assert admin is not None
    assert (admin.kind, admin.name) == ("admin", "The Admin")
    assert [row.login for row in state.passwords.values() if row.account_id == 1] == ["root"]
    assert (state.cluster.open_access, state.settings[PROVIDER]) == (False, "localauthconfig")
    assert roles_in(state, 1, 5) == roles_in(state, 1, 7) == ["owner"]


def test_enabling_again_replaces_the_login_and_disabling_opens_everything() -> None:
    state = done(done(found(), ENABLE), msgspec.structs.replace(ENABLE, uuid="p2", login="boss", secret_hash="other"))
    living = [row for row in state.passwords.values() if row.removed is None]
    assert [(row.login, row.secret_hash) for row in living] == [("boss", "other")]
    state = done(state, c.DisableLocalAuth())
    assert state.cluster.open_access
    assert PROVIDER not in state.settings


def test_last_administrator_cannot_be_taken_away_while_access_is_controlled() -> None:
    state = done(found(), ENABLE)
    password = next(iter(state.passwords))
    for command in (
        c.SetAccountState(id=1, state="inactive"),
        c.UpdateAccount(id=1, kind="user"),
        c.UpdatePassword(id=password, state="removed"),
    ):
        assert "last administrator" in refusal(state, command).message
    state = with_account(state, kind="admin")
    assert done(state, c.SetAccountState(id=1, state="inactive")).accounts[1].state == "inactive"
    assert refusal(state, c.SetAccountState(id=1, state="removed")).code == "Conflict"


def test_logins_are_unique_without_case_and_free_again_after_removal() -> None:
    state = with_account(with_account(found()), 8)
    again = c.CreatePassword(uuid="x", account_id=8, login="L7", secret_hash="h")
    assert (refusal(state, again).code, refusal(state, again).field) == ("NotUnique", "publicValue")
    assert done(done(state, c.SetAccountState(id=7, state="removed")), again)
    assert refusal(state, msgspec.structs.replace(again, login="a:b")).code == "InvalidCharacters"


def test_account_that_is_removed_loses_passwords_keys_and_memberships() -> None:
    state = with_account(found())
    state = done(state, c.CreateApiKey(uuid="k", environment_id=None, account_id=7, public="AB", secret_hash=b"x"))
    state = done(state, c.SetMembers(environment_id=5, members=(member(7),)))
    state = done(state, c.SetAccountState(id=7, state="removed"))
    owned: list[Any] = [*state.passwords.values(), *state.api_keys.values(), *state.members.values()]
    assert all(row.state == "removed" for row in owned)
    assert refusal(state, c.SetAccountState(id=7, state="active")).code == "Conflict"
    assert done(state, c.SetAccountState(id=7, state="purged")).accounts[7].state == "purged"


def test_new_password_and_deactivation_end_sessions_and_a_rehash_does_not() -> None:
    state = with_account(found())
    password = next(iter(state.passwords))
    rehashed = done(state, c.SetPassword(id=password, old_hash="h", secret_hash="h2", is_same=True))
    assert rehashed.accounts[7].sessions == 0
    assert done(state, c.SetPassword(id=password, old_hash="h", secret_hash="h2")).accounts[7].sessions == 1
    assert refusal(rehashed, c.SetPassword(id=password, old_hash="h", secret_hash="h3")).code == "Conflict"
    assert done(state, c.SetAccountState(id=7, state="inactive")).accounts[7].sessions == 1


def test_setting_members_replaces_them_and_keeps_rows_that_stay() -> None:
    state = with_account(with_account(found()), 8)
    state = done(state, c.SetMembers(environment_id=5, members=(member(7, "owner"), member(8))))
    state = done(state, c.SetMembers(environment_id=5, members=(member(7, "owner"), member(8, "readonly"))))
    rows = [(row.id, row.external_id, row.role, row.state) for row in state.members.values()]
    assert rows == [
        (1, "1a7", "owner", "active"),
        (2, "1a8", "member", "removed"),
        (3, "1a8", "readonly", "active"),
    ]
    for bad, code in (
        (member(99), "InvalidReference"),
        (c.Member(uuid="x", external_id="1a07"), "InvalidReference"),
        (c.Member(uuid="x", external_id="1a7", external_id_type="github_user"), "InvalidOption"),
    ):
        assert refusal(state, c.SetMembers(environment_id=5, members=(bad,))).code == code


def test_own_environment_is_made_once_under_a_free_name() -> None:
    state = done(with_account(found()), c.CreateEnvironment(uuid="e", name="L7-Default"))
    own = c.CreateOwnEnvironment(uuid="o", account_id=7, name="l7-Default", member_uuid="m")
    state = done(state, own)
    assert state.environments[9].name == "l7-Default-2"
    assert roles_in(state, 7, 9) == ["owner"]
    assert done(state, own).environments == state.environments
    assert not is_member(done(state, c.RemoveEnvironment(id=9)), 7)


def test_sessions_that_ended_are_remembered_until_their_time_and_never_without_bound() -> None:
    state = done(with_account(found()), c.EndSession(session_id="old", account_id=7, ends=2000), at=1000)
    state = done(state, c.EndSession(session_id="new", account_id=7, ends=9000), at=3000)
    assert list(state.ended_sessions) == ["new"]
    for number in range(MAX_ENDED_OF_ACCOUNT):
        state = done(state, c.EndSession(session_id=f"s{number}", account_id=7, ends=9000), at=3000)
    assert state.ended_sessions == {}
    assert state.accounts[7].sessions == 1


def test_settings_are_set_and_dropped_but_not_those_that_follow_from_access_control() -> None:
    state = done(found(), c.SetSetting(name="api.host", value="http://h1"))
    assert state.settings == {"api.host": "http://h1"}
    assert done(state, c.SetSetting(name="api.host", value=None)).settings == {}
    assert refusal(state, c.SetSetting(name="api.security.enabled", value="false")).code == "InvalidOption"
