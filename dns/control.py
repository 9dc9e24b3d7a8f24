"""The daemon's end of the control socket: finds the DNS server, starts it where there is none, and feeds it zones.

Shell.  `ControlClient.publish` is all that a daemon needs from day to day: it sends what changed since the last time,
and the whole zone where the server knows less than that.
"""

import fcntl
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from dns.messages import (
    LENGTH_BYTES,
    Ack,
    FrameError,
    Full,
    NeedFull,
    Refused,
    Request,
    Response,
    Status,
    StatusReply,
    Stop,
    decode_body,
    decode_length,
    encode_frame,
)
from dns.port import receive_exactly
from dns.zone import Change, Zone, diff_zones

ANSWER_TIMEOUT = 10.0
START_TIMEOUT = 15.0
STOP_TIMEOUT = 5.0
RETRY_INTERVAL = 0.1
EX_RUNNING = 75
"""Exit status of a server that found another one running."""

logger = logging.getLogger("corral.dns")


class ControlError(Exception):
    """The server could not be reached or did not do as told; says why."""


class NeedFullError(ControlError):
    """The server's serial is not the one the change starts from."""

    def __init__(self, serial: int) -> None:
        super().__init__(f"the DNS server is at serial {serial} and needs the whole zone")
        self.serial = serial


class ControlClient:
    """One connection to the DNS server; requests are answered in order, one at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._turn = trio.Lock()
        self._published: Zone | None = None

    @classmethod
    async def connect(cls, path: Path) -> "ControlClient":
        """Return a client of the server behind `path`; raise ControlError where nobody listens."""
        sock = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
        try:
            await sock.connect(str(path))
        except OSError as refused:
            sock.close()
            raise ControlError(f"no DNS server answers at {path}: {refused}") from refused
        return cls(trio.SocketStream(sock))

    async def aclose(self) -> None:
        """Close the connection; the server goes on."""
        await self._stream.aclose()

    async def __aenter__(self) -> "ControlClient":
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()

    async def publish(self, zone: Zone) -> int:
        """Make the server serve `zone`, by the shortest way, and return its serial once it does."""
        published = self._published
        if published is zone:
            return zone.serial
        if published is None or published.domain != zone.domain or published.serial >= zone.serial:
            return await self.send_full(zone)
        try:
            serial = await self.send_change(diff_zones(published, zone))
        except NeedFullError:
            return await self.send_full(zone)
        self._published = zone
        return serial

    async def send_full(self, zone: Zone) -> int:
        """Replace the server's zone and return its serial."""
        self._published = None
        serial = _serial_of(await self._ask(Full(zone)))
        self._published = zone
        return serial

    async def send_change(self, change: Change) -> int:
        """Change the server's zone and return its serial; raise NeedFullError where the change does not follow."""
        self._published = None
        return _serial_of(await self._ask(change))

    async def status(self) -> StatusReply:
        """Return how the server is."""
        response = await self._ask(Status())
        if not isinstance(response, StatusReply):
            raise ControlError(f"expected a status, the DNS server said {response}")
        return response

    async def stop(self) -> None:
        """Tell the server to end, and wait until it closes the connection."""
        _serial_of(await self._ask(Stop()))
        with trio.move_on_after(STOP_TIMEOUT), suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            await receive_exactly(self._stream, 1)

    async def _ask(self, request: Request) -> Response:
        async with self._turn:
            try:
                with trio.fail_after(ANSWER_TIMEOUT):
                    await self._stream.send_all(encode_frame(request))
                    prefix = await receive_exactly(self._stream, LENGTH_BYTES)
                    body = await receive_exactly(self._stream, decode_length(prefix)) if prefix else b""
                response = decode_body(body) if body else None
            except trio.BrokenResourceError:
                response = None
            except FrameError as odd:
                raise ControlError(f"the DNS server and this daemon do not understand each other: {odd}") from odd
            except (OSError, trio.ClosedResourceError, trio.TooSlowError) as failed:
                raise ControlError(f"the DNS server did not answer: {failed!r}") from failed
        if response is None:
            raise ControlError("the DNS server closed the connection: it ended, or another publisher took over")
        if not isinstance(response, Ack | NeedFull | Refused | StatusReply):
            raise ControlError(f"{type(response).__name__} is no answer")
        return response


