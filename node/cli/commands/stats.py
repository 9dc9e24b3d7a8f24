"""`stats`: what containers use of processors, memory, network and disks, drawn anew each second or once."""

import contextlib
import json
import operator
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from node.cli.commands.logs import find_containers
from node.cli.completing import complete_names
from node.cli.errors import CliError, Interrupted
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.output import Column, render_table
from node.cli.session import Session, pass_session

if TYPE_CHECKING:
    from node.cli.sockets import ClientSocket

Json = dict[str, Any]

DRAW_EVERY = 1.0
ONCE_WITHIN = 10.0
"""Seconds for the two looks that a share of a processor needs."""
UNKNOWN = "--"


@click.command(
    "stats",
    cls=Command,
    examples=("node stats web/nginx", "node stats web_nginx_1 box --no-stream", "node stats web/nginx --json"),
)
@click.argument("names", nargs=-1, required=True, shell_complete=complete_names("container"))
@click.option("--no-stream", "is_once", is_flag=True, help="Print once and end.")
@click.option("--json", "as_json", is_flag=True, help="Print each look at a container as one line of JSON.")
@reach_options()
@pass_session
def command(session: Session, names: tuple[str, ...], is_once: bool, as_json: bool) -> None:
    """Show what containers use; NAMES are containers and services.  Ends with Ctrl-C."""
    from node.cli.sockets import connect_with

    found = find_containers(session, names)
    running = [each for each in found if each.row.get("state") == "running"]
    for each in found:
        if each not in running:
            session.note(f"{each.names[0]} is {each.row['state']} and uses nothing")
    if not running:
        raise CliError("nothing runs that could use anything", None, "see `node container ls`")
    watch = _Watch({each.id: each.names[0] for each in running})
    try:
        for each in running:
            access = session.client.get(str(each.row["links"]["stats"]).removeprefix(_base_of(each.row)))
            watch.sockets[connect_with(session.target, access)] = each.names[0]
        if as_json:
            _print_json(session, watch, is_once=is_once)
        else:
            _draw(session, watch, is_once=is_once)
    except KeyboardInterrupt:
        raise Interrupted("stopped watching") from None
    finally:
        for socket in watch.sockets:
            socket.close()
    if not is_once:
        raise CliError("there are no more figures", "nothing of it runs any more", "see `node container ls`")


def _base_of(row: Mapping[str, Any]) -> str:
    """Return the part of a resource's links in front of their paths."""
    return str(row["links"]["self"]).partition("/v1/")[0]


@dataclass(slots=True, eq=False)
class _Watch:
    """The containers that are watched, and the last two looks at each."""

    names: dict[str, str]
    sockets: "dict[ClientSocket, str]" = field(default_factory=dict)
    latest: dict[str, Json] = field(default_factory=dict)
    before: dict[str, Json] = field(default_factory=dict)

    def collect(self, session: Session, timeout: float) -> list[Json]:
        """Return what comes within a time, noting it."""
        from node.cli.sockets import SocketEnded

        fresh: list[Json] = []
        for socket in select.select(list(self.sockets), [], [], timeout)[0]:
            try:
                with contextlib.suppress(TimeoutError):
                    while True:
                        fresh += json.loads(socket.receive(0))
            except SocketEnded as ended:
                session.note(f"{self.sockets.pop(socket)}: no more figures: {ended}")
                socket.close()
        for row in fresh:
            if row["id"] in self.latest:
                self.before[row["id"]] = self.latest[row["id"]]
            self.latest[row["id"]] = row
        return fresh

    def rows(self) -> list[Json]:
        """Return a row of figures for each container, as it was last seen."""
        return [figures_of(name, self.latest.get(key), self.before.get(key)) for key, name in self.names.items()]


def _print_json(session: Session, watch: _Watch, *, is_once: bool) -> None:
    give_up_at = time.monotonic() + ONCE_WITHIN
    told: set[str] = set()
    while watch.sockets and not (is_once and (told >= watch.names.keys() or time.monotonic() > give_up_at)):
        for row in watch.collect(session, DRAW_EVERY):
            if not is_once or row["id"] not in told:
                click.echo(json.dumps({"name": watch.names.get(row["id"]), **row}))
            told.add(row["id"])


def _draw(session: Session, watch: _Watch, *, is_once: bool) -> None:
    columns = [Column(title, operator.itemgetter(title)) for title in figures_of("", None, None)]
    colour = session.printer.colour
    give_up_at = time.monotonic() + ONCE_WITHIN
    while watch.sockets:
        draw_at = time.monotonic() + DRAW_EVERY
        while watch.sockets and (left := draw_at - time.monotonic()) > 0:
            watch.collect(session, left)
        is_whole = watch.before.keys() >= watch.names.keys()
        if is_once and not is_whole and time.monotonic() < give_up_at:
            continue
        table = render_table(columns, watch.rows())
        # On a terminal each picture takes the place of the one before.
        click.echo(f"\x1b[H\x1b[J{table}" if colour and not is_once else table, nl=not table.endswith("\n"))
        if is_once:
            return


def figures_of(name: str, now: Json | None, before: Json | None) -> dict[str, str]:
    """Return what people read of the latest look at a container and the one before it."""
    row = now or {}
    memory, network = row.get("memory") or {}, row.get("network") or {}
    used, limit = memory.get("usage"), row.get("memLimit")
    disks = [each.get("stats") or {} for each in (row.get("diskio") or {}).get("io_service_bytes") or ()]
    known = now is not None
    return {
        "NAME": name,
        "CPU": _share(now, before),
        "MEMORY": f"{_size(used)} / {_size(limit)}" if known else UNKNOWN,
        "MEMORY %": f"{100 * used / limit:.1f}%" if used is not None and limit else UNKNOWN,
        "NET IN / OUT": f"{_size(network.get('rx_bytes'))} / {_size(network.get('tx_bytes'))}" if known else UNKNOWN,
        "DISK READ / WRITE": f"{_size(_sum(disks, 'Read'))} / {_size(_sum(disks, 'Write'))}" if known else UNKNOWN,
    }


def _sum(disks: list[Json], key: str) -> int:
    return sum(int(each.get(key) or 0) for each in disks)


def _share(now: Json | None, before: Json | None) -> str:
    """Return the share of one processor between two looks."""
    if now is None or before is None:
        return UNKNOWN
    seconds = (datetime.fromisoformat(now["timestamp"]) - datetime.fromisoformat(before["timestamp"])).total_seconds()
    used = now["cpu"]["usage"]["total"] - before["cpu"]["usage"]["total"]
    return f"{used / 1e7 / seconds:.1f}%" if seconds > 0 and used >= 0 else UNKNOWN


def _size(count: int | None) -> str:
    """Return bytes in the unit that leaves the fewest digits."""
    if count is None:
        return UNKNOWN
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
