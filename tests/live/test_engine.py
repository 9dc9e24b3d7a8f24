"""The engine contract on a real Docker daemon, that of a lab host."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from msgspec.structs import replace

from node.engine.dockerd import DockerEngine
from node.model import PortBinding
from node.ports import EngineError, NetworkSpec
from scripts.lablib import Lab
from tests.live.engine_lab import client_of, close, one_host
from tests.node.engine.contract import EngineContract, spec_of

pytestmark = pytest.mark.live

CLUSTER = EngineContract.cluster
NETWORK = NetworkSpec(name="corral-contract", bridge="cc0", subnet="10.43.7.0/24", gateway="10.43.7.1", mtu=1370)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with one_host("engine") as made:
        yield made


@pytest.fixture
async def engine(lab: Lab) -> AsyncIterator[DockerEngine]:
    async with client_of(lab) as made:
        yield made


def docker(lab: Lab, *argv: str) -> str:
    return lab.exec("h1", ["docker", *argv]).stdout


class TestDockerEngine(EngineContract):
    @pytest.fixture
    def image(self) -> str:
        return "corral-test/musl:latest"


async def test_container_of_another_cluster_or_of_nobody_is_not_listed(engine: DockerEngine, lab: Lab) -> None:
    other = DockerEngine("e" * 32, resolv_dir=Path("/nonexistent"), url=f"unix://{lab.docker_socket('h1')}")
    theirs = await other.create(spec_of("busybox:latest", "r-theirs", "e" * 32))
    nobody = docker(lab, "create", "--label", "io.rancher.container.uuid=1", "--name", "r-nobody", "busybox").strip()
    ours = await engine.create(spec_of("busybox:latest", "r-ours", CLUSTER))
    try:
        assert [each.external_id for each in await engine.list_containers()] == [ours]
        assert [each.external_id for each in await other.list_containers()] == [theirs]
    finally:
        for each in (theirs, nobody, ours):
            await engine.remove(each)
        close(other)


async def test_exit_is_seen_with_its_code(engine: DockerEngine) -> None:
    external_id = await engine.create(spec_of("busybox:latest", "r-exits", CLUSTER, command=("sh", "-c", "exit 3")))
    await engine.start(external_id)
    try:
        with trio.fail_after(30):
            while (seen := (await engine.list_containers())[0]).status != "exited":
                await trio.sleep(0.05)
        assert seen.exit_code == 3
        assert seen.started is not None
        assert seen.finished is not None  # Not later than `started`, for one that ends at once: Docker notes both late.
    finally:
        await engine.remove(external_id)


async def test_image_that_cannot_be_pulled_is_named_in_the_reason(engine: DockerEngine) -> None:
    with pytest.raises(EngineError, match=r"corral-test/nowhere:1 is not here and cannot be pulled: .*no such host"):
        await engine.pull("corral-test/nowhere:1")


async def test_container_gets_what_its_spec_says(engine: DockerEngine, lab: Lab) -> None:
    await engine.ensure_network(NETWORK)
    spec = spec_of(
        "corral-test/musl:latest",
        "r-whole",
        CLUSTER,
        network=NETWORK.name,
        address="10.43.7.20",
        environment={"MODE": "fast"},
        hostname="its-name",
        memory=64 * 2**20,
        ports=(PortBinding(public=28474, private=80),),
        resolv_conf="search one.example\nnameserver 169.254.169.250\n",
    )
    external_id = await engine.create(spec)
    await engine.start(external_id)
    try:
        found = json.loads(docker(lab, "inspect", external_id))[0]
        assert found["NetworkSettings"]["Networks"][NETWORK.name]["IPAddress"] == "10.43.7.20"
        assert "MODE=fast" in found["Config"]["Env"]
        assert (found["Config"]["Hostname"], found["HostConfig"]["Memory"]) == ("its-name", 64 * 2**20)
        assert found["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "28474"
        assert spec.labels.items() <= found["Config"]["Labels"].items()
        assert docker(lab, "exec", external_id, "cat", "/etc/resolv.conf") == spec.resolv_conf
        eth0 = docker(lab, "exec", external_id, "ip", "link", "show", "eth0")
        assert "mtu 1370" in eth0
    finally:
        await engine.remove(external_id)
        await engine.remove_network(NETWORK.name)


async def test_containers_made_at_once_share_a_resolv_conf_that_none_had_before(engine: DockerEngine) -> None:
    text = f"search {uuid4().hex}.example\nnameserver 169.254.169.250\n"
    try:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    spec = spec_of("busybox:latest", f"r-at-once-{number}", CLUSTER, resolv_conf=text)
                    nursery.start_soon(engine.create, spec)
        assert len(await engine.list_containers()) == 6
    finally:
        for each in await engine.list_containers():
            await engine.remove(each.external_id)


async def test_taken_address_is_told_apart(engine: DockerEngine) -> None:
    await engine.ensure_network(NETWORK)
    made = []
    try:
        for _ in range(2):
            spec = spec_of(
                "corral-test/musl:latest",
                f"r-{uuid4().hex[:8]}",
                CLUSTER,
                network=NETWORK.name,
                address="10.43.7.21",
            )
            made.append(await engine.create(spec))
        await engine.start(made[0])
        with pytest.raises(EngineError) as refused:
            await engine.start(made[1])
        assert refused.value.code == "address-taken"
    finally:
        for each in made:
            await engine.remove(each)
        await engine.remove_network(NETWORK.name)


async def test_network_is_made_once_with_its_mtu_and_without_masquerading(engine: DockerEngine, lab: Lab) -> None:
    await engine.ensure_network(NETWORK)
    try:
        first = json.loads(docker(lab, "network", "inspect", NETWORK.name))[0]
        await engine.ensure_network(NETWORK)
        assert json.loads(docker(lab, "network", "inspect", NETWORK.name))[0]["Id"] == first["Id"]
        assert first["Options"]["com.docker.network.driver.mtu"] == "1370"
        assert first["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
        assert first["Options"]["com.docker.network.bridge.name"] == "cc0"
        assert first["IPAM"]["Config"] == [{"Subnet": "10.43.7.0/24", "Gateway": "10.43.7.1"}]
        rules = lab.exec("h1", ["iptables-save", "-t", "nat"]).stdout
        assert "10.43.7.0/24" not in rules
    finally:
        await engine.remove_network(NETWORK.name)


async def test_network_that_differs_is_replaced(engine: DockerEngine, lab: Lab) -> None:
    await engine.ensure_network(NETWORK)
    try:
        await engine.ensure_network(replace(NETWORK, mtu=1280))
        found = json.loads(docker(lab, "network", "inspect", NETWORK.name))[0]
        assert found["Options"]["com.docker.network.driver.mtu"] == "1280"
    finally:
        await engine.remove_network(NETWORK.name)


async def test_network_of_somebody_else_is_neither_used_nor_removed(engine: DockerEngine, lab: Lab) -> None:
    docker(lab, "network", "create", NETWORK.name)
    try:
        with pytest.raises(EngineError) as refused:
            await engine.ensure_network(NETWORK)
        assert refused.value.code == "invalid"
        await engine.remove_network(NETWORK.name)
        assert NETWORK.name in docker(lab, "network", "ls", "--format", "{{.Name}}").split()
    finally:
        docker(lab, "network", "rm", NETWORK.name)


async def test_removing_a_network_that_is_gone_is_no_error(engine: DockerEngine) -> None:
    await engine.remove_network("corral-never-made")


async def test_engine_that_is_stopped_is_unavailable_and_found_again(engine: DockerEngine, lab: Lab) -> None:
    assert await engine.list_containers() == ()
    await trio.to_thread.run_sync(lab.stop_engine, "h1")
    try:
        with pytest.raises(EngineError) as refused:
            await engine.list_containers()
        assert refused.value.code == "unavailable"
        assert "systemctl status docker" in str(refused.value)
    finally:
        await trio.to_thread.run_sync(lab.start, "h1")
    assert await engine.list_containers() == ()
