"""What follows from containers and hosts without being stored: ports, mounts, volumes, addresses, labels, images."""

from typing import Any

from node.api.index import Index
from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack
from tests.node.api.test_resources import add_container, admit, report

LAUNCH = {
    "ports": ["80"],
    "dataVolumes": ["/srv:/data:ro", "logs:/var/log", "/cache"],
    "labels": {"tier": "front"},
}


async def running() -> tuple[FakeReplica, Client]:
    """One host with two containers of one service, both running."""
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    host = admit(replica)
    await client.put("/v1/hosts/1h1", {"labels": {"zone": "a"}})
    await make_service(client, await make_stack(client), startOnCreate=True, scale=2, launchConfig=LAUNCH)
    for number in (1, 2):
        container = add_container(replica, 1, host, number, public=50000 + number)
        report(replica, container, status="running", starts=1)
    return replica, client


async def rows(client: Client, target: str) -> list[Any]:
    return (await client.get(target)).data


async def test_volume_is_looked_up_on_its_own_host_and_all_are_worked_out_host_by_host() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    hosts = [admit(replica, number) for number in (1, 2)]
    await make_service(client, await make_stack(client), startOnCreate=True, scale=2, launchConfig=LAUNCH)
    for number, host in enumerate(hosts, 1):
        add_container(replica, 1, host, number, public=50000 + number)
    index = Index(replica.state)
    every = [volume.id for volume in Index(replica.state).volumes()]
    assert len(every) == 6
    assert every == sorted(every)
    assert index.volume(every[-1]) is not None
    assert set(index._volumes) == {hosts[1]}
    assert next(iter(index.volumes())).id == every[0]
    assert index.volume(1) is None
    assert index.volume(hosts[0] << 32) is None


async def test_port_shows_both_sides_and_leads_to_both_addresses() -> None:
    _, client = await running()
    port = (await rows(client, "/v1/ports"))[0]
    assert (port["publicPort"], port["privatePort"], port["protocol"]) == (50001, 80, "tcp")
    assert (port["instanceId"], port["state"], port["id"]) == ("1i1", "active", "1p10001")
    public = (await client.get(port["links"]["publicIpAddress"])).body
    private = (await client.get(port["links"]["privateIpAddress"])).body
    assert (public["id"], public["address"]) == (port["publicIpAddressId"], "10.0.0.1")
    assert (private["id"], private["networkId"]) == (port["privateIpAddressId"], "1n5")
    assert [row["id"] for row in await rows(client, public["links"]["publicPorts"])] == ["1p10001", "1p20001"]


async def test_containers_of_a_host_share_its_paths_and_named_volumes_but_no_others() -> None:
    _, client = await running()
    volumes = {row["name"]: row for row in await rows(client, "/v1/volumes?name_notnull=")}
    assert (volumes["/srv"]["isHostPath"], volumes["/srv"]["uri"], volumes["/srv"]["driver"]) == (
        True,
        "file:///srv",
        None,
    )
    assert (volumes["logs"]["isHostPath"], volumes["logs"]["driver"]) == (False, "local")
    mounts = await rows(client, volumes["/srv"]["links"]["mounts"])
    assert [(row["instanceId"], row["path"], row["permissions"]) for row in mounts] == [
        ("1i1", "/data", "ro"),
        ("1i2", "/data", "ro"),
    ]
    own = [row["instanceId"] for row in await rows(client, "/v1/volumes?name_null=")]
    assert sorted(own) == ["1i1", "1i2"]


async def test_volume_keeps_its_id_and_outlives_one_of_its_containers() -> None:
    replica, client = await running()
    before = {row["id"] for row in await rows(client, "/v1/volumes?name=logs")}
    await client.post("/v1/containers/1i1/?action=stop", {"remove": True})
    report(replica, 1, status="gone")
    after = await rows(client, "/v1/volumes?name=logs")
    assert {row["id"] for row in after} == before
    assert after[0]["state"] == "active"
    assert (await client.get(f"/v1/volumes/{after[0]['id']}")).status == 200


async def test_container_leads_to_its_parts() -> None:
    _, client = await running()
    links = (await client.get("/v1/containers/1i1")).body["links"]
    assert len(await rows(client, links["mounts"])) == 3
    assert len(await rows(client, links["volumes"])) == 3
    assert [row["key"] for row in await rows(client, links["instanceLabels"])] == ["tier"]
    assert await rows(client, links["instanceLinks"]) == []


async def test_label_is_one_row_for_all_that_carry_it() -> None:
    _, client = await running()
    labels = {row["key"]: row for row in await rows(client, "/v1/labels")}
    assert labels.keys() == {"tier", "zone"}
    assert [row["id"] for row in await rows(client, labels["tier"]["links"]["instances"])] == ["1i1", "1i2"]
    assert [row["id"] for row in await rows(client, labels["zone"]["links"]["hosts"])] == ["1h1"]
    assert [row["value"] for row in await rows(client, "/v1/hosts/1h1/hostlabels")] == ["a"]


async def test_host_leads_to_its_address_pool_and_machine() -> None:
    _, client = await running()
    links = (await client.get("/v1/hosts/1h1")).body["links"]
    assert [row["address"] for row in await rows(client, links["ipAddresses"])] == ["10.0.0.1"]
    pool = (await rows(client, links["storagePools"]))[0]
    assert (pool["id"], pool["kind"], pool["name"]) == ("1sp1", "docker", "h1")
    assert [row["name"] for row in await rows(client, pool["links"]["images"])] == ["nginx:1.8-alpine"]
    machine = (await client.get(links["physicalHost"])).body
    assert (machine["id"], machine["externalId"]) == ("1ph1", "1" * 32)


async def test_project_leads_to_what_is_its_own() -> None:
    _, client = await running()
    links = (await client.get("/v1/projects/1a5")).body["links"]
    counts = {
        name: len(await rows(client, links[name])) for name in ("ports", "mounts", "networks", "labels", "images")
    }
    assert counts == {"ports": 2, "mounts": 6, "networks": 1, "labels": 2, "images": 1}
    other = await client.make("/v1/projects", {"name": "other"})
    assert [row["id"] for row in await rows(client, "/v1/projects/1a5/networks")] == ["1n5"]
    assert await rows(client, f"/v1/projects/{other['id']}/ports") == []


async def test_type_of_which_there_is_none_lists_nothing_and_refuses_with_the_reason() -> None:
    _, client = await running()
    listed = (await client.get("/v1/loadbalancerservices")).body
    assert (listed["data"], listed["resourceType"]) == ([], "loadBalancerService")
    answer = await client.post("/v1/loadbalancerservices", {"name": "lb", "environmentId": "1e1"})
    assert (answer.status, answer.body["code"]) == (405, "Method not allowed")
    assert "load balancers are not built yet" in answer.body["detail"]
    assert (await client.get("/v1/loadbalancerservices/1s1")).status == 404
    schema = (await client.get("/v1/schemas/loadBalancerService")).body
    assert (schema["collectionMethods"], schema["links"]["collection"]) == (["GET"], f"{BASE}/v1/loadbalancerservices")
