"""Members of projects: who has which role where."""

from collections.abc import Mapping, Sequence
from typing import Any

from node.api.call import Call
from node.api.definition import Definition, Link, Values, define
from node.api.definitions.common import DEFAULT_STATES, common_fields, common_values, find_in, rows_of
from node.api.errors import ApiError
from node.api.ids import format_id
from node.commands import Member
from node.model import ProjectMember
from node.state.members import ACCOUNT_TYPE, roles_in

_TYPES = (
    "github_user", "github_org", "github_team", "rancher_id", "ldap_user", "ldap_group", "openldap_user",
    "openldap_group",
)  # fmt: skip


def members_of(call: Call, wanted: Sequence[Mapping[str, Any]]) -> tuple[Member, ...]:
    """What a client sends as members; while access is controlled one of them is an owner."""
    members = tuple(
        Member(
            uuid=call.draw_uuid(),
            external_id=one.get("externalId") or "",
            external_id_type=one.get("externalIdType") or ACCOUNT_TYPE,
            role=one.get("role") or "member",
        )
        for one in wanted
    )
    has_accounts = call.caller.account_id is not None or bool(members)
    if has_accounts and not any(member.role == "owner" for member in members):
        raise ApiError("InvalidFormat", "members: one of them must be an owner", field="members", status=400)
    return members


def _may_see(call: Call, row: ProjectMember) -> bool:
    if call.caller.kind == "admin":
        return call.scope in (None, row.environment_id)
    if call.caller.kind == "environment":
        return row.environment_id == call.caller.environment_id
    return call.caller.account_id is not None and bool(roles_in(call.state, call.caller.account_id, row.environment_id))


def _values(call: Call, row: ProjectMember) -> Values:
    values = common_values(row, kind="projectMember", owner=row.environment_id, state=row.state)
    del values["accountId"]
    return {
        **values,
        "externalId": row.external_id,
        "externalIdType": row.external_id_type,
        "projectId": format_id("project", row.environment_id),
        "role": row.role,
    }


PROJECT_MEMBER = Definition(
    id="projectMember",
    plural="projectMembers",
    fields={
        **{name: spec for name, spec in common_fields(DEFAULT_STATES, writable="").items() if name != "accountId"},
        "externalId": define("string", "cN", max_length=255),
        "externalIdType": define("enum", "cN", max_length=255, options=_TYPES, default=ACCOUNT_TYPE),
        "projectId": define("reference[project]", max_length=255),
        "role": define(
            "enum", "cN", max_length=255, options=("member", "owner", "readonly", "restricted"), default="member"
        ),
    },
    links=(Link("project", "project", lambda call, row: call.state.environments.get(row.environment_id)),),
    acl={"admin": "r", "project": "r", "user": "r"},
    rows=rows_of("members"),
    find=find_in("members"),
    may_see=_may_see,
    values=_values,
)
SET_PROJECT_MEMBERS_INPUT = Definition(
    id="setProjectMembersInput",
    plural="setProjectMembersInputs",
    fields={"members": define("array[projectMember]", "cR", min_length=1)},
    acl={"admin": "c", "project": "c", "user": "c"},
)
