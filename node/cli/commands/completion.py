"""`completion`: the script that teaches a shell this program's commands and options."""

import click
from click.shell_completion import get_completion_class

from node.cli.errors import CliError, program
from node.cli.lazy import Command

_WHERE = {
    "bash": "~/.bashrc: source <(node completion bash)",
    "zsh": "~/.zshrc: source <(node completion zsh)",
    "fish": "node completion fish > ~/.config/fish/completions/node.fish",
}


@click.command("completion", cls=Command, examples=("source <(node completion bash)", "node completion fish | source"))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print completion for a shell, to be sourced."""
    name = program()
    if " " in name:
        raise CliError(
            "a shell completes programs, not modules", f"this was called as `{name}`", "call it as node or corral"
        )
    kind = get_completion_class(shell)
    assert kind is not None
    variable = f"_{name}_COMPLETE".replace("-", "_").replace(".", "_").upper()
    click.echo(kind(ctx.find_root().command, {}, name, variable).source())
