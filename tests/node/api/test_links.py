"""Links between services as rancher-compose sets and reads them, through to the names that containers look up."""

from typing import Any

from node.plan.names import render_names
from tests.fakes.replica import FakeReplica
from tests.node.api.client import Client, make_service, make_stack
from tests.node.api.test_resources import add_container, admit, report

SET = "/v1/services/1s1/?action=setservicelinks"


async def linked() -> tuple[FakeReplica, Client]:
    """`web` of one stack (1s1), `db` of the same (1s2) and `cache` of another (1s3); `db` runs."""
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    host = admit(replica)
    stack, other = await make_stack(client, "shop"), await make_stack(client, "shared")
    await make_service(client, stack, "web")
    await make_service(client, stack, "db", startOnCreate=True, launchConfig={"ports": ["80"]})
    await make_service(client, other, "cache", startOnCreate=True, launchConfig={"ports": ["80"]})
    report(replica, add_container(replica, 2, host, 1, public=50001), status="running", starts=1)
    return replica, client


async def maps(client: Client, query: str = "serviceId=1s1") -> list[Any]:
    return (await client.get(f"/v1/serviceconsumemaps?{query}")).data


def names(replica: FakeReplica) -> Any:
    return render_names(replica.state, 5, frozenset(), 1).names


async def test_links_are_set_and_read_as_rancher_compose_does() -> None:
    _, client = await linked()
    sent = {"serviceLinks": [{"links": None, "actions": None, "name": "store", "serviceId": "1s2"}]}
    answer = await client.post(SET, sent)
    assert (answer.status, answer.body["id"], answer.body["type"]) == (200, "1s1", "service")
    [row] = await maps(client)
    assert (row["id"], row["name"], row["consumedServiceId"], row["state"]) == ("1scm1", "store", "1s2", "active")
    assert (row["serviceId"], row["ports"], row["transitioning"]) == ("1s1", [], "no")
    assert (await client.get(row["links"]["consumedService"])).body["name"] == "db"


async def test_no_links_means_that_all_go() -> None:
    _, client = await linked()
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s2"}, {"serviceId": "1s3", "name": "cache"}]})
    assert len(await maps(client)) == 2
    assert (await client.post(SET, {"links": None, "actions": None})).status == 200
    assert await maps(client) == []


async def test_link_that_stays_keeps_its_id() -> None:
    _, client = await linked()
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s2", "name": "store"}]})
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s3"}, {"serviceId": "1s2", "name": "store"}]})
    assert [(row["id"], row["consumedServiceId"]) for row in await maps(client)] == [("1scm1", "1s2"), ("1scm2", "1s3")]


async def test_one_link_is_added_and_removed() -> None:
    _, client = await linked()
    one = {"serviceLink": {"serviceId": "1s2", "name": "store"}}
    for _ in range(2):
        assert (await client.post("/v1/services/1s1/?action=addservicelink", one)).status == 200
    assert len(await maps(client)) == 1
    assert (await client.post("/v1/services/1s1/?action=removeservicelink", one)).status == 200
    assert await maps(client) == []


async def test_both_ends_lead_to_each_other() -> None:
    _, client = await linked()
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s3"}]})
    assert [row["id"] for row in (await client.get("/v1/services/1s1/consumedservices")).data] == ["1s3"]
    assert [row["id"] for row in (await client.get("/v1/services/1s3/consumedbyservices")).data] == ["1s1"]


async def test_alias_is_a_name_that_only_the_linked_service_searches() -> None:
    replica, client = await linked()
    address = names(replica)["db.shop.rancher.internal"]
    assert len(address) == 1
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s2", "name": "Store"}, {"serviceId": "1s3"}]})
    assert names(replica)["store.web.shop.rancher.internal"] == address
    assert names(replica)["cache.web.shop.rancher.internal"] == ()
    await client.post(SET, {})
    assert "store.web.shop.rancher.internal" not in names(replica)


async def test_link_to_a_removed_service_is_gone_with_its_name() -> None:
    _, client = await linked()
    await client.post(SET, {"serviceLinks": [{"serviceId": "1s3"}]})
    await client.delete("/v1/services/1s3")
    assert [row["state"] for row in await maps(client)] == ["removing"]
    answer = await client.post(SET, {"serviceLinks": [{"serviceId": "1s3"}]})
    assert (answer.status, answer.body["code"], answer.body["fieldName"]) == (422, "InvalidReference", "serviceId")


async def test_links_that_cannot_be_are_refused_with_the_field() -> None:
    _, client = await linked()
    await client.make("/v1/projects", {"name": "other"})
    for link, code, field in (
        ({"serviceId": "1s1"}, "InvalidReference", "serviceId"),
        ({"serviceId": "1s99"}, "InvalidReference", "serviceId"),
        ({"name": "db"}, "MissingRequired", "serviceId"),
        ({"serviceId": "1s2", "name": "a b"}, "InvalidCharacters", "name"),
        ({"serviceId": "1s2", "name": ".."}, "InvalidCharacters", "name"),
        ({"serviceId": "1s2", "name": "a" * 64}, "InvalidCharacters", "name"),
        ({"serviceId": "1s2", "name": ".".join(["abc"] * 40)}, "MaxLengthExceeded", "name"),
        ({"serviceId": "1s2", "name": "rancher-metadata"}, "InvalidOption", "name"),
    ):
        answer = await client.post(SET, {"serviceLinks": [link]})
        assert (answer.status, answer.body["code"], answer.body["fieldName"]) == (422, code, field), link
    assert await maps(client) == []
