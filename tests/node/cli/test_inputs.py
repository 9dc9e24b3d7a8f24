"""Flags that describe a container, from text to the API's launchConfig."""

import click
import pytest

from node.cli.inputs import check_name, check_port, launch_config, read_command, read_pairs


def test_launch_config_has_only_what_was_said() -> None:
    assert launch_config("nginx:1.8", (), (), (), (), None) == {"imageUuid": "docker:nginx:1.8"}


def test_launch_config_has_all_that_was_said() -> None:
    made = launch_config("docker:r.example.org:5000/a/b", ("80",), ("A=1",), ("b=2",), ("/x:/y:ro",), "sh -c 'a b'")
    assert made == {
        "imageUuid": "docker:r.example.org:5000/a/b",
        "ports": ["80"],
        "environment": {"A": "1"},
        "labels": {"b": "2"},
        "dataVolumes": ["/x:/y:ro"],
        "command": ["sh", "-c", "a b"],
    }


@pytest.mark.parametrize("text", ["80", "10086:80", "53:53/udp", "192.0.2.1:8080:80", "192.0.2.1:8080:80/tcp"])
def test_port_of_each_form_is_taken(text: str) -> None:
    assert check_port(text) == text


@pytest.mark.parametrize("text", ["", "0", "0:80", "80:", ":80", "65536", "80/sctp", "a:80", "1:2:3", "80:80:80:80"])
def test_port_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        check_port(text)


@pytest.mark.parametrize("name", ["a", "web-1", "A" * 63])
def test_name_that_can_be_one_is_taken(name: str) -> None:
    assert check_name(name, "service") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a.b", "a_b", "a b", "ä", "a" * 64, "a\n"])
def test_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(click.UsageError):
        check_name(name, "service")


def test_container_may_have_underscores_in_its_name() -> None:
    assert check_name("a_b", "container") == "a_b"


def test_pair_keeps_everything_behind_the_first_sign() -> None:
    assert read_pairs(["A=b=c", "E="], "--env") == {"A": "b=c", "E": ""}


def test_pair_without_a_sign_is_refused_and_names_the_other_meaning_of_env() -> None:
    with pytest.raises(click.UsageError, match="--environment"):
        read_pairs(["dev"], "--env")


@pytest.mark.parametrize("image", ["", "two words"])
def test_image_that_is_none_is_refused(image: str) -> None:
    with pytest.raises(click.UsageError):
        launch_config(image, (), (), (), (), None)


def test_command_with_an_open_quote_is_refused() -> None:
    with pytest.raises(click.UsageError):
        read_command("sh -c 'open")
