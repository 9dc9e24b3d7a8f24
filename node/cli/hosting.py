"""What `start` and `join` share: their flags, a look at this host, and becoming the daemon.

The daemon is a program of its own; what it is to say once, secrets among it, reaches it through a pipe and never
through its arguments.
"""

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from node.cli.errors import CliError
from node.config import DATA_DIR, RUN_DIR, ConfigError, Folders, check_host_name
from node.early import hold_signals

if TYPE_CHECKING:
    from node.addresses import Chosen
    from node.ports import EngineVersion
    from node.store.identity import DataFolder, Identity
    from protocol.join import Finding, KernelFeatures

F = TypeVar("F", bound=Callable[..., Any])

PORT = click.IntRange(1, 65535)
FOLDER = click.Path(path_type=Path, readable=False)
"""Whether it can be read is for the check to say, with what to do about it."""
MAX_WELCOME = 60_000
"""Less than a pipe holds, so that it is written before anybody reads."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the daemon keeps its things, and how it runs."""

    folders: Folders
    engine: str
    bind: str | None
    dns_listen: tuple[str, ...]
    log_format: str
    log_level: str
    voters: int | None = None

    @property
    def has_overlay(self) -> bool:
        """Whether containers are real and need a network between hosts."""
        return self.engine == "docker"


@dataclass(frozen=True, slots=True)
class HostFlags:
    """What a person chose for this host; None where nothing was said."""

    name: str | None
    advertise: str | None
    api_port: int | None
    peer_port: int | None
    overlay_port: int | None
    labels: tuple[str, ...]


def host_options() -> Callable[[F], F]:
    """The flags of both commands."""
    options = [
        click.option("--name", metavar="NAME", help="This host's name; its hostname if not said."),
        click.option(
            "--advertise",
            "--overlay-interface",
            "advertise",
            metavar="ADDRESS|IFACE",
            help="The address others reach this host at; needed where it has several.",
        ),
        click.option("--api-port", type=PORT, help="TCP port of the API: 8080."),
        click.option("--peer-port", type=PORT, help="TCP and UDP port for the other hosts: 8090."),
        click.option("--overlay-port", type=PORT, help="UDP port of the overlay: 51820, or 4789 for vxlan."),
        click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of this host."),
        click.option("--data-dir", type=FOLDER, default=DATA_DIR, show_default=True),
        click.option("--run-dir", type=click.Path(path_type=Path), default=RUN_DIR, show_default=True),
        click.option("--engine", type=click.Choice(["docker", "memory"]), default="docker", show_default=True),
        click.option("--bind", metavar="ADDRESS", help="Listen on this address only."),
        click.option(
            "--voters", type=click.IntRange(1, 15), help="How many hosts should vote: 1, 3 from 3 hosts, 5 from 7."
        ),
        click.option("--dns-listen", multiple=True, metavar="ADDRESS:PORT", help="Where names are served."),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"),
    ]

    def decorate(func: F) -> F:
        for option in reversed(options):
            func = option(func)
        return func

    return decorate


def split_flags(flags: dict[str, Any]) -> tuple[Place, HostFlags]:
    """Return the flags of `host_options` in their two groups."""
    place = Place(
        folders=Folders(flags["data_dir"].absolute(), flags["run_dir"].absolute()),
        engine=flags["engine"],
        bind=flags["bind"],
        dns_listen=flags["dns_listen"],
        log_format=flags["log_format"],
        log_level=flags["log_level"],
        voters=flags["voters"],
    )
    names = ("name", "advertise", "api_port", "peer_port", "overlay_port", "labels")
    return place, HostFlags(**{name: flags[name] for name in names})


def host_name(wanted: str | None) -> str:
    """Return the name that was chosen, or the first part of the hostname."""
    try:
        return check_host_name(wanted or socket.gethostname().partition(".")[0])
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def load_identity(place: Place) -> "Identity | None":
    """Return who this host is, None on a fresh one."""
    from node.store.files import CorruptFileError
    from node.store.identity import DataFolder

    try:
        return DataFolder(place.folders.data).load()
    except CorruptFileError as error:
        raise CliError(
            "this host's identity cannot be read", str(error), "restore the file, or move the folder away"
        ) from None
    except PermissionError:
        where = place.folders.data
        raise CliError(f"{where} cannot be read", f"by user {os.geteuid()}", "be root, or choose --data-dir") from None


