"""`host`: list, inspect, label, deactivate, activate and remove hosts."""

from collections.abc import Sequence
from typing import Any

import click

from node.cli.completing import complete_names
from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column, pluck
from node.cli.session import Session, pass_session
from node.cli.waiting import Goal, wait_for

Json = dict[str, Any]


@click.group("host", cls=Group, examples=("node host ls", "node host label h1 zone=a"))
def command() -> None:
    """List, label, deactivate and remove hosts."""


def _state_of(row: Json) -> str:
    """Return the host's state, or its node's where that says more, as people of Rancher know it."""
    agent = row.get("agentState")
    return str(agent if agent not in (None, "active") and row["state"] == "active" else row["state"])


def _info(row: Json, path: str) -> object:
    try:
        return pluck(row.get("info") or {}, path)
    except KeyError:
        return None


def _docker_of(row: Json) -> str:
    return str(_info(row, "osInfo.dockerVersion") or "").removeprefix("Docker version ").partition(",")[0]


def _labels_of(row: Json) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((row.get("labels") or {}).items()))


@command.command("ls", examples=("node host ls", "node host ls --filter labels.zone=a -q"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List the hosts of the environment."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: row.get("name") or row.get("hostname")),
        Column("STATE", _state_of, is_state=True),
        Column("ADDRESS", lambda row: row.get("agentIpAddress")),
        Column("CONTAINERS", lambda row: sum(each["state"] == "running" for each in row.get("instances") or ())),
        Column("SUBNET", lambda row: row.get("overlaySubnet")),
        Column("DOCKER", _docker_of),
        Column("VERSION", lambda row: _info(row, "corral.version")),
        Column("LABELS", _labels_of),
        age_column(),
    ]
    session.printer.rows(columns, session.list("host", include="instances"))


@command.command("inspect", examples=("node host inspect h1", "node host inspect h1 --format '{{.agentIpAddress}}'"))
@click.argument("host", shell_complete=complete_names("host"))
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, host: str) -> None:
    """Print all there is to know about a host, as JSON."""
    session.printer.one(session.find("host", host).row)


def change_labels(labels: dict[str, str], changes: Sequence[str]) -> dict[str, str]:
    """Return labels after `key=value` and `key-` changes."""
    changed = dict(labels)
    for text in changes:
        key, equals, value = text.partition("=")
        if equals and key:
            changed[key] = value
        elif text.endswith("-") and len(text) > 1:
            changed.pop(text[:-1], None)
        else:
            raise click.UsageError(f"write KEY=VALUE to set a label and KEY- to take it away, not {text!r}")
    return changed


@command.command("label", examples=("node host label h1 zone=a disk=ssd", "node host label h1 disk-"))
@click.argument("host", shell_complete=complete_names("host"))
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@wait_options()
@reach_options()
@pass_session
def label(session: Session, host: str, changes: tuple[str, ...]) -> None:
    """Set labels of a host with KEY=VALUE, take them away with KEY-."""
    found = session.find("host", host)
    labels = change_labels(found.row.get("labels") or {}, changes)
    changed = session.client.put(session.path("host", found.id), {"labels": labels})
    session.printer.one(changed, f"{found.names[0]}  {_labels_of(changed) or '(no labels)'}")


def _act(session: Session, hosts: Sequence[str], action: str, done: str) -> None:
    found = [session.find("host", each) for each in hosts]
    for each in found:
        if action in (each.row.get("actions") or {}):
            session.act("host", each.id, action)
        else:
            session.note(f"{each.names[0]} is {each.row['state']}: nothing to do")
    wait_for(session, [Goal("host", each.names[0], each.id) for each in found])
    for each in found:
        session.printer.one(each.row, f"{done} {each.names[0]}")


@command.command("deactivate", examples=("node host deactivate h2", "node host deactivate h2 h3"))
@click.argument("hosts", nargs=-1, required=True, shell_complete=complete_names("host"))
@wait_options()
@reach_options()
@pass_session
def deactivate(session: Session, hosts: tuple[str, ...]) -> None:
    """Have hosts take no new containers; those they have go on."""
    _act(session, hosts, "deactivate", "deactivated")


@command.command("activate", examples=("node host activate h2", "node host activate h2 h3"))
@click.argument("hosts", nargs=-1, required=True, shell_complete=complete_names("host"))
@wait_options()
@reach_options()
@pass_session
def activate(session: Session, hosts: tuple[str, ...]) -> None:
    """Have hosts take containers again."""
    _act(session, hosts, "activate", "activated")


@command.command("rm", examples=("node host rm h3", "node host rm h3 --force --yes"))
@click.argument("host", shell_complete=complete_names("host"))
@click.option("--force", is_flag=True, help="Deactivate it first if need be.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, host: str, force: bool, yes: bool) -> None:
    """Remove a host from the cluster, for one that will not come back; `leave` on the host itself is better."""
    found = session.find("host", host)
    name = found.names[0]
    if found.row["state"] == "active" and not force:
        raise CliError(
            f"{name} is active", "only a deactivated host is removed", f"`node host deactivate {name}`, or --force"
        )
    session.confirm(f"Remove {name}{session.where}, and its containers from the cluster?", yes=yes)
    if found.row["state"] == "active":
        session.act("host", found.id, "deactivate")
    session.client.delete(session.path("host", found.id))
    wait_for(session, [Goal("host", name, found.id, is_removal=True)])
    session.printer.one(found.row, f"removed {name}")
