"""The state machines of the v1 API as tables: from which states a process starts, through which it goes, where it ends.

Clients wait by these names (API.md 3).  What Corral cannot do yet is in the tables with its reason; the definitions
refuse a call to it with the same.  Nothing here moves a resource: node.state and the planners do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

_UPGRADES = "upgrades are not built yet"
_HEALTH = "health checks are not built yet"
_ENGINE = "a step of Rancher's process engine that no client asks for"
_MACHINES = "hosts join by running the command of a registrationToken; Corral makes no machines"


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a resource."""

    name: str
    start: tuple[str, ...]
    through: tuple[str, ...]
    """States while it goes on, in which `transitioning` is `yes`."""
    done: tuple[str, ...]
    """Where it can end."""
    later: str | None = None
    """Why it cannot be started: what it needs that Corral cannot do yet."""


def _each(*rows: tuple[str, ...]) -> tuple[Process, ...]:
    """Rows of words: name, start, through, done, and perhaps the reason why not yet."""
    return tuple(
        Process(
            row[0],
            start=tuple(row[1].split()),
            through=tuple(row[2].split()),
            done=tuple(row[3].split()),
            later=row[4] if len(row) > 4 else None,
        )
        for row in rows
    )


_DEFAULT = _each(
    ("create", "requested", "registering", "inactive"),
    ("activate", "inactive registering", "activating", "active"),
    ("deactivate", "active", "deactivating", "inactive"),
    ("update", "active inactive", "updating-active updating-inactive", "active inactive"),
    ("remove", "inactive requested registering updating-active updating-inactive", "removing", "removed"),
    ("purge", "removed", "purging", "purged", _ENGINE),
    ("restore", "removed", "restoring", "inactive", _ENGINE),
)
_CREDENTIAL = tuple(process for process in _DEFAULT if process.name != "restore")
_PROJECT = tuple(
    replace(process, start=("active", *process.start)) if process.name == "remove" else process for process in _DEFAULT
)
_FOLLOWS = tuple(replace(process, later="follows from its host or its containers") for process in _DEFAULT)
_REGISTRIES = "private registries are not built yet; have the image on the hosts"
_MAP = _each(
    ("create", "requested", "activating", "active"),
    ("remove", "active activating requested", "removing", "removed"),
)

PROCESSES: Mapping[str, tuple[Process, ...]] = {
    "project": _PROJECT,
    "host": _DEFAULT,
    "apiKey": _CREDENTIAL,
    "registrationToken": _CREDENTIAL,
    "port": _FOLLOWS,
    "network": _FOLLOWS,
    "storagePool": _FOLLOWS,
    "registry": tuple(replace(process, later=_REGISTRIES) for process in _DEFAULT),
    "registryCredential": tuple(replace(process, later=_REGISTRIES) for process in _CREDENTIAL),
    "volume": _FOLLOWS,
    "container": _each(
        ("create", "requested", "creating", "starting stopped"),
        ("start", "stopped error", "starting", "running"),
        ("stop", "running starting restarting creating requested", "stopping", "stopped"),
        ("restart", "running", "restarting", "running"),
        ("update", "running stopped error", "updating-running updating-stopped", "running stopped"),
        ("error", "creating starting", "erroring", "error"),
        ("remove", "stopped error requested creating updating-running updating-stopped", "removing", "removed"),
        ("migrate", "running", "migrating", "running", "containers are not moved between hosts"),
        ("updatehealthy", "running", "updating-running", "running", _HEALTH),
        ("updateunhealthy", "running", "updating-running", "running", _HEALTH),
        ("updatereinitializing", "running", "updating-running", "running", _HEALTH),
        ("purge", "removed", "purging", "purged", _ENGINE),
        ("restore", "removed", "restoring", "stopped", _ENGINE),
    ),
    "environment": _each(
        ("create", "requested", "activating", "active"),
        ("update", "active", "updating-active", "active"),
        ("upgrade", "active", "upgrading", "upgraded", _UPGRADES),
        ("cancelupgrade", "upgrading", "canceling-upgrade", "canceled-upgrade", _UPGRADES),
        ("rollback", "upgraded canceled-upgrade", "rolling-back", "active", _UPGRADES),
        ("cancelrollback", "rolling-back", "canceling-rollback", "canceled-upgrade", _UPGRADES),
        ("finishupgrade", "upgraded canceled-upgrade", "finishing-upgrade", "active", _UPGRADES),
        ("error", "activating upgrading", "erroring", "error", _ENGINE),
        ("remove", "active error upgraded canceled-upgrade requested updating-active", "removing", "removed"),
    ),
    "service": _each(
        ("create", "requested", "registering", "inactive"),
        ("activate", "inactive", "activating", "active"),
        (
            "update",
            "active inactive activating deactivating updating-active updating-inactive upgraded canceled-upgrade "
            "canceled-rollback requested registering restarting upgrading rolling-back canceling-upgrade "
            "canceling-rollback finishing-upgrade",
            "updating-active updating-inactive",
            "active inactive",
        ),
        ("deactivate", "active activating updating-active", "deactivating", "inactive"),
        ("restart", "active", "restarting", "active", "rolling restarts are not built yet"),
        ("upgrade", "active inactive", "upgrading", "upgraded", _UPGRADES),
        ("cancelupgrade", "upgrading", "canceling-upgrade", "canceled-upgrade", _UPGRADES),
        ("rollback", "upgraded canceled-upgrade", "rolling-back", "active", _UPGRADES),
        ("cancelrollback", "rolling-back", "canceling-rollback", "canceled-rollback", _UPGRADES),
        ("finishupgrade", "upgraded canceled-upgrade canceled-rollback", "finishing-upgrade", "active", _UPGRADES),
        (
            "remove",
            "active inactive activating deactivating updating-active updating-inactive upgraded canceled-upgrade "
            "canceled-rollback requested registering restarting upgrading rolling-back canceling-upgrade "
            "canceling-rollback finishing-upgrade",
            "removing",
            "removed",
        ),
    ),
    "serviceExposeMap": _each(
        ("create", "requested", "activating", "active"),
        ("remove", "active activating requested", "removing", "removed"),
    ),
    "serviceConsumeMap": _each(
        ("create", "requested", "activating", "active"),
        ("remove", "active activating requested", "removing", "removed"),
    ),
    "physicalHost": _each(
        ("create", "requested", "creating", "created", _MACHINES),
        ("bootstrap", "created", "bootstrapping", "active", _MACHINES),
        ("update", "active", "updating", "active", _MACHINES),
        ("error", "creating bootstrapping", "erroring", "error", _MACHINES),
        ("remove", "active created error", "removing", "removed", _MACHINES),
    ),
    "snapshot": _each(
        ("create", "requested", "creating", "created", "snapshots of volumes are not built"),
        ("backup", "created", "backing-up", "backed-up", "snapshots of volumes are not built"),
        ("remove", "created backed-up", "removing", "removed", "snapshots of volumes are not built"),
    ),
}
"""By resource type."""


def start_states(type_: str, name: str) -> frozenset[str]:
    """From which states a process starts."""
    return next(frozenset(process.start) for process in PROCESSES[type_] if process.name == name)