@contextmanager
def held_folder(place: Place) -> "Iterator[DataFolder]":
    """Hold the data folder while something may be written into it; one that was made for nothing goes again.

    It is made before a cluster is asked for anything: to be admitted and then have nowhere to write it down would
    leave the cluster with a host that never comes.
    """
    from node.store.identity import DataFolder, FolderInUseError

    folder = DataFolder(place.folders.data)
    existed = folder.path.exists()
    try:
        folder.acquire()
    except FolderInUseError as error:
        raise CliError("a node runs on this folder already", str(error), "see `node status`") from None
    except OSError as error:
        why = f"{folder.path}: {error.strerror or error}"
        raise CliError("the data folder cannot be used", why, "be root, or choose another --data-dir") from None
    try:
        yield folder
    finally:
        folder.release()
        if not existed and not folder.identity_file.exists():
            with suppress(OSError):
                (folder.path / "lock").unlink()
                folder.path.rmdir()


def choose_address(wanted: str | None, overlay_network: str) -> "Chosen":
    """Return the address to tell the others; several are never guessed between."""
    from node.addresses import AddressUnclear, local_interfaces, pick_advertise_address

    try:
        return pick_advertise_address(local_interfaces(), wanted, overlay_network=overlay_network)
    except AddressUnclear as error:
        raise CliError("which address is this host's for the others?", str(error), "add --advertise ADDRESS") from None


def own_addresses() -> tuple[str, ...]:
    """Return every address of this host."""
    from node.addresses import local_interfaces

    return tuple(address for interface in local_interfaces() for address in interface.addresses)


def find_in_use(network: str) -> tuple[str, ...]:
    """Return what on this host overlaps a network; a tunnel that an earlier node left here does not count."""
    from node.addresses import find_overlaps, local_routes
    from node.plan.overlay_model import TUNNELS

    return find_overlaps(local_routes(), network, ours=tuple(TUNNELS.values()))


async def look_at_kernel(place: Place, network: str, port: int) -> "KernelFeatures":
    """Return what this host can build an overlay from."""
    from protocol.join import KernelFeatures

    if not place.has_overlay:
        # An engine in memory needs no overlay: nothing that one would need is missing.
        return KernelFeatures(wireguard_kernel=True, wireguard_go=True, vxlan=True, tun=True, nft=True)
    from node.overlay.overlay import FAILURES, Overlay

    try:
        found = await Overlay().probe(network, port)
    except FAILURES as error:
        try_ = "be root, in a network namespace of your own"
        raise CliError("this host's network cannot be looked at", str(error), try_) from None
    return KernelFeatures(
        wireguard_kernel=found.has_wireguard,
        wireguard_go=found.wireguard_go is not None,
        vxlan=found.has_vxlan,
        tun=found.has_tun,
        nft=found.nftables is None,
    )


def version_asker(place: Place) -> "Callable[[], Awaitable[EngineVersion]]":
    """Return what asks the engine for its version."""
    if place.engine == "memory":
        from node.engine.memory import MemoryEngine

        return MemoryEngine(now_ms=lambda: 0).version
    from node.engine.dockerd import DockerEngine

    return DockerEngine("", resolv_dir=place.folders.data).version


def say_findings(findings: "Sequence[Finding]", *, file: Any = None) -> None:
    """Print a line for each finding."""
    from node.preflight import render_findings

    for line in render_findings(findings):
        click.echo(line, err=file is None, file=file)


def daemon_argv(place: Place, welcome_fd: int | None) -> list[str]:
    """Return the daemon's command line."""
    folders = place.folders
    words = [sys.executable, "-P", "-m", "node.daemon", "--data-dir", str(folders.data), "--run-dir", str(folders.run)]
    words += ["--engine", place.engine, "--log-format", place.log_format, "--log-level", place.log_level]
    words += ["--bind", place.bind] if place.bind else []
    words += ["--voters", str(place.voters)] if place.voters else []
    for each in place.dns_listen:
        words += ["--dns-listen", each]
    return [*words, *(["--welcome-fd", str(welcome_fd)] if welcome_fd is not None else [])]


def daemon_variables(variables: dict[str, str], path: Sequence[str]) -> dict[str, str]:
    """Return the daemon's environment: it finds the same code as we did, never that of the folder it is called in.

    `path` is our sys.path; its first entry is the checkout when we run as `python -m node` from one.
    """
    import node

    root = str(Path(node.__file__ or "").resolve().parent.parent)
    if not path or os.path.realpath(path[0] or os.curdir) != root:
        return variables
    inherited = variables.get("PYTHONPATH")
    return {**variables, "PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}


def become_daemon(place: Place, welcome: str) -> NoReturn:
    """Replace this process by the daemon, which prints `welcome` once it is ready."""
    welcome_fd = None
    if welcome:
        welcome_fd, writing = os.pipe()
        os.set_inheritable(welcome_fd, True)
        os.write(writing, welcome.encode()[:MAX_WELCOME])
        os.close(writing)
    sys.stdout.flush()
    sys.stderr.flush()
    argv = daemon_argv(place, welcome_fd)
    hold_signals()
    os.execve(argv[0], argv, daemon_variables(dict(os.environ), sys.path))
