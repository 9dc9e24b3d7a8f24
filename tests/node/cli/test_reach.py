"""Which API a command talks to: URL forms, and flags over variables over contexts over the socket."""

import pytest

from node.cli.contexts import Context, Saved
from node.cli.errors import CliError
from node.cli.options import Settings
from node.cli.reach import SOCKET, ApiUrl, parse_url, pick_target

SAVED = Saved((Context("lab", "http://lab:8080", "CA", "CS", "dev"), Context("other", "h9")), current="lab")


@pytest.mark.parametrize(
    ("text", "base", "project"),
    [
        ("h1", "http://h1:8080", None),
        ("h1:9000", "http://h1:9000", None),
        ("192.0.2.1", "http://192.0.2.1:8080", None),
        ("[2001:db8::1]:9000", "http://[2001:db8::1]:9000", None),
        ("2001:db8::1", "http://[2001:db8::1]:8080", None),
        ("http://h1:8080", "http://h1:8080", None),
        ("http://h1:8080/", "http://h1:8080", None),
        ("https://corral.example.org", "https://corral.example.org", None),
        ("http://h1:8080/v1", "http://h1:8080", None),
        ("http://h1:8080/v1/projects/1a5", "http://h1:8080", "1a5"),
        ("  http://H1:8080 ", "http://h1:8080", None),
    ],
)
def test_url_is_read_in_every_form_that_people_write(text: str, base: str, project: str | None) -> None:
    assert parse_url(text) == ApiUrl(base, project)


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "a" * 64 + ".test",
        "",
        "http://",
        "ftp://h1",
        "http://h1:99999",
        "h1:port",
        "http://a b",
        "http://a..b",
        "http://u:p@h1",
        "http://[::1",
        "-",
    ],
)
def test_url_of_another_kind_is_refused_with_what_to_try(text: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_url(text)
    assert caught.value.try_


def test_socket_is_the_last_resort() -> None:
    assert pick_target(Settings(), {}, Saved()).socket == SOCKET


def test_context_goes_before_the_socket_and_brings_its_key_and_environment() -> None:
    target = pick_target(Settings(), {}, SAVED)
    assert (target.base, target.access_key, target.secret_key, target.environment) == (
        "http://lab:8080",
        "CA",
        "CS",
        "dev",
    )


def test_key_of_the_variables_replaces_that_of_the_context_as_a_pair() -> None:
    target = pick_target(Settings(), {"RANCHER_ACCESS_KEY": "A"}, SAVED)
    assert (target.base, target.access_key, target.secret_key) == ("http://lab:8080", "A", None)


def test_variables_go_before_the_context_and_do_not_borrow_its_key() -> None:
    target = pick_target(Settings(), {"RANCHER_URL": "http://h2:8080/v1"}, SAVED)
    assert (target.base, target.access_key, target.environment) == ("http://h2:8080", None, None)


def test_own_variables_go_before_those_of_rancher() -> None:
    variables = {"RANCHER_URL": "r", "CORRAL_URL": "c", "RANCHER_ACCESS_KEY": "ra", "RANCHER_SECRET_KEY": "rs"}
    target = pick_target(Settings(), variables, Saved())
    assert (target.base, target.access_key, target.secret_key) == ("http://c:8080", "ra", "rs")


def test_flags_go_before_everything() -> None:
    settings = Settings(url="h3", access_key="A", secret_key="S", environment="test")
    target = pick_target(settings, {"CORRAL_URL": "h2", "CORRAL_ENV": "dev"}, SAVED)
    assert (target.base, target.access_key, target.environment) == ("http://h3:8080", "A", "test")


def test_named_context_goes_before_variables() -> None:
    target = pick_target(Settings(context="other"), {"CORRAL_URL": "h2"}, SAVED)
    assert target.base == "http://h9:8080"


def test_environment_of_the_variable_goes_before_that_of_the_context_and_of_the_url() -> None:
    assert pick_target(Settings(), {"CORRAL_ENV": "test"}, SAVED).environment == "test"
    assert pick_target(Settings(url="h1/v1/projects/1a7"), {}, Saved()).environment == "1a7"


def test_secrets_stay_out_of_a_targets_text() -> None:
    assert "S3CRET" not in repr(pick_target(Settings(url="h1", access_key="A", secret_key="S3CRET"), {}, Saved()))
