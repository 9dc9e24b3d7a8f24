"""Tells subscribers what changed: rows of each new state as the frames of `resource.change` (API.md section 7).

One task renders a changed resource once for all who see it alike, as long as anybody listens.  Each subscriber has the
latest frame of what it has not been sent yet, by resource, so its backlog is bounded by what exists and not by how
often it changes; frames are shared, and whoever stays behind is told so and let go.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import trio

from node.api.call import Call
from node.api.definition import Definition
from node.api.definitions import DEFINITIONS, definition_of_row
from node.api.definitions.common import RowsOf
from node.api.errors import ApiError
from node.api.output import embed, id_of, is_visible, render
from node.model import Change, State, Table
from node.state.txn import TABLES

MAX_BEHIND = 4096
"""Resources that a subscriber has not been sent yet."""
AT_A_TIME = 100
"""Subscribers looked at between two looks at the rest of the daemon."""
RIGHTS: frozenset[Table] = frozenset({"accounts", "api_keys", "environments", "members", "passwords"})
"""Tables that say who may see what: their changes have every subscriber looked at anew."""

Key = tuple[str, str]
"""Type and id of a resource."""


class Subscriber:
    """One listener's backlog."""

    def __init__(self, call: Call, includes: tuple[str, ...]) -> None:
        assert call.again is not None
        self.again: Callable[[], Call] = call.again
        self.call = call
        self.includes = includes
        self.is_behind = False
        self.lost: str | None = None
        """Why it may not listen any more."""
        self._frames: dict[Key, str] = {}
        self._news = trio.Event()

    @property
    def view(self) -> tuple[Any, ...]:
        """Equal for subscribers to whom every resource looks the same."""
        call = self.call
        return (replace(call.caller, key_id=None, session=None), call.scope, call.role, call.urls, self.includes)

    def offer(self, key: Key, frame: str) -> None:
        """Have a frame sent instead of an earlier one of the same resource."""
        self._frames[key] = frame
        self.is_behind = self.is_behind or len(self._frames) > MAX_BEHIND
        self._news.set()

    def end(self, why: str) -> None:
        """Let it go, and tell it nothing more."""
        self.lost, self._frames = why, {}
        self._news.set()

    async def wait_news(self) -> None:
        """Wait until there is something to take, or an end."""
        await self._news.wait()

    def take(self) -> list[str]:
        """Return what is to be sent, oldest resource first, and forget it."""
        frames = list(self._frames.values())
        self._frames, self._news = {}, trio.Event()
        return frames


@dataclass(frozen=True, slots=True)
class _Changed:
    definition: Definition
    row: Any


