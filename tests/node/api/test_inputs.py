"""Input checks: every code with its field, conversions, and what is dropped."""

from typing import Any

import pytest

from tests.fakes.replica import FakeReplica
from tests.node.api.client import Answer, Client, make_stack


async def post_service(**changes: Any) -> Answer:
    client = Client(FakeReplica(open_access=True))
    await make_stack(client)
    body = {"name": "web", "environmentId": "1e1", "launchConfig": {"imageUuid": "docker:nginx"}, **changes}
    return await client.post("/v1/services", {key: value for key, value in body.items() if value != "absent"})


def launch(**more: Any) -> dict[str, Any]:
    return {"launchConfig": {"imageUuid": "docker:nginx", **more}}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": "absent"}, "MissingRequired", "name"),
        ({"name": None}, "MissingRequired", "name"),
        ({"name": ""}, "MinLengthExceeded", "name"),
        ({"name": "x" * 64}, "MaxLengthExceeded", "name"),
        ({"name": "a_b"}, "InvalidCharacters", "name"),
        ({"name": "-a"}, "InvalidCharacters", "name"),
        ({"name": ["a"]}, "InvalidFormat", "name"),
        ({"environmentId": "absent"}, "MissingRequired", "environmentId"),
        ({"environmentId": None}, "NotNullable", "environmentId"),
        ({"environmentId": "1e9"}, "InvalidReference", "environmentId"),
        ({"environmentId": 1}, "InvalidReference", "environmentId"),
        ({"environmentId": {"id": "1e1"}}, "InvalidReference", "environmentId"),
        ({"scale": None}, "NotNullable", "scale"),
        ({"scale": "many"}, "InvalidFormat", "scale"),
        ({"scale": 1.5}, "InvalidFormat", "scale"),
        ({"scale": True}, "InvalidFormat", "scale"),
        ({"scale": 2**70}, "InvalidFormat", "scale"),
        ({"scale": -1}, "MinLimitExceeded", "scale"),
        ({"scale": 10**9}, "MaxLimitExceeded", "scale"),
        ({"description": "x" * 1025}, "MaxLengthExceeded", "description"),
        ({"description": "a\0b"}, "InvalidCharacters", "description"),
        ({"launchConfig": None}, "MissingRequired", "launchConfig"),
        ({"launchConfig": "nginx"}, "InvalidFormat", "launchConfig"),
        ({"launchConfig": {}}, "MissingRequired", "imageUuid"),
        (launch(imageUuid="nginx"), "InvalidFormat", "imageUuid"),
        (launch(tty="perhaps"), "InvalidFormat", "tty"),
        (launch(tty=None), "NotNullable", "tty"),
        (launch(networkMode="flat"), "InvalidOption", "networkMode"),
        (launch(capAdd=["FLY"]), "InvalidOption", "capAdd"),
        (launch(ports=["99999:80"]), "InvalidFormat", "ports"),
        (launch(ports=[{"public": 1}]), "InvalidFormat", "ports"),
        (launch(expose=["abc"]), "InvalidFormat", "expose"),
        (launch(extraHosts=["nocolon"]), "InvalidFormat", "extraHosts"),
        (launch(devices=["sda"]), "InvalidFormat", "devices"),
        (launch(environment=["A=b"]), "InvalidFormat", "environment"),
        (launch(environment={"A": {"b": 1}}), "InvalidFormat", "environment"),
        (launch(requestedHostId="1h7"), "InvalidReference", "requestedHostId"),
        (launch(restartPolicy="always"), "InvalidFormat", "restartPolicy"),
        (launch(restartPolicy={"name": "sometimes"}), "InvalidOption", "restartPolicy"),
        (launch(memory="1g"), "InvalidFormat", "memory"),
        (launch(memory=-5), "MinLimitExceeded", "memory"),
        (launch(command=["x"] * 5000), "MaxLimitExceeded", "command"),
        (launch(command=[None]), "InvalidFormat", "command"),
        ({"metadata": {"a": 2**70}}, "InvalidFormat", "metadata"),
        ({"metadata": "x"}, "InvalidFormat", "metadata"),
        ({"selectorContainer": "a=b"}, "InvalidOption", "selectorContainer"),
        ({"assignServiceIpAddress": True}, "InvalidOption", "assignServiceIpAddress"),
    ],
)
async def test_service_with_a_bad_field_is_refused(changes: dict[str, Any], code: str, field: str) -> None:
    answer = await post_service(**changes)
    assert (answer.status, answer.body["code"], answer.body["fieldName"]) == (422, code, field)
    assert answer.body["detail"]


