"""What commands mean for accounts, their passwords and sessions, for access control as a whole, and for settings."""

import uuid

import msgspec

from node.commands import (
    CreateAccount,
    CreatePassword,
    DisableLocalAuth,
    EnableLocalAuth,
    EndSession,
    SetAccountState,
    SetPassword,
    SetSetting,
    UpdateAccount,
    UpdatePassword,
)
from node.model import ADMIN_ACCOUNT_ID, Account, Done, EndedSession, Password
from node.state.members import (
    account_member,
    add_member,
    find_account,
    is_fixed,
    live_account,
    remove_member_everywhere,
)
from node.state.rules import check_free_name
from node.state.txn import Refusal, Txn

MAX_ENDED_OF_ACCOUNT = 64
"""Sessions of one account remembered as ended; one more ends all it has, which needs no memory."""
MAX_SETTINGS = 1000
MAX_SETTING = 64 * 1024
"""Characters of one setting's value."""
MAX_LOGIN = 255
MAX_SESSION_MS = 24 * 3_600_000
"""No session lasts longer, so none needs to be remembered for longer."""

PROVIDER = "api.auth.provider.configured"
SECURITY = "api.security.enabled"
ACCESS_MODE = "api.auth.local.access.mode"
GUARDED = (PROVIDER, SECURITY)
"""Settings that follow from access control, and are not set by themselves."""
LOCAL_AUTH = "localauthconfig"


def create_account(txn: Txn, command: CreateAccount) -> Done:
    if command.name is not None:
        check_free_name(command.name, "account")
    row = Account(
        id=txn.next_id("accounts"),
        uuid=command.uuid,
        created=txn.at,
        kind=command.kind,
        name=command.name,
        description=command.description,
        external_id=command.external_id,
        external_id_type=command.external_id_type,
    )
    txn.put(row)
    return Done("account", row.id)


def _existing(txn: Txn, account_id: int) -> Account:
    row = find_account(txn, account_id)
    if row is None or row.state == "purged":
        raise Refusal("Not Found", f"there is no account 1a{account_id}: see `node account ls`")
    return row


def update_account(txn: Txn, command: UpdateAccount) -> Done:
    row = _existing(txn, command.id)
    if row.removed is not None:
        raise Refusal("Conflict", f"account 1a{row.id} is removed")
    if command.name:
        check_free_name(command.name, "account")
    if command.kind is not None and command.kind != row.kind:
        _check_may_lose(txn, row, "becomes a user")
    txn.put(
        msgspec.structs.replace(
            row,
            kind=row.kind if command.kind is None else command.kind,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
        )
    )
    return Done("account", row.id)


def _check_may_lose(txn: Txn, row: Account, what: str) -> None:
    """Refuse what would leave nobody who can log in as an administrator, or take away what Rancher's clients expect."""
    if is_fixed(row.id) and row.id != ADMIN_ACCOUNT_ID:
        raise Refusal("Conflict", f"account 1a{row.id} is one of the cluster's own and stays as it is")
    if row.kind != "admin" or txn.settings.get(PROVIDER) is None:
        return
    for other in txn.passwords.values():
        account = find_account(txn, other.account_id)
        is_other = account is not None and account.id != row.id and account.kind == "admin"
        if is_other and account is not None and account.state == "active" and other.state == "active":
            return
    raise Refusal(
        "Conflict", f"account 1a{row.id} is the last administrator who can log in: make another before it {what}"
    )


def set_account_state(txn: Txn, command: SetAccountState) -> Done:
    row = _existing(txn, command.id)
    if command.state == row.state:
        return Done("account", row.id)
    if (command.state == "purged") != (row.state == "removed"):
        raise Refusal("Conflict", f"account 1a{row.id} is {row.state} and cannot become {command.state}")
    if command.state == "active":
        txn.put(msgspec.structs.replace(row, state="active"))
        return Done("account", row.id)
    _check_may_lose(txn, row, f"is {command.state}")
    if command.state == "removed":
        if is_fixed(row.id):
            raise Refusal("Conflict", f"account 1a{row.id} is one of the cluster's own and stays; it can be renamed")
        _remove_what_it_has(txn, row.id)
    removed = row.removed if command.state == "purged" else txn.at if command.state == "removed" else None
    txn.put(msgspec.structs.replace(row, state=command.state, removed=removed, sessions=row.sessions + 1))
    return Done("account", row.id)


def _remove_what_it_has(txn: Txn, account_id: int) -> None:
    for password in list(txn.passwords.values()):
        if password.account_id == account_id and password.removed is None:
            txn.put(msgspec.structs.replace(password, state="removed", removed=txn.at))
    for key in list(txn.api_keys.values()):
        if key.account_id == account_id and key.removed is None:
            txn.put(msgspec.structs.replace(key, state="removed", removed=txn.at))
    remove_member_everywhere(txn, account_id)


def _end_sessions(txn: Txn, account_id: int) -> None:
    row = find_account(txn, account_id)
    if row is not None:
        txn.put(msgspec.structs.replace(row, sessions=row.sessions + 1))


