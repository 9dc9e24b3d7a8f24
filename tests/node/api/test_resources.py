"""Resources of all built types: created, read, changed, acted on and deleted as API.md sections 1 to 6 say."""

from typing import Any

from node.commands import (
    AddContainer,
    AdmitHost,
    Observation,
    Placement,
    ReportContainers,
    SetServiceState,
)
from node.model import HostFacts, PortBinding, Seen
from protocol.ids import NodeId
from tests.fakes.replica import START, FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack


def opened() -> tuple[FakeReplica, Client]:
    replica = FakeReplica(open_access=True)
    return replica, Client(replica)


def admit(replica: FakeReplica, number: int = 1, environment_id: int = 5) -> int:
    return replica.apply(
        AdmitHost(
            uuid=f"host-{number}",
            environment_id=environment_id,
            node=NodeId(str(number) * 32),
            name=f"h{number}",
            address=f"10.0.0.{number}",
            peer_port=8090,
            api_port=8080,
            overlay_port=51820,
            overlay_key=bytes([number]) * 32,
            seal_key=bytes([number]) * 32,
            facts=HostFacts(docker_version="28.0.1", kernel="6.1.0", cpus=2, memory_bytes=4 << 30),
        )
    ).id


def add_container(replica: FakeReplica, service_id: int, host_id: int, number: int = 1, public: int = 10086) -> int:
    subnet = replica.state.hosts[host_id].subnet.rsplit(".", 1)[0]
    placement = Placement(
        host_id=host_id, address=f"{subnet}.{10 + number}", ports=(PortBinding(public=public, private=80),)
    )
    return replica.apply(
        AddContainer(uuid=f"c-{service_id}-{number}", service_id=service_id, number=number, placement=placement, why="")
    ).id


def report(replica: FakeReplica, container_id: int, **seen: Any) -> None:
    host_id = replica.state.containers[container_id].host_id
    assert host_id is not None
    node = replica.state.hosts[host_id].node
    replica.apply(
        ReportContainers(node=node, observations=(Observation(container_id=container_id, seen=Seen(**seen)),))
    )


async def test_stack_and_service_are_created_as_clients_expect() -> None:
    _, client = opened()
    stack = await make_stack(client)
    assert list(stack)[:4] == ["id", "type", "links", "actions"]
    assert stack["id"].startswith("1e")
    assert (stack["type"], stack["state"], stack["accountId"]) == ("environment", "active", "1a5")
    assert (stack["created"], stack["createdTS"]) == ("2016-04-12T06:00:00Z", START)
    assert list(stack)[4:] == sorted(list(stack)[4:])
    service = await make_service(client, stack, scale=2, metadata={"io.rancher.service.hash": "abc"})
    assert (service["state"], service["transitioning"], service["scale"]) == ("inactive", "no", 2)
    assert service["environmentId"] == stack["id"]
    assert service["metadata"] == {"io.rancher.service.hash": "abc"}
    assert service["launchConfig"]["networkMode"] == "managed"
    assert service["launchConfig"]["startOnCreate"] is True
    assert service["links"]["self"] == f"{BASE}/v1/services/{service['id']}"
    assert service["links"]["serviceExposeMaps"] == f"{service['links']['self']}/serviceexposemaps"
    linking = ("addservicelink", "removeservicelink", "setservicelinks")
    assert service["actions"] == {
        name: f"{service['links']['self']}/?action={name}" for name in ("activate", "remove", "update", *linking)
    }


async def test_service_is_activated_scaled_and_removed_through_its_own_urls() -> None:
    replica, client = opened()
    service = await make_service(client, await make_stack(client))
    activated = await client.post(service["actions"]["activate"])
    assert (activated.status, activated.body["state"], activated.body["transitioning"]) == (202, "activating", "yes")
    assert activated.body["transitioningMessage"] == "In Progress"
    again = await client.post(service["actions"]["activate"])
    assert (again.status, again.body["code"]) == (409, "Conflict")
    replica.apply(SetServiceState(id=1, state="active"))
    scaled = await client.put(service["links"]["self"], {"scale": "3", "launchConfig": {"imageUuid": "docker:x"}})
    assert (scaled.status, scaled.body["scale"], scaled.body["state"]) == (200, 3, "updating-active")
    assert scaled.body["launchConfig"]["imageUuid"] == "docker:nginx:1.8-alpine"
    removed = await client.delete(service["links"]["self"])
    assert (removed.status, removed.body["state"]) == (200, "removing")
    assert removed.body["actions"] == {}


