"""Every resource type that is served: the one place where fields, links, actions and rights are written down."""

from typing import Any

from node.api.definition import Definition, define
from node.api.definitions.absent import ABSENT
from node.api.definitions.accounts import ACCOUNT, CHANGE_SECRET_INPUT, IDENTITY, LOCAL_AUTH_CONFIG, PASSWORD
from node.api.definitions.cluster import CLUSTER, CLUSTER_MEMBER, DOCTOR_REPORT, LEAVE_INPUT, TRANSFER_LEADER_INPUT
from node.api.definitions.containers import CONTAINER, INSTANCE, INSTANCE_STOP
from node.api.definitions.endpoints import PUBLIC_ENDPOINT
from node.api.definitions.hosts import HOST
from node.api.definitions.keys import API_KEY, REGISTRATION_TOKEN
from node.api.definitions.launch import LAUNCH_CONFIG, LOG_CONFIG, RESTART_POLICY
from node.api.definitions.links import SERVICE_CONSUME_MAP
from node.api.definitions.members import PROJECT_MEMBER, SET_PROJECT_MEMBERS_INPUT
from node.api.definitions.networking import NETWORKING
from node.api.definitions.payloads import PAYLOADS
from node.api.definitions.projects import PROJECT
from node.api.definitions.services import SERVICE, SERVICE_EXPOSE_MAP
from node.api.definitions.settings import SETTING
from node.api.definitions.stacks import STACK
from node.api.definitions.storage import STORAGE
from node.api.definitions.streams import CONTAINER_EXEC, CONTAINER_LOGS, HOST_ACCESS, STATS_ACCESS

SCHEMA = Definition(
    id="schema",
    plural="schemas",
    fields={
        "collectionActions": define("map[json]", "c"),
        "collectionFields": define("map[json]", "c"),
        "collectionFilters": define("map[json]", "c"),
        "collectionMethods": define("array[string]", "c"),
        "includeableLinks": define("array[string]", "c"),
        "pluralName": define("string", "c", is_filter=False),
        "resourceActions": define("map[json]", "c"),
        "resourceFields": define("map[json]", "c"),
        "resourceMethods": define("array[string]", "c"),
    },
    acl={"admin": "r", "project": "r"},
)

DEFINITIONS: tuple[Definition, ...] = (
    SCHEMA, LOG_CONFIG, RESTART_POLICY, PUBLIC_ENDPOINT, API_KEY, CONTAINER, INSTANCE_STOP, PROJECT, LAUNCH_CONFIG,
    STACK, HOST, INSTANCE, SERVICE, SERVICE_EXPOSE_MAP, REGISTRATION_TOKEN, CLUSTER, CLUSTER_MEMBER, LEAVE_INPUT,
    TRANSFER_LEADER_INPUT,
    DOCTOR_REPORT, SERVICE_CONSUME_MAP, *STORAGE, *NETWORKING, *PAYLOADS,
    CONTAINER_LOGS, CONTAINER_EXEC, HOST_ACCESS, STATS_ACCESS, *ABSENT,
    ACCOUNT, PASSWORD, CHANGE_SECRET_INPUT, LOCAL_AUTH_CONFIG, IDENTITY, PROJECT_MEMBER, SET_PROJECT_MEMBERS_INPUT,
    SETTING,
)  # fmt: skip

BY_ID = {definition.id: definition for definition in DEFINITIONS}
BY_PATH = {
    **{definition.id.lower(): definition for definition in DEFINITIONS},
    **{definition.plural.lower(): definition for definition in DEFINITIONS},
}
"""By the name in a path, singular or plural, lower case."""

LINKED_ONLY = {"agents": "agent"}
"""Links that a project shows although the caller may not see the type: they lead to empty lists."""


def definition_of_row(row: Any, asked: Definition) -> Definition:
    """The type under which a row shows: a base type's rows show as what they are."""
    return CONTAINER if asked.is_base else asked
