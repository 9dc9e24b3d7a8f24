"""`ctx`: saved contexts, so that a cluster is talked to by name."""

import os
import sys
from dataclasses import replace

import click

from node.cli import contexts
from node.cli.contexts import Context, Saved
from node.cli.errors import CliError
from node.cli.lazy import Group
from node.cli.options import list_options, reach_options
from node.cli.output import Column
from node.cli.reach import parse_url
from node.cli.session import Session, pass_session


@click.group("ctx", cls=Group, examples=("node ctx add lab --url http://h1:8080 --access-key KEY", "node ctx use lab"))
def command() -> None:
    """Save and choose clusters to talk to."""


def _load() -> Saved:
    return contexts.load(contexts.config_file(os.environ))


def _save(saved: Saved) -> None:
    contexts.save(contexts.config_file(os.environ), saved)


def _find(saved: Saved, name: str) -> Context:
    found = next((each for each in saved.contexts if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in saved.contexts) or "none"
        raise CliError(f"no context {name!r} is saved", f"saved are: {known}", "see `node ctx ls`")
    return found


@command.command("ls", examples=("node ctx ls", "node ctx ls -q"))
@list_options()
@reach_options()
@pass_session
def ls(session: Session) -> None:
    """List saved contexts; * marks the chosen one.  Secrets are not shown."""
    saved = session.saved
    rows = [
        {
            "id": each.name,
            "name": each.name,
            "url": each.url,
            "accessKey": each.access_key,
            "environment": each.environment,
        }
        for each in saved.contexts
    ]
    columns = [
        Column("NAME", lambda row: f"{row['name']}{' *' if row['name'] == saved.current else ''}"),
        Column("URL", lambda row: row["url"]),
        Column("ENVIRONMENT", lambda row: row["environment"]),
        Column("ACCESS KEY", lambda row: row["accessKey"]),
    ]
    session.printer.rows(columns, rows)


@command.command(
    "add",
    examples=(
        "node ctx add lab --url http://h1:8080 --access-key KEY --secret-key -",
        "node ctx add open --url h1 --env dev",
    ),
)
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="A node's API.")
@click.option("--access-key", metavar="KEY", help="Access key.")
@click.option("--secret-key", metavar="SECRET|-", help="Secret key; - reads it from standard input.")
@click.option("--environment", "--env", "environment", metavar="NAME", help="Environment to work in.")
def add(name: str, url: str, access_key: str | None, secret_key: str | None, environment: str | None) -> None:
    """Save a context and choose it if there is none yet."""
    base = parse_url(url).base
    if access_key is not None and secret_key is None and sys.stdin.isatty():
        secret_key = click.prompt("Secret key", hide_input=True, err=True)
    if secret_key == "-":
        secret_key = sys.stdin.readline().strip()
    if (access_key is None) != (secret_key is None):
        raise click.UsageError("an access key and its secret key go together")
    saved = _load().put(Context(name, base, access_key, secret_key, environment))
    _save(saved if saved.current is not None else replace(saved, current=name))
    click.echo(f"saved {name} ({base})")


@command.command("use", examples=("node ctx use lab", "node ctx use --none"))
@click.argument("name", required=False)
@click.option("--none", "is_none", is_flag=True, help="Go back to this host's socket.")
def use(name: str | None, is_none: bool) -> None:
    """Choose the context that commands use from now on."""
    if (name is None) != is_none:
        raise click.UsageError("name a context, or say --none for this host's socket")
    saved = _load()
    if name is not None:
        _find(saved, name)
    _save(replace(saved, current=name))
    click.echo(f"commands go to {name or 'the node of this host'} from now on")


@command.command("show", examples=("node ctx show", "node ctx show --url h2"))
@reach_options()
@pass_session
def show(session: Session) -> None:
    """Show which API commands would talk to, and what chose it."""
    target = session.target
    key = f", key {target.access_key}" if target.access_key else ""
    environment = f", environment {target.environment}" if target.environment else ""
    click.echo(f"{target.place} (by {target.why}){key}{environment}")


@command.command("rm", examples=("node ctx rm lab", "node ctx rm old"))
@click.argument("name")
def rm(name: str) -> None:
    """Forget a context, its key with it."""
    saved = _load()
    _find(saved, name)
    kept = tuple(each for each in saved.contexts if each.name != name)
    _save(replace(saved, contexts=kept, current=None if saved.current == name else saved.current))
    click.echo(f"forgot {name}")
