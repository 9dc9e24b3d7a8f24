"""`access-control`: whether the API asks who is calling; turning that on with a first login, and off again."""

from typing import Any

import click

from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.options import one_options, reach_options
from node.cli.output import clean, paint
from node.cli.passwords import STDIN_HELP, read_login, read_password
from node.cli.session import CLUSTER, Session, open_alarms, pass_session

Json = dict[str, Any]
LOCAL = "/v1/localauthconfig"


@click.group(
    "access-control", cls=Group, examples=("node access-control status", "node access-control enable --login root")
)
def command() -> None:
    """Show, turn on or turn off the logins and keys that the API asks for."""


def _login_state(session: Session) -> Json:
    return dict((session.client.get("/v1/token").get("data") or [{}])[0])


@command.command("status", examples=("node access-control status", "node access-control status --json"))
@one_options()
@reach_options()
@pass_session
def status(session: Session) -> None:
    """Show whether the API asks who is calling, and whether people can log in."""
    found = _login_state(session)
    shown = {
        "accessControl": "closed" if found.get("security") else "open",
        "logins": bool(found.get("enabled")),
        "provider": found.get("authProvider"),
    }
    session.printer.one(shown, _render(shown, colour=session.printer.colour))


def _render(shown: Json, *, colour: bool) -> str:
    alarms = [paint(text, "alarm") if colour else f"!! {text}" for text in open_alarms(shown)]
    if alarms:
        return "\n".join(["access control is off", *alarms])
    if shown["logins"]:
        return f"access control is on: by login ({clean(str(shown['provider']))}) and by key"
    return "access control is on: by key; nobody can log in until `node access-control enable` has made a login"


@command.command(
    "enable",
    examples=(
        "node access-control enable --login root",
        "node access-control enable --login root --password-stdin < password",
    ),
)
@click.option("--login", metavar="LOGIN", help="Login of the first administrator; asked for if not given.")
@click.option("--name", metavar="NAME", help="The administrator's name; the login unless said.")
@click.option("--password-stdin", is_flag=True, help=STDIN_HELP)
@reach_options()
@pass_session
def enable(session: Session, login: str | None, name: str | None, password_stdin: bool) -> None:
    """Make the first administrator's login, and have the API ask everybody who they are.

    API keys stay as they are.  Root on a host of the cluster needs neither login nor key there.
    """
    if _login_state(session).get("enabled"):
        raise CliError("access control is on already, and people can log in", None, "see `node access-control status`")
    login = read_login(login)
    password = read_password(f"Password of {login}", from_stdin=password_stdin, is_new=True)
    body = {"enabled": True, "accessMode": "unrestricted", "username": login, "name": name or login}
    session.client.post(LOCAL, {**body, "password": password})
    click.echo(f"access control is on; {clean(login)} administers the cluster")


@command.command("disable", examples=("node access-control disable", "node access-control disable --yes"))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@reach_options()
@pass_session
def disable(session: Session, yes: bool) -> None:
    """Let everybody who reaches the API administer the cluster; accounts and keys are kept."""
    if session.client.get(CLUSTER).get("accessControl") == "open":
        click.echo("access control is off already")
        return
    question = "Turn access control off? Whoever reaches the API of any host then administers the cluster"
    session.confirm(question, yes=yes)
    session.client.post(LOCAL, {"enabled": False})
    click.echo("access control is off: whoever reaches the API administers this cluster")