async def test_containers_of_a_service_show_everywhere_they_are_linked() -> None:
    replica, client = opened()
    host = admit(replica)
    stack = await make_stack(client)
    service = await make_service(client, stack, startOnCreate=True, launchConfig={"ports": ["10086:80"]})
    container = add_container(replica, 1, host)
    report(replica, container, status="running", external_id="abc", starts=1)
    [instance] = (await client.get(service["links"]["instances"])).data
    assert (instance["type"], instance["state"], instance["name"]) == ("container", "running", "nginx-app-stack_web_1")
    assert instance["primaryIpAddress"].startswith("10.42.")
    assert instance["ports"] == ["10086:80/tcp"]
    assert instance["labels"]["io.rancher.stack_service.name"] == "nginx-app-stack/web"
    assert instance["hostId"] == f"1h{host}"
    assert sorted(instance["actions"]) == ["execute", "logs", "restart", "stop", "update"]
    [exposed] = (await client.get(service["links"]["serviceExposeMaps"])).data
    assert exposed["id"] == f"1sem{container}"
    assert (exposed["serviceId"], exposed["instanceId"], exposed["managed"]) == (service["id"], instance["id"], True)
    assert (await client.get("/v1/serviceexposemaps?serviceId=1s1")).data[0]["id"] == exposed["id"]
    assert (await client.get(f"/v1/instances/{instance['id']}")).body["type"] == "container"
    [endpoint] = (await client.get(service["links"]["self"])).body["publicEndpoints"]
    assert endpoint == {
        "type": "publicEndpoint",
        "hostId": f"1h{host}",
        "instanceId": instance["id"],
        "ipAddress": "10.0.0.1",
        "port": 10086,
        "serviceId": service["id"],
    }
    [listed] = (await client.get(f"/v1/hosts/1h{host}/instances")).data
    assert listed["id"] == instance["id"]


async def test_children_are_created_below_their_parent() -> None:
    _, client = opened()
    stack = await make_stack(client)
    body = {"name": "web", "launchConfig": {"imageUuid": "docker:nginx"}}
    service = await client.make(f"/v1/environments/{stack['id']}/services", body)
    assert service["environmentId"] == stack["id"]
    assert (await client.get(stack["links"]["services"])).data[0]["id"] == service["id"]


async def test_stand_alone_container_lives_and_dies() -> None:
    replica, client = opened()
    created = await client.make("/v1/containers", {"name": "one", "imageUuid": "docker:redis", "tty": True})
    assert (created["state"], created["transitioning"], created["tty"]) == ("requested", "yes", True)
    stopped = await client.post(created["actions"]["stop"], {"remove": False})
    assert (stopped.status, stopped.body["state"]) == (202, "requested")
    gone = await client.delete(created["links"]["self"])
    assert (gone.status, gone.body["state"]) == (200, "removed")
    assert [row["state"] for row in (await client.get("/v1/containers")).data] == ["removed"]
    assert (await client.get("/v1/containers?removed_null=%3Cnil%3E")).data == []
    replica.now += 300_001
    assert (await client.get("/v1/containers")).data == []
    assert (await client.get(created["links"]["self"])).body["removed"] is not None


async def test_host_shows_what_is_known_and_is_deleted_only_when_inactive() -> None:
    replica, client = opened()
    host = admit(replica)
    shown = (await client.get(f"/v1/hosts/1h{host}")).body
    assert (shown["hostname"], shown["state"], shown["agentState"]) == ("h1", "active", "active")
    assert shown["info"]["osInfo"] == {"dockerVersion": "Docker version 28.0.1", "kernelVersion": "6.1.0"}
    assert shown["info"]["memoryInfo"] == {"memTotal": 4096}
    assert shown["physicalHostId"] == "1ph1"
    assert sorted(shown["actions"]) == ["deactivate", "update"]
    refused = await client.delete(shown["links"]["self"])
    assert (refused.status, refused.body["code"]) == (405, "Method not allowed")
    assert (await client.post(shown["actions"]["deactivate"])).body["state"] == "inactive"
    labelled = await client.put(shown["links"]["self"], {"labels": {"zone": "a"}, "name": "one"})
    assert (labelled.body["labels"], labelled.body["name"]) == ({"zone": "a"}, "one")
    assert (await client.delete(shown["links"]["self"])).body["state"] == "removed"


async def test_api_key_tells_its_secret_once_and_opens_its_environment() -> None:
    replica = FakeReplica()
    local = Client(replica, is_local=True)
    made = await local.make("/v1/projects/1a5/apikeys", {"name": "k", "description": "d"})
    assert len(made["publicValue"]) == 20
    assert len(made["secretValue"]) == 40
    assert (await local.get(made["links"]["self"])).body["secretValue"] is None
    client = Client(replica, key=(made["publicValue"], made["secretValue"]))
    assert (await client.get("/v1/projects/1a5")).status == 200
    assert (await local.post(made["actions"]["deactivate"])).body["state"] == "inactive"
    assert (await client.get("/v1/projects/1a5")).status == 401
    assert (await local.delete(made["links"]["self"])).body["state"] == "removed"