class Feed:
    """The subscribers of one node, and what they have not been told."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._subscribers: dict[Subscriber, None] = {}
        self._told: State | None = None
        """The state that subscribers know, with what they have in their backlogs."""
        self._state: State | None = None
        self._pending: dict[Change, None] = {}
        self._is_whole = False
        """A whole new state came without saying what changed in it."""
        self._wakeup = trio.Event()

    def note(self, state: State, changes: Sequence[Change]) -> None:
        """Take a new state; costs nothing while nobody listens."""
        if not self._subscribers:
            return
        self._state = state
        self._is_whole = self._is_whole or not changes
        self._pending.update(dict.fromkeys(changes))
        self._wakeup.set()

    def add(self, subscriber: Subscriber) -> None:
        """Begin to tell a subscriber what changes after the state of its call."""
        self._subscribers[subscriber] = None
        self._told = self._told or subscriber.call.state

    def discard(self, subscriber: Subscriber) -> None:
        self._subscribers.pop(subscriber, None)
        if not self._subscribers:
            self._told, self._state, self._pending, self._is_whole = None, None, {}, False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell them, one new state or several at once after the other."""
        task_status.started()
        while True:
            await self._wakeup.wait()
            self._wakeup = trio.Event()
            if self._state is None:
                continue
            state, changes, is_whole = self._state, tuple(self._pending), self._is_whole
            self._pending, self._is_whole = {}, False
            if is_whole and self._told is not None:
                changes = tuple(await _differences(self._told, state))
            if is_whole or any(change.table in RIGHTS for change in changes):  # Sessions end without a row's change.
                await self._renew_all()
            await self._tell(changes)
            self._told = state if self._subscribers else None

    async def _renew_all(self) -> None:
        """Let go of those who lost their right to listen."""
        for number, subscriber in enumerate(tuple(self._subscribers), 1):
            try:
                subscriber.call = subscriber.again()
            except ApiError as error:
                subscriber.end(error.detail or error.code)
                self.discard(subscriber)
            if number % AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()

    async def _tell(self, changes: Sequence[Change]) -> None:
        views: dict[tuple[Any, ...], list[Subscriber]] = {}
        for subscriber in self._subscribers:
            views.setdefault(subscriber.view, []).append(subscriber)
        for members in views.values():
            try:
                call = members[0].again()
            except ApiError:
                # Its rights were lost by time and not by a change; the others have their own.
                continue
            for changed in affected(call, changes):
                await trio.lowlevel.checkpoint()
                if (frame := self._frame(call, changed, members[0].includes)) is not None:
                    await _offer(members, *frame)

    def _frame(self, call: Call, changed: _Changed, includes: tuple[str, ...]) -> tuple[Key, str] | None:
        definition, row = changed.definition, changed.row
        if not is_visible(call, definition) or not definition.may_see(call, row):
            return None
        resource = {**render(call, definition, row), **embed(call, definition, row, includes)}
        frame = {
            "name": "resource.change",
            "id": str(uuid.UUID(int=call.rng.getrandbits(128), version=4)),
            "resourceType": definition.id,
            "resourceId": resource["id"],
            "time": self._now_ms(),
            "data": {"resource": resource},
        }
        return (definition.id, resource["id"]), msgspec.json.encode(frame).decode()


async def _offer(members: Sequence[Subscriber], key: Key, frame: str) -> None:
    for number, member in enumerate(members, 1):
        member.offer(key, frame)
        if number % AT_A_TIME == 0:
            await trio.lowlevel.checkpoint()


async def _differences(old: State, new: State) -> list[Change]:
    """Compare two states row by row, for a new one that came whole."""
    found: list[Change] = []
    for table in TABLES:
        known: dict[int, Any] = getattr(old, table)
        for number, row in getattr(new, table).items():
            if known.get(number) != row:
                found.append(Change(table, number))
            if number % 200 == 0:
                await trio.lowlevel.checkpoint()
    return found


def affected(call: Call, changes: Iterable[Change]) -> Iterable[_Changed]:
    """Return the resources that look different after `changes`, each once, rows that are gone for good left out."""
    seen: set[tuple[str, int]] = set()
    for change in _with_derived(call, changes):
        row = getattr(call.state, change.table).get(change.id)
        for asked in () if row is None else _SHOWING.get(change.table, ()):
            definition = definition_of_row(row, asked)
            if (definition.id, change.id) in seen or definition.find is None:
                continue
            seen.add((definition.id, change.id))
            identity = id_of(definition, row)
            if identity is not None and definition.find(call, identity) is not None:
                yield _Changed(definition, row)


def _with_derived(call: Call, changes: Iterable[Change]) -> Iterable[Change]:
    """A service shows what its containers are, such as where they are reached."""
    for change in changes:
        yield change
        if change.table == "containers":
            row = call.state.containers.get(change.id)
            if row is not None and row.service_id is not None:
                yield Change("services", row.service_id)


def _showing() -> dict[Table, tuple[Definition, ...]]:
    """Which types show the rows of each table."""
    found: dict[Table, tuple[Definition, ...]] = {}
    for definition in DEFINITIONS:
        if isinstance(definition.rows, RowsOf):
            table = definition.rows.table
            found[table] = (*found.get(table, ()), definition)
    return found


_SHOWING = _showing()
