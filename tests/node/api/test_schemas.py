"""Generated schemas: their shape, and every difference from the captured ones, each with its reason."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from node.api.definitions import BY_ID
from scripts.doclib.pages import PAGES, ROOT
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client
from tests.node.api.differences import CAPTURED, DIFFERENCES

CONTRACT = Path(os.environ.get("CORRAL_RANCHER_CONTRACT", Path(__file__).parents[3] / "../shared/rancher-v1"))


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


@pytest.mark.parametrize("page", sorted(PAGES))
def test_generated_page_is_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run scripts/docs and commit what it writes"


def test_every_captured_type_is_built_or_named_with_what_it_belongs_to() -> None:
    """Holds without the captured documents too."""
    assert [name for name, why in CAPTURED.items() if why is None and name not in BY_ID] == []


def test_table_names_every_captured_type_and_no_other() -> None:
    assert {*load("admin"), *load("project")} == {*CAPTURED}
    assert len(load("admin")) == 128