def _serial_of(response: Response) -> int:
    match response:
        case Ack(serial):
            return serial
        case NeedFull(serial):
            raise NeedFullError(serial)
        case Refused(why):
            raise ControlError(f"the DNS server refused: {why}")
        case _:
            raise ControlError(f"expected an acknowledgement, the DNS server said {response}")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How the DNS server of this host is started."""

    control: Path
    listen: tuple[str, ...] = ("169.254.169.250:53",)
    state: Path | None = None
    log: Path | None = None
    """Where its lines go once it is on its own; nowhere if None."""

    release: str = "unknown"
    """Comes back as `version` in the status, so that a daemon sees that its server is of an older release."""

    bind_any_free: bool = True

    def environment(self) -> dict[str, str]:
        """Return the environment in which the command finds this package and no other of its name."""
        # One heap for all threads: the server's few threads need none of their own.
        return os.environ | {"MALLOC_ARENA_MAX": "1", "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}

    def command(self) -> Sequence[str]:
        """Return the command line, for the interpreter that runs us."""
        command = [sys.executable, "-P", "-m", "dns.server", "--detach", "--release", self.release]
        command += ["--control", str(self.control)]
        for address in self.listen:
            command += ["--listen", address]
        command += ["--state", str(self.state)] if self.state else []
        command += ["--log", str(self.log)] if self.log else []
        return command + (["--bind-any-free"] if self.bind_any_free else [])


async def ensure_server(options: ServerOptions) -> ControlClient:
    """Return a client of the running server, or of one started just now; one of another release is replaced.

    The server leaves our process group and session, and its parent ends: it lives on when we end or are killed.
    """
    try:
        client = await ControlClient.connect(options.control)
    except ControlError:
        return await _start_server(options)
    with suppress(ControlError):
        if (await client.status()).version == options.release:
            return client
    await client.aclose()
    await end_server(options.control)
    return await _start_server(options)


async def end_server(control: Path) -> None:
    """End the server behind `control`, by word or, where it understands none, by force; ControlError if it goes on."""
    with suppress(ControlError):
        async with await ControlClient.connect(control) as client:
            await client.stop()
    if await _is_gone(control):
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        _signal_holder(control, how)
        if await _is_gone(control):
            return
    raise ControlError(f"the DNS server that holds {lock_of(control)} does not end: end it by hand")


def lock_of(control: Path) -> Path:
    """Return the file whose lock keeps a second server out; it holds the process id of the one that runs."""
    return control.with_name(control.name + ".lock")


def remove_lock(control: Path) -> None:
    """Take away the lock's file once no server is to start any more."""
    if not _is_held(control):
        with suppress(OSError):
            lock_of(control).unlink(missing_ok=True)
            control.parent.rmdir()


async def _is_gone(control: Path) -> bool:
    """Wait a little for the lock to be free."""
    with trio.move_on_after(STOP_TIMEOUT):
        while _is_held(control):
            await trio.sleep(RETRY_INTERVAL)
        return True
    return False


def _is_held(control: Path) -> bool:
    try:
        with open(lock_of(control), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _signal_holder(control: Path, how: signal.Signals) -> None:
    """Send a signal to the process that wrote its id into the lock, if it is a DNS server of ours."""
    with suppress(OSError, ValueError):
        pid = int(lock_of(control).read_text())
        if b"dns.server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            logger.warning("the DNS server (process %d) does not do as told: sending %s", pid, how.name)
            os.kill(pid, how)


async def _start_server(options: ServerOptions) -> ControlClient:
    command = list(options.command())
    is_taken = False
    with trio.move_on_after(START_TIMEOUT):
        while True:
            ended = await trio.run_process(command, env=options.environment(), check=False, capture_stderr=True)
            is_taken = ended.returncode == EX_RUNNING
            if is_taken:
                # The one before is still ending, or another starter was faster.
                await trio.sleep(RETRY_INTERVAL)
            elif ended.returncode:
                why = ended.stderr.decode(errors="replace").strip()[-500:]
                raise ControlError(f"the DNS server did not start: {why}")
            with suppress(ControlError):
                return await ControlClient.connect(options.control)
    if is_taken:
        # Nobody answers, and somebody holds the lock: make room for the next attempt.
        await end_server(options.control)
    raise ControlError(f"the DNS server was not ready within {START_TIMEOUT:.0f} s")
