"""`logs`: what containers wrote, those of a service merged, as it is or as it comes.

A thread for each container keeps reading while the output is held up, into a buffer with a bound.
"""

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import click

from node.cli.completing import complete_names
from node.cli.errors import CliError, Interrupted
from node.cli.lazy import Command
from node.cli.names import Candidate, NoSuch, candidates_of, pick
from node.cli.options import reach_options
from node.cli.output import parse_span
from node.cli.session import Session, is_coloured, pass_session

if TYPE_CHECKING:
    from node.cli.sockets import ClientSocket

MAX_WAITING = 20_000
"""Lines read and not printed yet."""
MAX_LINES = 100_000
NORMAL = 1000
_TINTS = (36, 33, 32, 35, 34, 31)


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    kind: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class _End:
    name: str
    code: int
    why: str


@dataclass(slots=True, eq=False)
class _Reading:
    """The logs that are being read, and what of them is to be printed."""

    pieces: "queue.Queue[_Line | _End]" = field(default_factory=lambda: queue.Queue(MAX_WAITING))
    sockets: "list[ClientSocket]" = field(default_factory=list)
    is_over: bool = False

    def begin(self, name: str, socket: "ClientSocket") -> None:
        self.sockets.append(socket)
        threading.Thread(target=self._read, args=(name, socket), daemon=True).start()

    def end(self) -> None:
        self.is_over = True
        for socket in self.sockets:
            socket.hang_up()

    def _read(self, name: str, socket: "ClientSocket") -> None:
        from node.cli.sockets import SocketEnded

        try:
            while True:
                kind, _, rest = str(socket.receive()).partition(" ")
                at, _, text = rest.partition(" ")
                self.pieces.put_nowait(_Line(name, kind, at, text))
        except SocketEnded as ended:
            last = _End(name, ended.code, "" if ended.code == NORMAL else str(ended))
        except queue.Full:
            last = _End(name, 0, f"the output was held up for {MAX_WAITING} lines; read the log again from here")
        socket.close()
        while not self.is_over:
            with contextlib.suppress(queue.Full):
                self.pieces.put(last, timeout=1)
                break


@click.command(
    "logs",
    cls=Command,
    examples=("node logs web_nginx_1", "node logs web/nginx --follow --tail 20", "node logs box -t --since 15m"),
)
@click.argument("names", nargs=-1, required=True, shell_complete=complete_names("container"))
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--tail", metavar="N|all", default="100", show_default=True, help="The last N lines of each container.")
@click.option("--timestamps", "-t", is_flag=True, help="Begin each line with its time.")
@click.option("--since", metavar="SPAN|TIME", help="Only lines of the last 15m, or since 2016-04-12T06:00:00Z.")
@reach_options()
@pass_session
def command(
    session: Session, names: tuple[str, ...], follow: bool, tail: str, timestamps: bool, since: str | None
) -> None:
    """Print what containers wrote; NAMES are containers and services.

    Lines of several containers begin with the name of theirs.  What a container wrote to standard error goes there.
    """
    from node.cli.sockets import connect_with

    body = {"follow": follow, "lines": _lines_of(tail), "since": None if since is None else _since(since)}
    containers = find_containers(session, names)
    open_to = [each for each in containers if "logs" in (each.row.get("actions") or {})]
    for each in containers:
        if each not in open_to:
            session.note(f"{each.names[0]} is {each.row['state']} and has no log")
    if not open_to:
        raise CliError("there is no log to read", "no container of that name has one yet", "see `node container ls`")
    reading = _Reading()
    try:
        for each in open_to:
            access = session.act("container", each.id, "logs", body)
            reading.begin(each.names[0], connect_with(session.target, access))
        pieces = _pieces(reading.pieces, len(open_to))
        is_sorted = not follow and body["lines"] is not None and len(open_to) > 1
        lines = sorted(pieces, key=_time_of) if is_sorted else pieces
        broken = _print(session, lines, [each.names[0] for each in open_to], timestamps, follow)
    except KeyboardInterrupt:
        raise Interrupted("stopped reading; the containers go on") from None
    finally:
        reading.end()
    if broken:
        raise CliError(f"the log of {broken[0].name} broke off", broken[0].why, "see `node container ls`")


def find_containers(session: Session, texts: Iterable[str]) -> list[Candidate]:
    """Return the containers that people name, all of a service's for its name, each once."""
    rows = candidates_of(session.list("container"))
    found: dict[str, Candidate] = {}
    for text in texts:
        try:
            picked = [pick(rows, text, "container", session.where)]
        except NoSuch as missing:
            try:
                service = session.find("service", text)
            except NoSuch as also_missing:
                raise (also_missing if "/" in text else missing) from None
            own = session.client.list(f"{session.path('service', service.id)}/instances")
            ids = {row["id"] for row in own}
            picked = [each for each in rows if each.id in ids]
        found |= {each.id: each for each in picked}
    return list(found.values())


def _pieces(waiting: "queue.Queue[_Line | _End]", count: int) -> Iterator[_Line | _End]:
    """Yield what comes until `count` logs have ended."""
    while count:
        piece = waiting.get()
        count -= isinstance(piece, _End)
        yield piece


def _time_of(piece: _Line | _End) -> str:
    """Order lines by their time, which sorts as text does, and ends behind them."""
    return piece.at if isinstance(piece, _Line) else "~"


def _print(
    session: Session, pieces: Iterable[_Line | _End], names: Sequence[str], timestamps: bool, follow: bool
) -> list[_End]:
    """Print lines as they come; returns the ends that no log has by itself."""
    colour = is_coloured(sys.stdout, no_color=session.settings.no_color, variables=session.variables)
    width = max(len(name) for name in names)
    prefixes = {name: "" for name in names}
    for number, name in enumerate(names if len(names) > 1 else ()):
        text = f"{name:<{width}} |"
        prefixes[name] = f"\x1b[{_TINTS[number % len(_TINTS)]}m{text}\x1b[0m " if colour else f"{text} "
    broken = []
    for piece in pieces:
        if isinstance(piece, _Line):
            stamp = f"{piece.at} " if timestamps else ""
            click.echo(f"{prefixes[piece.name]}{stamp}{piece.text}", err=piece.kind == "02", color=True)
        elif piece.code != NORMAL:
            session.note(f"{piece.name}: the log broke off: {piece.why}")
            broken.append(piece)
        elif follow:
            session.note(f"{piece.name}: the log ended, the container does not run any more")
    return broken


def _lines_of(tail: str) -> int | None:
    if tail == "all":
        return None
    if not tail.isdecimal() or int(tail) > MAX_LINES:
        raise click.BadParameter(f"{tail[:40]!r} is neither a number up to {MAX_LINES} nor `all`", param_hint="--tail")
    return int(tail)


def _since(text: str) -> int:
    """Return the milliseconds of a moment."""
    if "-" not in text:
        return int((time.time() - parse_span(text)) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text[:40]!r} is no time such as 2016-04-12T06:00:00Z", param_hint="--since"
        ) from None
    return max(0, int(moment.timestamp() * 1000))
