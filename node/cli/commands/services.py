"""`service`: list, make, scale, start, stop and remove services."""

from collections.abc import Sequence
from typing import Any

import click

from node.cli.completing import complete_names
from node.cli.inputs import check_name, launch_config, launch_options
from node.cli.lazy import Group
from node.cli.names import Candidate, NoSuch, candidates_of, pick
from node.cli.options import list_options, one_options, reach_options, wait_options
from node.cli.output import Column, age_column
from node.cli.session import Session, pass_session
from node.cli.waiting import Goal, wait_for

Json = dict[str, Any]


@click.group("service", cls=Group, examples=("node service ls", "node service scale web/nginx=3"))
def command() -> None:
    """List, make, scale, start, stop and remove services."""


def image_of(row: Json) -> str:
    """Return the image as people write it."""
    config = row.get("launchConfig") or row
    return str(config.get("imageUuid") or "").removeprefix("docker:")


def endpoints_of(row: Json) -> str:
    """Return where published ports are reached."""
    ends = [f"{end['ipAddress']}:{end['port']}" for end in row.get("publicEndpoints") or ()]
    return ", ".join(dict.fromkeys(ends))


def _scale_of(row: Json) -> str:
    running = sum(each.get("state") == "running" for each in row.get("instances") or ())
    return f"{running}/{row.get('scale')}"


@command.command("ls", examples=("node service ls", "node service ls --format '{{.name}} {{.scale}}'"))
@click.option("--stack", "stack", metavar="STACK", help="Only those of one stack.")
@list_options()
@reach_options()
@pass_session
def ls(session: Session, stack: str | None) -> None:
    """List the services of the environment; SCALE is running of wanted."""
    stacks = session.list("stack")
    names = {row["id"]: row["name"] for row in stacks}
    rows = session.list("service", include="instances")
    if stack is not None:
        chosen = pick(candidates_of(stacks), stack, "stack", session.where)
        rows = [row for row in rows if row["environmentId"] == chosen.id]
    columns = [
        Column("ID", lambda row: row["id"]),
        Column("NAME", lambda row: f"{names.get(row['environmentId'], '?')}/{row['name']}"),
        Column("STATE", lambda row: row["state"], is_state=True),
        Column("SCALE", _scale_of),
        Column("IMAGE", image_of),
        Column("ENDPOINTS", endpoints_of),
        Column("MESSAGE", _message_of, is_whole=True),
        age_column(),
    ]
    if not any(_message_of(row) for row in rows):
        columns = [column for column in columns if column.title != "MESSAGE"]
    session.printer.rows(columns, rows)


def _message_of(row: Json) -> str:
    message = row.get("transitioningMessage")
    return "" if message in (None, "In Progress") else str(message)


def _split(name: str) -> tuple[str, str]:
    stack, slash, service = name.partition("/")
    if not slash:
        raise click.UsageError(f"a service is named STACK/NAME, such as web/nginx, not {name!r}")
    return stack, check_name(service, "service")


def _stack_for(session: Session, name: str, *, may_create: bool) -> str:
    if may_create and all(row["name"] != name for row in session.list("stack")):
        made: str = session.client.post(session.path("stack"), {"name": check_name(name, "stack")})["id"]
        session.note(f"made stack {name} ({made})")
        return made
    try:
        return session.find("stack", name).id
    except NoSuch as error:
        error.try_ = f"{error.try_}; or add --create-stack to make it"
        raise


@command.command(
    "create",
    examples=(
        "node service create web/nginx nginx:1.8-alpine --scale 2 --port 10086:80",
        "node service create shop/redis redis:alpine --create-stack --env MODE=fast",
    ),
)
@click.argument("name", metavar="STACK/NAME")
@click.argument("image")
@click.option("--scale", type=click.IntRange(min=0), default=1, show_default=True, help="How many containers.")
@click.option("--create-stack", is_flag=True, help="Make the stack if there is none.")
@click.option("--description", help="What it is for.")
@launch_options()
@wait_options()
@reach_options(env=False)
@pass_session
def create(
    session: Session,
    /,
    name: str,
    image: str,
    scale: int,
    create_stack: bool,
    description: str | None,
    no_start: bool,
    **launch: Any,
) -> None:
    """Make a service of IMAGE and start it."""
    stack, service = _split(name)
    body: Json = {"name": service, "scale": scale, "startOnCreate": not no_start}
    body |= {"launchConfig": launch_config(image, **launch)} | ({"description": description} if description else {})
    body["environmentId"] = _stack_for(session, stack, may_create=create_stack)
    made = session.client.post(session.path("service"), body)
    if not no_start and made.get("state") == "inactive" and "activate" in (made.get("actions") or {}):
        # A Rancher server leaves a new service inactive whatever startOnCreate says.
        made = session.act("service", made["id"], "activate")
    wait_for(session, [Goal("service", name, made["id"])])
    session.printer.one(made, f"{made['id']}  {name}")


