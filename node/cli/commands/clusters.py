"""`cluster`: the Raft group that decides, as the node that answers sees it; who leads it and who votes."""

from typing import Any

import click

from node.cli.completing import complete_names
from node.cli.lazy import Group
from node.cli.options import one_options, reach_options
from node.cli.output import Column, clean, paint, render_table
from node.cli.session import CLUSTER, Session, open_alarms, pass_session

VOTE_LABEL = "corral.vote"
TRANSFER_TIMEOUT = 15.0
Json = dict[str, Any]


@click.group("cluster", cls=Group, examples=("node cluster status", "node cluster transfer-leader h2"))
def command() -> None:
    """Show the group that decides, have another host lead, choose who votes."""


@command.command("status", examples=("node cluster status", "node cluster status --json"))
@one_options()
@reach_options()
@pass_session
def status(session: Session) -> None:
    """Show term, leader, voters, learners, who lags, the latest snapshot, and what is wrong.

    How far each member is only the leader knows: of the others' lag another node shows nothing.
    """
    cluster = session.client.get(CLUSTER)
    session.printer.one(cluster, render_group(cluster, colour=session.printer.colour))


@command.command("transfer-leader", examples=("node cluster transfer-leader", "node cluster transfer-leader h2"))
@click.argument("host", required=False, shell_complete=complete_names("host"))
@reach_options()
@pass_session
def transfer_leader(session: Session, host: str | None) -> None:
    """Have HOST lead, or whichever other voter is furthest; writes wait for a moment, none is lost."""
    body = {} if host is None else {"hostId": session.find("host", host).id}
    session.client.post(f"{CLUSTER}/?action=transferleader", body, timeout=TRANSFER_TIMEOUT)
    cluster = session.client.get(CLUSTER)
    click.echo(f"{_name_of(cluster, cluster.get('leader'))} leads")


@command.command("promote", examples=("node cluster promote h4", "node cluster promote h4 --url http://h2:8080"))
@click.argument("host", shell_complete=complete_names("host"))
@reach_options()
@pass_session
def promote(session: Session, host: str) -> None:
    """Prefer HOST as a voter: it gets a vote before others, in place of another if there are enough.

    `node host label HOST corral.vote-` leaves the choice to the cluster again.
    """
    _set_vote(session, host, "yes", "is preferred as a voter")


@command.command("demote", examples=("node cluster demote h2", "node cluster demote h2 --url http://h1:8080"))
@click.argument("host", shell_complete=complete_names("host"))
@reach_options()
@pass_session
def demote(session: Session, host: str) -> None:
    """Let HOST not vote: it hands its vote over as soon as another host can take it.

    `node host label HOST corral.vote-` leaves the choice to the cluster again.
    """
    _set_vote(session, host, "no", "does not vote once another host can")


def _set_vote(session: Session, host: str, vote: str, done: str) -> None:
    found = session.find("host", host)
    labels = {**(found.row.get("labels") or {}), VOTE_LABEL: vote}
    session.client.put(session.path("host", found.id), {"labels": labels})
    click.echo(f"{found.names[0]} {done} (label {VOTE_LABEL}={vote})")


def _name_of(cluster: Json, node: str | None) -> str:
    members = cluster.get("members") or ()
    name = next((each.get("hostName") for each in members if each["nodeId"] == node), None)
    return str(name or node or "nobody")


def _lag_of(row: Json) -> str | None:
    return None if row.get("lag") is None else str(row["lag"])


def _heard_of(row: Json) -> str | None:
    return None if row.get("heardAgo") is None else f"{row['heardAgo'] / 1000:.1f} s"


def render_group(cluster: Json, *, colour: bool) -> str:
    """Return the group as lines for a person."""
    made = f", made {cluster['snapshotted']}" if cluster.get("snapshotted") else ""
    named = {
        "Leader": _name_of(cluster, cluster.get("leader")) if cluster.get("leader") else "none known",
        "Term": str(cluster.get("term")),
        "Voters": " ".join(_name_of(cluster, node) for node in cluster.get("voters") or ()),
        "Learners": " ".join(_name_of(cluster, node) for node in cluster.get("learners") or ()) or "-",
        "This node": f"{_name_of(cluster, cluster.get('nodeId'))}, {cluster.get('role')}",
        "Applied": f"{cluster.get('appliedIndex')} of {cluster.get('commitIndex')} committed",
        "Snapshot": f"at {cluster.get('snapshotIndex')}{made}",
        "Stale since": str(cluster.get("staleSince") or "-"),
    }
    lines = [f"{name:<12} {clean(value)}" for name, value in named.items()]
    alarms = [clean(str(text)) for text in (*(cluster.get("alarms") or ()), *open_alarms(cluster))]
    lines += [paint(text, "alarm") if colour else f"!! {text}" for text in alarms]
    columns = [
        Column("MEMBER", lambda row: row.get("hostName") or row["nodeId"][:8]),
        Column("VOTE", lambda row: "leader" if row["nodeId"] == cluster.get("leader") else row.get("role")),
        Column("STATUS", lambda row: row.get("status"), is_state=True),
        Column("LAG", _lag_of),
        Column("HEARD", _heard_of),
        Column("SENDING", lambda row: row.get("replication")),
    ]
    return "\n".join([*lines, "", render_table(columns, cluster.get("members") or [], colour=colour)])
