"""Every type, method and action against every kind of caller: what the definitions do not grant is not done."""

from typing import Any

import pytest

from node.api.definitions import BY_ID, DEFINITIONS, definition_of_row
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack
from tests.node.api.test_resources import add_container, admit, report

LISTED = [definition for definition in DEFINITIONS if definition.rows is not None and definition.find is not None]
"""Types of which there can be rows."""
METHODS = {"c": "POST", "r": "GET", "u": "PUT", "d": "DELETE"}
LAUNCH = {"ports": ["10086:80"], "dataVolumes": ["/srv:/srv:ro", "/cache"], "labels": {"tier": "front"}}
SHARED = ("cluster", "identity", "setting")
"""What every environment sees, each its own part of it."""
CLOSED = ("account", "password", "localAuthConfig")
"""What no environment's key sees at all."""


async def populated() -> tuple[FakeReplica, dict[str, Client]]:
    """One row of every type in 1a5, and a client of each kind."""
    replica = FakeReplica()
    admin = Client(replica, is_local=True)
    host = admit(replica)
    stack = await make_stack(admin)
    await make_service(admin, stack, startOnCreate=True, launchConfig=LAUNCH)
    other = await make_service(admin, stack, "db")
    await admin.post("/v1/services/1s1/?action=setservicelinks", {"serviceLinks": [{"serviceId": other["id"]}]})
    report(replica, add_container(replica, 1, host), status="running", starts=1)
    await admin.make("/v1/projects/1a5/registrationtokens", {})
    person = await admin.make("/v1/accounts", {"name": "somebody"})
    await admin.make("/v1/passwords", {"accountId": person["id"], "publicValue": "somebody", "secretValue": "x"})
    members = [{"externalId": person["id"], "role": "owner"}]
    await admin.post("/v1/projects/1a5/?action=setmembers", {"members": members})
    project = await admin.make("/v1/projects", {"name": "other"})
    clients = {"admin": admin, "anonymous": Client(replica)}
    for name, scope in (("project", "1a5"), ("foreign", project["id"])):
        key = await admin.make(f"/v1/projects/{scope}/apikeys", {})
        clients[name] = Client(replica, key=(key["publicValue"], key["secretValue"]))
    return replica, clients


async def row_url(admin: Client, plural: str) -> str:
    return f"{BASE}/v1/{plural}/{(await admin.get(f'/v1/{plural}?sort=id')).data[0]['id']}"


@pytest.mark.parametrize("definition", LISTED, ids=lambda one: one.id)
async def test_nobody_reaches_anything_without_a_key(definition: Any) -> None:
    replica, clients = await populated()
    before = replica.state
    url = await row_url(clients["admin"], definition.plural)
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert (await clients["anonymous"].ask(method, url, {})).status == 401
        assert (await clients["anonymous"].ask(method, f"/v1/{definition.plural}", {})).status == 401
    assert replica.state is before


@pytest.mark.parametrize("definition", LISTED, ids=lambda one: one.id)
async def test_key_of_another_environment_finds_and_changes_nothing(definition: Any) -> None:
    if definition.id in SHARED + CLOSED:
        pytest.skip("seen by every environment in part; its own tests say which")
    replica, clients = await populated()
    url = await row_url(clients["admin"], definition.plural)
    identity = url.rsplit("/", 1)[1]
    before = replica.state
    for link in ("", *(f"/{link.name}" for link in definition.links)):
        assert (await clients["foreign"].get(url + link)).status in (403, 404), link
    assert (await clients["foreign"].put(url, {"name": "x", "scale": 9})).status in (404, 405)
    assert (await clients["foreign"].delete(url)).status in (404, 405)
    for action in definition.actions:
        assert (await clients["foreign"].post(f"{url}/?action={action.name}", {})).status == 404, action.name
    shown = [row["id"] for row in (await clients["foreign"].get(f"/v1/{definition.plural}")).data]
    assert identity not in shown
    status = (await clients["foreign"].get(f"/v1/projects/1a5/{definition.plural}")).status
    assert status == (404 if definition.id == "projectMember" else 403)
    assert replica.state is before


@pytest.mark.parametrize("role", ["admin", "project"])
@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.id)
async def test_method_without_a_right_is_refused_and_changes_nothing(definition: Any, role: Any) -> None:
    replica, clients = await populated()
    before = replica.state
    for letter, method in METHODS.items():
        if letter in definition.acl.get(role, ""):
            continue
        url = f"/v1/{definition.plural}"
        if letter in "ud":
            url = await row_url(clients["admin"], definition.plural) if definition in LISTED else f"{url}/1x1"
        answer = await clients[role].ask(method, url, {"name": "x"})
        assert answer.status in (404, 405), (method, url)
    assert replica.state is before


@pytest.mark.parametrize("definition", LISTED, ids=lambda one: one.id)
async def test_project_and_administrator_read_what_is_theirs(definition: Any) -> None:
    _, clients = await populated()
    url = await row_url(clients["admin"], definition.plural)
    for role in ("admin", "project"):
        if definition.id == "localAuthConfig" or (
            role == "project" and definition.id in ("apiKey", "setting", *CLOSED)
        ):
            continue
        assert (await clients[role].get(url)).status == 200, role


@pytest.mark.parametrize("definition", LISTED, ids=lambda one: one.id)
async def test_offered_actions_are_exactly_those_that_can_start_now(definition: Any) -> None:
    _, clients = await populated()
    url = await row_url(clients["admin"], definition.plural)
    shown = (await clients["admin"].get(url)).body
    concrete = definition_of_row(None, BY_ID[definition.id])
    for action in concrete.actions:
        if action.operate is not None:
            continue
        _, fresh = await populated()
        answer = await fresh["admin"].post(f"{url}/?action={action.name}", {})
        status = answer.status
        if action.name in shown["actions"] and answer.body.get("code") == "MissingRequired":
            assert status == 422, action.name  # Offered, and its input is looked at first.
        elif action.name in shown["actions"]:
            assert status == action.status, action.name
        else:
            assert status in (409, 422), action.name
