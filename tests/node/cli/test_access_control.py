"""Access control by typing: who is asked for a password, where it goes, and what is said while the door is open."""

import io

import msgspec
import pytest

from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served

SECRET = "correct horse"


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def open_up(served: Served) -> None:
    state = served.replica.state
    cluster = msgspec.structs.replace(state.cluster, open_access=True)
    served.replica._put(msgspec.structs.replace(state, cluster=cluster))


def is_open(served: Served) -> bool:
    return served.replica.state.cluster.open_access


def enable(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, f"{SECRET}\n")
    result = typed("access-control", "enable", "--login", "root", "--password-stdin")
    assert result.code == 0, result.err
    assert SECRET not in result.out + result.err


@pytest.mark.parametrize("words", [("status",), ("cluster", "status"), ("access-control", "status")])
def test_open_cluster_is_warned_of_wherever_it_is_shown_until_it_is_closed(
    served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    open_up(served)
    assert "ACCESS CONTROL IS OFF" in typed(*words).out
    enable(typed, monkeypatch)
    assert "ACCESS CONTROL IS OFF" not in typed(*words).out


def test_status_says_who_gets_in(served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nobody can log in" in typed("access-control", "status").out
    enable(typed, monkeypatch)
    shown = typed("access-control", "status", "--json").json
    assert shown == {"accessControl": "closed", "logins": True, "provider": "localauthconfig"}
    assert "by login (localauthconfig)" in typed("access-control", "status", "--url", served.url).out


def test_enable_closes_the_door_and_the_state_keeps_no_password(
    served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_up(served)
    assert typed("host", "ls", "--url", served.url).code == 0
    enable(typed, monkeypatch)
    assert typed("host", "ls", "--url", served.url).code == 1
    assert SECRET not in repr(served.replica.submitted)
    again = typed("access-control", "enable", "--login", "root", "--password-stdin")
    assert (again.code, "on already" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--login", "root"), 1, "--password-stdin"),
        (("--password-stdin",), 1, "a login is needed"),
        (("--login", "a:b", "--password-stdin"), 2, "colon"),
        (("--login", "root", "--password-stdin"), 1, "empty"),
    ],
)
def test_enable_without_login_or_password_changes_nothing(
    served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, why: str
) -> None:
    pipe(monkeypatch, "")
    result = typed("access-control", "enable", *words)
    assert (result.code, why in result.err) == (code, True), result.err
    assert not served.replica.submitted


def test_disable_names_the_consequence_and_wants_a_yes(
    served: Served, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    enable(typed, monkeypatch)
    refused = typed("access-control", "disable")
    assert (refused.code, "administers the cluster" in refused.err) == (1, True)
    assert not is_open(served)
    assert typed("access-control", "disable", "--yes").code == 0
    assert is_open(served)
    assert "off already" in typed("access-control", "disable").out
