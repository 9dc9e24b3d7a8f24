"""What the Docker engine makes of the daemon's answers and of what its client library raises; needs no daemon."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Event, Thread
from typing import Any, cast

import docker
import pytest
import trio

from node.engine.dockerd import MTU_OPTION, DockerEngine, never_started
from node.ports import ContainerSpec, EngineContainer, EngineError, NetworkSpec

CLUSTER = "c" * 32
NETWORK = NetworkSpec(name="corral", bridge="corral0", subnet="10.42.1.0/24", gateway="10.42.1.1", mtu=1420)


@dataclass(eq=False)
class FakeClient:
    """As much of docker.APIClient as these tests need, with one network."""

    network: dict[str, Any] = field(default_factory=dict)
    attached: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    hangs: Event | None = None
    event_streams: list[Exception] = field(default_factory=list)

    def version(self) -> dict[str, str]:
        if self.hangs is not None:
            self.hangs.wait(30)
        return {"Version": "20.10.25", "ApiVersion": "1.41"}

    def info(self) -> dict[str, str]:
        return {}

    def networks(self, names: list[str]) -> list[dict[str, Any]]:
        return [self.network] if self.network else []

    def containers(self, *, all: bool, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
        return self.attached

    def remove_network(self, network_id: str) -> None:
        self.removed.append(network_id)

    def create_network(self, name: str, **options: Any) -> None:
        self.created.append(options)

    def events(self, *, decode: bool, filters: dict[str, str]) -> "FakeStream":
        return FakeStream(self.event_streams.pop(0) if self.event_streams else None)

    def __getattr__(self, name: str) -> Any:
        return getattr(docker.APIClient("unix:///nowhere", version="1.41"), name)


@dataclass(eq=False)
class FakeStream:
    """Events: none, and then an exception of the client library's, or silence until closed."""

    failure: Exception | None
    closed: Event = field(default_factory=Event)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.failure is not None:
            raise self.failure
        self.closed.wait(30)
        yield from ()

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
async def engine(tmp_path: Path) -> DockerEngine:
    return DockerEngine(CLUSTER, resolv_dir=tmp_path)


def use(engine: DockerEngine, client: FakeClient) -> FakeClient:
    engine._client = cast(docker.APIClient, client)
    return client


def network_of(spec: NetworkSpec, **changes: Any) -> dict[str, Any]:
    options = {"com.docker.network.bridge.name": spec.bridge, MTU_OPTION: str(spec.mtu)}
    return {
        "Id": "n" * 64,
        "Name": spec.name,
        "Labels": {"io.corral.cluster": CLUSTER},
        "Options": options,
        "IPAM": {"Config": [{"Subnet": spec.subnet}]},
        **changes,
    }


def with_mtu(mtu: int) -> dict[str, Any]:
    network = network_of(NETWORK)
    network["Options"][MTU_OPTION] = str(mtu)
    return network


def test_created_container_is_read_from_its_row_alone() -> None:
    row = {
        "Id": "f" * 64,
        "Names": ["/r-web_nginx_1"],
        "Labels": {
            "io.rancher.container.uuid": "uuid-1",
            "io.rancher.container.name": "web_nginx_1",
            "io.corral.cluster": CLUSTER,
        },
        "State": "created",
    }
    assert never_started(row) == EngineContainer(
        external_id="f" * 64,
        uuid="uuid-1",
        name="r-web_nginx_1",
        given_name="web_nginx_1",
        status="created",
        exit_code=None,
        started=None,
        finished=None,
    )


def test_created_container_without_labels_has_no_uuid() -> None:
    assert never_started({"Id": "a", "Names": ["/a"], "Labels": None, "State": "created"}).uuid == ""


