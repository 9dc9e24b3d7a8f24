"""`leave`: take this host out of its cluster, and wait until nothing of it is left here."""

import os
import select
import socket
import struct

import click

from node.cli.errors import CliError, Interrupted, NotConverged, program
from node.cli.lazy import Command
from node.cli.options import reach_options
from node.cli.session import CLUSTER, Session, own_member, pass_session

LEAVE_TIMEOUT = 180.0
END_TIMEOUT = 30.0


@click.command("leave", cls=Command, examples=("node leave", "node leave --force --yes"))
@click.option("--force", is_flag=True, help="Leave without the others' confirmation, or as the last host.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@reach_options()
@pass_session
def command(session: Session, force: bool, yes: bool) -> None:
    """Take this host out of its cluster: its containers, its overlay and its node's data go."""
    from node.cli.client import ApiFailure

    if session.target.socket is None:
        raise CliError(
            "a host leaves by itself", f"{session.target.base} is not this host's socket", "run it there, as root"
        )
    cluster = session.client.get(CLUSTER)
    own = own_member(cluster)
    name = own.get("hostName") or cluster["nodeId"]
    session.confirm(f"Take {name} out of cluster {cluster['uuid'][:12]}, and remove its containers?", yes=yes)
    session.note(f"{name} leaves: its containers are removed, then its overlay and its names")
    daemon = _daemon_behind(session.target.socket)
    try:
        session.client.post(f"{CLUSTER}/?action=leave", {"force": force}, timeout=LEAVE_TIMEOUT, is_patient=False)
        _wait_until_ended(daemon)
    except ApiFailure as failure:
        try_ = "`node leave --force`" if not force else "see its log"
        raise CliError("this host did not leave", failure.why, try_) from None
    except KeyboardInterrupt:
        raise Interrupted("stopped waiting; the host goes on leaving", try_="see `node status`") from None
    finally:
        if daemon is not None:
            os.close(daemon)
    click.echo(f"{name} has left; `{program()} join` makes it a member again")


def _daemon_behind(path: str) -> int | None:
    """Return a descriptor that becomes readable when the process behind the socket ends."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(2.0)
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return os.pidfd_open(struct.unpack("3i", credentials)[0])
    except OSError:
        return None


def _wait_until_ended(daemon: int | None) -> None:
    """Return once the daemon's process has ended: only then nothing of it is left."""
    if daemon is not None and not select.select([daemon], [], [], END_TIMEOUT)[0]:
        raise NotConverged(
            "this host's node has not ended yet", "it was told to leave", "see its log, and `node status`"
        )
