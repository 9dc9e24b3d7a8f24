"""`POST scripts/transform`, field by field as API.md 4.4 lists them."""

import json
from typing import Any

import pytest

from tests.fakes.replica import FakeReplica
from tests.node.api.client import BASE, Client
from tests.node.api.test_api import with_key, with_two_projects

SENT: dict[str, Any] = {
    "Name": "/web",
    "Config": {
        "Hostname": "web1", "Domainname": "example.org", "User": "nobody", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "ExposedPorts": {"9000/tcp": {}, "80/tcp": {}, "53/udp": {}, "443/tcp": {}},
        "PublishService": "", "Tty": True, "OpenStdin": True, "StdinOnce": False, "Env": ["A=b", "NOVALUE", "E=x=y"],
        "Cmd": ["sh", "-c", "true"], "Image": "nginx:1.8-alpine", "Volumes": {"/z": {}, "/anon": {}},
        "VolumeDriver": "", "WorkingDir": "/srv", "Entrypoint": ["/entry"], "NetworkDisabled": False,
        "MacAddress": "", "OnBuild": None, "Labels": {"b": "2", "a": "1"},
    },
    "HostConfig": {
        "Binds": ["/data:/data", "/etc:/etc:ro"], "ContainerIDFile": "", "LxcConf": [], "Memory": 64000000,
        "MemorySwap": -1, "CpuShares": 512, "CpuPeriod": 0, "CpusetCpus": "0,1", "CpusetMems": "", "CpuQuota": 0,
        "BlkioWeight": 0, "OomKillDisable": False, "MemorySwappiness": None, "Privileged": True,
        "PortBindings": {
            "80/tcp": [{"HostIp": "", "HostPort": "10086"}],
            "443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}, {"HostIp": "0.0.0.0", "HostPort": "9443"}],
            "53/udp": [{"HostIp": "", "HostPort": ""}],
        },
        "Links": None, "PublishAllPorts": True, "Dns": ["8.8.8.8"], "DnsSearch": ["example.org"],
        "ExtraHosts": ["db:10.0.0.1"], "VolumesFrom": None,
        "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "rwm"}],
        "NetworkMode": "", "IpcMode": "", "PidMode": "host", "UTSMode": "", "CapAdd": ["SYS_TIME"],
        "CapDrop": ["MKNOD"], "GroupAdd": None, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "SecurityOpt": ["label:disable"], "ReadonlyRootfs": True, "Ulimits": None,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "CgroupParent": "", "ConsoleSize": [0, 0],
    },
}  # fmt: skip

FULL = {
    "type": "container", "links": {}, "actions": {},
    "imageUuid": "docker:nginx:1.8-alpine", "name": "web", "hostname": "web1", "user": "nobody",
    "domainName": "example.org", "workingDir": "/srv", "memory": 64000000, "memorySwap": -1, "cpuShares": 512,
    "cpuSet": "0,1", "tty": True, "stdinOpen": True, "privileged": True, "publishAllPorts": True, "readOnly": True,
    "environment": {"A": "b", "NOVALUE": "", "E": "x=y"}, "command": ["sh", "-c", "true"], "entryPoint": ["/entry"],
    "dns": ["8.8.8.8"], "dnsSearch": ["example.org"], "capAdd": ["SYS_TIME"], "capDrop": ["MKNOD"],
    "devices": ["/dev/a:/dev/b:rwm"], "dataVolumes": ["/anon", "/z", "/data:/data", "/etc:/etc:ro"],
    "ports": ["53/udp", "10086:80/tcp", "127.0.0.1:8443:443/tcp", "9443:443/tcp"], "labels": {"a": "1", "b": "2"},
    "restartPolicy": {"name": "on-failure", "maximumRetryCount": 3}, "securityOpt": ["label:disable"],
    "extraHosts": ["db:10.0.0.1"], "pidMode": "host",
    "logConfig": {"driver": "json-file", "config": {"max-size": "1m"}},
    "networkMode": "bridge", "kind": "container",
}  # fmt: skip

