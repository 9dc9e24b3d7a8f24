"""Options that many commands share, noted as they are parsed and read together as Settings.

They may stand before or behind the command's name; what stands nearer to it wins.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Progress = Literal["auto", "plain", "none"]

_KEY = "node.cli.options"
WAIT_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What was typed, defaults filled in."""

    url: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    context: str | None = None
    environment: str | None = None
    socket: str | None = None
    no_color: bool = False
    json: bool = False
    quiet: bool = False
    template: str | None = None
    filters: tuple[str, ...] = ()
    no_trunc: bool = False
    wait: bool = True
    wait_timeout: float = WAIT_TIMEOUT
    progress: Progress = "auto"


def settings() -> Settings:
    """Return the shared options of the command that runs."""
    return settings_of(click.get_current_context())


def settings_of(ctx: click.Context) -> Settings:
    """Return the shared options of a command's context."""
    return Settings(**ctx.meta.get(_KEY, {}))


def _note(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if value is not None and value != () and param.name is not None:
        ctx.meta.setdefault(_KEY, {})[param.name] = value
    return value


def _option(*names: str, **more: Any) -> Callable[[F], F]:
    return click.option(*names, expose_value=False, callback=_note, default=None, **more)


def _all(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    def decorate(func: F) -> F:
        for option in reversed(options):
            func = option(func)
        return func

    return decorate


def reach_options(*, env: bool = True) -> Callable[[F], F]:
    """How to reach the API and in which environment; `env` False where --env means something else."""
    names = ("--environment", "--env") if env else ("--environment",)
    return _all(
        [
            _option("--url", metavar="URL", help="A node's API, such as http://h1:8080."),
            _option("--access-key", metavar="KEY", help="Access key of the API key."),
            _option("--secret-key", metavar="SECRET", help="Secret key of the API key."),
            _option("--context", metavar="NAME", help="A context saved by `ctx add`."),
            _option(*names, "environment", metavar="NAME", help="Environment to work in, by name or id."),
            _option("--socket", metavar="PATH", help="Unix socket of this host's node."),
            _option("--no-color", is_flag=True, help="Never colour; NO_COLOR does the same."),
        ]
    )


def one_options() -> Callable[[F], F]:
    """How one resource is printed."""
    return _all(
        [
            _option("--json", is_flag=True, help="Print JSON, and nothing else."),
            _option(
                "--format", "template", metavar="TEMPLATE", help="Print a template, such as '{{.name}} {{.state}}'."
            ),
        ]
    )


def list_options() -> Callable[[F], F]:
    """How a list is printed."""
    return _all(
        [
            _option("--json", is_flag=True, help="Print a JSON array, and nothing else."),
            _option("--quiet", "-q", is_flag=True, help="Print ids only."),
            _option("--format", "template", metavar="TEMPLATE", help="A template for each, as '{{.name}} {{.state}}'."),
            _option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="Only those; labels.zone=a works."),
            _option("--no-trunc", is_flag=True, help="Never shorten a cell."),
        ]
    )


def wait_options() -> Callable[[F], F]:
    """Whether and how a change is waited for."""
    return _all(
        [
            _option("--wait/--no-wait", help="Wait until it is done (the default), or return once it is accepted."),
            _option("--wait-timeout", type=float, metavar="SECONDS", help="How long to wait: 120."),
            _option("--progress", type=click.Choice(["auto", "plain", "none"]), help="How to show what goes on."),
            _option("--quiet", "-q", is_flag=True, help="Print ids only."),
            _option("--json", is_flag=True, help="Print the result as JSON, and nothing else."),
        ]
    )
