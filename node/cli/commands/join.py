"""`join`: check this host and the paths to a cluster from both sides, become a member, become the daemon.

A join that is refused writes nothing.  The token is never an argument that has to be: a file, a variable or standard
input keep it out of the process list.
"""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.errors import CliError, Interrupted
from node.cli.hosting import (
    HostFlags,
    Place,
    become_daemon,
    choose_address,
    find_in_use,
    held_folder,
    host_name,
    host_options,
    load_identity,
    look_at_kernel,
    own_addresses,
    say_findings,
    split_flags,
    version_asker,
)
from node.cli.inputs import read_pairs
from node.cli.lazy import Command
from node.cli.reach import parse_url
from node.cli.welcome import api_url, render_joined
from node.config import API_PORT, OVERLAY_PORTS, PEER_PORT

if TYPE_CHECKING:
    from node.joining import Joined
    from node.store.identity import Identity

USUAL_NETWORK = "10.42.0.0/16"
"""Only keeps its addresses out of the choice of our own; the cluster's real range is checked when it is known."""
MAX_TOKEN_BYTES = 4096


@click.command(
    "join",
    cls=Command,
    examples=(
        "node join http://h1:8080 --token corral1_…",
        "node join h1 --token-file ./token --name h2 --label zone=b",
    ),
)
@click.argument("url")
@click.option(
    "--token", metavar="TOKEN|-", help="Join token; - reads it from standard input, CORRAL_TOKEN does as well."
)
@click.option("--token-file", type=click.Path(path_type=Path), help="Read the token from a file.")
@host_options()
def command(url: str, token: str | None, token_file: Path | None, **flags: Any) -> None:
    """Make this host a member of the cluster of URL, any node's API, and start its node in the foreground."""
    place, host = split_flags(flags)
    _refuse_members(load_identity(place))
    base = parse_url(url).base
    text = read_token(token, token_file)
    joined = _join(place, host, base, text)
    identity = joined.identity
    click.echo(f"{identity.name} is a member now", err=True)
    welcome = render_joined(
        name=identity.name,
        host_id=joined.host_id,
        cluster_id=identity.cluster_id,
        environment=joined.environment,
        url=api_url(identity.address, identity.api_port),
    )
    become_daemon(place, welcome)


def _refuse_members(identity: "Identity | None") -> None:
    if identity is not None:
        why = f"it is {identity.name} of cluster {identity.cluster_id[:12]}, environment 1a{identity.environment_id}"
        advice = "start it with `node start`, or `node leave` that cluster first"
        raise CliError("this host is a member of a cluster already", why, advice)


def read_token(token: str | None, token_file: Path | None) -> str:
    """Return the token from where it was said to be."""
    if token is not None and token_file is not None:
        raise click.UsageError("give --token or --token-file, not both")
    if token_file is not None:
        try:
            return token_file.read_text()[:MAX_TOKEN_BYTES].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(f"cannot read the token from {token_file}", str(error), "see `node token create`") from None
    if token == "-":
        return sys.stdin.read(MAX_TOKEN_BYTES).strip()
    found = token if token is not None else os.environ.get("CORRAL_TOKEN")
    if not found:
        raise click.UsageError(
            "a join token is needed: --token, --token-file or CORRAL_TOKEN; `token create` makes one"
        )
    return found.strip()


def _join(place: Place, host: HostFlags, base: str, token: str) -> "Joined":
    """Return what this host is now."""
    import trio

    from node.joining import JoinRefusedError
    from protocol.errors import ProtocolError
    from protocol.tokens import parse_token

    try:
        parse_token(token)
    except ProtocolError as error:
        raise CliError("this join token cannot be used", str(error), "make one with `node token create`") from None
    name, labels = host_name(host.name), read_pairs(host.labels, "--label")
    chosen = choose_address(host.advertise, USUAL_NETWORK)
    try:
        with held_folder(place):
            return trio.run(_run_join, place, host, base, token, name, labels, chosen.address, chosen.mtu)
    except JoinRefusedError as error:
        raise _refusal(error) from None
    except BaseExceptionGroup as group:
        raise _first_known(group, place) from None
    except KeyboardInterrupt:
        raise _interrupted(place) from None


def _refusal(error: Any) -> CliError:
    return CliError("the join was refused; nothing was written here", str(error), error.try_ or None)


def _first_known(group: BaseExceptionGroup[BaseException], place: Place) -> BaseException:
    """Return the one of a group's errors that a person can do something about."""
    from node.joining import JoinRefusedError
    from protocol.errors import ProtocolError

    if group.subgroup(KeyboardInterrupt) is not None:
        return _interrupted(place)
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    if isinstance(leaf, JoinRefusedError):
        return _refusal(leaf)
    if isinstance(leaf, CliError):
        return leaf
    if isinstance(leaf, ProtocolError | OSError):
        return CliError("the join failed; nothing was written here", str(leaf), "try again")
    return leaf


def _interrupted(place: Place) -> Interrupted:
    if load_identity(place) is not None:
        return Interrupted("this host is a member already", try_="`node start` starts it, `node leave` takes it out")
    advice = "join again; should `node host ls` show this host as reconnecting, `node host rm` it first"
    return Interrupted("nothing was written here", try_=advice)


async def _run_join(
    place: Place, host: HostFlags, base: str, token: str, name: str, labels: dict[str, str], address: str, mtu: int
) -> "Joined":
    import trio

    from node.cli.client import fetch_join_info
    from node.joining import Joining, join_cluster

    async def fetch(url: str) -> bytes:
        return await trio.to_thread.run_sync(fetch_join_info, url, abandon_on_cancel=True)

    kernel = await look_at_kernel(place, USUAL_NETWORK, host.overlay_port or OVERLAY_PORTS["wireguard"])
    joining: Joining = Joining(
        name=name,
        address=address,
        underlay_mtu=mtu,
        addresses=own_addresses(),
        api_port=host.api_port or API_PORT,
        peer_port=host.peer_port or PEER_PORT,
        overlay_port=host.overlay_port,
        labels=labels,
        kernel=kernel,
        range_in_use=find_in_use,
        bind=place.bind or "0.0.0.0",
        has_overlay=place.has_overlay,
    )
    return await join_cluster(
        place.folders,
        joining,
        url=base,
        token_text=token,
        fetch=fetch,
        ask_version=version_asker(place),
        say=say_findings,
        now=time.time,
    )