BARE: dict[str, Any] = {
    **{name: None for name in FULL},
    "type": "container", "links": {}, "actions": {}, "kind": "container", "networkMode": "bridge",
    "tty": False, "stdinOpen": False, "privileged": False, "publishAllPorts": False, "readOnly": False,
    "environment": {}, "labels": {}, "command": [], "entryPoint": [], "dns": [], "dnsSearch": [], "capAdd": [],
    "capDrop": [], "devices": [], "dataVolumes": [], "ports": [],
}  # fmt: skip


def opened() -> Client:
    return Client(FakeReplica(open_access=True))


async def transformed(body: Any) -> Any:
    answer = await opened().post("/v1/scripts/transform", body)
    assert answer.status == 200, answer.body
    return answer.body


async def test_transform_fills_every_field_of_4_4() -> None:
    assert await transformed(SENT) == FULL


@pytest.mark.parametrize("body", [{"Config": {}, "HostConfig": {}}, {"Config": None}, {"Name": "/"}])
async def test_transform_says_null_or_an_empty_array_for_what_is_not_given(body: Any) -> None:
    assert await transformed(body) == BARE


async def test_transform_takes_limits_from_config_where_the_host_config_has_none() -> None:
    found = await transformed({"Config": {"Memory": 5, "CpuShares": 6, "MemorySwap": 7, "Cpuset": "0"}})
    assert (found["memory"], found["cpuShares"], found["memorySwap"], found["cpuSet"]) == (5, 6, 7, "0")
    found = await transformed({"Config": {"Memory": 5}, "HostConfig": {"Memory": 8}})
    assert found["memory"] == 8


async def test_transform_leaves_out_ports_that_are_only_exposed_or_only_bound() -> None:
    config: dict[str, Any] = {"ExposedPorts": {"80/tcp": {}}}
    assert (await transformed({"Config": config}))["ports"] == []
    bindings = {"PortBindings": {"81/tcp": [{"HostPort": "1"}]}}
    assert (await transformed({"Config": config, "HostConfig": bindings}))["ports"] == []


async def test_transform_is_the_same_byte_for_byte_whatever_the_order_of_keys() -> None:
    client = opened()
    turned = {key: dict(reversed(SENT[key].items())) if key != "Name" else SENT[key] for key in reversed(SENT)}
    turned["Config"]["Labels"] = {"a": "1", "b": "2"}
    first, second = [
        await client.raw("POST", "/v1/scripts/transform", json.dumps(body).encode()) for body in (SENT, turned)
    ]
    assert first.body == second.body


async def test_transform_answers_nothing_to_nothing() -> None:
    assert await transformed(None) == {}
    assert await transformed({}) == {}


async def test_transform_refuses_the_network_of_a_container_and_broken_bodies() -> None:
    client = opened()
    answer = await client.post("/v1/scripts/transform", {"HostConfig": {"NetworkMode": "container:abc"}})
    assert (answer.status, answer.body["code"]) == (422, "InvalidOption")
    assert (await client.raw("POST", "/v1/scripts/transform", b'{"Config":')).status == 400
    wrong: list[Any] = [
        {"Config": []},
        {"Config": {"Cmd": [1]}},
        {"HostConfig": {"Memory": "x"}},
        {"Config": {"Tty": 1}},
    ]
    for body in wrong:
        answer = await client.post("/v1/scripts/transform", body)
        assert (answer.status, answer.body["code"]) == (422, "InvalidFormat")


@pytest.mark.parametrize("url", [f"{BASE}/v1/schemas", f"{BASE}/v1/projects/1a5/schemas"])
async def test_transform_is_beside_the_schemas_where_clients_look_for_it(url: str) -> None:
    client = await with_key(FakeReplica())
    link = (await client.get(url)).body["links"]["self"]
    assert link == url
    answer = await client.post(link.partition("/schemas")[0] + "/scripts/transform", SENT)
    assert answer.body == FULL


async def test_transform_is_for_those_who_may_use_the_project() -> None:
    replica, _, other = await with_two_projects()
    assert (await other.post("/v1/projects/1a5/scripts/transform", SENT)).status == 403
    assert (await Client(replica).post("/v1/scripts/transform", SENT)).status == 401
    assert (await other.get("/v1/scripts/transform")).status == 404  # It would be a token.
    assert (await other.post("/v1/scripts/other", {})).status == 404
