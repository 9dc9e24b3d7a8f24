"""Generated schemas: their shape, and every difference from the captured ones, each with its reason."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from node.api.definition import Definition
from node.api.definitions import DEFINITIONS
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client

CONTRACT = Path(os.environ.get("CORRAL_RANCHER_CONTRACT", Path(__file__).parents[3] / "../shared/rancher-v1"))

DIFFERENCES = (
    (
        "type (cluster|clusterMember|doctorReport|leaveInput|transferLeaderInput)",
        "Corral's own: what its nodes think of each other",
    ),
    (r"\w+ field missing (data|removeTime)", "internals of Rancher's database"),
    (r"container field missing (agentId|allocationState|token)", "Corral has no agents apart from its nodes"),
    (r"host field missing (agentId|apiProxy)", "Corral has no agents apart from its nodes"),
    (r"host field extra (agentIpAddress|nodeId|overlaySubnet)", "how other hosts reach this one"),
    (r"launchConfig field missing \w+", "read-only fields of containers, which a configuration never holds"),
    (r"launchConfig field extra (restartPolicy)", "clients send it, and it is kept"),
    (r"launchConfig field description\.update", "a launchConfig has no PUT of its own"),
    (r"launchConfig (actions|include|filter|resourceMethods) .*", "a launchConfig is no resource of its own"),
    (r"project field (name|description)\.update", "captured without the owner's rights, which administrators have"),
    (r"project resourceMethods .*", "captured without the owner's rights, which administrators have"),
    (r"project field kind\.default", "the default belongs to accounts"),
    (r"project field uuid\.create", "uuids are drawn by the node"),
    (r"apiKey field (publicValue|secretValue)\.create", "keys are drawn by the node, nobody chooses them"),
    (r"registrationToken field (command|token)\.readOnCreateOnly", "the secret is shown once and kept as a hash"),
    (r"registrationToken (field|filter) extra expires", "tokens may end; Rancher's never did"),
    (r"registrationToken field (name|description)\.(create|update)", "tokens have no name"),
    (r"registrationToken actions missing update", "tokens have nothing to update"),
    (r"environment field externalId\.update", "set when the stack is made"),
    (r"\w+ field \w+\.transform", "nothing that a client reads"),
    (
        r"\w+ actions missing (create|purge|restore|delete|error|allocate|deallocate)",
        "steps of Rancher's process engine, never offered to clients that Corral serves",
    ),
    (r"serviceExposeMap actions missing remove", "maps follow their containers"),
    (r"\w+ include missing \w+", "links to types that are not built"),
    (r"\w+ filter missing \w+", "columns of Rancher's database that are no fields of the type"),
    (r"\w+ filter extra \w+", "every plain field filters"),
    (r"container filter (healthState|systemContainer) modifiers", "modifiers follow from the field's type"),
)


def load(role: str) -> dict[str, Any]:
    path = CONTRACT / f"schemas-{role}.json"
    if not path.exists():
        pytest.skip(f"no captured schemas in {CONTRACT}")
    return {schema["id"]: schema for schema in json.loads(path.read_text())["data"]}


async def generated(role: str) -> dict[str, Any]:
    replica = FakeReplica()
    local = Client(replica, is_local=True)
    if role == "admin":
        return {schema["id"]: schema for schema in (await local.get("/v1/schemas")).body["data"]}
    key = await local.make("/v1/projects/1a5/apikeys", {})
    client = Client(replica, key=(key["publicValue"], key["secretValue"]))
    return {schema["id"]: schema for schema in (await client.get("/v1/schemas")).body["data"]}


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    found = [f"type {name}" for name in ours.keys() - theirs.keys()]
    for name in ours.keys() & theirs.keys():
        found += [f"{name} {line}" for line in _differences_of_type(ours[name], theirs[name])]
    return sorted(found)


def _differences_of_type(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    found = _uneven("field", ours["resourceFields"], theirs["resourceFields"])
    for name in ours["resourceFields"].keys() & theirs["resourceFields"].keys():
        one, other = ours["resourceFields"][name], theirs["resourceFields"][name]
        found += [f"field {name}.{key}" for key in {*one, *other} if one.get(key) != other.get(key)]
    found += _uneven("actions", ours["resourceActions"], theirs["resourceActions"])
    for name in ours["resourceActions"].keys() & theirs["resourceActions"].keys():
        if ours["resourceActions"][name] != theirs["resourceActions"][name]:
            found.append(f"actions {name} input or output")
    found += _uneven("include", ours["includeableLinks"], theirs["includeableLinks"])
    found += _uneven("filter", ours["collectionFilters"], theirs["collectionFilters"])
    for name in ours["collectionFilters"].keys() & theirs["collectionFilters"].keys():
        if ours["collectionFilters"][name] != theirs["collectionFilters"][name]:
            found.append(f"filter {name} modifiers")
    for key in ("pluralName", "collectionMethods", "resourceMethods", "collectionActions", "collectionFields"):
        if ours[key] != theirs[key]:
            found.append(f"{key} {ours[key]} not {theirs[key]}")
    return found + _uneven("link", ours["links"], theirs["links"])


def _uneven(what: str, ours: Any, theirs: Any) -> list[str]:
    return [
        *(f"{what} missing {name}" for name in {*theirs} - {*ours}),
        *(f"{what} extra {name}" for name in {*ours} - {*theirs}),
    ]


async def test_schemas_differ_from_the_captured_ones_only_where_there_is_a_reason() -> None:
    used = set()
    for role in ("admin", "project"):
        found = differences(await generated(role), load(role))
        reasons = {line: [reason for reason, _ in DIFFERENCES if re.fullmatch(reason, line)] for line in found}
        assert [line for line, matching in reasons.items() if not matching] == [], role
        used |= {reason for matching in reasons.values() for reason in matching}
    assert [reason for reason, _ in DIFFERENCES if reason not in used] == []


async def test_schemas_are_one_collection_without_pages() -> None:
    client = Client(FakeReplica(open_access=True))
    answer = await client.get("/v1/projects/1a5/schemas?limit=1")
    assert answer.body["links"]["self"] == f"{BASE}/v1/projects/1a5/schemas"
    assert answer.body["pagination"] is None
    assert len(answer.body["data"]) > 10
    assert answer.headers["X-API-Schemas"] == f"{BASE}/v1/projects/1a5/schemas"


async def test_schema_is_found_by_any_spelling_and_hidden_from_those_without_the_type() -> None:
    client = Client(FakeReplica(open_access=True))
    for name in ("launchConfig", "launchconfig", "launchconfigs"):
        schema = (await client.get(f"/v1/schemas/{name}")).body
        assert (schema["id"], schema["links"]) == ("launchConfig", {"self": f"{BASE}/v1/schemas/launchconfig"})
    assert (await client.get("/v1/schemas/leaveInput")).status == 200
    assert (await client.get("/v1/projects/1a5/schemas/leaveInput")).status == 404
    assert (await client.get("/v1/schemas/nonsense")).status == 404


async def test_schema_offers_only_what_the_role_may() -> None:
    schemas = await generated("project")
    assert schemas["project"]["resourceMethods"] == ["GET"]
    assert schemas["project"]["collectionMethods"] == ["GET"]
    assert schemas["service"]["collectionMethods"] == ["GET", "POST"]
    assert "create" in schemas["service"]["resourceFields"]["name"]


@pytest.mark.parametrize("definition", [one for one in DEFINITIONS if one.rows is not None], ids=lambda one: one.id)
def test_documentation_has_every_type_with_its_actions(definition: Definition) -> None:
    text = (Path(__file__).parents[3] / "docs/api.md").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("|") and f"`{definition.id}`" in line]
    for action in definition.actions:
        assert (action.name in line) == (action.later is None), action.name
