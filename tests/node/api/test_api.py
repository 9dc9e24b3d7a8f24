"""What holds for every request: who may ask, in which scope, under which URLs, and how errors look."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio

from node.api.errors import ApiError
from node.model import Host
from node.ports import MemberView, Unavailable
from protocol.ids import NodeId
from tests.fakes.replica import ME, START, FakeReplica
from tests.node.api.client import BASE, Client, make_service, make_stack
from tests.node.api.test_resources import admit

ERROR_KEYS = ["id", "type", "links", "actions", "status", "code", "message", "detail"]


async def with_key(replica: FakeReplica, project: str = "1a5") -> Client:
    key = await Client(replica, is_local=True).make(f"/v1/projects/{project}/apikeys", {})
    return Client(replica, key=(key["publicValue"], key["secretValue"]))


async def with_two_projects() -> tuple[FakeReplica, Client, Client]:
    """An environment key of 1a5, and one of a second project."""
    replica = FakeReplica()
    project = await Client(replica, is_local=True).make("/v1/projects", {"name": "test"})
    return replica, await with_key(replica), await with_key(replica, project["id"])


async def test_request_without_a_key_gets_exactly_the_401_clients_know() -> None:
    client = Client(FakeReplica())
    answer = await client.get("/v1/projects/1a5")
    assert answer.status == 401
    assert list(answer.body) == ERROR_KEYS
    assert str(uuid.UUID(answer.body.pop("id")))
    assert answer.body == {
        "type": "error",
        "links": {},
        "actions": {},
        "status": 401,
        "code": "Unauthorized",
        "message": "Unauthorized",
        "detail": None,
    }
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="Enter API access key')
    quiet = await client.get("/v1/projects/1a5", X_API_No_Challenge="true")
    assert "WWW-Authenticate" not in quiet.headers


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/schemas", "/v1/services/1s1", "/v1/clusters", "/v1/projects"])
async def test_nothing_but_join_answers_without_a_key(path: str) -> None:
    client = Client(FakeReplica())
    assert (await client.get(path)).status == 401
    assert (await client.post(path, {})).status == 401


async def test_join_answers_anybody() -> None:
    response = await Client(FakeReplica()).raw("GET", "/v1/join")
    assert (response.status, response.body) == (200, b'{"cluster_id":"x"}')


async def test_root_leads_to_the_version_and_the_schemas() -> None:
    client = Client(FakeReplica(open_access=True))
    root = await client.get("/")
    assert root.body["resourceType"] == "apiVersion"
    assert root.body["links"] == {"latest": f"{BASE}/v1", "self": f"{BASE}/"}
    assert root.headers["X-API-Schemas"] == f"{BASE}/v1/schemas"
    assert root.headers["Content-Type"] == "application/json; charset=utf-8"
    version = (await client.get(root.body["links"]["latest"])).body
    assert (version["id"], version["type"]) == ("v1", "apiVersion")
    assert version["links"]["serviceExposeMaps"] == f"{BASE}/v1/serviceexposemaps"
    for url in version["links"].values():
        assert (await client.get(url)).status == 200


async def test_every_link_of_a_resource_answers() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    host = admit(replica)
    service = await make_service(client, await make_stack(client))
    project = (await client.get("/v1/projects/1a5")).body
    for url in (*project["links"].values(), *service["links"].values()):
        assert (await client.get(url)).status == 200, url
    for url in (await client.get(f"/v1/hosts/1h{host}")).body["links"].values():
        assert (await client.get(url)).status == 200, url


async def test_urls_are_those_the_client_sees_through_a_proxy() -> None:
    client = Client(FakeReplica(open_access=True))

    async def self_url(**headers: str) -> str:
        return str((await client.get("/v1/projects/1a5", **headers)).body["links"]["self"])

    assert await self_url(X_Forwarded_Proto="https", X_Forwarded_Host="c.example") == (
        "https://c.example/v1/projects/1a5"
    )
    assert await self_url(X_Forwarded_Port="8443") == "http://h1:8443/v1/projects/1a5"
    assert await self_url(X_Forwarded_Proto="https", X_Forwarded_Host="a, b", X_Forwarded_Port="443") == (
        "https://a/v1/projects/1a5"
    )
    assert await self_url(X_Forwarded_Proto="javascript", X_Forwarded_Host='a"><b') == "http://h1:8080/v1/projects/1a5"


async def test_scope_in_the_path_stays_in_every_link() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    service = await make_service(client, await make_stack(client))
    scoped = (await client.get(f"/v1/projects/1a5/services/{service['id']}")).body
    prefix = f"{BASE}/v1/projects/1a5/services/{service['id']}"
    assert scoped["links"]["self"] == prefix
    assert scoped["links"]["instances"] == f"{prefix}/instances"
    assert scoped["actions"]["activate"] == f"{prefix}/?action=activate"
    assert (await client.get(scoped["links"]["account"])).body["links"]["self"] == f"{BASE}/v1/projects/1a5"
    assert (await client.post(scoped["actions"]["activate"])).body["links"]["self"] == prefix


@pytest.mark.parametrize("how", ["path", "header", "query"])
async def test_scope_shows_one_project_only(how: str) -> None:
    replica, _, _ = await with_two_projects()
    local = Client(replica, is_local=True)
    await local.make("/v1/projects/1a5/environments", {"name": "one"})
    second = next(row["id"] for row in (await local.get("/v1/projects")).data if row["name"] == "test")
    await local.make(f"/v1/projects/{second}/environments", {"name": "two"})

    async def names(project: str) -> list[str]:
        if how == "path":
            answer = await local.get(f"/v1/projects/{project}/environments")
        elif how == "header":
            answer = await local.get("/v1/environments", X_API_Project_Id=project)
        else:
            answer = await local.get(f"/v1/environments?projectId={project}")
        assert answer.headers["X-API-Account-Id"] == project
        return [row["name"] for row in answer.data]

    assert await names("1a5") == ["one"]
    assert await names(second) == ["two"]
    assert [row["name"] for row in (await local.get("/v1/environments")).data] == ["one", "two"]


async def test_objects_of_another_project_do_not_exist() -> None:
    replica, mine, other = await with_two_projects()
    stack = await make_stack(mine)
    service = await make_service(mine, stack)
    admit(replica)
    for url in (stack["links"]["self"], service["links"]["self"], "/v1/hosts/1h1", "/v1/projects/1a5"):
        assert (await other.get(url)).status == 404, url
    assert (await other.post(service["links"]["self"] + "/?action=activate")).status == 404
    assert (await other.put(service["links"]["self"], {"scale": 2})).status == 404
    assert (await other.delete(service["links"]["self"])).status == 404
    for plural in ("environments", "services", "hosts", "containers", "serviceexposemaps"):
        assert (await other.get(f"/v1/{plural}")).data == []
    assert [row["name"] for row in (await other.get("/v1/projects")).data] == ["test"]
    body = {"name": "w", "environmentId": stack["id"], "launchConfig": {"imageUuid": "docker:x"}}
    refused = await other.post("/v1/services", body)
    assert (refused.status, refused.body["code"], refused.body["fieldName"]) == (
        422, "InvalidReference", "environmentId",
    )  # fmt: skip


async def test_scope_of_another_project_is_forbidden_and_a_malformed_one_invalid() -> None:
    _, _, other = await with_two_projects()
    assert (await other.get("/v1/projects/1a5/services")).status == 403
    assert (await other.get("/v1/services", X_API_Project_Id="1a5")).status == 403
    assert (await other.get("/v1/services?projectId=1a99")).status == 403
    malformed = await other.get("/v1/services", X_API_Project_Id="five")
    assert (malformed.status, malformed.body["code"]) == (400, "InvalidFormat")


async def test_environment_key_only_reads_its_project() -> None:
    client = await with_key(FakeReplica())
    project = (await client.get("/v1/projects/1a5")).body
    assert project["actions"] == {}
    assert (await client.put(project["links"]["self"], {"name": "x"})).status == 405
    assert (await client.delete(project["links"]["self"])).status == 405
    assert (await client.post("/v1/projects", {"name": "x"})).status == 405
    assert (await client.post(f"{project['links']['self']}/?action=remove")).status == 403


async def test_ids_are_read_without_their_letters_but_never_as_plain_numbers() -> None:
    client = Client(FakeReplica(open_access=True))
    await make_service(client, await make_stack(client))
    assert (await client.get("/v1/services/1x1")).body["id"] == "1s1"
    assert (await client.get("/v1/service/1s1")).status == 200
    for text in ("1", "s1", "1s", "1s1x", "1s-1", "1s99999999999999999999", "..%2f1s1", "1S1"):
        assert (await client.get(f"/v1/services/{text}")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nonsense", 404),
        ("GET", "/v1/services/1s9", 404),
        ("GET", "/v1/services/1s1/nonsense", 404),
        ("GET", "/v2/services", 404),
        ("POST", "/v1/hosts", 405),
        ("PUT", "/v1/services", 405),
        ("DELETE", "/v1/services", 405),
        ("POST", "/v1/services/1s1", 405),
        ("PUT", "/v1/serviceexposemaps/1sem1", 405),
        ("DELETE", "/v1/registrationtokens/1c1", 405),
        ("PATCH", "/v1/services/1s1", 405),
        ("POST", "/v1", 405),
        ("POST", "/v1/schemas", 405),
        ("POST", "/v1/projects/1a5/certificates", 405),
        ("GET", "/v1/haconfigs", 404),
    ],
)
async def test_what_there_is_not_is_404_and_what_may_not_be_done_405(method: str, path: str, status: int) -> None:
    client = Client(FakeReplica(open_access=True))
    await make_service(client, await make_stack(client))
    answer = await client.ask(method, path, {} if method != "GET" else None)
    assert (answer.status, answer.body["status"]) == (status, status)
    assert list(answer.body) == ERROR_KEYS


async def test_post_may_stand_for_another_method_and_carry_a_form() -> None:
    client = Client(FakeReplica(open_access=True))
    form = {"content-type": "application/x-www-form-urlencoded"}
    made = await client.raw("POST", "/v1/environments", b"name=one&description=a+b", form)
    assert made.status == 201
    assert (await client.post("/v1/environments/1e1?_method=DELETE")).body["state"] == "removing"


async def test_refusals_of_the_state_keep_their_code_and_field() -> None:
    client = Client(FakeReplica(open_access=True))
    await make_stack(client, "one")
    refused = await client.post("/v1/environments", {"name": "ONE"})
    assert (refused.status, refused.body["code"], refused.body["fieldName"]) == (422, "NotUnique", "name")
    assert list(refused.body) == [*ERROR_KEYS, "fieldName"]


async def test_without_a_leader_reads_go_on_marked_and_writes_are_told_when_to_retry() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    await make_stack(client)
    replica.leaderless_since = START
    read = await client.get("/v1/environments")
    assert (read.status, len(read.data)) == (200, 1)
    assert read.headers["X-Corral-Stale-Since"] == "2016-04-12T06:00:00Z"
    write = await client.post("/v1/environments", {"name": "two"})
    assert (write.status, write.body["code"]) == (503, "ServiceUnavailable")
    assert write.headers["Retry-After"] == "2"
    assert "leader" in write.body["detail"]


class FakeOperations:
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        self.left: list[bool] = []
        self.transferred: list[int | None] = []

    async def transfer(self, host_id: int | None) -> None:
        self.transferred.append(host_id)

    async def doctor(self) -> Sequence[Mapping[str, Any]]:
        return [{"check": "clock", "ok": True}]

    async def leave(self, *, force: bool) -> None:
        if not force:
            raise ApiError("Conflict", "this is the last voter; add force to leave anyway")
        self.left.append(force)


async def test_cluster_tells_what_this_node_knows() -> None:
    replica = FakeReplica(open_access=True)
    admit(replica, 1)
    replica.known[ME] = MemberView(
        node=ME, name="h1", address="10.0.0.1", peer_port=8090, api_port=8080, status="alive", version="0.1"
    )
    [cluster] = (await Client(replica).get("/v1/clusters")).data
    assert (cluster["id"], cluster["leader"], cluster["role"], cluster["accessControl"]) == (
        "cluster", ME, "leader", "open",
    )  # fmt: skip
    assert cluster["overlay"] == {"mode": "wireguard", "network": "10.42.0.0/16"}
    assert cluster["members"] == [
        {
            "type": "clusterMember",
            "address": "10.0.0.1",
            "heardAgo": 0,
            "hostId": "1h1",
            "hostName": "h1",
            "lag": 0,
            "nodeId": ME,
            "replication": None,
            "role": "voter",
            "status": "alive",
            "version": "0.1",
        }
    ]


async def test_environment_key_sees_only_its_own_hosts_in_the_cluster_and_no_actions() -> None:
    replica, mine, other = await with_two_projects()
    admit(replica, 1)
    assert len((await mine.get("/v1/clusters/cluster")).body["members"]) == 1
    shown = (await other.get("/v1/clusters/cluster")).body
    assert (shown["members"], shown["actions"]) == ([], {})
    assert (await other.post("/v1/clusters/cluster/?action=doctor")).status == 403


async def test_doctor_answers_administrators_and_leaving_needs_the_unix_socket() -> None:
    replica = FakeReplica(open_access=True)
    operations = FakeOperations()
    remote = Client(replica, operations=operations)
    report = await remote.post("/v1/clusters/cluster/?action=doctor")
    assert (report.status, report.body["findings"]) == (200, [{"check": "clock", "ok": True}])
    assert (await remote.post("/v1/clusters/cluster/?action=leave", {"force": True})).status == 403
    local = Client(replica, is_local=True, operations=operations)
    assert "leave" in (await local.get("/v1/clusters/cluster")).body["actions"]
    assert (await local.post("/v1/clusters/cluster/?action=leave")).status == 409
    assert (await local.post("/v1/clusters/cluster/?action=leave", {"force": True})).status == 202
    assert operations.left == [True]


async def test_operations_are_refused_politely_where_the_node_has_none() -> None:
    answer = await Client(FakeReplica(), is_local=True).post("/v1/clusters/cluster/?action=doctor")
    assert (answer.status, answer.body["code"]) == (422, "ActionNotAvailable")


async def test_secrets_are_in_no_answer_but_the_first() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    key = await client.make("/v1/apikeys", {"name": "k"})
    token = await client.make("/v1/registrationtokens", {})
    secrets = [key["secretValue"], token["token"], token["token"].split("_")[4]]
    for path in ("/v1/apikeys", "/v1/apikeys/1c1", "/v1/registrationtokens", "/v1/projects/1a5", "/v1/clusters"):
        text = (await client.raw("GET", path)).body.decode()
        assert not any(secret in text for secret in secrets), path
    query = await client.raw("GET", f"/v1/apikeys?secretValue_like=%25&secretValue={key['secretValue']}")
    assert key["secretValue"].encode() not in query.body


def hosts_of(replica: FakeReplica) -> list[Host]:
    return list(replica.state.hosts.values())


async def test_node_id_is_no_secret_and_matches_the_host() -> None:
    replica = FakeReplica(open_access=True)
    admit(replica, 3)
    [host] = (await Client(replica).get("/v1/hosts")).data
    assert NodeId(host["nodeId"]) == hosts_of(replica)[0].node


async def test_read_waits_for_the_latest_state_when_the_client_says_so() -> None:
    replica = FakeReplica(open_access=True)
    client = Client(replica)
    waited: list[float] = []

    async def wait(timeout: float) -> None:
        await trio.lowlevel.checkpoint()
        waited.append(timeout)

    client.api._read_barrier = wait
    wishes: tuple[dict[str, str], ...] = ({}, {"X-Corral-Read": "local"})
    for wish in wishes:
        assert (await client.ask("GET", "/v1/clusters", headers=wish)).status == 200
    assert waited == []
    assert (await client.ask("GET", "/v1/clusters", headers={"X-Corral-Read": "linearizable"})).status == 200
    assert waited == [5.0]
    refused = await client.ask("GET", "/v1/clusters", headers={"X-Corral-Read": "newest"})
    assert (refused.status, refused.body["code"]) == (422, "InvalidOption")


async def test_read_of_the_latest_state_is_unavailable_without_a_majority() -> None:
    client = Client(FakeReplica(open_access=True))

    async def wait(timeout: float) -> None:
        await trio.lowlevel.checkpoint()
        raise Unavailable("no majority")

    client.api._read_barrier = wait
    answer = await client.ask("GET", "/v1/clusters", headers={"X-Corral-Read": "linearizable"})
    assert (answer.status, answer.body["code"]) == (503, "ServiceUnavailable")


async def test_leadership_goes_to_the_host_that_is_named_or_to_any() -> None:
    replica = FakeReplica(open_access=True)
    admit(replica, 1)
    operations = FakeOperations()
    client = Client(replica, operations=operations)
    url = "/v1/clusters/cluster/?action=transferleader"
    assert (await client.ask("POST", url, {"hostId": "1h1"})).status == 202
    assert (await client.ask("POST", url, {})).status == 202
    assert operations.transferred == [1, None]
    assert (await client.ask("POST", url, {"hostId": "1h77"})).status == 422
