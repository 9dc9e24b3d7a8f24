"""Which commands another node may hand to the leader, and in whose name.

Pure.  Any member may pass on what people ask for, since every node answers the API: root on a host of the cluster
administers the cluster.  What the leader alone decides, and what a host says of itself, nobody else may say.
"""

from node import commands as c
from node.model import State
from protocol.ids import NodeId

LEADERS_OWN: tuple[type[c.Command], ...] = (
    c.InitCluster,
    c.AdmitHost,
    c.MarkHostDown,
    c.MarkHostUp,
    c.AddContainer,
    c.PlaceContainer,
    c.SetServiceState,
    c.FinishStackRemoval,
    c.PurgeRows,
)
"""Made by the leader's planners and its admission; from elsewhere they are not asked for."""


def why_refused(command: c.AnyCommand, sender: NodeId, state: State | None) -> str | None:
    """Return why the leader does not take this command from `sender`, None when it does."""
    if isinstance(command, c.Batch):
        return next((why for each in command.commands if (why := why_refused(each, sender, state))), None)
    name = type(command).__name__
    if isinstance(command, LEADERS_OWN):
        return f"{name} is the leader's own to decide"
    if isinstance(command, c.ReportHost | c.ReportContainers) and command.node != sender:
        return f"{name} is a host's word about itself, and {sender[:8]} is another"
    if isinstance(command, c.SealCaKey):
        if state is None or sender not in state.sealed_ca_keys:
            return "only who holds the CA key can seal it"
        if command.sealed is None:
            return "only the leader takes back a copy of the CA key"
    return None
