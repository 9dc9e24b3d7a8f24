"""The DNS server of one host: a process of its own that outlives the daemon which feeds it.

    python -m dns.server --listen 169.254.169.250:53 --control /run/corral/dns.sock

Shell: reads the command line, takes the lock that keeps a second server out, and ties the parts together.
"""

import argparse
import fcntl
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from random import Random, SystemRandom

import trio

from dns.control import EX_RUNNING, lock_of
from dns.keep import StateError, load_zone, save_zone
from dns.listen import Listeners
from dns.port import ControlPort
from dns.responder import Responder
from dns.upstream import Upstreams, parse_server

OPEN_FILES = 2048
SAVE_DELAY = 1.0
"""Changes come in bursts: the file is written at most once per so many seconds."""


logger = logging.getLogger("corral.dns")


class AlreadyRunningError(Exception):
    """Another server holds the lock."""


def main(argv: list[str] | None = None) -> int:
    """Run the server until it is told to stop; return its exit status."""
    options = _parse(argv)
    try:
        lock = _take_lock(options.control)
        listener = _open_control(options.control)
    except (AlreadyRunningError, OSError) as refused:
        sys.stderr.write(f"dns.server: {refused}\n")
        return EX_RUNNING
    if options.detach and not _detach(options.log):
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _raise_open_files()
    # Whoever cannot talk to us ends us by this number.
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    with open(lock, "wb"), listener:
        trio.run(_serve, options, listener)
        options.control.unlink(missing_ok=True)
        # An id that is nobody's any more is a trace; the file itself stays for whoever waits at it.
        os.ftruncate(lock, 0)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dns.server", description="Serve the names of this host's environment.")
    parser.add_argument("--listen", action="append", required=True, type=parse_server, metavar="ADDRESS:PORT")
    parser.add_argument("--control", required=True, type=Path, metavar="SOCKET", help="where zones come from")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep the last zone there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="with --detach: append log lines there")
    parser.add_argument("--release", default="unknown", help="said as version in the status")
    parser.add_argument("--bind-any-free", action="store_true", help="listen on addresses that do not exist yet")
    parser.add_argument("--detach", action="store_true", help="go on in the background once the control socket is open")
    return parser.parse_args(argv)


def _take_lock(control: Path) -> int:
    """Return the descriptor that holds the lock; it ends with the process, however that ends."""
    control.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = lock_of(control)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise AlreadyRunningError(f"another DNS server holds {path}: talk to it at {control}") from None
        if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
            os.ftruncate(lock, 0)
            return lock
        os.close(lock)  # The daemon that leaves has just taken the file away: this one keeps nobody out.


def _open_control(control: Path) -> socket.socket:
    """Return the listening control socket; whoever left one behind is gone, for we hold the lock."""
    control.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(control))
    finally:
        os.umask(old_mask)
    listener.listen(8)
    return listener


def _detach(log: Path | None) -> bool:
    """Split off a process in a session of its own; True in that one, False in the one that was called."""
    if os.fork():
        return False
    os.setsid()
    os.chdir("/")
    silence = os.open(os.devnull, os.O_RDWR)
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640) if log else silence
    for standard, target in ((0, silence), (1, lines), (2, lines)):
        os.dup2(target, standard)
    for spare in {silence, lines}:
        os.close(spare)
    return True


def _raise_open_files() -> None:
    """Room for the sockets of all questions on their way outside and of all streams."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(options: argparse.Namespace, listener: socket.socket) -> None:
    """Run all parts until a signal or the control socket says stop.

    Saving ends last, so that the zone on disk is the last one served.
    """
    responder = Responder(Upstreams(options.listen, SystemRandom()), Random())
    _start_from_state(options.state, responder)
    listeners = Listeners(responder, options.listen, bind_any_free=options.bind_any_free)
    port = ControlPort(responder, options.release, lambda: dict(listeners.bound))
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listeners.run)
        nursery.start_soon(port.run, trio.socket.from_stdlib_socket(listener))
        nursery.start_soon(_stop_on_signal, port.stop)
        if options.state:
            nursery.start_soon(_keep, options.state, responder, port)
        await port.stop.wait()
        nursery.cancel_scope.cancel()
    if options.state and responder.zone.serial:
        _save(options.state, responder)
    logger.info("stopped at serial %d", responder.zone.serial)


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


async def _keep(path: Path, responder: Responder, port: ControlPort) -> None:
    while True:
        await port.changed.wait()
        await trio.sleep(SAVE_DELAY)
        port.changed = trio.Event()
        await trio.to_thread.run_sync(_save, path, responder)


def _save(path: Path, responder: Responder) -> None:
    try:
        save_zone(path, responder.zone)
    except OSError as failed:
        logger.error("cannot keep the zone in %s, serving on without: %s", path, failed)


def _start_from_state(path: Path | None, responder: Responder) -> None:
    if path is None:
        return
    try:
        zone = load_zone(path)
    except StateError as broken:
        logger.error("cannot use the kept zone %s, starting empty: %s", path, broken)
        return
    if zone is not None:
        responder.use_zone(zone)
        logger.info("serving the kept zone of serial %d from %s", zone.serial, path)


if __name__ == "__main__":
    sys.exit(main())
