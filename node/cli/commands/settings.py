"""`setting`: settings of the cluster, those set and the defaults."""

from typing import Any

import click

from node.cli.lazy import Group
from node.cli.names import Candidate, NoSuch, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, clean
from node.cli.session import Session, pass_session

Json = dict[str, Any]
SETTINGS = "/v1/settings"


@click.group("setting", cls=Group, examples=("node setting ls", "node setting set api.host http://h1:8080"))
def command() -> None:
    """List, show and set the cluster's settings."""


def _find(session: Session, name: str) -> Candidate:
    """Return a setting by its whole name: the beginning of one is not enough to change it."""
    rows = [Candidate(row, (str(row["name"]),)) for row in session.client.list(SETTINGS)]
    found = pick(rows, name, "setting")
    if name not in (found.id, *found.names):
        raise NoSuch(f"no setting {clean(name[:100])!r}", None, f"did you mean {clean(found.names[0])}?")
    return found


@command.command("ls", examples=("node setting ls", "node setting ls --json"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List settings: what counts, and whether somebody has set it."""
    columns = [
        Column("NAME", lambda row: row["name"], is_whole=True),
        Column("VALUE", lambda row: row.get("activeValue")),
        Column("SOURCE", lambda row: row.get("source")),
    ]
    session.printer.rows(columns, session.client.list(SETTINGS))


@command.command("get", examples=("node setting get api.host", "node setting get help.enabled --json"))
@click.argument("name")
@one_options()
@reach_options()
@pass_session
def get(session: Session, name: str) -> None:
    """Print what counts of a setting."""
    row = _find(session, name).row
    session.printer.one(row, clean(str(row.get("activeValue") or "")))


@command.command("set", examples=("node setting set api.host http://h1:8080", "node setting set api.host --default"))
@click.argument("name")
@click.argument("value", required=False)
@click.option("--default", "is_default", is_flag=True, help="Go back to the default.")
@wait_options()
@reach_options()
@pass_session
def set_(session: Session, name: str, value: str | None, is_default: bool) -> None:
    """Set NAME to VALUE, on every host of the cluster."""
    if (value is None) != is_default:
        raise click.UsageError("give a value, or say --default")
    if is_default:
        row = _find(session, name).row
        session.client.delete(f"{SETTINGS}/{row['name']}")
        session.printer.one(row, f"{clean(name)} has its default again")
        return
    made = session.client.post(SETTINGS, {"name": name, "value": value})
    session.printer.one(made, f"{clean(name)} is set")