class OldEngine(BaseHTTPRequestHandler):
    """Answers as Docker 1.9 would to a client that asks who it is."""

    def do_GET(self) -> None:
        is_asked = self.path == "/version"
        told = {"Version": "1.9.1", "ApiVersion": "1.21"} if is_asked else {"message": "client is newer than server"}
        body = json.dumps(told).encode()
        self.send_response(200 if is_asked else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "somebody"

    def log_message(self, format: str, *words: object) -> None:
        pass


async def test_engine_too_old_for_our_client_still_says_how_old_it_is(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with ThreadingUnixStreamServer(str(path), OldEngine) as server:
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            engine = DockerEngine(CLUSTER, resolv_dir=tmp_path, url=f"unix://{path}")
            version = await engine.version()
            assert (version.version, version.api) == ("1.9.1", "1.21")
            with pytest.raises(EngineError, match=r"below 1\.24"):
                await engine.list_containers()
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("fields", [{"extra_hosts": ("nocolon",)}, {"expose": ("abc",)}, {"restart_policy": "a:b"}])
async def test_spec_that_the_client_library_stumbles_over_is_an_engine_error(
    engine: DockerEngine, fields: dict[str, Any]
) -> None:
    use(engine, FakeClient())
    with pytest.raises(EngineError) as refused:
        await engine.create(ContainerSpec(name="r-a", image="x", labels={}, **fields))
    assert refused.value.code == "failed"


async def test_answer_of_an_unknown_shape_is_an_engine_error(engine: DockerEngine) -> None:
    use(engine, FakeClient(attached=[{"Id": "a"}]))
    with pytest.raises(EngineError, match="State"):
        await engine.list_containers()


async def test_call_to_an_engine_that_hangs_is_left_behind_when_cancelled(engine: DockerEngine) -> None:
    client = use(engine, FakeClient(hangs=Event()))
    assert client.hangs is not None
    try:
        with trio.fail_after(5), trio.move_on_after(0.01) as scope:
            await engine.version()
        assert scope.cancelled_caught
    finally:
        client.hangs.set()


async def test_network_that_differs_in_its_mtu_alone_stays_while_containers_are_on_it(
    engine: DockerEngine, caplog: pytest.LogCaptureFixture
) -> None:
    client = use(engine, FakeClient(network=with_mtu(1450), attached=[{"Id": "a"}]))
    await engine.ensure_network(NETWORK)
    await engine.ensure_network(NETWORK)
    assert not client.removed
    assert not client.created
    assert [record.getMessage() for record in caplog.records if "MTU 1450" in record.getMessage()] == [
        "the Docker network corral has MTU 1450 and should have 1420: it is replaced once no container is left on it"
    ]


async def test_network_that_differs_in_its_mtu_is_replaced_once_nothing_is_on_it(engine: DockerEngine) -> None:
    client = use(engine, FakeClient(network=with_mtu(1450)))
    await engine.ensure_network(NETWORK)
    assert client.removed == ["n" * 64]
    assert client.created[0]["options"][MTU_OPTION] == "1420"


async def test_network_with_another_subnet_is_replaced(engine: DockerEngine) -> None:
    other = network_of(NETWORK, IPAM={"Config": [{"Subnet": "10.42.2.0/24"}]})
    client = use(engine, FakeClient(network=other, attached=[{"Id": "a"}]))
    await engine.ensure_network(NETWORK)
    assert client.removed
    assert client.created


async def test_network_of_somebody_else_is_not_touched(engine: DockerEngine) -> None:
    client = use(engine, FakeClient(network=network_of(NETWORK, Labels={})))
    with pytest.raises(EngineError, match="somebody else"):
        await engine.ensure_network(NETWORK)
    assert not client.removed


async def test_watch_goes_on_after_whatever_the_events_end_with(
    engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.engine.dockerd.RECONNECT_AFTER", 0.0)
    use(engine, FakeClient(event_streams=[KeyError("status"), RuntimeError("odd")]))
    woken = trio.Event()
    wakes = 0

    def wake() -> None:
        nonlocal wakes
        wakes += 1
        if wakes == 2:
            woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(engine.watch, wake)
        with trio.fail_after(10):
            await woken.wait()
        nursery.cancel_scope.cancel()
