"""Fields that nearly every type has, the states of its machine, and small helpers of the definitions.

State lists are those of the whole machines in API.md 3, so that clients find every name they know.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from node.api.call import Call
from node.api.definition import Action, Field, Values, define
from node.api.ids import ADMIN_ACCOUNT, format_id, parse_id
from node.model import Table

DEFAULT_STATES = (
    "activating", "active", "deactivating", "inactive", "purged", "purging", "registering", "removed", "removing",
    "requested", "restoring", "updating-active", "updating-inactive",
)  # fmt: skip
CREDENTIAL_STATES = tuple(name for name in DEFAULT_STATES if name != "restoring")
STACK_STATES = (
    "activating", "active", "canceled-upgrade", "canceling-rollback", "canceling-upgrade", "error", "erroring",
    "finishing-upgrade", "removed", "removing", "requested", "rolling-back", "updating-active", "upgraded",
    "upgrading",
)  # fmt: skip
SERVICE_STATES = (
    "activating", "active", "canceled-rollback", "canceled-upgrade", "canceling-rollback", "canceling-upgrade",
    "deactivating", "finishing-upgrade", "inactive", "registering", "removed", "removing", "requested", "restarting",
    "rolling-back", "updating-active", "updating-inactive", "upgraded", "upgrading",
)  # fmt: skip
CONTAINER_STATES = (
    "creating", "error", "erroring", "migrating", "purged", "purging", "removed", "removing", "requested",
    "restarting", "restoring", "running", "starting", "stopped", "stopping", "updating-running", "updating-stopped",
)  # fmt: skip
CREATED_STATES = ("created", "creating", "removed", "removing", "requested")
MACHINE_STATES = (
    "active", "bootstrapping", "created", "creating", "error", "erroring", "removed", "removing", "requested",
    "updating",
)  # fmt: skip
MAP_STATES = ("activating", "active", "removed", "removing", "requested")

DEFAULT_PROCESSES = ("activate", "create", "deactivate", "purge", "remove", "restore", "update")
"""What most resources can go through."""
LABEL_CHARS = "a-zA-Z0-9-"
LEAVING = frozenset({"removing", "removed", "purging", "purged"})


def common_fields(states: tuple[str, ...], *, writable: str = "cu") -> dict[str, Field]:
    """The fields of every type; `writable` says how name and description may be set."""
    return {
        "accountId": define("reference[account]", "N", max_length=255),
        "created": define("date", "N", max_length=255),
        "description": define("string", f"{writable}N", max_length=1024),
        "id": define("int", "N"),
        "kind": define("string", "N", max_length=255),
        "name": define("string", f"{writable}N", max_length=255),
        "removed": define("date", "N", max_length=255),
        "state": define("enum", max_length=128, options=states),
        "transitioning": define("enum", options=("yes", "no", "error"), is_filter=False),
        "transitioningMessage": define("string", "N", is_filter=False),
        "transitioningProgress": define("int", "N", is_filter=False),
        "uuid": define("string", "N", max_length=128),
    }


def common_values(
    row: Any, *, kind: str, owner: int | None, state: str, message: str | None = None, failed: bool = False
) -> Values:
    """The values of the common fields; a state that ends in -ing (or `requested`) is on its way somewhere."""
    is_moving = (state.endswith("ing") and state != "running") or state == "requested" or state.startswith("updating-")
    return {
        "accountId": format_id("project", owner) or ADMIN_ACCOUNT,
        "created": row.created,
        "description": getattr(row, "description", None) or None,
        "kind": kind,
        "name": getattr(row, "name", None),
        "removed": row.removed,
        "state": state,
        "transitioning": "error" if failed else "yes" if is_moving else "no",
        "transitioningMessage": message or ("In Progress" if is_moving else None),
        "transitioningProgress": None,
        "uuid": row.uuid,
    }


def find_in(table: Table) -> Any:
    """Return a `find` for a table of the state."""

    def find(call: Call, text: str) -> Any:
        number = parse_id(text)
        return None if number is None else getattr(call.state, table).get(number)

    return find


@dataclass(frozen=True, slots=True)
class RowsOf:
    """The `rows` of a type that shows a table of the state, or some of its rows, in the order of ids.

    Naming the table has subscribers told of the type when its rows change.
    """

    table: Table
    where: Callable[[Any], bool] | None = None

    def __call__(self, call: Call) -> Sequence[Any]:
        rows = call.index.rows(self.table)
        return rows if self.where is None else [row for row in rows if self.where(row)]


def rows_of(table: Table) -> Any:
    """Return a `rows` for a table of the state, in the order of ids."""
    return RowsOf(table)


def may_see_owned(call: Call, row: Any) -> bool:
    """For rows that belong to an environment."""
    return call.owns(row.environment_id)


def account_of(call: Call, row: Any) -> Any:
    """The environment that owns a row."""
    return call.state.environments.get(row.environment_id)


def none_yet(call: Call, row: Any) -> tuple[()]:
    """Follow a link to a type of which there is nothing."""
    return ()


def text_or_keep(data: dict[str, Any], name: str) -> str | None:
    """A nullable text for an update command: absent keeps it, null empties it."""
    return (data[name] or "") if name in data else None


def refused(output: str, why: str, *names: str, input: str | None = None) -> tuple[Action, ...]:
    """Actions that exist in the schema and are never offered, for one reason."""
    return tuple(Action(name, input=input, output=output, later=why) for name in names)
