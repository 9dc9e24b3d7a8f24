"""`login`: log in to the chosen context's cluster; the session is kept with the context and never printed."""

from dataclasses import replace
from typing import Any

import click

from node.cli import contexts
from node.cli.errors import CliError
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.output import clean
from node.cli.passwords import STDIN_HELP, read_login, read_password
from node.cli.session import Session, pass_session


@click.command(
    "login", cls=Command, examples=("node login alice", "node login alice --context lab --password-stdin < password")
)
@click.argument("login", required=False)
@click.option("--password-stdin", is_flag=True, help=STDIN_HELP)
@reach_options()
@pass_session
def command(session: Session, login: str | None, password_stdin: bool) -> None:
    """Log in as LOGIN; commands with the context act as that account for 16 hours, or until `node logout`."""
    context = session.context
    told = dict((session.client.get("/v1/token").get("data") or [{}])[0])
    if not told.get("enabled"):
        why = "nobody can log in there yet: `node access-control status` says who gets in"
        raise CliError(f"{session.target.place} has no logins", why)
    login = read_login(login)
    password = read_password(f"Password of {login}", from_stdin=password_stdin)
    made = _log_in(session, login, password)
    path = contexts.config_file(session.variables)
    contexts.save(path, contexts.load(path).put(replace(context, session=str(made["jwt"]))))
    click.echo(f"logged in to {context.name} ({context.url}) as {clean(str(made.get('user') or login))}")


def _log_in(session: Session, login: str, password: str) -> dict[str, Any]:
    from node.cli.client import ApiFailure

    try:
        return session.client.post("/v1/token", {"code": f"{login}:{password}"})
    except ApiFailure as failure:
        if failure.status != 401:
            raise
        raise CliError(f"{session.target.place} refuses the login", failure.why) from None
