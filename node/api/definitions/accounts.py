"""Accounts, their passwords, identities, and local access control: who there is, and how they prove it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from node.api.access import Access, login_of
from node.api.call import Call, Urls
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    CREDENTIAL_STATES,
    DEFAULT_STATES,
    common_fields,
    common_values,
    rows_of,
    text_or_keep,
)
from node.api.errors import ApiError
from node.api.ids import format_id, parse_id
from node.commands import (
    AnyCommand,
    CreateAccount,
    CreatePassword,
    DisableLocalAuth,
    EnableLocalAuth,
    SetAccountState,
    SetPassword,
    UpdateAccount,
    UpdatePassword,
)
from node.model import ADMIN_ACCOUNT_ID, Account, Password, State
from node.state.accounts import ACCESS_MODE, LOCAL_AUTH, PROVIDER
from node.state.members import ACCOUNT_TYPE, all_accounts, find_account

_STATE = Literal["active", "inactive", "removed", "purged"]
_ACTIVE = frozenset({"active"})
_INACTIVE = frozenset({"inactive"})
MAX_FOUND = 100
"""Identities in one answer to a search."""


def _account_values(call: Call, row: Account) -> Values:
    values = common_values(row, kind=row.kind, owner=row.id, state=row.state)
    del values["accountId"]
    identity = f"{ACCOUNT_TYPE}:{format_id('account', row.id)}"
    return {**values, "externalId": row.external_id, "externalIdType": row.external_id_type, "identity": identity}


def _find_account(call: Call, text: str) -> Account | None:
    number = parse_id(text)
    return None if number is None else find_account(call.state, number)


def _may_see_account(call: Call, row: Account) -> bool:
    return call.caller.kind == "admin" or row.id == call.caller.account_id


def _kind_of(data: Input) -> Literal["admin", "user"] | None:
    match data.get("kind"):
        case None:
            return None
        case "admin":
            return "admin"
        case "user":
            return "user"
    raise ApiError("InvalidOption", "kind is admin or user", field="kind")


def _create_account(call: Call, data: Input) -> Creation:
    return Creation(
        CreateAccount(
            uuid=call.draw_uuid(),
            kind=_kind_of(data) or "user",
            name=data.get("name"),
            description=data.get("description"),
            external_id=data.get("externalId"),
            external_id_type=data.get("externalIdType"),
        )
    )


def _update_account(call: Call, row: Account, data: Input) -> UpdateAccount:
    name, description = data.get("name"), text_or_keep(data, "description")
    return UpdateAccount(id=row.id, kind=_kind_of(data), name=name, description=description)


def _set_account(state: _STATE) -> Callable[[Call, Account, Input], AnyCommand]:
    return lambda call, row, data: SetAccountState(id=row.id, state=state)


def _remove_account(call: Call, row: Account) -> SetAccountState:
    return SetAccountState(id=row.id, state="removed")


ACCOUNT = Definition(
    id="account",
    plural="accounts",
    fields={
        **{name: field for name, field in common_fields(DEFAULT_STATES).items() if name != "accountId"},
        "externalId": define("string", "cN", max_length=255),
        "externalIdType": define("string", "cN", max_length=128),
        "identity": define("reference[identity]"),
        "kind": define("string", "cuN", max_length=255, default="user"),
    },
    links=(
        Link(
            "credentials",
            "password",
            lambda call, row: [one for one in rows_of("passwords")(call) if one.account_id == row.id],
            many=True,
        ),
    ),
    actions=(
        Action("update", _ACTIVE | _INACTIVE, output="account", command=_update_account),
        Action("activate", _INACTIVE, output="account", command=_set_account("active")),
        Action("deactivate", _ACTIVE, output="account", command=_set_account("inactive")),
        Action("remove", _INACTIVE, output="account", command=_set_account("removed")),
        Action("purge", frozenset({"removed"}), output="account", command=_set_account("purged")),
    ),
    acl={"admin": "crud"},
    rows=lambda call: all_accounts(call.state),
    find=_find_account,
    may_see=_may_see_account,
    values=_account_values,
    create=_create_account,
    update=_update_account,
    delete=_remove_account,
    delete_states=_ACTIVE | _INACTIVE,
    is_admins=True,
)


def _password_values(call: Call, row: Password) -> Values:
    values = common_values(row, kind="password", owner=row.account_id, state=row.state)
    return {**values, "publicValue": row.login, "secretValue": None}


def _find_password(call: Call, text: str) -> Password | None:
    number = parse_id(text)
    return None if number is None else call.state.passwords.get(number)


def _may_see_password(call: Call, row: Password) -> bool:
    return call.caller.kind == "admin" or row.account_id == call.caller.account_id


def _create_password(call: Call, data: Input) -> Creation:
    wanted = data.get("accountId") if call.caller.kind == "admin" else None
    account_id = wanted or call.caller.account_id or ADMIN_ACCOUNT_ID
    if account_id in call.state.environments:
        raise ApiError("InvalidReference", "accountId: an environment has no password", field="accountId")
    for name in ("publicValue", "secretValue"):
        if not data.get(name):
            raise ApiError("MissingRequired", f"{name} is needed", field=name)
    uuid = call.draw_uuid()

    async def command(access: Access) -> AnyCommand:
        return CreatePassword(
            uuid=uuid,
            account_id=account_id,
            login=data["publicValue"],
            secret_hash=await access.hash(data["secretValue"], "secretValue"),
            name=data.get("name"),
            description=data.get("description"),
        )

    return Creation(command)


def _change_secret(call: Call, row: Password, data: Input) -> Any:
    """The old password is asked for; an administrator sets another's without it."""
    is_others = call.caller.kind == "admin" and row.account_id != call.caller.account_id

    async def command(access: Access) -> AnyCommand:
        if not is_others and not await access.is_right(row, data["oldSecret"], call.client):
            raise ApiError("InvalidFormat", "oldSecret is not the password", field="oldSecret", status=400)
        hashed = await access.hash(data["newSecret"], "newSecret")
        return SetPassword(id=row.id, old_hash=row.secret_hash, secret_hash=hashed)

    return command


