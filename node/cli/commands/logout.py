"""`logout`: end the session that `login` has begun, at every node, and forget it."""

from dataclasses import replace

import click

from node.cli import contexts
from node.cli.errors import CliError
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.session import Session, pass_session


@click.command("logout", cls=Command, examples=("node logout", "node logout --context lab"))
@reach_options()
@pass_session
def command(session: Session) -> None:
    """End the session of the chosen context, at every node, and forget it."""
    from node.cli.client import ApiFailure

    context = session.context
    if context.session is None:
        click.echo(f"nobody is logged in to {context.name}")
        return
    if session.target.session is None:
        why = f"--access-key or a variable chooses a key for {context.name}"
        raise CliError("the session would not be used", why, "leave the key out")
    try:
        session.client.delete("/v1/token")
    except ApiFailure as failure:
        if failure.status != 401:
            raise
        session.note("the session was over already")
    path = contexts.config_file(session.variables)
    contexts.save(path, contexts.load(path).put(replace(context, session=None)))
    click.echo(f"logged out of {context.name}")
