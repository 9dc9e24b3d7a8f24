"""`start`: on a fresh host check it, make a cluster and become its daemon; on a member become the daemon again.

Nothing is written before every check has passed.
"""

import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from node.cli.errors import CliError, program
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
    say_findings,
    split_flags,
    version_asker,
)
from node.cli.inputs import read_pairs
from node.cli.lazy import Command
from node.cli.session import is_coloured
from node.cli.welcome import FoundedCluster, api_url, render_founded
from node.config import API_PORT, OVERLAY_PORTS, PEER_PORT, VERSION

if TYPE_CHECKING:
    from node.founding import Founded, Founding
    from node.model import HostFacts, OverlayMode
    from node.ports import EngineVersion
    from node.store.identity import Identity

OVERLAY_NETWORK = "10.42.0.0/16"
OVERLAY_SUBNET_BITS = 24


@click.command(
    "start", cls=Command, examples=("node start", "node start --name h1 --advertise 192.0.2.1 --label zone=a")
)
@host_options()
@click.option(
    "--overlay", type=click.Choice(["wireguard", "vxlan"]), help="New cluster: how hosts are linked: wireguard."
)
@click.option(
    "--overlay-network", metavar="CIDR", help=f"New cluster: range of containers' addresses: {OVERLAY_NETWORK}."
)
@click.option("--overlay-subnet-bits", type=click.IntRange(16, 29), help="New cluster: prefix of a host's subnet: 24.")
@click.option("--access-control", type=click.Choice(["none"]), help="New cluster: an API open to everybody.")
def command(
    overlay: "OverlayMode | None",
    overlay_network: str | None,
    overlay_subnet_bits: int | None,
    access_control: str | None,
    **flags: Any,
) -> None:
    """Start this host's node, in the foreground; on a fresh host make a cluster first.

    Ctrl-C or SIGTERM stops the node; containers, their network and their names go on.
    """
    place, host = split_flags(flags)
    identity = load_identity(place)
    creating = {
        "--overlay": overlay,
        "--overlay-network": overlay_network,
        "--overlay-subnet-bits": overlay_subnet_bits,
        "--access-control": access_control,
    }
    if identity is not None:
        _restart(place, host, identity, tuple(name for name, value in creating.items() if value is not None))
    bits = overlay_subnet_bits or OVERLAY_SUBNET_BITS
    network = _check_network(overlay_network or OVERLAY_NETWORK, bits)
    founding = _plan(host, overlay or "wireguard", network, bits, is_open=access_control == "none")
    become_daemon(place, _welcome(_found(place, founding), is_open=founding.open_access))


def _plan(host: HostFlags, mode: "OverlayMode", network: str, bits: int, *, is_open: bool) -> "Founding":
    """Return the cluster that was asked for, defaults filled in; what the host is comes later."""
    from node.founding import Founding
    from node.model import HostFacts

    name, labels = host_name(host.name), read_pairs(host.labels, "--label")
    chosen = choose_address(host.advertise, network)
    return Founding(
        name=name,
        address=chosen.address,
        api_port=host.api_port or API_PORT,
        peer_port=host.peer_port or PEER_PORT,
        overlay_port=host.overlay_port or OVERLAY_PORTS[mode],
        overlay_network=network,
        overlay_mode=mode,
        overlay_subnet_bits=bits,
        open_access=is_open,
        labels=labels,
        facts=HostFacts(mtu=chosen.mtu),
    )


def _check_network(text: str, bits: int) -> str:
    from ipaddress import IPv4Network

    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise click.UsageError(f"--overlay-network takes an IPv4 range such as {OVERLAY_NETWORK}: {error}") from None
    if not network.is_private or network.prefixlen >= bits:
        raise click.UsageError(
            f"--overlay-network {text} cannot be divided into subnets of /{bits}, one for each host: "
            f"take a wider private range such as {OVERLAY_NETWORK}, or other --overlay-subnet-bits"
        )
    return str(network)