def _set_password_state(
    state: Literal["active", "inactive", "removed"],
) -> Callable[[Call, Password, Input], AnyCommand]:
    return lambda call, row, data: UpdatePassword(id=row.id, state=state)


def _update_password(call: Call, row: Password, data: Input) -> UpdatePassword:
    return UpdatePassword(id=row.id, name=data.get("name"), description=text_or_keep(data, "description"))


CHANGE_SECRET_INPUT = Definition(
    id="changeSecretInput",
    plural="changeSecretInputs",
    fields={"newSecret": define("string", "cR"), "oldSecret": define("string", "cR")},
    acl={"admin": "c", "project": "c", "user": "c"},
)
PASSWORD = Definition(
    id="password",
    plural="passwords",
    fields={
        **common_fields(CREDENTIAL_STATES),
        "accountId": define("reference[account]", "cN", max_length=255),
        "publicValue": define("string", "cN", max_length=4096),
        "secretValue": define("password", "cN", max_length=4096, is_once=True),
    },
    links=(Link("account", "account", lambda call, row: find_account(call.state, row.account_id)),),
    actions=(
        Action("update", _ACTIVE | _INACTIVE, output="credential", command=_update_password),
        Action("activate", _INACTIVE, output="credential", command=_set_password_state("active")),
        Action("deactivate", _ACTIVE, output="credential", command=_set_password_state("inactive")),
        Action("remove", _INACTIVE, output="credential", command=_set_password_state("removed")),
        Action("changesecret", _ACTIVE, input="changeSecretInput", output="changeSecretInput", command=_change_secret),
    ),
    acl={"admin": "crud", "user": "crud"},
    rows=rows_of("passwords"),
    find=_find_password,
    may_see=_may_see_password,
    values=_password_values,
    create=_create_password,
    update=_update_password,
    delete=lambda call, row: UpdatePassword(id=row.id, state="removed"),
    is_admins=True,
)


def identity_values(state: State, account: Account, urls: Urls) -> Values:
    """An account as an identity, as a resource of its own."""
    number = format_id("account", account.id)
    identity = f"{ACCOUNT_TYPE}:{number}"
    return {
        "id": identity,
        "type": "identity",
        "links": {"self": f"{urls.collection('identities')}/{identity}"},
        "actions": {},
        "all": None,
        "externalId": number,
        "externalIdType": ACCOUNT_TYPE,
        "login": login_of(state, account.id) or account.name,
        "name": account.name,
        "profilePicture": None,
        "profileUrl": None,
        "projectId": None,
        "role": None,
        "user": True,
    }


