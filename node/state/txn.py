"""The writes of commands in order: tables copied on their first write, changes recorded, the old state left untouched.

Handlers check everything first and write after, so a `Refusal` raised by one never leaves half a change.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Literal

import msgspec

from node.model import (
    Account,
    ApiKey,
    Change,
    Cluster,
    Container,
    EndedSession,
    Environment,
    Host,
    JoinToken,
    Password,
    ProjectMember,
    Refused,
    Result,
    Service,
    Stack,
    State,
    Table,
)
from node.state.indexes import AnyRow, Indexes, Named
from node.state.taken import Taken
from protocol.ids import NodeId

TABLES: tuple[Table, ...] = (
    "environments", "hosts", "stacks", "services", "containers", "api_keys", "tokens", "accounts", "passwords",
    "members",
)  # fmt: skip

_TABLE_OF: dict[type[AnyRow], Table] = {
    Environment: "environments",
    Host: "hosts",
    Stack: "stacks",
    Service: "services",
    Container: "containers",
    ApiKey: "api_keys",
    JoinToken: "tokens",
    Account: "accounts",
    Password: "passwords",
    ProjectMember: "members",
}

_COUNTERS: Mapping[str, str] = {
    "api_keys": "credentials",
    "tokens": "credentials",
    "passwords": "credentials",
    "accounts": "environments",
}
"""Tables that share one count, since clients see both under one prefix: `1c3` must be one thing."""


class Refusal(Exception):
    """Ends a handler early; `apply` turns it into the Refused value it carries."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.refused = Refused(code=code, message=message, field=field)