async def test_registration_token_tells_its_command_once() -> None:
    replica, client = opened()
    made = await client.make("/v1/registrationtokens", {})
    assert made["token"].startswith("corral1_1a5_")
    assert made["registrationUrl"] == f"{BASE}/v1/scripts/{made['token']}"
    assert made["command"] == f"curl -fsSL {made['registrationUrl']} | sudo sh"
    shown = (await client.get(made["links"]["self"])).body
    assert (shown["token"], shown["command"], shown["registrationUrl"]) == (None, None, None)
    assert shown["state"] == "active"
    assert made["token"].split("_")[4] not in repr(replica.state)
    assert [row["id"] for row in (await client.get("/v1/registrationtokens?state=active")).data] == [made["id"]]


async def test_registration_token_ends_when_it_is_told_to() -> None:
    replica, client = opened()
    made = await client.make("/v1/registrationtokens", {"expires": START + 60_000})
    assert (made["expires"], made["expiresTS"]) == ("2016-04-12T06:01:00Z", START + 60_000)
    same = await client.make("/v1/registrationtokens", {"expires": "2016-04-12T06:01:00Z"})
    assert same["expiresTS"] == made["expiresTS"]
    assert [row.expires for row in replica.state.tokens.values()] == [START + 60_000] * 2
    for expires, code in ((START, "InvalidOption"), ("soon", "InvalidDateFormat"), (10**17, "InvalidDateFormat")):
        refused = await client.post("/v1/registrationtokens", {"expires": expires})
        assert (refused.status, refused.body["code"], refused.body["fieldName"]) == (422, code, "expires")


async def test_registration_command_names_this_node_when_asked_on_the_host_itself() -> None:
    replica = FakeReplica()
    admit(replica)
    made = await Client(replica, is_local=True).make("/v1/registrationtokens", {})
    assert made["command"].startswith("curl -fsSL http://10.0.0.1:8080/v1/scripts/corral1_")


async def test_project_is_made_renamed_and_removed_by_an_administrator() -> None:
    _, client = opened()
    made = await client.make("/v1/projects", {"name": "test"})
    assert (made["type"], made["state"], made["kind"]) == ("project", "active", "project")
    renamed = await client.put(made["links"]["self"], {"name": "prod"})
    assert renamed.body["name"] == "prod"
    assert (await client.delete(made["links"]["self"])).body["state"] == "removed"


async def test_actions_of_later_versions_are_not_offered_and_refused_with_the_reason() -> None:
    _, client = opened()
    service = await make_service(client, await make_stack(client))
    assert "upgrade" not in service["actions"]
    refused = await client.post(f"{service['links']['self']}/?action=upgrade", {"inServiceStrategy": {}})
    assert (refused.status, refused.body["code"]) == (422, "ActionNotAvailable")
    assert "not built" in refused.body["detail"]
    unknown = await client.post(f"{service['links']['self']}/?action=dance")
    assert (unknown.status, unknown.body["code"]) == (422, "InvalidAction")


async def test_configuration_that_cannot_be_kept_is_refused_and_not_ignored() -> None:
    _, client = opened()
    stack = await make_stack(client)
    for name, value in (
        ("healthCheck", {"port": 80}),
        ("networkLaunchConfig", "other"),
        ("kind", "virtualMachine"),
        ("networkMode", "container"),
    ):
        body = {"name": "w", "environmentId": stack["id"], "launchConfig": {"imageUuid": "docker:x", name: value}}
        refused = await client.post("/v1/services", body)
        assert (refused.status, refused.body["code"], refused.body["fieldName"]) == (422, "InvalidOption", name)
    body = {"name": "w", "environmentId": stack["id"], "launchConfig": {"imageUuid": "docker:x"}}
    refused = await client.post("/v1/services", {**body, "secondaryLaunchConfigs": [{"name": "side"}]})
    assert (refused.status, refused.body["fieldName"]) == (422, "secondaryLaunchConfigs")
    assert (await client.post("/v1/services", {**body, "secondaryLaunchConfigs": []})).status == 201


async def test_stack_activates_and_deactivates_all_its_services() -> None:
    _, client = opened()
    stack = await make_stack(client)
    await make_service(client, stack, "a")
    await make_service(client, stack, "b")
    answer = await client.post(stack["actions"]["activateservices"])
    assert (answer.status, answer.body["id"]) == (202, stack["id"])
    assert {row["state"] for row in (await client.get(stack["links"]["services"])).data} == {"activating"}
    assert (await client.delete(stack["links"]["self"])).body["state"] == "removing"


async def test_answer_to_a_creation_is_found_without_listing_what_there_is() -> None:
    client = Client(FakeReplica(open_access=True))
    made = await client.make("/v1/environments", {"name": "web"})
    assert made["id"] == "1e1"
    assert "stacks" not in client.api._index._sorted
