"""`apikey`: make, list and remove API keys; a secret is shown once."""

from typing import Any

import click

from node.cli.lazy import Group
from node.cli.names import Candidate, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column
from node.cli.session import Session, pass_session

Json = dict[str, Any]


@click.group("apikey", cls=Group, examples=("node apikey create ci --env dev", "node apikey ls"))
def command() -> None:
    """Make, list and remove API keys."""


@command.command("create", examples=("node apikey create ci --env dev", "node apikey create root --admin --json"))
@click.argument("name")
@click.option("--admin", is_flag=True, help="A key for the whole cluster, not of one environment.")
@click.option("--description", help="What it is for.")
@one_options()
@reach_options()
@pass_session
def create(session: Session, name: str, admin: bool, description: str | None) -> None:
    """Make a key of the environment, and print it; the secret is shown this once."""
    body = {"name": name} | ({"description": description} if description else {})
    made = session.client.post("/v1/apikeys" if admin else session.path("apikey"), body)
    if session.settings.template is None and not session.settings.json:
        session.note("the secret key is shown this once; the cluster keeps only its hash")
    session.printer.one(made, f"access key  {made['publicValue']}\nsecret key  {made['secretValue']}")


@command.command("ls", examples=("node apikey ls", "node apikey ls --admin --json"))
@click.option("--admin", is_flag=True, help="Those of the whole cluster and of every environment.")
@list_options()
@reach_options()
@pass_session
def ls(session: Session, admin: bool) -> None:
    """List the API keys of the environment."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: row.get("name")),
        Column("ACCESS KEY", lambda row: row["publicValue"]),
        Column("OWNER", lambda row: row.get("accountId")),
        Column("STATE", lambda row: row["state"], is_state=True),
        age_column(),
    ]
    session.printer.rows(columns, _rows(session, admin=admin))


def _rows(session: Session, *, admin: bool) -> list[Json]:
    if not admin:
        return session.list("apikey")
    return [row for row in session.client.list("/v1/apikeys") if row["state"] != "removed"]


@command.command("rm", examples=("node apikey rm ci", "node apikey rm root --admin"))
@click.argument("key", metavar="NAME|ID|ACCESS-KEY")
@click.option("--admin", is_flag=True, help="Look among those of the whole cluster.")
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, key: str, admin: bool) -> None:
    """Remove a key: whoever uses it is refused at once."""
    rows = [
        Candidate(row, (str(row.get("name") or row["id"]), str(row["publicValue"])))
        for row in _rows(session, admin=admin)
    ]
    found = pick(rows, key, "apikey", "" if admin else session.where)
    session.client.delete(f"/v1/apikeys/{found.id}" if admin else session.path("apikey", found.id))
    session.printer.one(found.row, f"removed {found.names[0]}")
