"""Accounts, memberships, sessions and settings by typing, against the real API; no password and no session is shown."""

import io
import json
import stat
from pathlib import Path

import pytest

from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served

SECRET = "correct horse"


class People:
    """Types commands with a password on standard input, and keeps all that was printed."""

    def __init__(self, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        self.typed = typed
        self.patch = monkeypatch

    def __call__(self, *words: str, code: int = 0, password: str = SECRET) -> str:
        self.patch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        result = self.typed(*words)
        assert result.code == code, result.err
        assert SECRET not in result.out + result.err
        return result.out + result.err


@pytest.fixture
def people(served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> People:
    """Access control turned on, alice made, and a context for the cluster."""
    found = People(typed, monkeypatch)
    found("access-control", "enable", "--login", "root", "--password-stdin")
    found("account", "create", "alice", "--password-stdin")
    found("ctx", "add", "lab", "--url", served.url)
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where contexts are kept."""
    return tmp_path / "config" / "corral" / "config.json"


def log_in(people: People, login: str, config: Path, password: str = SECRET) -> str:
    people("login", login, "--password-stdin", password=password)
    return str(json.loads(config.read_text())["contexts"]["lab"]["session"])


def test_session_is_kept_for_the_owner_only_and_never_shown(people: People, config: Path) -> None:
    people("host", "ls", code=1)
    token = log_in(people, "root", config)
    assert token.count(".") == 2
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    for words in (("ctx", "ls", "--json"), ("ctx", "show"), ("host", "ls"), ("api", "GET", "/v1", "--verbose", "-i")):
        assert token not in people(*words)
    people("logout")
    assert token not in config.read_text()
    people("host", "ls", code=1)
    assert "nobody is logged in" in people("logout")


def test_session_that_is_over_says_so_and_is_forgotten_by_logout(people: People, config: Path, served: Served) -> None:
    log_in(people, "alice", config)
    people("account", "deactivate", "alice", "--socket", str(served.socket))
    assert "node login" in people("env", "ls", code=1)
    assert "over already" in people("logout")
    people("login", "alice", "--password-stdin", code=1)
    people("account", "activate", "alice", "--socket", str(served.socket))
    log_in(people, "alice", config)


def test_key_that_is_typed_wins_over_the_session(people: People, config: Path) -> None:
    log_in(people, "root", config)
    people("host", "ls", "--access-key", "A", "--secret-key", "S", code=1)
    assert "leave the key out" in people("logout", "--access-key", "A", "--secret-key", "S", code=1)


@pytest.mark.parametrize("where", ["socket", "url"])
def test_login_needs_a_context_to_keep_the_session_in(people: People, served: Served, where: str) -> None:
    place = {"socket": str(served.socket), "url": served.url}[where]
    assert "node ctx add" in people("login", "root", "--password-stdin", f"--{where}", place, code=1)


def test_wrong_password_is_told_from_a_missing_key(people: People) -> None:
    said = people("login", "root", "--password-stdin", code=1, password="wrong")
    assert "the login or the password is wrong" in said


def test_login_says_when_nobody_can(served: Served, typed: Typed) -> None:
    typed("ctx", "add", "lab", "--url", served.url)
    result = typed("login", "root")
    assert (result.code, "access-control status" in result.err) == (1, True)


def test_accounts_are_listed_with_logins_and_removed(people: People, typed: Typed, served: Served) -> None:
    root = ("--socket", str(served.socket))
    lines = people("account", "ls", *root).splitlines()
    assert [line.split()[1:5] for line in lines[1:]] == [
        ["root", "root", "admin", "active"],
        ["alice", "alice", "user", "active"],
    ]
    assert "already" in people("account", "create", "ALICE", "--password-stdin", *root, code=1)
    assert typed("account", "inspect", "alice", *root).json["login"] == "alice"
    people("account", "rm", "alice", *root, code=1)
    people("account", "rm", "alice", "--yes", *root)
    assert "alice" not in people("account", "ls", *root)
    people("account", "rm", "root", "--yes", *root, code=1)


def test_account_that_gets_no_password_is_not_left_behind(people: People, served: Served) -> None:
    root = ("--socket", str(served.socket))
    people("account", "create", "carol", "--password-stdin", *root, code=1, password="x" * 2000)
    assert "carol" not in people("account", "ls", *root)


def test_own_password_is_changed_with_the_old_one_and_anothers_by_root(
    people: People, served: Served, config: Path
) -> None:
    log_in(people, "alice", config)
    people("account", "passwd", "alice", "--password-stdin", code=1, password="wrong\nnew")
    people("account", "passwd", "alice", "--password-stdin", password=f"{SECRET}\nnew of alice")
    people("host", "ls", code=1)
    log_in(people, "alice", config, "new of alice")
    people("account", "passwd", "alice", "--password-stdin", "--socket", str(served.socket), password="by root")
    log_in(people, "alice", config, "by root")


def test_membership_is_given_changed_and_taken(people: People, served: Served) -> None:
    root = ("--socket", str(served.socket))

    def roles() -> dict[str, str]:
        lines = people("env", "members", "1a5", "--format", "{{.login}} {{.role}}", *root).splitlines()
        return dict(line.split() for line in lines)

    assert roles() == {"root": "owner"}
    people("env", "add-member", "1a5", "alice", *root)
    assert roles() == {"root": "owner", "alice": "member"}
    people("env", "add-member", "1a5", "ALICE", "--role", "readonly", *root)
    assert roles() == {"root": "owner", "alice": "readonly"}
    people("env", "rm-member", "1a5", "alice", *root)
    people("env", "rm-member", "1a5", "alice", *root, code=1)
    people("env", "add-member", "1a5", "ali", *root, code=1)
    assert roles() == {"root": "owner"}
    assert "an owner" in people("env", "rm-member", "1a5", "root", *root, code=1)
    assert roles() == {"root": "owner"}


def test_owner_who_is_no_administrator_manages_members(people: People, config: Path) -> None:
    log_in(people, "alice", config)
    people("env", "add-member", "alice-Default", "root", "--role", "readonly")
    assert "root" in people("env", "members", "alice-Default")


def test_settings_are_listed_set_and_reset(typed: Typed) -> None:
    assert "api.host" in typed("setting", "ls").out
    assert typed("setting", "set", "api.host", "http://h1:8080").code == 0
    assert typed("setting", "get", "api.host").out == "http://h1:8080\n"
    assert typed("setting", "set", "api.host", "--default").code == 0
    assert typed("setting", "get", "api.host").out == "\n"
    assert typed("setting", "get", "api.hos").code == 1
    assert typed("setting", "set", "api.host").code == 2
    refused = typed("setting", "set", "api.security.enabled", "false")
    assert (refused.code, "access-control" in refused.err) == (1, True)
