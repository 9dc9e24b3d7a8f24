"""Who the accounts are, and what commands mean for the members of environments.

Rancher's fixed accounts exist in every cluster whether or not the state has a row for them; a row is written when one
of them is changed.
"""

from collections.abc import Sequence

import msgspec

from node.commands import Member, SetMembers
from node.model import ADMIN_ACCOUNT_ID, Account, AccountKind, Done, MemberRole, ProjectMember, State
from node.state.rules import check_free_name
from node.state.txn import Refusal, Txn

MAX_MEMBERS = 1000
"""Of one environment."""
ACCOUNT_TYPE = "rancher_id"
_FIXED: dict[int, tuple[AccountKind, str]] = {
    ADMIN_ACCOUNT_ID: ("admin", "admin"),
    2: ("system", "System"),
    3: ("superadmin", "Super Admin"),
    4: ("token", "Token"),
    6: ("service", "Service"),
}
"""Number → kind and name; 5 is the default environment."""


def fixed_accounts(created: int) -> dict[int, Account]:
    """Rancher's accounts 1a1 to 1a6 as they are in a cluster that nobody changed them in."""
    return {
        number: Account(id=number, uuid=kind, created=created, kind=kind, name=name)
        for number, (kind, name) in _FIXED.items()
    }


def find_account(state: State | Txn, account_id: int) -> Account | None:
    """The account with that number, removed ones included."""
    row = state.accounts.get(account_id)
    return row if row is not None or account_id not in _FIXED else fixed_accounts(state.cluster.created)[account_id]


def all_accounts(state: State) -> list[Account]:
    """Every account in the order of numbers."""
    return [row for _, row in sorted((fixed_accounts(state.cluster.created) | state.accounts).items())]


def is_fixed(account_id: int) -> bool:
    return account_id in _FIXED


def live_account(txn: Txn, account_id: int, field: str = "accountId") -> Account:
    """The account that something new is to belong to."""
    row = find_account(txn, account_id)
    if row is None or row.removed is not None:
        raise Refusal("InvalidReference", f"there is no account 1a{account_id}: see `node account ls`", field)
    return row


def account_member(account_id: int, uuid: str, role: MemberRole) -> Member:
    return Member(uuid=uuid, external_id=f"1a{account_id}", role=role)


def roles_in(state: State, account_id: int, environment_id: int) -> list[MemberRole]:
    """The roles that an account has in an environment."""
    return [
        row.role
        for row in state.members.values()
        if row.environment_id == environment_id and _is_of(row, account_id) and row.removed is None
    ]


def is_member(state: State | Txn, account_id: int) -> bool:
    """Whether an account is a member of anything."""
    return any(_is_of(row, account_id) and row.removed is None for row in state.members.values())


def _is_of(row: ProjectMember, account_id: int) -> bool:
    return row.external_id_type == ACCOUNT_TYPE and row.external_id == f"1a{account_id}"


def check_members(txn: Txn, members: Sequence[Member]) -> None:
    """Refuse a set that names somebody twice, or nobody that there is."""
    if len(members) > MAX_MEMBERS:
        raise Refusal("MaxLimitExceeded", f"an environment has at most {MAX_MEMBERS} members", "members")
    seen: set[tuple[str, str, str]] = set()
    for member in members:
        if member.external_id_type != ACCOUNT_TYPE:
            message = f"only accounts of this cluster ({ACCOUNT_TYPE}) can be members, not a {member.external_id_type}"
            raise Refusal("InvalidOption", message, "members")
        number = member.external_id.removeprefix("1a")
        if not number.isascii() or not number.isdecimal() or member.external_id != f"1a{int(number)}":
            raise Refusal("InvalidReference", f"{member.external_id[:40]!r} is no account: expected 1a7", "members")
        live_account(txn, int(number), "members")
        if member.name:
            check_free_name(member.name, "member")
        key = _key(member)
        if key in seen:
            raise Refusal("NotUnique", f"{member.external_id} is named twice as {member.role}", "members")
        seen.add(key)


def _key(row: Member | ProjectMember) -> tuple[str, str, str]:
    return row.external_id_type, row.external_id, row.role


def put_members(txn: Txn, environment_id: int, members: Sequence[Member]) -> None:
    """Make the living rows of an environment those; checked before."""
    wanted = {_key(member): member for member in members}
    for row in list(txn.members.values()):
        if row.environment_id != environment_id or row.removed is not None:
            continue
        if wanted.pop(_key(row), None) is None:
            txn.put(msgspec.structs.replace(row, state="removed", removed=txn.at))
    for member in wanted.values():
        add_member(txn, environment_id, member)


def add_member(txn: Txn, environment_id: int, member: Member) -> None:
    """Add a member that is none in that role yet."""
    txn.put(
        ProjectMember(
            id=txn.next_id("members"),
            uuid=member.uuid,
            created=txn.at,
            environment_id=environment_id,
            external_id=member.external_id,
            external_id_type=member.external_id_type,
            role=member.role,
            name=member.name,
        )
    )


def remove_members(txn: Txn, environment_id: int) -> None:
    """Nobody is a member of what is gone."""
    put_members(txn, environment_id, ())


def remove_member_everywhere(txn: Txn, account_id: int) -> None:
    """An account that is gone is a member of nothing."""
    for row in list(txn.members.values()):
        if _is_of(row, account_id) and row.removed is None:
            txn.put(msgspec.structs.replace(row, state="removed", removed=txn.at))


def set_members(txn: Txn, command: SetMembers) -> Done:
    environment = txn.environments.get(command.environment_id)
    if environment is None or environment.removed is not None:
        raise Refusal("Not Found", f"there is no environment {command.environment_id}: see `node env ls`")
    check_members(txn, command.members)
    put_members(txn, environment.id, command.members)
    return Done("environment", environment.id)