@command.command(
    "inspect", examples=("node service inspect web/nginx", "node service inspect 1s7 --format '{{.scale}}'")
)
@click.argument("service", shell_complete=complete_names("service"))
@one_options()
@reach_options()
@pass_session
def inspect(session: Session, service: str) -> None:
    """Print all there is to know about a service, as JSON."""
    session.printer.one(session.find("service", service).row)


def _parse_scales(texts: Sequence[str]) -> list[tuple[str, int]]:
    found = []
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not equals or not name or not number.isascii() or not number.isdigit() or len(number) > 6:
            raise click.UsageError(f"write NAME=NUMBER, such as web/nginx=3, not {text!r}")
        found.append((name, int(number)))
    return found


@command.command(
    "scale", examples=("node service scale web/nginx=3", "node service scale web/nginx=2 shop/redis=1 --no-wait")
)
@click.argument("scales", nargs=-1, required=True, metavar="SERVICE=N...")
@wait_options()
@reach_options()
@pass_session
def scale(session: Session, scales: tuple[str, ...]) -> None:
    """Set how many containers services have."""
    found = [(session.find("service", name), number) for name, number in _parse_scales(scales)]
    for each, number in found:
        session.client.put(session.path("service", each.id), {"scale": number})
    wait_for(session, [_goal(each) for each, _ in found])
    for each, number in found:
        session.printer.one({**each.row, "scale": number}, f"{each.names[0]} scaled to {number}")


def _goal(each: Candidate, *, is_removal: bool = False) -> Goal:
    return Goal("service", each.names[0], each.id, is_removal)


def _act_on_all(session: Session, services: Sequence[str], action: str, done: str) -> None:
    found = [session.find("service", each) for each in services]
    for each in found:
        if action in (each.row.get("actions") or {}):
            session.act("service", each.id, action)
        else:
            session.note(f"{each.names[0]} is {each.row['state']}: nothing to do")
    wait_for(session, [_goal(each) for each in found])
    for each in found:
        session.printer.one(each.row, f"{done} {each.names[0]}")


@command.command("start", examples=("node service start web/nginx", "node service start web/nginx shop/redis"))
@click.argument("services", nargs=-1, required=True, shell_complete=complete_names("service"))
@wait_options()
@reach_options()
@pass_session
def start(session: Session, services: tuple[str, ...]) -> None:
    """Start services that were stopped."""
    _act_on_all(session, services, "activate", "started")


@command.command("stop", examples=("node service stop web/nginx", "node service stop web/nginx --no-wait"))
@click.argument("services", nargs=-1, required=True, shell_complete=complete_names("service"))
@wait_options()
@reach_options()
@pass_session
def stop(session: Session, services: tuple[str, ...]) -> None:
    """Stop services; their containers are kept."""
    _act_on_all(session, services, "deactivate", "stopped")


@command.command("rm", examples=("node service rm web/nginx", "node service rm web/nginx shop/redis --no-wait"))
@click.argument("services", nargs=-1, required=True, shell_complete=complete_names("service"))
@wait_options()
@reach_options()
@pass_session
def rm(session: Session, services: tuple[str, ...]) -> None:
    """Remove services with their containers; volumes stay."""
    found = [session.find("service", each) for each in services]
    for each in found:
        session.client.delete(session.path("service", each.id))
    wait_for(session, [_goal(each, is_removal=True) for each in found])
    for each in found:
        session.printer.one(each.row, f"removed {each.names[0]}")
