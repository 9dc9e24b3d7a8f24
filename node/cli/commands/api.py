"""`api`: one request to the API as it is, and its answer as it comes."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.errors import CliError
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.session import Session, pass_session

if TYPE_CHECKING:
    import httpx

_SECRET = frozenset({"authorization", "cookie", "set-cookie"})


@click.command(
    "api",
    cls=Command,
    examples=(
        "node api GET /v1/projects",
        """node api POST services/1s7?action=activate""",
        """node api PUT services/1s7 -d '{"scale": 3}'""",
    ),
)
@click.argument("method", type=click.Choice(["GET", "POST", "PUT", "DELETE", "HEAD"], case_sensitive=False))
@click.argument("path")
@click.option("--data", "-d", "body", metavar="BODY|@FILE|-", help="The body: text, a file, or standard input.")
@click.option("--include", "-i", "with_head", is_flag=True, help="Print the status and headers of the answer, too.")
@click.option("--verbose", is_flag=True, help="Print what is sent to standard error, without secrets.")
@reach_options()
@pass_session
def command(session: Session, method: str, path: str, body: str | None, with_head: bool, verbose: bool) -> None:
    """Send METHOD PATH and print the answer; exits 1 for an error's.

    A PATH that begins with / is taken whole; another one is looked for in the environment.
    """
    content = _read_body(body)
    full = path if path.startswith("/") else f"{session.scope}/{path}"
    answer = session.client.send(method.upper(), full, content)
    if verbose:
        _print_request(answer.request)
    if with_head:
        click.echo(f"{answer.http_version} {answer.status_code} {answer.reason_phrase}")
        for name, value in answer.headers.items():
            click.echo(f"{name}: {value}")
        click.echo()
    click.echo(_pretty(answer))
    if answer.status_code >= 400:
        raise CliError(f"the API answers {answer.status_code}", _reason(answer), None)


def _read_body(text: str | None) -> bytes | None:
    if text is None:
        return None
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CliError(
            f"cannot read {text[1:]}", error.strerror or str(error), "give -d @FILE, -d TEXT or -d -"
        ) from None


def _print_request(request: "httpx.Request") -> None:
    click.echo(f"> {request.method} {request.url}", err=True)
    for name, value in request.headers.items():
        click.echo(f"> {name}: {'(not shown)' if name.lower() in _SECRET else value}", err=True)


def _pretty(answer: "httpx.Response") -> str:
    try:
        return json.dumps(answer.json(), indent=2)
    except (ValueError, RecursionError):
        return answer.text


def _reason(answer: "httpx.Response") -> str:
    try:
        found = answer.json()
        return str(found.get("detail") or found.get("code"))
    except (ValueError, AttributeError, RecursionError):
        return answer.reason_phrase
