"""`stack`: list, make, inspect and remove stacks."""

import click

from node.cli.completing import complete_names
from node.cli.inputs import check_name
from node.cli.lazy import Group
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column
from node.cli.session import Session, pass_session
from node.cli.waiting import Goal, wait_for


@click.group("stack", cls=Group, examples=("node stack ls", "node stack create web"))
def command() -> None:
    """List, make and remove stacks: services that belong together."""


@command.command("ls", examples=("node stack ls", "node stack ls --filter state=active -q"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List the stacks of the environment."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: row["name"]),
        Column("STATE", lambda row: row["state"], is_state=True),
        Column("SERVICES", lambda row: len(row.get("services") or ())),
        age_column(),
    ]
    session.printer.rows(columns, session.list("stack", include="services"))


@command.command("create", examples=("node stack create web", 'node stack create web --description "the shop"'))
@click.argument("name")
@click.option("--description", help="What it is for.")
@wait_options()
@reach_options()
@pass_session
def create(session: Session, name: str, description: str | None) -> None:
    """Make an empty stack."""
    body = {"name": check_name(name, "stack")} | ({"description": description} if description else {})
    made = session.client.post(session.path("stack"), body)
    wait_for(session, [Goal("stack", name, made["id"])])
    session.printer.one(made, f"{made['id']}  {name}")


@command.command("inspect", examples=("node stack inspect web", "node stack inspect web --format '{{.state}}'"))
@click.argument("stack", shell_complete=complete_names("stack"))
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, stack: str) -> None:
    """Print all there is to know about a stack, as JSON."""
    session.printer.one(session.find("stack", stack).row)


@command.command("rm", examples=("node stack rm web", "node stack rm web shop --no-wait"))
@click.argument("stacks", nargs=-1, required=True, shell_complete=complete_names("stack"))
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, stacks: tuple[str, ...]) -> None:
    """Remove stacks with their services and containers; volumes stay."""
    found = [session.find("stack", each) for each in stacks]
    for each in found:
        session.client.delete(session.path("stack", each.id))
    wait_for(session, [Goal("stack", each.names[0], each.id, is_removal=True) for each in found])
    for each in found:
        session.printer.one(each.row, f"removed {each.names[0]}")
