"""`account`: list, make, deactivate and remove accounts, and set passwords."""

from typing import Any

import click

from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.names import Candidate, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column, clean
from node.cli.passwords import STDIN_HELP, read_login, read_password
from node.cli.session import Session, pass_session

Json = dict[str, Any]
ACCOUNTS, PASSWORDS = "/v1/accounts", "/v1/passwords"
_PEOPLE = frozenset({"admin", "user"})
_GONE = frozenset({"removed", "purged"})


@click.group("account", cls=Group, examples=("node account create alice", "node account ls"))
def command() -> None:
    """List, make, deactivate and remove accounts, and set passwords."""


def _passwords(session: Session) -> list[Json]:
    return [row for row in session.client.list(PASSWORDS) if row.get("state") not in _GONE]


def _rows(session: Session) -> list[Json]:
    """Return people's accounts with their logins; those of the cluster itself are nobody's."""
    logins = {row["accountId"]: row["publicValue"] for row in _passwords(session)}
    rows = [row for row in session.client.list(ACCOUNTS) if row.get("state") not in _GONE and row["kind"] in _PEOPLE]
    return [{**row, "login": logins.get(row["id"])} for row in rows]


def _find(session: Session, text: str) -> Candidate:
    rows = [
        Candidate(row, tuple(dict.fromkeys(str(each) for each in (row["login"], row.get("name"), row["id"]) if each)))
        for row in _rows(session)
    ]
    return pick(rows, text, "account")


@command.command("ls", examples=("node account ls", "node account ls --filter kind=admin --json"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List accounts with their logins."""
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("LOGIN", lambda row: row["login"]),
        Column("NAME", lambda row: row.get("name")),
        Column("KIND", lambda row: row["kind"]),
        Column("STATE", lambda row: row["state"], is_state=True),
        age_column(),
    ]
    session.printer.rows(columns, _rows(session))


@command.command(
    "create",
    examples=("node account create alice", "node account create bob --admin --password-stdin < password"),
)
@click.argument("login")
@click.option("--name", metavar="NAME", help="The person's name; the login unless said.")
@click.option("--admin", is_flag=True, help="An administrator of the whole cluster.")
@click.option("--password-stdin", is_flag=True, help=STDIN_HELP)
@wait_options()
@reach_options()
@pass_session
def create(session: Session, login: str, name: str | None, admin: bool, password_stdin: bool) -> None:
    """Make an account that logs in as LOGIN."""
    login = read_login(login)
    if any(str(row["publicValue"]).lower() == login.lower() for row in _passwords(session)):
        raise CliError(f"somebody logs in as {clean(login)} already", None, "see `node account ls`")
    password = read_password(f"Password of {clean(login)}", from_stdin=password_stdin, is_new=True)
    made = session.client.post(ACCOUNTS, {"kind": "admin" if admin else "user", "name": name or login})
    try:
        session.client.post(PASSWORDS, {"accountId": made["id"], "publicValue": login, "secretValue": password})
    except CliError:
        session.note(f"account {made['id']} is removed again: it could not get a password")
        session.client.delete(f"{ACCOUNTS}/{made['id']}")
        raise
    session.printer.one({**made, "login": login}, f"{made['id']}  {clean(login)}")


@command.command("inspect", examples=("node account inspect alice", "node account inspect 1a7 --format '{{.kind}}'"))
@click.argument("account")
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, account: str) -> None:
    """Print all there is to know about an account, as JSON."""
    session.printer.one(_find(session, account).row)


@command.command("activate", examples=("node account activate alice", "node account activate 1a7"))
@click.argument("account")
@wait_options()
@reach_options()
@pass_session
def activate(session: Session, account: str) -> None:
    """Let an account act again."""
    _turn(session, account, "activate", "active")


@command.command("deactivate", examples=("node account deactivate alice", "node account deactivate 1a7"))
@click.argument("account")
@wait_options()
@reach_options()
@pass_session
def deactivate(session: Session, account: str) -> None:
    """Refuse an account everywhere, its sessions and keys too, until it is activated."""
    _turn(session, account, "deactivate", "inactive")


def _turn(session: Session, account: str, action: str, state: str) -> None:
    found = _find(session, account)
    if found.row["state"] == state:
        session.note(f"{clean(found.names[0])} is {state}: nothing to do")
        session.printer.one(found.row, f"{action}d {clean(found.names[0])}")
        return
    changed = session.client.post(f"{ACCOUNTS}/{found.id}/?action={action}")
    session.printer.one(changed, f"{action}d {clean(found.names[0])}")


@command.command("rm", examples=("node account rm alice", "node account rm 1a7 --yes"))
@click.argument("account")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, account: str, yes: bool) -> None:
    """Remove an account with its password, keys, sessions and memberships."""
    found = _find(session, account)
    session.confirm(f"Remove account {clean(found.names[0])} ({found.id})?", yes=yes)
    session.client.delete(f"{ACCOUNTS}/{found.id}")
    session.printer.one(found.row, f"removed {clean(found.names[0])}")


@command.command(
    "passwd", examples=("node account passwd alice", "node account passwd alice --password-stdin < password")
)
@click.argument("login")
@click.option(
    "--password-stdin", is_flag=True, help="Read lines of standard input: your own old password, the new one."
)
@reach_options()
@pass_session
def passwd(session: Session, login: str, password_stdin: bool) -> None:
    """Set the password of LOGIN, which ends its sessions.

    Who is logged in and changes their own is asked for the old one first; an administrator sets another's without.
    """
    rows = [Candidate(row, (str(row["publicValue"]),)) for row in _passwords(session)]
    row = pick(rows, login, "account").row
    name, old = clean(str(row["publicValue"])), ""
    if _is_own(session, row):
        old = read_password(f"Old password of {name}", from_stdin=password_stdin)
    new = read_password(f"New password of {name}", from_stdin=password_stdin, is_new=True)
    # Whose old password is not compared has to send one all the same.
    body = {"oldSecret": old or "-", "newSecret": new}
    session.client.post(f"{PASSWORDS}/{row['id']}/?action=changesecret", body)
    click.echo(f"changed the password of {name}")


def _is_own(session: Session, row: Json) -> bool:
    if session.target.session is None:
        return False
    return any(each.get("externalId") == row["accountId"] for each in session.client.list("/v1/identities"))
