"""`events`: what changes in an environment, a line for each change of a resource, until Ctrl-C."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from node.cli.errors import CliError, Interrupted
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.output import clean
from node.cli.session import Session, pass_session

CHANGE = "resource.change"
SILENCE = 30.0
"""Seconds without a word after which a node is gone: it says something every five."""
TYPES = {"stack": "environment", "env": "project"}
"""What a person calls them, and what the API does."""


@click.command(
    "events",
    cls=Command,
    examples=("node events", "node events --type container", "node events --type service --type host --json"),
)
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only those: container, service, stack, host, ….")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@reach_options()
@pass_session
def command(session: Session, types: tuple[str, ...], as_json: bool) -> None:
    """Print what changes from now on in the environment, until Ctrl-C.

    A resource that changes several times in a row may be told of once, as it is then.
    """
    from node.cli.sockets import SocketEnded, connect

    wanted = {TYPES.get(each, each).lower() for each in types}
    socket = connect(session.target, f"{session.scope}/subscribe?eventNames={CHANGE}")
    try:
        while True:
            event = json.loads(socket.receive(SILENCE))
            if event.get("name") == CHANGE and (not wanted or event["resourceType"].lower() in wanted):
                click.echo(json.dumps(event) if as_json else line_of(event))
    except SocketEnded as ended:
        raise CliError("the events broke off", str(ended), "start again; list what may have changed since") from None
    except TimeoutError:
        raise CliError("the events broke off", f"nothing was heard for {SILENCE:g} s", "ask another node") from None
    except KeyboardInterrupt:
        raise Interrupted("stopped watching") from None
    finally:
        socket.close()


def line_of(event: dict[str, Any]) -> str:
    """Return an event as people read it: when, what, and how it is now."""
    resource = event["data"]["resource"]
    at = datetime.fromtimestamp(event["time"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kind = next((ours for ours, theirs in TYPES.items() if theirs == event["resourceType"]), event["resourceType"])
    message = resource.get("transitioningMessage")
    words = [at, kind, event["resourceId"], resource.get("name"), resource.get("state")]
    words += [f"({message})"] if message and message != "In Progress" else []
    return clean("  ".join(str(word) for word in words if word))