class Txn:
    """Reads see the writes made so far; `finish` gives the new state."""

    def __init__(self, state: State, at: int, indexes: Indexes | None = None) -> None:
        """`indexes` are those of `state` and are kept in step with what is written here."""
        self.at = at
        self._base = state
        self._tables: dict[Table, dict[int, Any]] = {}
        self._next_ids: dict[str, int] | None = None
        self._cluster: Cluster | None = None
        self._sealed: dict[NodeId, bytes] | None = None
        self._removed_nodes: dict[NodeId, int] | None = None
        self._settings: dict[str, str] | None = None
        self._ended: dict[str, EndedSession] | None = None
        self._recent: dict[str, Result] | None = None
        self._forgotten = state.forgotten
        self._last_at = state.last_at
        self._indexes = indexes or Indexes()
        self._changes: dict[Change, None] = {}
        self._all_changes: dict[Change, None] = {}

    def begin(self, at: int) -> None:
        """Go on with the next command, which was taken at `at`; `changes` are its own from here on."""
        self.at = at
        self._all_changes |= self._changes
        self._changes = {}

    @property
    def cluster(self) -> Cluster:
        return self._cluster or self._base.cluster

    @property
    def environments(self) -> Mapping[int, Environment]:
        return self._tables.get("environments", self._base.environments)

    @property
    def hosts(self) -> Mapping[int, Host]:
        return self._tables.get("hosts", self._base.hosts)

    @property
    def stacks(self) -> Mapping[int, Stack]:
        return self._tables.get("stacks", self._base.stacks)

    @property
    def services(self) -> Mapping[int, Service]:
        return self._tables.get("services", self._base.services)

    @property
    def containers(self) -> Mapping[int, Container]:
        return self._tables.get("containers", self._base.containers)

    @property
    def api_keys(self) -> Mapping[int, ApiKey]:
        return self._tables.get("api_keys", self._base.api_keys)

    @property
    def tokens(self) -> Mapping[int, JoinToken]:
        return self._tables.get("tokens", self._base.tokens)

    @property
    def accounts(self) -> Mapping[int, Account]:
        return self._tables.get("accounts", self._base.accounts)

    @property
    def passwords(self) -> Mapping[int, Password]:
        return self._tables.get("passwords", self._base.passwords)

    @property
    def members(self) -> Mapping[int, ProjectMember]:
        return self._tables.get("members", self._base.members)

    @property
    def settings(self) -> Mapping[str, str]:
        return self._base.settings if self._settings is None else self._settings

    @property
    def ended_sessions(self) -> Mapping[str, EndedSession]:
        return self._base.ended_sessions if self._ended is None else self._ended

    @property
    def sealed_ca_keys(self) -> Mapping[NodeId, bytes]:
        return self._base.sealed_ca_keys if self._sealed is None else self._sealed

    @property
    def taken(self) -> Taken:
        """What containers hold, kept in step with the writes."""
        return self._indexes.taken(self.containers.values())

    @property
    def named(self) -> Named:
        """Who has which name, kept in step with the writes."""
        return self._indexes.named(self.stacks.values(), self.services.values())

    @property
    def changes(self) -> tuple[Change, ...]:
        """Rows touched since `begin`, each once, in order of first touch."""
        return tuple(self._changes)

    @property
    def all_changes(self) -> tuple[Change, ...]:
        """Rows touched since this began."""
        return tuple(self._all_changes | self._changes)

    @property
    def last_at(self) -> int:
        return self._last_at

    @property
    def recent(self) -> Mapping[str, Result]:
        return self._base.recent if self._recent is None else self._recent

    @property
    def forgotten(self) -> int:
        return self._forgotten

    def remember(self, results: Mapping[str, Result], at_most: int) -> None:
        """Keep the results of a proposal taken at `at`, and forget the oldest beyond `at_most`."""
        if self._recent is None:
            self._recent = dict(self._base.recent)
        self._recent |= results
        for oldest in list(islice(self._recent, max(0, len(self._recent) - at_most))):
            del self._recent[oldest]
            self._forgotten += 1
        self._last_at = self.at

    def next_id(self, table: Table | Literal["service_links"]) -> int:
        """Hand out the next id of a table, or of what is kept in rows of one; ids are never used again."""
        if self._next_ids is None:
            self._next_ids = dict(self._base.next_ids)
        counter = _COUNTERS.get(table, table)
        number = self._next_ids.get(counter, 1)
        self._next_ids[counter] = number + 1
        return number

    def put(self, row: AnyRow) -> None:
        """Write a row, new or changed; an equal one is no change."""
        table = _TABLE_OF[type(row)]
        rows = self._writable(table)
        old = rows.get(row.id)
        if old == row:
            return
        rows[row.id] = row
        self._changes[Change(table, row.id)] = None
        self._indexes.note(old, row)

    def drop(self, table: Table, row_id: int) -> None:
        """Delete a row."""
        old = self._writable(table).pop(row_id)
        self._changes[Change(table, row_id)] = None
        self._indexes.note(old, None)

    def set_cluster(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def set_sealed(self, node: NodeId, sealed: bytes | None) -> None:
        """Keep or drop the CA key sealed to `node`."""
        if self._sealed is None:
            self._sealed = dict(self._base.sealed_ca_keys)
        if sealed is None:
            self._sealed.pop(node, None)
        else:
            self._sealed[node] = sealed

    def set_setting(self, name: str, value: str | None) -> None:
        """Write a setting, or drop it."""
        if self._settings is None:
            self._settings = dict(self._base.settings)
        if value is None:
            self._settings.pop(name, None)
        else:
            self._settings[name] = value

    def set_ended_sessions(self, ended: dict[str, EndedSession]) -> None:
        self._ended = ended

    @property
    def sealed(self) -> Mapping[NodeId, bytes]:
        return self._base.sealed_ca_keys if self._sealed is None else self._sealed

    def note_removed_node(self, node: NodeId, for_ms: int) -> None:
        """Remember a node that is no host any more, and forget those removed longer ago than `for_ms`."""
        known = self._base.removed_nodes if self._removed_nodes is None else self._removed_nodes
        self._removed_nodes = {each: at for each, at in known.items() if self.at - at < for_ms} | {node: self.at}

    def finish(self) -> State:
        """Return the state with all writes, or the very same one if there were none."""
        touched = {change.table for changes in (self._all_changes, self._changes) for change in changes}
        parts: dict[str, Any] = {table: rows for table, rows in self._tables.items() if table in touched}
        if self._next_ids is not None:
            parts["next_ids"] = self._next_ids
        if self._cluster is not None and self._cluster != self._base.cluster:
            parts["cluster"] = self._cluster
        if self._sealed is not None and self._sealed != self._base.sealed_ca_keys:
            parts["sealed_ca_keys"] = self._sealed
        if self._removed_nodes is not None:
            parts["removed_nodes"] = self._removed_nodes
        if self._settings is not None and self._settings != self._base.settings:
            parts["settings"] = self._settings
        if self._ended is not None and self._ended != self._base.ended_sessions:
            parts["ended_sessions"] = self._ended
        if self._recent is not None:
            parts |= {"recent": self._recent, "forgotten": self._forgotten, "last_at": self._last_at}
        return msgspec.structs.replace(self._base, **parts) if parts else self._base

    def _writable(self, table: Table) -> dict[int, Any]:
        rows = self._tables.get(table)
        if rows is None:
            rows = self._tables[table] = dict(getattr(self._base, table))
        return rows