def _restart(place: Place, host: HostFlags, identity: "Identity", creating: tuple[str, ...]) -> None:
    """Become the daemon of an identity; --advertise is the one thing that a later start may change."""
    from msgspec.structs import replace

    member = f"{identity.name} of cluster {identity.cluster_id[:12]}"
    if creating:
        why = f"{', '.join(creating)} can be chosen only when a cluster is made"
        raise CliError(f"this host is {member} already", why, "leave them out, or `node leave` first to begin anew")
    _refuse_contradictions(host, identity, member)
    with held_folder(place) as folder:
        if host.advertise is not None:
            chosen = choose_address(host.advertise, identity.overlay_network)
            if chosen.address != identity.address:
                folder.save(replace(identity, address=chosen.address))
                click.echo(f"{identity.name} is now at {chosen.address}, before at {identity.address}", err=True)
    become_daemon(place, "")


def _refuse_contradictions(host: HostFlags, identity: "Identity", member: str) -> None:
    asked = {
        "--name": (host.name, identity.name),
        "--api-port": (host.api_port, identity.api_port),
        "--peer-port": (host.peer_port, identity.peer_port),
        "--overlay-port": (host.overlay_port, identity.overlay_port),
    }
    wrong = [f"{flag} is {has} here" for flag, (wanted, has) in asked.items() if wanted not in (None, has)]
    wrong += ["labels are changed with `node host label`"] if host.labels else []
    if wrong:
        raise CliError(f"this host is {member} already", "; ".join(wrong), "leave them out, or `node leave` first")


def _found(place: Place, founding: "Founding") -> "Founded":
    """Check this host and write a new cluster into its folder."""
    import trio

    from node.founding import found_cluster

    facts = trio.run(_check_host, place, founding)
    with held_folder(place) as folder:
        try:
            return found_cluster(folder, dataclasses.replace(founding, facts=facts), time.time())
        except OSError as error:
            why = f"{place.folders.data}: {error.strerror or error}"
            try_ = "make room, or choose another --data-dir"
            raise CliError("the new cluster could not be written", why, try_) from None


async def _check_host(place: Place, founding: "Founding") -> "HostFacts":
    """Print what was found out about this host, a line each, and return what it is; CliError if it cannot be a node."""
    from node.preflight import Local, ask_docker, check_local

    asks = version_asker(place)
    network = founding.overlay_network
    local = Local(
        data_dir=place.folders.data,
        api_port=founding.api_port,
        peer_port=founding.peer_port,
        overlay_port=founding.overlay_port if place.has_overlay else None,
        kernel=await look_at_kernel(place, network, founding.overlay_port),
        overlay_mode=founding.overlay_mode,
        overlay_network=network,
        range_in_use=find_in_use(network) if place.has_overlay else (),
        # Without Docker and an overlay there is nothing that needs root.
        euid=os.geteuid() if place.has_overlay else 0,
        address=place.bind or "0.0.0.0",
    )
    findings = await check_local(local, asks)
    say_findings(findings)
    _, version = await ask_docker(asks)
    if version is None or not all(finding.ok for finding in findings):
        raise CliError("this host cannot run a node yet; nothing was written", None, "mend what has FAIL before it")
    return facts_of(version, founding.facts.mtu)


def facts_of(version: "EngineVersion", mtu: int) -> "HostFacts":
    """Return what a host says of itself before its daemon knows more."""
    from node.model import HostFacts

    return HostFacts(
        docker_version=version.version,
        docker_api=version.api,
        kernel=version.kernel,
        os=version.os,
        cpus=version.cpus,
        memory_bytes=version.memory_bytes,
        node_version=VERSION,
        mtu=mtu,
    )


def _welcome(founded: "Founded", *, is_open: bool) -> str:
    identity = founded.identity
    cluster = FoundedCluster(
        name=identity.name,
        url=api_url(identity.address, identity.api_port),
        join_token=founded.join_token,
        access_key=founded.admin_key.access,
        secret_key=founded.admin_key.secret,
        is_open=is_open,
    )
    colour = is_coloured(sys.stdout, no_color=False, variables=os.environ)
    return render_founded(cluster, program=program(), colour=colour)
