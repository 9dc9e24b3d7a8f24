"""`container`: list, make, inspect, start, stop, restart and remove containers."""

from collections.abc import Sequence
from typing import Any

import click

from node.cli.commands.services import image_of
from node.cli.completing import complete_names
from node.cli.errors import CliError
from node.cli.inputs import check_name, launch_config, launch_options
from node.cli.lazy import Group
from node.cli.names import Candidate, candidates_of, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column
from node.cli.session import Session, pass_session
from node.cli.waiting import Goal, wait_for

Json = dict[str, Any]


@click.group("container", cls=Group, examples=("node container ls", "node container restart web_nginx_1"))
def command() -> None:
    """List, make, start, stop and remove containers."""


@command.command(
    "ls", examples=("node container ls", "node container ls --service web/nginx --filter state=running -q")
)
@click.option("--service", metavar="SERVICE", help="Only those of one service.")
@list_options()
@reach_options()
@pass_session
def ls(session: Session, service: str | None) -> None:
    """List the containers of the environment."""
    rows = session.list("container")
    if service is not None:
        found = session.find("service", service)
        own = session.client.list(f"{session.path('service', found.id)}/instances")
        ids = {row["id"] for row in own}
        rows = [row for row in rows if row["id"] in ids]
    hosts = {row["id"]: row.get("name") for row in session.list("host")}
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: row["name"]),
        Column("STATE", lambda row: row["state"], is_state=True),
        Column("IMAGE", image_of),
        Column("HOST", lambda row: hosts.get(row.get("hostId")) or row.get("hostId")),
        Column("ADDRESS", lambda row: row.get("primaryIpAddress")),
        Column("PORTS", lambda row: ", ".join(row.get("ports") or ())),
        Column("MESSAGE", _message_of, is_whole=True),
        age_column(),
    ]
    if not any(_message_of(row) for row in rows):
        columns = [column for column in columns if column.title != "MESSAGE"]
    session.printer.rows(columns, rows)


def _message_of(row: Json) -> str:
    message = row.get("transitioningMessage")
    return "" if message in (None, "In Progress") else str(message)


@command.command(
    "create",
    examples=(
        "node container create box alpine:3 --command 'sleep 1d'",
        "node container create web nginx:1.8-alpine --port 8081:80 --host h2",
    ),
)
@click.argument("name")
@click.argument("image")
@click.option("--host", metavar="HOST", help="The host it is to run on.")
@launch_options()
@wait_options()
@reach_options(env=False)
@pass_session
def create(session: Session, /, name: str, image: str, host: str | None, no_start: bool, **launch: Any) -> None:
    """Make a container of IMAGE that belongs to no service."""
    body = {"name": check_name(name, "container"), "startOnCreate": not no_start, **launch_config(image, **launch)}
    if host is not None:
        body["requestedHostId"] = session.find("host", host).id
    made = session.client.post(session.path("container"), body)
    wait_for(session, [Goal("container", name, made["id"])])
    session.printer.one(made, f"{made['id']}  {name}")


@command.command(
    "inspect", examples=("node container inspect web_nginx_1", "node container inspect 1i5 --format '{{.state}}'")
)
@click.argument("container", shell_complete=complete_names("container"))
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, container: str) -> None:
    """Print all there is to know about a container, as JSON."""
    session.printer.one(session.find("container", container).row)


def _find_all(session: Session, texts: Sequence[str]) -> list[Candidate]:
    rows = candidates_of(session.list("container"))
    return [pick(rows, text, "container", session.where) for text in texts]


def _act(session: Session, containers: Sequence[str], action: str, done: str) -> None:
    found = _find_all(session, containers)
    for each in found:
        if action in (each.row.get("actions") or {}):
            session.act("container", each.id, action)
        elif action == "restart":
            raise CliError(
                f"{each.names[0]} is {each.row['state']}", "only a running one is restarted", "`node container start`"
            )
        else:
            session.note(f"{each.names[0]} is {each.row['state']}: nothing to do")
    wait_for(session, [Goal("container", each.names[0], each.id) for each in found])
    for each in found:
        session.printer.one(each.row, f"{done} {each.names[0]}")


@command.command("start", examples=("node container start box", "node container start box web --no-wait"))
@click.argument("containers", nargs=-1, required=True, shell_complete=complete_names("container"))
@wait_options()
@reach_options()
@pass_session
def start(session: Session, containers: tuple[str, ...]) -> None:
    """Start containers that were stopped."""
    _act(session, containers, "start", "started")


@command.command("stop", examples=("node container stop box", "node container stop box web --no-wait"))
@click.argument("containers", nargs=-1, required=True, shell_complete=complete_names("container"))
@wait_options()
@reach_options()
@pass_session
def stop(session: Session, containers: tuple[str, ...]) -> None:
    """Stop containers."""
    _act(session, containers, "stop", "stopped")


@command.command("restart", examples=("node container restart box", "node container restart web_nginx_1 web_nginx_2"))
@click.argument("containers", nargs=-1, required=True, shell_complete=complete_names("container"))
@wait_options()
@reach_options()
@pass_session
def restart(session: Session, containers: tuple[str, ...]) -> None:
    """Stop and start containers."""
    _act(session, containers, "restart", "restarted")


@command.command("rm", examples=("node container rm box", "node container rm box web --no-wait"))
@click.argument("containers", nargs=-1, required=True, shell_complete=complete_names("container"))
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, containers: tuple[str, ...]) -> None:
    """Stop and remove containers; a service makes those it wants anew."""
    found = _find_all(session, containers)
    for each in found:
        session.client.delete(session.path("container", each.id))
    wait_for(session, [Goal("container", each.names[0], each.id, is_removal=True) for each in found])
    for each in found:
        session.printer.one(each.row, f"removed {each.names[0]}")
