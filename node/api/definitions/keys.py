"""API keys and registration tokens: what is drawn here is shown once, and only hashes go into the state."""

import hashlib
from collections.abc import Callable
from typing import Literal

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    CREDENTIAL_STATES,
    account_of,
    common_fields,
    common_values,
    find_in,
    may_see_owned,
    rows_of,
    text_or_keep,
)
from node.api.definitions.stacks import environment_for_new
from node.api.errors import ApiError
from node.api.ids import format_id
from node.api.registering import pasted_line
from node.auth.keys import new_api_key
from node.commands import AnyCommand, CreateApiKey, CreateToken, SetTokenState, UpdateApiKey
from node.model import ApiKey, JoinToken, host_of_node
from protocol.tokens import new_join_token, render_token, token_secret_hash

_LOOPBACK = ("http://localhost", "http://127.", "http://[::1]")


def _key_values(call: Call, row: ApiKey) -> Values:
    values = common_values(row, kind="apiKey", owner=row.environment_id or row.account_id, state=row.state)
    return {**values, "publicValue": row.public, "secretValue": None}


def _create_key(call: Call, data: Input) -> Creation:
    """Outside of any environment a key is its maker's account's; an administrator may name another or a project."""
    key = new_api_key(call.rng)
    environment_id, account_id = call.scope, None
    if call.scope is None:
        wanted = data.get("accountId") if call.caller.kind == "admin" else None
        environment_id = wanted if wanted in call.state.environments else None
        account_id = None if environment_id is not None else wanted or call.caller.account_id
    command = CreateApiKey(
        uuid=call.draw_uuid(),
        environment_id=environment_id,
        account_id=account_id,
        name=data.get("name"),
        description=data.get("description"),
        public=key.access,
        secret_hash=key.stored,
    )
    return Creation(command, {"secretValue": key.secret})


def _may_see_key(call: Call, row: ApiKey) -> bool:
    """Inside a project its keys; outside, a person's own, and for administrators all."""
    if call.scope is not None or call.caller.kind == "admin":
        return call.owns(row.environment_id)
    return row.account_id is not None and row.account_id == call.caller.account_id


def _update_key(call: Call, row: ApiKey, data: Input) -> UpdateApiKey:
    return UpdateApiKey(id=row.id, name=data.get("name"), description=text_or_keep(data, "description"))


def _remove_key(call: Call, row: ApiKey, data: Input | None = None) -> UpdateApiKey:
    return UpdateApiKey(id=row.id, state="removed")


def _token_values(call: Call, row: JoinToken) -> Values:
    values = common_values(row, kind="registrationToken", owner=row.environment_id, state=row.state)
    return {**values, "expires": row.expires}


def _create_token(call: Call, data: Input) -> Creation:
    environment_id = environment_for_new(call) if data.get("accountId") is None else int(data["accountId"])
    name = format_id("project", environment_id) or ""
    token = new_join_token(name, hashlib.sha256(call.state.cluster.ca).digest(), call.rng)
    command = CreateToken(
        uuid=call.draw_uuid(),
        environment_id=environment_id,
        token_id=token.token_id,
        secret_hash=token_secret_hash(token.secret),
        expires=_future(call, data.get("expires")),
    )
    text = render_token(token)
    url = url_of_this_node(call)
    shown = {"token": text, "command": pasted_line(url, text), "registrationUrl": f"{url}/v1/scripts/{text}"}
    return Creation(command, shown)


def _future(call: Call, expires: int | None) -> int | None:
    if expires is not None and expires <= call.now:
        raise ApiError(
            "InvalidOption", "expires lies in the past: name a time to come, or leave it out", field="expires"
        )
    return expires


def url_of_this_node(call: Call) -> str:
    """Where another host reaches this node's API: as the client did, unless the client is on this very host."""
    if not call.caller.is_local and not call.urls.base.startswith(_LOOPBACK):
        return call.urls.base
    host = host_of_node(call.state, call.consensus.node)
    return call.urls.base if host is None else f"http://{host.address}:{host.api_port}"


def _set_token(state: Literal["active", "inactive", "removed"]) -> Callable[[Call, JoinToken, Input], AnyCommand]:
    def command(call: Call, row: JoinToken, data: Input) -> SetTokenState:
        return SetTokenState(id=row.id, state=state)

    return command


_ACTIVE = frozenset({"active"})
_INACTIVE = frozenset({"inactive"})
_ACCOUNT = define("reference[account]", "cN", max_length=255, admin_create=True)

API_KEY = Definition(
    id="apiKey",
    plural="apiKeys",
    fields={
        **common_fields(CREDENTIAL_STATES),
        "accountId": _ACCOUNT,
        "publicValue": define("string", "N", max_length=4096),
        "secretValue": define("password", "N", max_length=4096, is_once=True),
    },
    links=(Link("account", "project", account_of),),
    actions=(
        Action("update", _ACTIVE | _INACTIVE, output="credential", command=_update_key),
        Action(
            "activate",
            _INACTIVE,
            output="credential",
            command=lambda call, row, data: UpdateApiKey(id=row.id, state="active"),
        ),
        Action(
            "deactivate",
            _ACTIVE,
            output="credential",
            command=lambda call, row, data: UpdateApiKey(id=row.id, state="inactive"),
        ),
        Action("remove", _INACTIVE, output="credential", command=_remove_key),
    ),
    acl={"admin": "crud", "project": "crud", "user": "crud"},
    rows=rows_of("api_keys"),
    find=find_in("api_keys"),
    may_see=_may_see_key,
    values=_key_values,
    create=_create_key,
    update=_update_key,
    delete=_remove_key,
)

REGISTRATION_TOKEN = Definition(
    id="registrationToken",
    plural="registrationTokens",
    fields={
        **common_fields(CREDENTIAL_STATES, writable=""),
        "accountId": _ACCOUNT,
        "expires": define("date", "cN", description="until when hosts may join with it; null: for ever"),
        "command": define("string", is_once=True, is_filter=False),
        "image": define("string", is_filter=False, description="always null: hosts need no image of an agent"),
        "registrationUrl": define("string", is_once=True, is_filter=False),
        "token": define("string", is_once=True, is_filter=False),
    },
    links=(Link("account", "project", account_of),),
    actions=(
        Action("activate", _INACTIVE, output="credential", command=_set_token("active")),
        Action("deactivate", _ACTIVE, output="credential", command=_set_token("inactive")),
        Action("remove", _INACTIVE, output="credential", command=_set_token("removed")),
    ),
    acl={"admin": "cr", "project": "cr"},
    rows=rows_of("tokens"),
    find=find_in("tokens"),
    may_see=may_see_owned,
    values=_token_values,
    create=_create_token,
)