def _identity_rows(call: Call) -> Sequence[Account]:
    """The caller's own, or those whose login or name holds the text looked for."""
    people = [row for row in all_accounts(call.state) if row.kind in ("admin", "user") and row.removed is None]
    text = (call.query.get("name") or call.query.get("all") or "").lower()
    if not text:
        mine = call.caller.account_id or (ADMIN_ACCOUNT_ID if call.caller.kind == "admin" else None)
        return [row for row in people if row.id == mine]
    found = [row for row in people if text in f"{login_of(call.state, row.id) or ''}\0{row.name or ''}".lower()]
    return found[:MAX_FOUND]


def _find_identity(call: Call, text: str) -> Account | None:
    kind, _, external_id = text.partition(":")
    row = _find_account(call, external_id) if kind == ACCOUNT_TYPE else None
    return row if row is not None and row.kind in ("admin", "user") and row.removed is None else None


IDENTITY = Definition(
    id="identity",
    plural="identities",
    fields={
        "all": define("string", "cN", is_filter=False),
        "externalId": define("string", "cR", is_filter=False),
        "externalIdType": define("string", "cR", is_filter=False),
        "id": define("string", "N", is_filter=False),
        "login": define("string", "cN", is_filter=False),
        "name": define("string", "cN", is_filter=False),
        "profilePicture": define("string", "cN", is_filter=False),
        "profileUrl": define("string", "cN", is_filter=False),
        "projectId": define("reference[project]", "cN", is_filter=False),
        "role": define("string", "cN", is_filter=False),
        "user": define("boolean", is_filter=False),
    },
    acl={"admin": "r", "project": "r"},
    rows=_identity_rows,
    find=_find_identity,
    values=lambda call, row: identity_values(call.state, row, call.urls),
    identify=lambda row: f"{ACCOUNT_TYPE}:{format_id('account', row.id)}",
)


@dataclass(frozen=True, slots=True)
class LocalAuth:
    """Local access control as one row."""

    id: int = ADMIN_ACCOUNT_ID


def _local_values(call: Call, row: LocalAuth) -> Values:
    admin = find_account(call.state, ADMIN_ACCOUNT_ID)
    return {
        "accessMode": call.state.settings.get(ACCESS_MODE, "unrestricted"),
        "enabled": not call.state.cluster.open_access and PROVIDER in call.state.settings,
        "name": None if admin is None else admin.name,
        "password": None,
        "username": login_of(call.state, ADMIN_ACCOUNT_ID),
    }


def _configure(call: Call, data: Input) -> Creation:
    if not data.get("enabled"):
        return Creation(DisableLocalAuth(), identity=LOCAL_AUTH)
    for name in ("username", "password"):
        if not data.get(name):
            raise ApiError("MissingRequired", f"{name} is needed", field=name)
    if data.get("accessMode") not in (None, "unrestricted"):
        raise ApiError("InvalidOption", "accessMode is unrestricted: logins are made one by one", field="accessMode")
    uuid, member_uuid = call.draw_uuid(), call.draw_uuid()

    async def command(access: Access) -> AnyCommand:
        return EnableLocalAuth(
            uuid=uuid,
            member_uuid=member_uuid,
            login=data["username"],
            name=data.get("name") or data["username"],
            secret_hash=await access.hash(data["password"], "password"),
        )

    return Creation(command, identity=LOCAL_AUTH)


LOCAL_AUTH_CONFIG = Definition(
    id="localAuthConfig",
    plural="localAuthConfigs",
    fields={
        "accessMode": define("string", "cN", default="unrestricted", is_filter=False),
        "enabled": define("boolean", "cN", is_filter=False),
        "name": define("string", "cN", default="admin", is_filter=False, max_length=255),
        "password": define("password", "cN", is_once=True, is_filter=False),
        "username": define("string", "cN", is_filter=False),
    },
    acl={"admin": "cr"},
    rows=lambda call: [LocalAuth()],
    find=lambda call, text: LocalAuth() if text == LOCAL_AUTH else None,
    values=_local_values,
    create=_configure,
    identify=lambda row: None,
    is_admins=True,
)
