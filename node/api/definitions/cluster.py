"""`cluster`, a type of Corral's own: one row that says how this node sees the cluster it is part of."""

from collections.abc import Mapping
from typing import Any

from node.api.call import Call, Operations
from node.api.definition import Action, Definition, Input, Values, define
from node.api.ids import format_id
from node.model import Cluster, Host
from protocol.ids import NodeId

CLUSTER_ID = "cluster"


def _find(call: Call, text: str) -> Cluster | None:
    return call.state.cluster if text == CLUSTER_ID else None


def _progress_values(call: Call, node: NodeId) -> Values:
    """How far a member is, on the leader; of itself every node knows."""
    view = call.consensus
    if node == view.node:
        return {"lag": view.last_index - view.applied_index, "replication": None, "heardAgo": 0}
    if (follower := view.followers.get(node)) is None:
        return {"lag": None, "replication": None, "heardAgo": None}
    heard_ago = round(follower.heard_ago * 1000)
    return {"lag": view.last_index - follower.match, "replication": follower.state, "heardAgo": heard_ago}


def _member_values(call: Call, node: NodeId, host: Host | None) -> Values:
    heard = call.members.get(node)
    view = call.consensus
    return {
        "type": "clusterMember",
        **_progress_values(call, node),
        "address": heard.address if heard is not None else host.address if host is not None else None,
        "hostId": None if host is None else format_id("host", host.id),
        "hostName": host.name if host is not None else heard.name if heard is not None else None,
        "nodeId": node,
        "role": "voter" if node in view.voters else "learner" if node in view.learners else None,
        "status": None if heard is None else heard.status,
        "version": heard.version if heard is not None else None,
    }


def _members(call: Call) -> list[Values]:
    """Every node known to the state, to consensus or to gossip; an environment's key sees its own hosts only."""
    hosts: Mapping[NodeId, Host] = {host.node: host for host in call.state.hosts.values() if host.removed is None}
    nodes = {*hosts, *call.members, *call.consensus.voters, *call.consensus.learners}
    is_admin = call.caller.kind == "admin"
    return [
        _member_values(call, node, hosts.get(node))
        for node in sorted(nodes, key=lambda node: (hosts[node].id if node in hosts else 0, node))
        if is_admin or (node in hosts and call.owns(hosts[node].environment_id))
    ]


def _values(call: Call, row: Cluster) -> Values:
    view = call.consensus
    return {
        "accessControl": "open" if row.open_access else "closed",
        "alarms": list(call.alarms),
        "appliedIndex": view.applied_index,
        "commitIndex": view.commit_index,
        "created": row.created,
        "kind": "cluster",
        "leader": view.leader,
        "learners": list(view.learners),
        "members": _members(call),
        "nodeId": view.node,
        "overlay": {"mode": row.overlay_mode, "network": row.overlay_network},
        "refused": dict(call.refusals),
        "role": view.role,
        "snapshotIndex": view.snapshot_index,
        "snapshotted": view.snapshot_at,
        "staleSince": view.stale_since,
        "state": "active",
        "term": view.term,
        "transitioning": "no",
        "transitioningMessage": None,
        "transitioningProgress": None,
        "uuid": row.id,
        "voters": list(view.voters),
    }


async def _doctor(operations: Operations, data: Input) -> Values:
    findings = [dict(finding) for finding in await operations.doctor()]
    return {"type": "doctorReport", "links": {}, "actions": {}, "findings": findings}


async def _transfer(operations: Operations, data: Input) -> Values:
    await operations.transfer(data.get("hostId"))
    return {}


async def _leave(operations: Operations, data: Input) -> Values:
    await operations.leave(force=bool(data.get("force")))
    return {}


_ACTIVE = frozenset({"active"})
_NODES = "array[string]"
_CLUSTER_FIELDS: dict[str, Any] = {
    "accessControl": define("enum", options=("open", "closed"), description="open: everybody is an administrator"),
    "alarms": define("array[string]", description="what is wrong with the node that answers, and what to do"),
    "appliedIndex": define("int", description="the log entry up to which this node's answers are"),
    "commitIndex": define("int"),
    "created": define("date", "N"),
    "id": define("string"),
    "kind": define("string", "N"),
    "leader": define("string", "N", description="the leader's node id as this node knows it"),
    "learners": define(_NODES),
    "members": define("array[clusterMember]"),
    "nodeId": define("string", description="the node that gave this answer"),
    "overlay": define("map[string]"),
    "refused": define("map[int]", description="how often the node that answers refused what others sent, by kind"),
    "role": define("string", description="leader, candidate, follower or learner"),
    "staleSince": define("date", "N", description="since when this node has known of no leader"),
    "snapshotIndex": define("int", description="the log entry up to which this node's latest snapshot goes"),
    "snapshotted": define("date", "N", description="when it was made, if since the node's start"),
    "state": define("enum", options=("active",)),
    "term": define("int"),
    "transitioning": define("enum", options=("yes", "no", "error"), is_filter=False),
    "transitioningMessage": define("string", "N", is_filter=False),
    "transitioningProgress": define("int", "N", is_filter=False),
    "uuid": define("string", "N"),
    "voters": define(_NODES),
}

CLUSTER = Definition(
    id="cluster",
    plural="clusters",
    fields=_CLUSTER_FIELDS,
    actions=(
        Action("doctor", _ACTIVE, output="doctorReport", operate=_doctor),
        Action("transferleader", _ACTIVE, input="transferLeaderInput", output="cluster", operate=_transfer),
        Action("leave", _ACTIVE, input="leaveInput", output="cluster", operate=_leave, local_only=True),
    ),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: [call.state.cluster],
    find=_find,
    values=_values,
    may_change=lambda call, row: call.caller.kind == "admin",
    is_admins=True,
)
CLUSTER_MEMBER = Definition(
    id="clusterMember",
    plural="clusterMembers",
    fields={
        "address": define("string", "N"),
        "hostId": define("reference[host]", "N"),
        "heardAgo": define("int", "N", description="milliseconds since the leader heard it; only the leader knows"),
        "hostName": define("string", "N"),
        "lag": define("int", "N", description="entries of the log that it is not known to have; only the leader knows"),
        "nodeId": define("string"),
        "replication": define("enum", "N", options=("probe", "replicate", "snapshot")),
        "role": define("enum", "N", options=("voter", "learner")),
        "status": define("enum", "N", options=("alive", "suspect", "dead", "left")),
        "version": define("string", "N"),
    },
    acl={"admin": "", "project": ""},
)
LEAVE_INPUT = Definition(
    id="leaveInput",
    plural="leaveInputs",
    fields={"force": define("boolean", "c", default=False)},
    acl={"admin": "c"},
)
TRANSFER_LEADER_INPUT = Definition(
    id="transferLeaderInput",
    plural="transferLeaderInputs",
    fields={"hostId": define("reference[host]", "Nc", description="who is to lead; without it, any other voter")},
    acl={"admin": "c"},
)
DOCTOR_REPORT = Definition(
    id="doctorReport",
    plural="doctorReports",
    fields={"findings": define("array[json]")},
    acl={"admin": ""},
)
