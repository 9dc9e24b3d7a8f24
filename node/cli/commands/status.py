"""`status`: this node's view of its cluster; without a daemon, what is known of this host all the same."""

from pathlib import Path
from typing import Any

import click

from node.cli.errors import CliError
from node.cli.lazy import Command
from node.cli.options import one_options, reach_options
from node.cli.output import Column, clean, paint, pluck, render_table
from node.cli.session import CLUSTER, Session, open_alarms, own_member, pass_session
from node.config import DATA_DIR

Json = dict[str, Any]


@click.command("status", cls=Command, examples=("node status", "node status --url http://h2:8080 --json"))
@click.option("--data-dir", type=click.Path(path_type=Path), default=DATA_DIR, help="Folder of this host's node.")
@one_options()
@reach_options()
@pass_session
def command(session: Session, data_dir: Path) -> None:
    """Show this node, its cluster and the cluster's members."""
    try:
        cluster = session.client.get(CLUSTER)
    except CliError as error:
        if session.target.socket is not None and error.message == "no node runs on this host":
            raise _not_running(data_dir, session.target.socket) from None
        raise
    own = own_member(cluster)
    host = session.client.get(f"/v1/hosts/{own['hostId']}") if own.get("hostId") else {}
    environment = session.client.get(f"/v1/projects/{host['accountId']}") if host.get("accountId") else {}
    shown = {**cluster, "host": host, "environment": environment}
    session.printer.one(shown, render_status(cluster, own, host, environment, colour=session.printer.colour))


def _not_running(data_dir: Path, socket: str) -> CliError:
    member = _member_of(data_dir)
    if member is None:
        try_ = "make a cluster with `node start`, or become part of one with `node join URL --token TOKEN`"
        return CliError(
            "no node runs on this host", f"nobody listens on {socket}, and {data_dir} has no member's", try_
        )
    why = f"it is {member}, and nobody listens on {socket}"
    return CliError("this host's node does not run", why, "start it: `node start`; its containers go on meanwhile")


def _member_of(data_dir: Path) -> str | None:
    """Say whose member this host is; None when it is nobody's or only root may know."""
    from node.store.files import CorruptFileError
    from node.store.identity import DataFolder

    try:
        identity = DataFolder(data_dir).load()
    except (OSError, CorruptFileError):
        return None
    return None if identity is None else f"{identity.name} of cluster {identity.cluster_id[:12]}"


def _info(host: Json, path: str) -> str:
    try:
        return str(pluck(host.get("info") or {}, path))
    except KeyError:
        return "unknown"


def render_status(cluster: Json, own: Json, host: Json, environment: Json, *, colour: bool) -> str:
    """Return the status as lines for a person."""
    members = cluster.get("members") or []
    leader = next((each.get("hostName") for each in members if each["nodeId"] == cluster.get("leader")), None)
    overlay = cluster.get("overlay") or {}
    named = {
        "Cluster": str(cluster.get("uuid")),
        "Environment": f"{environment.get('name') or '-'} ({environment.get('id') or '-'})",
        "This node": f"{own.get('hostName') or cluster.get('nodeId')} ({own.get('hostId') or '-'})",
        "Address": str(own.get("address")),
        "Role": f"{cluster.get('role')}, term {cluster.get('term')}, index {cluster.get('appliedIndex')}",
        "Leader": str(leader or cluster.get("leader") or "none known"),
        "Overlay": f"{_info(host, 'corral.overlay')}, {overlay.get('network')} ({overlay.get('mode')})",
        "Engine": f"{_info(host, 'osInfo.dockerVersion')}, kernel {_info(host, 'osInfo.kernelVersion')}",
        "Access": "open to everybody" if cluster.get("accessControl") == "open" else "by key",
    }
    lines = [f"{name:<12} {clean(value)}" for name, value in named.items()]
    alarms = [str(text) for text in cluster.get("alarms") or ()]
    alarms += open_alarms(cluster)
    if cluster.get("staleSince"):
        alarms.append(f"NO LEADER since {cluster['staleSince']}: this is what was known then, and changes must wait")
    lines += [paint(clean(text), "alarm") if colour else f"!! {clean(text)}" for text in alarms]
    columns = [
        Column("MEMBER", lambda row: row.get("hostName") or row["nodeId"][:8]),
        Column("HOST", lambda row: row.get("hostId")),
        Column("ADDRESS", lambda row: row.get("address")),
        Column("STATUS", lambda row: row.get("status"), is_state=True),
        Column("ROLE", lambda row: "leader" if row["nodeId"] == cluster.get("leader") else row.get("role")),
        Column("VERSION", lambda row: row.get("version")),
    ]
    return "\n".join([*lines, "", render_table(columns, members, colour=colour)])
