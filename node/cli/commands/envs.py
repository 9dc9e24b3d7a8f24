"""`env`: list, make, choose and remove environments, which the API calls projects, and choose their members."""

import re
from dataclasses import replace
from typing import Any

import click

from node.cli import contexts
from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.names import GONE, Candidate, candidates_of, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column, clean
from node.cli.session import Session, pass_session

Json = dict[str, Any]
ROLES = ("owner", "member", "restricted", "readonly")
ACCOUNT_TYPE = "rancher_id"
"""What the API calls an identity that is an account of the cluster."""
_ACCOUNT_ID = re.compile(r"1a[1-9][0-9]{0,18}\Z")


@click.group("env", cls=Group, examples=("node env ls", "node env use test"))
def command() -> None:
    """List, make, choose and remove environments, and choose their members."""


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


def _member_rows(session: Session, environment_id: str) -> list[Json]:
    rows = session.client.list(f"/v1/projects/{environment_id}/projectmembers")
    return [
        {**row, "login": _login_of(session, row["externalIdType"], row["externalId"])}
        for row in rows
        if row.get("state") not in GONE
    ]


def _login_of(session: Session, kind: str, external_id: str) -> str | None:
    """Return a member's login; the account may be gone."""
    from node.cli.client import ApiFailure

    try:
        return str(session.client.get(f"/v1/identities/{kind}:{external_id}")["login"])
    except ApiFailure as failure:
        if failure.status != 404:
            raise
        return None


def _find_identity(session: Session, text: str) -> Json:
    """Return the account that is meant, by its whole login or id."""
    if _ACCOUNT_ID.match(text):
        return session.client.get(f"/v1/identities/{ACCOUNT_TYPE}:{text}")
    found = [each for each in session.client.list("/v1/identities", name=text) if each["login"].lower() == text.lower()]
    if len(found) != 1:
        raise CliError(f"no account logs in as {clean(text[:100])!r}", None, "see `node account ls`")
    return found[0]


def _set_members(session: Session, environment_id: str, rows: list[Json]) -> None:
    """Replace the members as the API does: all of them at once."""
    wanted = [{key: row[key] for key in ("externalId", "externalIdType", "role")} for row in rows]
    session.client.post(f"/v1/projects/{environment_id}/?action=setmembers", {"members": wanted})


@command.command("members", examples=("node env members dev", "node env members dev --json"))
@click.argument("environment_name", metavar="NAME")
@list_options()
@reach_options()
@pass_session
def members(session: Session, environment_name: str) -> None:
    """List the members of an environment and their roles."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("ACCOUNT", lambda row: row["externalId"]),
        Column("LOGIN", lambda row: row["login"]),
        Column("ROLE", lambda row: row["role"]),
        Column("STATE", lambda row: row["state"], is_state=True),
    ]
    session.printer.rows(columns, _member_rows(session, _find(session, environment_name).id))


@command.command("add-member", examples=("node env add-member dev alice", "node env add-member dev alice --role owner"))
@click.argument("environment_name", metavar="NAME")
@click.argument("login", metavar="LOGIN|ID")
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True, help="What they may do there.")
@reach_options()
@pass_session
def add_member(session: Session, environment_name: str, login: str, role: str) -> None:
    """Make an account a member of an environment, or give a member another role."""
    found, who = _find(session, environment_name), _find_identity(session, login)
    rows = [row for row in _member_rows(session, found.id) if not _is(row, who)]
    added = {"externalId": who["externalId"], "externalIdType": who["externalIdType"], "role": role}
    _set_members(session, found.id, [*rows, added])
    click.echo(f"{clean(who['login'])} is {role} of {clean(found.names[0])}")


@command.command("rm-member", examples=("node env rm-member dev alice", "node env rm-member dev 1a7"))
@click.argument("environment_name", metavar="NAME")
@click.argument("login", metavar="LOGIN|ID")
@reach_options()
@pass_session
def rm_member(session: Session, environment_name: str, login: str) -> None:
    """Take an account's membership of an environment away."""
    found, who = _find(session, environment_name), _find_identity(session, login)
    rows = _member_rows(session, found.id)
    kept = [row for row in rows if not _is(row, who)]
    if len(kept) == len(rows):
        why = f"see `node env members {found.names[0]}`"
        raise CliError(f"{clean(who['login'])} is no member of {clean(found.names[0])}", None, why)
    if not any(row["role"] == "owner" for row in kept):
        try_ = f"make another one an owner first: `node env add-member {clean(found.names[0])} LOGIN --role owner`"
        raise CliError(f"{clean(found.names[0])} needs an owner", f"{clean(who['login'])} is the last one", try_)
    _set_members(session, found.id, kept)
    click.echo(f"{clean(who['login'])} is no member of {clean(found.names[0])} any more")


def _is(row: Json, who: Json) -> bool:
    return (row["externalIdType"], row["externalId"]) == (who["externalIdType"], who["externalId"])
