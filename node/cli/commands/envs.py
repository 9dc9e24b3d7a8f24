"""`env`: list, make, choose and remove environments, which the API calls projects."""

from dataclasses import replace
from typing import Any

import click

from node.cli import contexts
from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.names import GONE, Candidate, candidates_of, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column
from node.cli.session import Session, pass_session

Json = dict[str, Any]


@click.group("env", cls=Group, examples=("node env ls", "node env use test"))
def command() -> None:
    """List, make, choose and remove environments."""


def _rows(session: Session) -> list[Json]:
    return [row for row in session.client.list("/v1/projects", all="true") if row.get("state") not in GONE]


def _find(session: Session, text: str) -> Candidate:
    return pick(candidates_of(_rows(session)), text, "environment")


@command.command("ls", examples=("node env ls", "node env ls --format '{{.id}} {{.name}}'"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List environments; * marks the one that commands work in."""
    rows = _rows(session)
    current = session.environment["id"] if rows else None
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: f"{row.get('name') or row['id']}{' *' if row['id'] == current else ''}"),
        Column("STATE", lambda row: row["state"], is_state=True),
        age_column(),
    ]
    session.printer.rows(columns, rows)


@command.command("create", examples=("node env create test", 'node env create test --description "try things here"'))
@click.argument("name")
@click.option("--description", help="What it is for.")
@wait_options()
@reach_options()
@pass_session
def create(session: Session, name: str, description: str | None) -> None:
    """Make an environment; hosts join it with a token of its own."""
    if not name.strip() or len(name) > 255:
        raise click.UsageError("an environment needs a name, of 255 characters at the most")
    body = {"name": name} | ({"description": description} if description else {})
    made = session.client.post("/v1/projects", body)
    session.printer.one(made, f"{made['id']}  {name}")


@command.command("inspect", examples=("node env inspect dev", "node env inspect dev --format '{{.id}}'"))
@click.argument("environment_name", metavar="NAME")
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, environment_name: str) -> None:
    """Print all there is to know about an environment, as JSON."""
    session.printer.one(_find(session, environment_name).row)


@command.command("rename", examples=("node env rename Default dev", "node env rename 1a5 dev"))
@click.argument("environment_name", metavar="NAME")
@click.argument("new_name")
@wait_options()
@reach_options()
@pass_session
def rename(session: Session, environment_name: str, new_name: str) -> None:
    """Give an environment another name."""
    found = _find(session, environment_name)
    changed = session.client.put(f"/v1/projects/{found.id}", {"name": new_name})
    session.printer.one(changed, f"{found.id}  {new_name}")


@command.command("use", examples=("node env use test", "node env use dev --context lab"))
@click.argument("environment_name", metavar="NAME")
@reach_options()
@pass_session
def use(session: Session, environment_name: str) -> None:
    """Have commands work in an environment from now on."""
    found = _find(session, environment_name)
    name, target = found.names[0], session.target
    chosen = next((each for each in session.saved.contexts if target.why == f"context {each.name}"), None)
    if chosen is not None:
        saved = session.saved.put(replace(chosen, environment=name))
    elif target.socket is not None:
        saved = replace(session.saved, local_environment=name)
    else:
        why = f"{target.base} comes from {target.why}, not from a saved context"
        raise CliError("there is nowhere to remember this", why, "save it with `node ctx add`, or set CORRAL_ENV")
    contexts.save(contexts.config_file(session.variables), saved)
    click.echo(f"commands work in {name} ({found.id}) from now on")


@command.command("rm", examples=("node env rm test", "node env rm test --yes"))
@click.argument("environment_name", metavar="NAME")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, environment_name: str, yes: bool) -> None:
    """Remove an environment with its stacks, services and containers."""
    found = _find(session, environment_name)
    session.confirm(f"Remove environment {found.names[0]} and all that runs in it?", yes=yes)
    session.client.delete(f"/v1/projects/{found.id}")
    session.printer.one(found.row, f"removed {found.names[0]}")
