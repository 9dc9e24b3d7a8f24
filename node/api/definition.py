"""What a resource type is made of: fields, links, actions, rights, and how rows become values and commands.

The definitions in node.api.definitions are instances of these records; schemas, input checks, filters and output are
all derived from them, and nothing describes a field a second time.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from node.api.call import Call, Operations
from node.commands import AnyCommand

Role = Literal[
    "admin", "project", "user", "owner", "member", "restricted", "readonly", "readAdmin", "service", "superadmin"
]
"""The schema set a caller gets; definitions speak of `admin`, `project` and `user`, node.api.roles of the others."""

Values = dict[str, Any]
Input = dict[str, Any]
"""A request's body after node.api.inputs: known fields only, converted, references as row numbers."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type, in the terms of `/v1/schemas`."""

    type: str
    create: bool = False
    update: bool = False
    nullable: bool = False
    required: bool = False
    unique: bool = False
    default: Any = None
    options: tuple[str, ...] = ()
    min: int | None = None
    max: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    valid_chars: str | None = None
    description: str | None = None
    is_once: bool = False
    """Shown in the response to its creation only."""
    is_filter: bool = True
    admin_only: bool = False
    """Not part of the schemas inside an environment's scope."""
    admin_create: bool = False
    """Settable on creation only in the admin schemas."""
    later: str | None = None
    """Why only the default is accepted: what the field needs that Corral cannot do yet."""


def define(type_: str, flags: str = "", **more: Any) -> Field:
    """Write a field briefly; flags as in API.md: c create, u update, N nullable, R required, U unique."""
    return Field(
        type_,
        create="c" in flags,
        update="u" in flags,
        nullable="N" in flags,
        required="R" in flags,
        unique="U" in flags,
        **more,
    )


@dataclass(frozen=True, slots=True)
class Link:
    """A relationship: `follow` gives the linked row (None: no link) or, if `many`, the linked rows."""

    name: str
    type: str
    follow: Callable[[Call, Any], Any]
    many: bool = False
    reference: str | None = None
    """The child's field that a POST to this link sets to the parent."""


Deferred = Callable[[Any], Awaitable[AnyCommand]]
"""A command that first needs node.api.access.Access, to hash or compare a password."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done to a resource in some of its states."""

    name: str
    states: frozenset[str] = frozenset()
    input: str | None = None
    output: str | None = None
    command: Callable[[Call, Any, Input], AnyCommand | Deferred] | None = None
    operate: Callable[[Operations, Input], Awaitable[Values]] | None = None
    """For what concerns this node and not the state."""
    access: Callable[[Call, Any, Input], Any] | None = None
    """For what changes nothing and opens a websocket: gives the row that is the answer."""
    later: str | None = None
    """Why it is never offered: what it needs that Corral cannot do yet."""
    local_only: bool = False
    """Only over the unix socket."""
    status: int = 202
    """Of the answer to a command: 202 for a step of the resource's machine, 200 for what is done at once."""
    when: Callable[[Call, Any], bool] = lambda call, row: True
    """What else must hold besides the state."""


@dataclass(frozen=True, slots=True)
class Creation:
    """A command that makes a row, and values that only its first answer shows."""

    command: AnyCommand | Deferred
    reveal: Values = field(default_factory=dict)
    identity: str | None = None
    """What finds the row it makes, where that is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One resource type."""

    id: str
    plural: str
    fields: Mapping[str, Field]
    links: tuple[Link, ...] = ()
    actions: tuple[Action, ...] = ()
    acl: Mapping[Role, str] = field(default_factory=dict)
    """Letters per role: c POST, r GET, u PUT, d DELETE.  A role that is missing does not see the type."""
    rows: Callable[[Call], Iterable[Any]] | None = None
    """All rows whoever owns them; None for types that are only part of others."""
    find: Callable[[Call, str], Any] | None = None
    """The row with an id as the client wrote it, whoever owns it, or None."""
    may_see: Callable[[Call, Any], bool] = lambda call, row: True
    may_change: Callable[[Call, Any], bool] = lambda call, row: True
    """Whether the caller may update, delete or act on a row that it sees."""
    identify: Callable[[Any], str | None] | None = None
    """A row's id where it is not letters and a number; None: it has none."""
    values: Callable[[Call, Any], Values] | None = None
    create: Callable[[Call, Input], Creation] | None = None
    update: Callable[[Call, Any, Input], AnyCommand] | None = None
    delete: Callable[[Call, Any], AnyCommand] | None = None
    delete_states: frozenset[str] | None = None
    """States in which DELETE is permitted; None: all that are not on their way out."""
    is_admins: bool = False
    """An administrator keeps the admin's rights on this type inside an environment's scope too."""
    later: str | None = None
    """Why clients cannot make or change any although Rancher's could."""
    is_fleeting: bool = False
    """Its rows are made for one answer: they have neither id nor address."""
    is_base: bool = False
    """Its rows show with the type of their own kind."""
