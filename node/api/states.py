"""In which state of API.md 3 a container is: derived from what is wanted of it and what its host's agent last saw."""

from node.model import Container
from node.plan.services import START_ONCE

_RUNNING = {"none": "creating", "pulling": "creating", "gone": "creating", "created": "starting"}


def container_state(row: Container) -> str:
    """Return the state of API.md 3 that the row is in."""
    seen = row.seen.status
    if row.removed is not None:
        return "removed"
    if row.desired == "removed":
        return "stopping" if seen == "running" else "removing"
    if row.host_id is None:
        return "requested"
    if seen == "error":
        return "error"
    if row.desired == "stopped":
        return "stopping" if seen == "running" else "stopped"
    if seen in ("running", "exited"):
        return _state_of_started(row)
    return _RUNNING[seen]


def _state_of_started(row: Container) -> str:
    is_due = row.seen.starts <= row.restarts_wanted
    if row.seen.status == "running":
        return "restarting" if is_due else "running"
    # A service's container that ended is started again unless it was to run once; a stand-alone one has its own policy.
    ends_for_good = row.service_id is None or row.launch.labels.get(START_ONCE) == "true"
    return "stopped" if ends_for_good and not is_due else "starting"
