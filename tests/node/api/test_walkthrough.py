"""The walk-through's steps 2 and 6 to 8 as request sequences, read by a client as strict as a typed one.

Records name every field a client of Rancher 1.0 reads, with its type; a wrong type or a missing field fails.
"""

from typing import Any, TypeVar

import msgspec

from node.commands import SetServiceState
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client
from tests.node.api.test_resources import add_container, admit, report

T = TypeVar("T")


class Resource(msgspec.Struct, rename="camel", kw_only=True):
    id: str
    type: str
    links: dict[str, str]
    actions: dict[str, str]
    name: str | None
    state: str
    transitioning: str
    transitioning_message: str | None
    transitioning_progress: int | None
    uuid: str
    created: str
    created_ts: int = msgspec.field(name="createdTS")


class Project(Resource, rename="camel", kw_only=True):
    members: list[Any] | None
    swarm: bool
    kubernetes: bool
    public_dns: bool


class Host(Resource, rename="camel", kw_only=True):
    account_id: str
    hostname: str
    agent_state: str | None
    labels: dict[str, str]
    info: dict[str, Any]


class Stack(Resource, rename="camel", kw_only=True):
    account_id: str
    environment: dict[str, str] | None
    health_state: str | None


class LaunchConfig(msgspec.Struct, rename="camel", kw_only=True):
    image_uuid: str
    ports: list[str] = []
    labels: dict[str, str] = {}
    tty: bool
    network_mode: str


class Service(Resource, rename="camel", kw_only=True):
    account_id: str
    environment_id: str
    scale: int
    launch_config: LaunchConfig
    metadata: dict[str, Any] | None
    secondary_launch_configs: list[Any]


class Container(Resource, rename="camel", kw_only=True):
    host_id: str
    primary_ip_address: str
    ports: list[str]
    image_uuid: str
    external_id: str | None


class Collection(msgspec.Struct, rename="camel", kw_only=True):
    type: str
    resource_type: str
    links: dict[str, str]
    create_types: dict[str, str]
    actions: dict[str, str]
    data: list[msgspec.Raw]
    sort_links: dict[str, str]
    pagination: dict[str, Any] | None
    sort: dict[str, Any] | None
    filters: dict[str, Any]
    create_defaults: dict[str, Any]


async def fetch(client: Client, type_: type[T], method: str, url: str, body: Any = None, *, status: int = 200) -> T:
    sent = b"" if body is None else msgspec.json.encode(body)
    response = await client.raw(method, url, sent)
    assert response.status == status, response.body
    return msgspec.json.decode(response.body, type=type_)


async def fetch_all(client: Client, type_: type[T], url: str) -> list[T]:
    collection = await fetch(client, Collection, "GET", url)
    assert collection.type == "collection"
    return [msgspec.json.decode(raw, type=type_) for raw in collection.data]


async def test_step_2_open_and_closed() -> None:
    response = await Client(FakeReplica(open_access=True)).raw("GET", "/v1/projects/1a5")
    project = msgspec.json.decode(response.body, type=Project)
    assert (project.id, project.type, project.uuid) == ("1a5", "project", "adminProject")
    assert (project.swarm, project.kubernetes, project.transitioning) == (False, False, "no")
    start = (
        f'{{"id":"1a5","type":"project","links":{{"self":"{BASE}/v1/projects/1a5",'
        f'"agents":"{BASE}/v1/projects/1a5/agents","auditLogs":"{BASE}/v1/projects/1a5/auditlogs",'
        f'"certificates":"{BASE}/v1/projects/1a5/certificates",'
    )
    end = (
        '"swarm":false,"transitioning":"no","transitioningMessage":null,'
        '"transitioningProgress":null,"uuid":"adminProject"}'
    )
    assert response.body.decode().startswith(start)
    assert response.body.decode().endswith(end)
    assert {"hosts", "services", "environments"} <= project.links.keys()
    closed = await Client(FakeReplica()).raw("GET", "/v1/projects/1a5")
    assert closed.status == 401
    assert closed.body.decode().endswith(
        ',"type":"error","links":{},"actions":{},"status":401,"code":"Unauthorized",'
        '"message":"Unauthorized","detail":null}'
    )


async def test_step_6_hosts_are_seen_in_their_own_environment_only() -> None:
    replica = FakeReplica()
    local = Client(replica, is_local=True)
    await fetch(local, Project, "PUT", "/v1/projects/1a5", {"name": "dev"})
    test = await fetch(local, Project, "POST", "/v1/projects", {"name": "test"}, status=201)
    token = await local.make("/v1/projects/1a5/registrationtokens", {})
    assert token["command"] == f"curl -fsSL {token['registrationUrl']} | sudo sh"
    admit(replica, 1)
    admit(replica, 2)
    admit(replica, 3, environment_id=int(test.id.removeprefix("1a")))
    dev_hosts = await fetch_all(local, Host, "/v1/projects/1a5/hosts")
    assert [(host.hostname, host.state, host.agent_state) for host in dev_hosts] == [
        ("h1", "active", "active"),
        ("h2", "active", "active"),
    ]
    assert [host.hostname for host in await fetch_all(local, Host, test.links["hosts"])] == ["h3"]
    assert (await local.get(f"/v1/projects/{test.id}/hosts/{dev_hosts[0].id}")).status == 404


async def test_steps_7_and_8_a_stack_a_service_and_a_second_container_elsewhere() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    first, second = admit(replica, 1), admit(replica, 2)
    assert await fetch_all(client, Stack, "/v1/environments?name=nginx-app-stack&removed_null=%3Cnil%3E") == []
    body = {"links": None, "actions": None, "name": "nginx-app-stack"}
    stack = await fetch(client, Stack, "POST", "/v1/environments", body, status=201)
    wanted = {
        "links": None,
        "actions": None,
        "name": "nginx-alpine-service",
        "environmentId": stack.id,
        "scale": 1,
        "launchConfig": {"links": None, "imageUuid": "docker:nginx:1.8-alpine", "ports": ["10086:80"], "tty": True},
    }
    service = await fetch(client, Service, "POST", "/v1/services", wanted, status=201)
    assert (service.state, service.launch_config.ports) == ("inactive", ["10086:80"])
    service = await fetch(client, Service, "POST", service.actions["activate"], status=202)
    assert (service.state, service.transitioning) == ("activating", "yes")

    number = int(service.id.removeprefix("1s"))
    report(replica, add_container(replica, number, first), status="running", external_id="d0", starts=1)
    replica.apply(SetServiceState(id=number, state="active"))
    service = await fetch(client, Service, "GET", service.links["self"])
    assert (service.state, service.transitioning, service.transitioning_message) == ("active", "no", None)

    service = await fetch(client, Service, "PUT", service.links["self"], {"scale": 2})
    assert (service.state, service.scale) == ("updating-active", 2)
    report(replica, add_container(replica, number, second, 2), status="running", external_id="d1", starts=1)
    replica.apply(SetServiceState(id=number, state="active"))
    containers = await fetch_all(client, Container, service.links["instances"])
    assert [(one.name, one.host_id, one.state) for one in containers] == [
        ("nginx-app-stack_nginx-alpine-service_1", f"1h{first}", "running"),
        ("nginx-app-stack_nginx-alpine-service_2", f"1h{second}", "running"),
    ]
    assert all(one.primary_ip_address.startswith("10.42.") for one in containers)
    assert {one.type for one in containers} == {"container"}