def _check_login(txn: Txn, login: str, besides: int = 0) -> None:
    if not login.strip():
        raise Refusal("MissingRequired", "the account needs a login", "publicValue")
    if len(login) > MAX_LOGIN:
        raise Refusal("MaxLengthExceeded", f"a login has at most {MAX_LOGIN} characters", "publicValue")
    if ":" in login or not login.isprintable():
        raise Refusal("InvalidCharacters", "a login holds printable characters and no colon", "publicValue")
    for other in txn.passwords.values():
        if other.removed is None and other.login.lower() == login.lower() and other.account_id != besides:
            raise Refusal("NotUnique", f"the login {login} is taken", "publicValue")


def create_password(txn: Txn, command: CreatePassword) -> Done:
    live_account(txn, command.account_id)
    _check_login(txn, command.login)
    row = Password(
        id=txn.next_id("passwords"),
        uuid=command.uuid,
        created=txn.at,
        account_id=command.account_id,
        login=command.login,
        secret_hash=command.secret_hash,
        name=command.name,
        description=command.description,
    )
    txn.put(row)
    return Done("password", row.id)


def _existing_password(txn: Txn, password_id: int) -> Password:
    row = txn.passwords.get(password_id)
    if row is None or row.removed is not None:
        raise Refusal("Not Found", f"there is no password 1c{password_id}")
    return row


def update_password(txn: Txn, command: UpdatePassword) -> Done:
    row = _existing_password(txn, command.id)
    if command.state in ("inactive", "removed") and row.state == "active":
        account = find_account(txn, row.account_id)
        if account is not None:
            _check_may_lose(txn, account, "loses its password")
        _end_sessions(txn, row.account_id)
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
            state=row.state if command.state is None else command.state,
            removed=txn.at if command.state == "removed" else None,
        )
    )
    return Done("password", row.id)


def set_password(txn: Txn, command: SetPassword) -> Done:
    row = _existing_password(txn, command.id)
    if row.secret_hash != command.old_hash:
        raise Refusal("Conflict", "the password was changed meanwhile: try again with the new one")
    txn.put(msgspec.structs.replace(row, secret_hash=command.secret_hash))
    if not command.is_same:
        _end_sessions(txn, row.account_id)
    return Done("password", row.id)


def enable_local_auth(txn: Txn, command: EnableLocalAuth) -> Done:
    """The first administrator is renamed and gets the login; whatever login it had before is replaced."""
    check_free_name(command.name, "account")
    _check_login(txn, command.login, besides=ADMIN_ACCOUNT_ID)
    account = find_account(txn, ADMIN_ACCOUNT_ID)
    assert account is not None
    txn.put(
        msgspec.structs.replace(
            account, name=command.name, kind="admin", state="active", removed=None, sessions=account.sessions + 1
        )
    )
    for old in list(txn.passwords.values()):
        if old.account_id == ADMIN_ACCOUNT_ID and old.removed is None:
            txn.put(msgspec.structs.replace(old, state="removed", removed=txn.at))
    create_password(
        txn,
        CreatePassword(
            uuid=command.uuid, account_id=ADMIN_ACCOUNT_ID, login=command.login, secret_hash=command.secret_hash
        ),
    )
    _give_ownerless(txn, command.member_uuid)
    txn.set_cluster(msgspec.structs.replace(txn.cluster, open_access=False))
    txn.set_setting(PROVIDER, LOCAL_AUTH)
    txn.set_setting(ACCESS_MODE, command.access_mode)
    return Done("account", ADMIN_ACCOUNT_ID)


def _give_ownerless(txn: Txn, seed: str) -> None:
    """Environments made while nobody had an account would belong to nobody."""
    owned = {row.environment_id for row in txn.members.values() if row.role == "owner" and row.removed is None}
    for environment in list(txn.environments.values()):
        if environment.removed is not None or environment.id in owned:
            continue
        member = account_member(
            ADMIN_ACCOUNT_ID, str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{environment.id}")), "owner"
        )
        add_member(txn, environment.id, member)


def disable_local_auth(txn: Txn, command: DisableLocalAuth) -> Done:
    txn.set_cluster(msgspec.structs.replace(txn.cluster, open_access=True))
    txn.set_setting(PROVIDER, None)
    return Done("account", ADMIN_ACCOUNT_ID)


def end_session(txn: Txn, command: EndSession) -> Done:
    ended = {key: row for key, row in txn.ended_sessions.items() if row.ends > txn.at}
    if sum(row.account_id == command.account_id for row in ended.values()) >= MAX_ENDED_OF_ACCOUNT:
        txn.set_ended_sessions({key: row for key, row in ended.items() if row.account_id != command.account_id})
        _end_sessions(txn, command.account_id)
        return Done("account", command.account_id)
    ends = min(command.ends, txn.at + MAX_SESSION_MS)
    if ends > txn.at:
        ended[command.session_id] = EndedSession(account_id=command.account_id, ends=ends)
    txn.set_ended_sessions(ended)
    return Done("account", command.account_id)


def set_setting(txn: Txn, command: SetSetting) -> Done:
    if command.name in GUARDED:
        raise Refusal("InvalidOption", f"{command.name} follows from access control: see `node access-control`", "name")
    check_free_name(command.name, "setting")
    if command.value is not None and len(command.value) > MAX_SETTING:
        raise Refusal("MaxLengthExceeded", f"a setting has at most {MAX_SETTING} characters", "value")
    if command.value is not None and command.name not in txn.settings and len(txn.settings) >= MAX_SETTINGS:
        raise Refusal("MaxLimitExceeded", f"there are {MAX_SETTINGS} settings already: drop some first", "name")
    txn.set_setting(command.name, command.value)
    return Done("setting", 0)
