"""`version`: of this program and, where a cluster can be reached, of every node; warns when they differ."""

import json
from typing import Any

import click

from node.cli.errors import CliError
from node.cli.lazy import Command
from node.cli.options import one_options, reach_options
from node.cli.output import Column, render_table
from node.cli.session import CLUSTER, Session, pass_session
from node.config import VERSION

Json = dict[str, Any]


@click.command("version", cls=Command, examples=("node version", "node version --json"))
@click.option("--client", "only_client", is_flag=True, help="Of this program only.")
@one_options()
@reach_options()
@pass_session
def command(session: Session, only_client: bool) -> None:
    """Show the version of this program and of every node."""
    nodes, why = ([], None) if only_client else _nodes(session)
    found = {"client": VERSION, "nodes": nodes}
    if session.settings.template is not None:
        session.printer.one(found)
        return
    if session.settings.json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"client  {VERSION}")
    if nodes:
        columns = [Column("NODE", lambda row: row["name"]), Column("VERSION", lambda row: row["version"])]
        click.echo(f"\n{render_table(columns, nodes)}")
    elif why is not None:
        session.note(f"nodes are not asked: {why}")
    versions = {node["version"] for node in nodes if node["version"]} | {VERSION}
    if len(versions) > 1:
        session.note(f"versions differ ({', '.join(sorted(versions))}): bring all hosts to the same release")


def _nodes(session: Session) -> tuple[list[Json], str | None]:
    try:
        members = session.client.get(CLUSTER).get("members") or []
    except CliError as error:
        return [], error.message
    return [{"name": each.get("hostName") or each["nodeId"], "version": each.get("version")} for each in members], None
