"""What each role may do with a type, derived from the base columns of its definition (API.md 2.3).

Definitions say it for `admin` and `project`, and for `user` where a person outside of any project may do something else
than read.  All other roles follow from these.
"""

from collections.abc import Iterable

from node.api.definition import Action, Definition, Role
from node.model import MemberRole

ADMIN_ROLES: frozenset[Role] = frozenset({"admin", "readAdmin", "service", "superadmin"})
"""Roles whose schemas have the fields for administrators."""
STRONGEST_FIRST: tuple[MemberRole, ...] = ("owner", "member", "restricted", "readonly")
VIEWABLE: tuple[Role, ...] = (
    "admin", "project", "user", "owner", "member", "restricted", "readonly", "readAdmin", "service", "superadmin",
)  # fmt: skip

_HOSTS = ("host", "physicalHost", "machine")
_NOT_WITHOUT_RIGHTS = ("registrationToken",)
_READING = ("logs",)
"""Actions that change nothing."""


def strongest(roles: Iterable[MemberRole]) -> MemberRole | None:
    """The strongest of somebody's roles in one project."""
    held = set(roles)
    return next((role for role in STRONGEST_FIRST if role in held), None)


def letters_of(definition: Definition, role: Role) -> str | None:
    """The letters of a role's rights on a type, None if its schemas do not have the type."""
    acl = definition.acl
    match role:
        case "admin" | "superadmin":
            return acl.get("admin")
        case "project" | "owner" | "member":
            return acl.get("project")
        case "user":
            return acl["user"] if "user" in acl else _only_read(acl.get("project"))
        case "restricted" | "readonly":
            if definition.id in _NOT_WITHOUT_RIGHTS:
                return None
            reads = role == "readonly" or definition.id in _HOSTS
            return _only_read(acl.get("project")) if reads else acl.get("project")
        case "readAdmin":
            return _only_read(acl.get("admin"))
        case "service":
            both = [acl[name] for name in ("admin", "project") if name in acl]
            return "".join(letter for letter in "crud" if any(letter in each for each in both)) if both else None


def _only_read(letters: str | None) -> str | None:
    return None if letters is None else "r" if "r" in letters else ""


def may_act(definition: Definition, action: Action, role: Role) -> bool:
    """Whether a role has an action of a type at all."""
    if role in ("readonly", "readAdmin"):
        return action.name in _READING
    return not (role == "restricted" and definition.id in _HOSTS)
