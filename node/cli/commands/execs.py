"""`exec`: runs a command in a container, with this terminal's input, output and size if wanted, and its exit code.

One thread waits on everything, and reads no more input than was taken: neither side can hold up the other for ever.
"""

import base64
import contextlib
import os
import select
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from node.cli.completing import complete_names
from node.cli.errors import CliError, Interrupted
from node.cli.lazy import CONTEXT_SETTINGS, Command
from node.cli.options import reach_options
from node.cli.session import Session, pass_session

if TYPE_CHECKING:
    from node.cli.sockets import ClientSocket

INPUT_BYTES = 16 * 1024


@click.command(
    "exec",
    cls=Command,
    context_settings={**CONTEXT_SETTINGS, "allow_interspersed_args": False},
    examples=("node exec box cat /etc/hosts", "node exec -it web_nginx_1 sh", "node exec -i box tee /data < data"),
)
@click.option("--interactive", "-i", is_flag=True, help="Hand on what comes on standard input.")
@click.option("--tty", "-t", "has_tty", is_flag=True, help="Give the command a terminal of this one's size.")
@click.argument("container", shell_complete=complete_names("container"))
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@reach_options()
@pass_session
def command(session: Session, container: str, words: tuple[str, ...], interactive: bool, has_tty: bool) -> int:
    """Run COMMAND in a running container and exit with its code.

    Options stand before CONTAINER; everything behind it is the command's.
    """
    from node.cli.sockets import SocketEnded, connect_with

    if has_tty and interactive and not sys.stdin.isatty():
        raise CliError("standard input is no terminal", "-i with -t needs one", "leave -t out")
    found = session.find("container", container)
    name = found.names[0]
    if "execute" not in (found.row.get("actions") or {}):
        raise CliError(f"nothing can run in {name}", f"it is {found.row['state']}", f"`node container start {name}`")
    body = {"command": list(words), "tty": has_tty, "attachStdin": interactive, "attachStdout": True}
    socket = connect_with(session.target, session.act("container", found.id, "execute", body), "&control=true")
    try:
        with _raw(is_wanted=has_tty and interactive), _resizes(is_wanted=has_tty) as resizes:
            return _Talk(socket, sys.stdin.fileno() if interactive else None, resizes).run()
    except SocketEnded as ended:
        raise CliError(f"the command in {name} broke off", str(ended), "see `node container ls`") from None
    except KeyboardInterrupt:
        raise Interrupted(f"hung up on the command in {name}") from None
    finally:
        socket.close()


class _Talk:
    def __init__(self, socket: "ClientSocket", stdin: int | None, resizes: int | None) -> None:
        self._socket = socket
        self._stdin = stdin
        self._resizes = resizes

    def run(self) -> int:
        """Pass everything on until the command has ended, and return its exit code."""
        if self._resizes is not None:
            self._tell_size()
        while True:
            # Input waits until the last of it was taken, output never does.
            sources = [self._socket.fileno(), self._resizes, None if self._socket.is_behind else self._stdin]
            targets = [self._socket.fileno()] if self._socket.is_behind else []
            ready, writable, _ = select.select([fd for fd in sources if fd is not None], targets, [])
            if writable:
                self._socket.flush()
            if self._resizes in ready:
                os.read(self._resizes, 1024)
                self._tell_size()
            if self._stdin in ready:
                self._pass_input()
            if self._socket.fileno() in ready and (code := self._pass_output()) is not None:
                return code

    def _pass_input(self) -> None:
        assert self._stdin is not None
        data = os.read(self._stdin, INPUT_BYTES)
        self._socket.post(base64.b64encode(data).decode() if data else ":eof")
        self._stdin = self._stdin if data else None

    def _pass_output(self) -> int | None:
        """Write what has come; returns the exit code once that has."""
        with contextlib.suppress(TimeoutError):
            while True:
                kind, _, text = str(self._socket.receive(0)).partition(" ")
                if kind == ":exit":
                    return int(text)
                if not kind.startswith(":"):
                    out = sys.stderr if kind == "02" else sys.stdout
                    out.buffer.write(base64.b64decode(text))
                    out.buffer.flush()
        return None

    def _tell_size(self) -> None:
        with contextlib.suppress(OSError):  # Without a terminal of our own there is no size to tell.
            size = os.get_terminal_size(sys.stdout.fileno())
            self._socket.post(f":resize {size.columns} {size.lines}")


@contextlib.contextmanager
def _raw(*, is_wanted: bool) -> Iterator[None]:
    """Have the terminal hand on every key, and give it back as it was."""
    if not is_wanted:
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizes(*, is_wanted: bool) -> Iterator[int | None]:
    """Yield what can be read once the terminal has changed its size."""
    if not is_wanted:
        yield None
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def note(*_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writing, b".")

    before = signal.signal(signal.SIGWINCH, note)
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(reading)
        os.close(writing)
