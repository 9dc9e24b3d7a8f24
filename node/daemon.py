"""The daemon of one host: runs the parts of an existing identity until it is told to stop.

`node start` and `node join` make the identity and then become this program.  It stops cleanly on SIGTERM and SIGINT
within STOP_TIMEOUT, unless disk or kernel hang; containers, the overlay and the DNS server go on without it.
"""

if __name__ == "__main__":
    # Before the imports: they take a while, and a signal meanwhile must not end in a traceback.
    from node.early import catch_signals

    catch_signals()

import argparse
import errno
import logging
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

import dns
from dns.control import remove_lock
from node.api.access import Access
from node.api.api import Api
from node.api.feed import Feed
from node.api.listeners import open_tcp_listeners, open_unix_listener
from node.api.server import serve
from node.api.sockets import SocketRoute
from node.api.streaming import stream_routes
from node.api.subscribe import subscribing
from node.assembly import Options, Parts, assemble, now_ms
from node.auth.ring import derive_keys
from node.config import DATA_DIR, RUN_DIR, Folders
from node.drive.names import DNS_ADDRESS
from node.drive.snapshots import NewerStateError
from node.drive.watchdog import Watchdog
from node.logs import set_up
from node.operations import NodeOperations
from node.store.errors import CorruptStoreError, StoreFailedError
from node.store.files import CorruptFileError
from node.store.identity import DataFolder, FolderInUseError, Identity
from protocol.seal import Keyring

STOP_TIMEOUT = 8.0
"""Seconds from the signal until all that still runs is cancelled; a write to the disk is waited for even then."""
ACTIVE_TIMEOUT = 60.0
MAX_WELCOME = 65536
MAX_SEEDS = 64
MAX_FILES = 65536
DNS_LISTEN = (f"{DNS_ADDRESS}:53",)