async def test_numbers_and_truths_may_come_as_text_and_one_value_for_a_list() -> None:
    answer = await post_service(scale="2", retainIp="true", **launch(command="sleep", labels={"n": 1}, tty="TRUE"))
    assert answer.status == 201
    assert (answer.body["scale"], answer.body["retainIp"]) == (2, True)
    config = answer.body["launchConfig"]
    assert (config["command"], config["labels"], config["tty"]) == (["sleep"], {"n": "1"}, True)


async def test_what_the_schema_does_not_let_be_set_is_dropped_at_every_depth() -> None:
    answer = await post_service(
        id="1s77",
        uuid="mine",
        state="active",
        links=None,
        actions=None,
        type="service",
        nonsense={"a": [1]},
        **launch(links=None, id="1i5", state="running", primaryIpAddress="10.42.0.9", version="7"),
    )
    assert answer.status == 201
    assert (answer.body["id"], answer.body["state"]) == ("1s1", "inactive")
    assert answer.body["uuid"] != "mine"
    assert answer.body["launchConfig"]["version"] == "0"
    assert "state" not in answer.body["launchConfig"]


async def test_launch_config_comes_back_as_it_was_given() -> None:
    given: dict[str, Any] = {
        "imageUuid": "docker:nginx:1.8-alpine",
        "command": ["nginx", "-g", "daemon off;"],
        "entryPoint": ["/bin/sh"],
        "environment": {"A": "b", "EMPTY": ""},
        "labels": {"io.rancher.service.hash": "f00", "plain": ""},
        "ports": ["10086:80", "53/udp", "127.0.0.1:81:81/tcp"],
        "expose": ["90"],
        "dataVolumes": ["/data", "/h:/c:ro"],
        "restartPolicy": {"type": "restartPolicy", "name": "on-failure", "maximumRetryCount": 3},
        "logConfig": {"type": "logConfig", "driver": "json-file", "config": {"max-size": "1m"}},
        "privileged": True,
        "stdinOpen": True,
        "tty": True,
        "capAdd": ["NET_ADMIN"],
        "dns": ["8.8.8.8"],
        "dnsSearch": ["example.com"],
        "extraHosts": ["a:10.0.0.1"],
        "memory": 1024 * 1024 * 64,
        "cpuShares": 512,
        "user": "nobody",
        "workingDir": "/tmp",
        "hostname": "web",
        "networkMode": "bridge",
        "pidMode": "host",
    }
    answer = await post_service(launchConfig={"links": None, **given})
    assert answer.status == 201, answer.body
    assert {name: answer.body["launchConfig"][name] for name in given} == given


async def test_null_empties_a_description_and_absence_keeps_it() -> None:
    client = Client(FakeReplica(open_access=True))
    stack = await client.make("/v1/environments", {"name": "one", "description": "d"})
    assert (await client.put(stack["links"]["self"], {"name": "two"})).body["description"] == "d"
    assert (await client.put(stack["links"]["self"], {"description": None})).body["description"] is None
    assert (await client.put(stack["links"]["self"], {})).body["name"] == "two"


async def test_body_too_deep_or_no_json_is_a_400() -> None:
    client = Client(FakeReplica(open_access=True))
    for body in (b"{", b"[1]", b'{"a":' + b"[" * 50 + b"]" * 50 + b"}"):
        response = await client.raw("POST", "/v1/environments", body)
        assert response.status == 400
        assert b"InvalidBodyContent" in response.body
