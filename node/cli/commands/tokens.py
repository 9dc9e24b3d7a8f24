"""`token`: make, list and rotate the tokens that hosts join an environment with."""

import time
from typing import Any

import click

from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column, parse_span
from node.cli.session import Session, pass_session

Json = dict[str, Any]


@click.group("token", cls=Group, examples=("node token create --env dev", "node token rotate"))
def command() -> None:
    """Make, list and rotate the tokens that hosts join with."""


def _make(session: Session, expires: str | None) -> Json:
    body: Json = {}
    if expires is not None:
        seconds = parse_span(expires)
        fields = session.client.get(f"{session.scope}/schemas/registrationtoken").get("resourceFields") or {}
        if not (fields.get("expires") or {}).get("create"):
            why = "its API has no such field, and would make one that never ends"
            raise CliError(
                "this cluster makes no tokens that expire", why, "make one without, and `node token rotate` later"
            )
        body["expires"] = int((time.time() + seconds) * 1000)
    return session.client.post(session.path("token"), body)


def _show(session: Session, made: Json) -> None:
    url, token = str(made.get("registrationUrl") or "").partition("/v1/scripts/")[0], str(made.get("token"))
    command = f"node join {url} --token {token}" if url else str(made.get("command") or token)
    if session.settings.template is None and not session.settings.json and not session.settings.quiet:
        session.note(f"shown this once; on a host that is to join{session.where}:")
    session.printer.one({**made, "id": made["token"] if session.settings.quiet else made["id"]}, command)


@command.command(
    "create", examples=("node token create --env dev", "node token create --expires 24h --format '{{.token}}'")
)
@click.option("--expires", metavar="SPAN", help="How long it is good for, as 30m, 24h or 7d; for ever if not said.")
@one_options()
@click.option("--quiet", "-q", is_flag=True, help="Print the token only.")
@reach_options()
@pass_session
def create(session: Session, expires: str | None, quiet: bool) -> None:
    """Make a join token, and print the command that joins a host with it."""
    made = _make(session, expires)
    if quiet:
        click.echo(made["token"])
        return
    _show(session, made)


@command.command("ls", examples=("node token ls", "node token ls --env test --json"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List join tokens; their secrets are kept nowhere."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("STATE", lambda row: row["state"], is_state=True),
        Column("EXPIRES", lambda row: row.get("expires")),
        age_column(),
    ]
    session.printer.rows(columns, session.list("token"))


@command.command("rotate", examples=("node token rotate", "node token rotate --env test"))
@click.option("--expires", metavar="SPAN", help="How long the new one is good for.")
@wait_options()
@reach_options()
@pass_session
def rotate(session: Session, expires: str | None) -> None:
    """Make a new join token, then have all older ones of the environment refused."""
    old = [row for row in session.list("token") if row["state"] == "active"]
    made = _make(session, expires)
    for row in old:
        session.act("token", row["id"], "deactivate")
    session.note(f"{len(old)} older token{'s are' if len(old) != 1 else ' is'} refused from now on")
    _show(session, made)
