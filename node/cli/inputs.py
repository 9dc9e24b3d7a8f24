"""What a container is made of, from flags to the API's launchConfig; every refusal names the flag.

Pure but for the flags' own parsing.
"""

import re
import shlex
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Json = dict[str, Any]

NAME_CHARS = 63
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\Z")
_CONTAINER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?\Z")
_PORT = re.compile(r"((?:[0-9.]{7,15}:)?[0-9]{1,5}:)?[0-9]{1,5}(/(tcp|udp))?\Z")


def launch_options() -> Callable[[F], F]:
    """The flags that describe a container."""
    options = [
        click.option(
            "--port", "-p", "ports", multiple=True, metavar="PUBLIC:PRIVATE", help="Publish, as 10086:80/tcp."
        ),
        click.option("--env", "-e", "variables", multiple=True, metavar="NAME=VALUE", help="A variable inside of it."),
        click.option("--label", "-l", "labels", multiple=True, metavar="NAME=VALUE", help="A label."),
        click.option(
            "--volume", "-v", "volumes", multiple=True, metavar="SOURCE:PATH", help="A volume, as /srv:/srv:ro."
        ),
        click.option("--command", help="Command and arguments, quoted as a shell would take them."),
        click.option("--no-start", is_flag=True, help="Make it, and do not start it."),
    ]

    def decorate(func: F) -> F:
        for option in reversed(options):
            func = option(func)
        return func

    return decorate


def read_pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """Read NAME=VALUE texts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            hint = "; the environment to work in is --environment here" if flag == "--env" else ""
            raise click.UsageError(f"{flag} takes NAME=VALUE, not {text!r}{hint}")
        found[name] = value
    return found


def check_name(name: str, noun: str) -> str:
    """Return a name that the cluster would take for that, or refuse it (node/state/rules decides in the end)."""
    pattern, signs = (_CONTAINER, "hyphens and underscores") if noun == "container" else (_NAME, "hyphens")
    if not pattern.match(name) or len(name) > NAME_CHARS:
        raise click.UsageError(
            f"{name[:80]!r} cannot be the name of a {noun}: "
            f"use letters, digits, and {signs} in between, {NAME_CHARS} at the most"
        )
    return name


def check_port(text: str) -> str:
    """Return `10086:80`, `80` or `10086:80/udp`, or refuse it."""
    numbers = [int(each) for each in re.findall(r"(?<![0-9.])[0-9]{1,5}(?![0-9.])", text)]
    if not _PORT.match(text) or not all(0 < number < 65536 for number in numbers):
        raise click.UsageError(
            f"--port takes PUBLIC:PRIVATE such as 10086:80, with /udp behind it if need be, not {text!r}"
        )
    return text


def read_command(text: str) -> list[str]:
    """Split a command as a shell would."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise click.UsageError(f"--command cannot be read: {error}") from None


def launch_config(
    image: str,
    ports: Iterable[str],
    variables: Iterable[str],
    labels: Iterable[str],
    volumes: Iterable[str],
    command: str | None,
) -> Json:
    """Return the launchConfig of these flags."""
    if not image or any(character.isspace() for character in image):
        raise click.UsageError(f"{image!r} is no image: give one such as nginx:1.8-alpine")
    made: Json = {"imageUuid": image if image.startswith("docker:") else f"docker:{image}"}
    made |= {"ports": [check_port(each) for each in ports]} if ports else {}
    made |= {"environment": read_pairs(variables, "--env")} if variables else {}
    made |= {"labels": read_pairs(labels, "--label")} if labels else {}
    made |= {"dataVolumes": list(volumes)} if volumes else {}
    made |= {"command": read_command(command)} if command is not None else {}
    return made
