"""`help`: of a command, and on what all commands share."""

import click

from node.cli.errors import typed
from node.cli.lazy import Command

TOPICS = {
    "exit-codes": """\
0    done
1    failed; standard error says what, why and what to try
2    wrong usage; nothing was asked of the cluster
3    accepted, but not converged within --wait-timeout; the cluster goes on with it
130  interrupted by Ctrl-C; what had been accepted goes on, and the message names it""",
    "environment": """\
CORRAL_URL, RANCHER_URL                a node's API, such as http://h1:8080
CORRAL_ACCESS_KEY, RANCHER_ACCESS_KEY  access key
CORRAL_SECRET_KEY, RANCHER_SECRET_KEY  secret key
CORRAL_ENV                             environment to work in
CORRAL_CONTEXT                         saved context to use
CORRAL_SOCKET                          unix socket of this host's node
CORRAL_TOKEN                           join token, for `node join`
NO_COLOR                               never colour

Flags win over variables, variables over the chosen context, and the context over this host's socket.""",
}


@click.command("help", cls=Command, examples=("node help service create", "node help exit-codes"))
@click.argument("words", nargs=-1, metavar="[COMMAND... | exit-codes | environment]")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show help on a command, on exit-codes or on environment."""
    if len(words) == 1 and words[0] in TOPICS:
        click.echo(typed(TOPICS[words[0]]))
        return
    here = ctx.find_root()
    found: click.Command = here.command
    for word in words:
        if not isinstance(found, click.Group):
            raise click.UsageError(f"{here.command_path} has no commands below it", ctx)
        _, inner, _ = found.resolve_command(here, [word])
        assert inner is not None
        found = inner
        here = click.Context(found, here, info_name=word)
    click.echo(found.get_help(here))