log = logging.getLogger("corral.daemon")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a daemon; exits 0 after a clean stop, 1 when it cannot run."""
    chosen = _parser().parse_args(arguments)
    _allow_many_files()
    set_up(chosen.log_format, level=chosen.log_level.upper())
    folder = DataFolder(chosen.data_dir)
    try:
        _check_dns_package()
        welcome = _read_welcome(chosen.welcome_fd)
        folder.acquire()
        identity = folder.load()
        if identity is None:
            raise SystemExit(f"{folder.path} belongs to no cluster: use `node start` or `node join`")
        folder.restore_tls_file(identity)
        options = Options(
            Folders(chosen.data_dir, chosen.run_dir),
            chosen.engine,
            chosen.bind,
            tuple(chosen.dns_listen or DNS_LISTEN),
            chosen.voters,
        )
        watchdog = Watchdog()
        trio.run(run_node, identity, folder, options, welcome, watchdog, instruments=[watchdog])
    except* (CannotRunError, CorruptFileError, CorruptStoreError, FolderInUseError, NewerStateError) as errors:
        raise SystemExit(f"cannot run: {_first(errors)}") from None
    except* StoreFailedError as errors:
        raise SystemExit(f"cannot run: {_first(errors)}; then start the node again") from None
    except* OSError as errors:
        # A file that cannot be written, mostly: a full disk, a folder of somebody else's.
        log.debug("this ended the daemon", exc_info=errors)
        raise SystemExit(f"cannot run: {_first(errors)}; see to that and start the node again") from None


class CannotRunError(Exception):
    """Something on this host is in the way; the message names it and says what to do."""


def _allow_many_files() -> None:
    """Use what the system allows: by default a process may open 1024 files, and one client could hold as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="node.daemon", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--run-dir", type=Path, default=RUN_DIR)
    parser.add_argument("--engine", choices=("docker", "memory"), default="docker")
    parser.add_argument("--bind", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--voters", type=int, help="how many hosts should vote while this one leads")
    parser.add_argument("--dns-listen", action="append", help=f"address and port to serve names on: {DNS_ADDRESS}:53")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument("--welcome-fd", type=int, help="read a text from here and print it once the node is ready")
    return parser


async def run_node(identity: Identity, folder: DataFolder, options: Options, welcome: str, watchdog: Watchdog) -> None:
    """Run one node until a signal, or until it has left the cluster.

        base                ends last: others go on hearing from us
        |- link             mutual TLS listener, one connection per peer
        |- gossip, probes   who is alive
        |- consensus        drives protocol.raft, applies to the state
        `- work             ends first: nothing new may start
           |- leading       the leader's plans
           |- overlay       bridge, tunnel, routes, rules
           |- agent         the only writer to the engine
           |- names         feeds the DNS server
           |- upkeep        this host's facts and certificate
           `- api           last up: a reachable API means a usable node

    No part catches another's failure: an exception anywhere unwinds the whole tree.
    """
    parts = assemble(identity, folder, options)
    stop = trio.Event()
    operations = NodeOperations(parts, stop)
    try:
        async with trio.open_nursery() as outer:
            outer.start_soon(_stop_on_signal, stop)
            async with trio.open_nursery() as base:
                await _start_base(parts, base)
                api_stop = trio.Event()
                async with trio.open_nursery() as work:
                    await _start_work(parts, operations, work, api_stop)
                    work.start_soon(_announce, parts, welcome)
                    await stop.wait()
                    log.info("stopping; containers and names go on")
                    outer.cancel_scope.deadline = trio.current_time() + STOP_TIMEOUT
                    # While clients are still served here, so that they wait for a moment and not for an election.
                    await parts.base.consensus.group.handover.try_transfer()
                    api_stop.set()
                    await trio.sleep(0.1)
                    work.cancel_scope.cancel()
                if operations.is_leaving:
                    await parts.base.gossip.leave()
                base.cancel_scope.cancel()
            outer.cancel_scope.cancel()
        if operations.is_leaving:
            await trio.to_thread.run_sync(folder.wipe)
            await trio.to_thread.run_sync(folder.discard_if_fresh)
            remove_lock(parts.options.folders.dns_socket)
            log.info("this host has left the cluster; nothing of it remains here")
    finally:
        parts.base.store.close()
    if watchdog.slow_steps:
        log.info("%d slow steps, the longest %.0f ms", watchdog.slow_steps, watchdog.longest * 1000)


async def _start_base(parts: Parts, base: trio.Nursery) -> None:
    identity, bind = parts.identity, parts.options.bind
    tcp = await _listen("peer port", bind, identity.peer_port)
    udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        await udp.bind((bind, identity.peer_port))
    except OSError as error:
        raise _port_taken(error, "peer port", "UDP", bind, identity.peer_port) from None
    await base.start(parts.base.probes.run)
    await base.start(parts.base.gossip.run, udp)
    await base.start(parts.base.link.run, tcp)
    await base.start(parts.base.consensus.run)
    parts.base.gossip.join(_seeds(parts))


async def _listen(what: str, bind: str, port: int) -> list[trio.SocketListener]:
    try:
        return await open_tcp_listeners(bind, port)
    except OSError as error:
        raise _port_taken(error, what, "TCP", bind, port) from None


def _port_taken(error: OSError, what: str, kind: str, bind: str, port: int) -> CannotRunError:
    """Return what to say of a port that cannot be had; a member keeps its ports, so another is no way out."""
    where = f"{what} {kind} {bind}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            flag = "t" if kind == "TCP" else "u"
            find = f"`ss -ln{flag}p 'sport = :{port}'`"
            return CannotRunError(
                f"{where} is in use on this host; see who holds it with {find}, stop that, start again"
            )
        case errno.EADDRNOTAVAIL:
            return CannotRunError(f"{where}: this host has no such address; give one that it has with --bind")
        case _:
            return CannotRunError(f"{where}: {error.strerror or error}")


def _seeds(parts: Parts) -> tuple[tuple[str, int], ...]:
    """Return where to look for the others: where they were last seen, and where the state on disk says they are."""
    consensus, me = parts.base.consensus, parts.identity.node
    hosts = consensus.state.hosts.values() if consensus.has_state else ()
    known = [(host.address, host.peer_port) for host in hosts if host.state != "removed" and host.node != me]
    return tuple(dict.fromkeys((*parts.identity.seeds, *known)))[:MAX_SEEDS]


async def _start_work(parts: Parts, operations: NodeOperations, work: trio.Nursery, api_stop: trio.Event) -> None:
    await work.start(parts.leading.run)
    if parts.overlaying:
        await work.start(parts.overlaying.run)
    await work.start(parts.agent.run)
    await work.start(parts.names.run)
    await work.start(parts.upkeep.run)
    await parts.base.consensus.wait_state()
    feed = Feed(now_ms)
    parts.base.consensus.listen(feed.note)
    await work.start(feed.run)
    keys = derive_keys(Keyring(parts.identity.gossip_key))
    clock, rng = trio.current_time, random.SystemRandom()
    api = Api(
        parts.base.consensus,
        access=Access(parts.base.consensus, keys.signing, now_ms=now_ms, clock=clock, rng=rng),
        operations=operations,
        now_ms=now_ms,
        rng=rng,
        join_info=parts.base.admission.join_info,
        alarms=lambda: parts.base.consensus.alarms,
        read_barrier=parts.base.consensus.read_barrier,
        refusals=parts.base.refusals.counts,
        keys=keys,
        sockets={
            "subscribe": SocketRoute(subscribing(feed)),
            **stream_routes(parts.streams, parts.base.consensus),
        },
    )
    run_dir = parts.options.folders.run
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    listeners: list[trio.abc.Listener[Any]] = [
        *await _listen("API port", parts.options.bind, parts.identity.api_port),
        open_unix_listener(parts.options.folders.api_socket),
    ]

    async def serve_api(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve(api.handle, listeners, upgrader=api.upgrade, stop=api_stop, task_status=task_status)

    await work.start(serve_api)


async def _announce(parts: Parts, welcome: str) -> None:
    """Say that the node is ready, and once that the cluster counts on it."""
    identity = parts.identity
    log.info(
        "%s (%s) serves the API on http://%s:%d", identity.name, identity.node[:8], identity.address, identity.api_port
    )
    if parts.base.consensus.state.cluster.open_access:
        log.warning("ACCESS CONTROL IS OFF: whoever reaches port %d administers this cluster", identity.api_port)
    if welcome:
        sys.stdout.write(welcome)
        sys.stdout.flush()
    with trio.move_on_after(ACTIVE_TIMEOUT) as waiting:
        await parts.upkeep.is_reported.wait()
    if waiting.cancelled_caught:
        log.warning("this host is not active after %d s: see `node doctor`", ACTIVE_TIMEOUT)
        return
    log.info("this host is active")


async def _stop_on_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            if stop.is_set():
                os._exit(1)  # Asked twice: the person does not want to wait.
            stop.set()


def _read_welcome(descriptor: int | None) -> str:
    if descriptor is None:
        return ""
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read(MAX_WELCOME).decode("utf-8", "replace")


def _check_dns_package() -> None:
    """Another distribution also installs a package called `dns`; running with that one would fail obscurely."""
    if not (Path(dns.__file__).parent / "zone.py").exists():
        raise SystemExit(f"{dns.__file__} is not Corral's: install Corral into a virtual environment of its own")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
