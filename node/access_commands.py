"""Commands about who may do what: accounts, passwords, members, sessions, settings; and the base of all commands.

As `node.commands`, which has the rest of them and hands on these.
"""

from typing import Literal

import msgspec

from node.model import MemberRole


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Base of all commands."""


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member that an environment is to have; `uuid` is for the row, if there is none yet."""

    uuid: str
    external_id: str
    external_id_type: str = "rancher_id"
    role: MemberRole = "member"
    name: str | None = None


class CreateOwnEnvironment(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make `<login>-Default` for an account that is member of nothing; done already if it is a member somewhere."""

    uuid: str
    account_id: int
    name: str
    member_uuid: str


class SetEnvironmentState(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Deactivate (nothing inside can change, members lose sight) or activate an environment."""

    id: int
    state: Literal["active", "inactive"]


class SetMembers(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Replace the members of an environment; those that stay as they are keep their rows."""

    environment_id: int
    members: tuple[Member, ...]


class CreateAccount(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make an account; it cannot log in before it has a password."""

    uuid: str
    kind: Literal["admin", "user"] = "user"
    name: str | None = None
    description: str | None = None
    external_id: str | None = None
    external_id_type: str | None = None


class UpdateAccount(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change an account; None leaves a field as it is."""

    id: int
    kind: Literal["admin", "user"] | None = None
    name: str | None = None
    description: str | None = None


class SetAccountState(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Activate, deactivate, remove or purge an account; all but the first end its sessions."""

    id: int
    state: Literal["active", "inactive", "removed", "purged"]


class CreatePassword(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Give an account a login; `secret_hash` as made by node.auth.passwords."""

    uuid: str
    account_id: int
    login: str
    secret_hash: str
    name: str | None = None
    description: str | None = None


class UpdatePassword(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change a login's name, description or state; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None
    state: Literal["active", "inactive", "removed"] | None = None


class SetPassword(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Replace a login's hash if it still is `old_hash`; a new password ends the account's sessions, a new hash of the
    same one (`is_same`) does not."""

    id: int
    old_hash: str
    secret_hash: str
    is_same: bool = False


class EnableLocalAuth(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Turn access control on: the first administrator gets this login, and nobody passes without proof any more."""

    uuid: str
    member_uuid: str
    """Environments without an owner are given to the first administrator; rows get uuids drawn from this one."""
    login: str
    name: str
    secret_hash: str
    access_mode: str = "unrestricted"


class DisableLocalAuth(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Turn access control off: everybody is an administrator from here on, and nobody can log in."""


class EndSession(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Somebody logs out: the session is refused until it would have ended."""

    session_id: str
    account_id: int
    ends: int


class SetSetting(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Set a setting, or go back to its default (`value` None)."""

    name: str
    value: str | None
