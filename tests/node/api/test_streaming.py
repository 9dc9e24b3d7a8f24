"""Logs, commands and figures over the API: who gets a ticket for what, and the frames on the socket it opens."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto.events import CloseConnection, TextMessage

from node.api.http import Limits
from node.api.server import ConnectionPool
from node.api.streaming import stream_routes
from node.auth import tickets
from node.commands import SetContainerDesired
from node.drive.streams import Streams
from node.engine.memory import MemoryEngine
from node.ports import ERR, ContainerSpec
from tests.fakes import states
from tests.fakes.replica import ME, FakeReplica
from tests.node.api.client import KEYS, Client, make_service, make_stack
from tests.node.api.test_resources import add_container, report
from tests.node.api.test_websocket import HEADERS, Peer

PATIENCE = 10.0


class NoLink:
    """All containers run here."""

    async def open_apart(self, node: object) -> Any:
        raise AssertionError("all containers run here")


def admit_here(replica: FakeReplica) -> int:
    return replica.apply(msgspec.structs.replace(states.admit(1), node=ME)).id


class Scene:
    """A node with one running container, its engine and its API."""

    def __init__(self) -> None:
        self.replica = FakeReplica(open_access=True)
        self.engine = MemoryEngine(self.replica.now_ms)
        self.streams = Streams(ME, self.replica, self.engine, NoLink())
        routes = stream_routes(self.streams, self.replica)
        self.client = Client(self.replica, sockets=routes)

    async def run(self) -> "Scene":
        host = admit_here(self.replica)
        stack = await make_stack(self.client)
        self.service = (
            await make_service(self.client, stack, startOnCreate=True, launchConfig={"ports": ["10086:80"]})
        )["id"]
        number = add_container(self.replica, int(self.service[2:]), host)
        self.external_id = await self.engine.create(ContainerSpec(name="r-web", image="busybox", labels={}))
        await self.engine.start(self.external_id)
        report(self.replica, number, status="running", external_id=self.external_id, started=1, starts=1)
        self.path = f"/v1/containers/1i{number}"
        self.number = number
        return self

    async def access(self, action: str, body: Any = None) -> dict[str, Any]:
        answer = await self.client.post(f"{self.path}/?action={action}", body)
        assert answer.status == 200, answer.body
        return dict(answer.body)

    @asynccontextmanager
    async def connected(self, access: dict[str, Any], more: str = "") -> AsyncIterator[Peer]:
        ours, theirs = memory_stream_pair()
        path = access["url"].removeprefix("ws://h1:8080")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ConnectionPool(self.client.api.handle, Limits(), self.client.api.upgrade).run, theirs)
            peer = Peer(ours)
            head = await peer.ask(f"GET {path}?token={access['token']}{more} HTTP/1.1\r\n{HEADERS}\r\n")
            assert head.startswith("HTTP/1.1 101"), head
            yield peer
            nursery.cancel_scope.cancel()


@pytest.fixture
async def scene() -> Scene:
    return await Scene().run()


async def text_of(peer: Peer) -> str:
    with trio.fail_after(PATIENCE):
        event = await peer.receive()
    assert isinstance(event, TextMessage), event
    return event.data


async def test_ticket_names_what_it_opens_as_clients_expect(scene: Scene) -> None:
    access = await scene.access("logs", {"follow": False, "lines": 5})
    assert (access["type"], access["url"]) == ("hostAccess", "ws://h1:8080/v1/logs/")
    claims = tickets.read(KEYS, access["token"], scene.replica.now)
    assert claims is not None
    assert claims["logs"] == {"Container": scene.external_id, "Lines": 5, "Follow": False, "Since": None}
    assert claims["hostUuid"]


async def test_logs_have_a_frame_a_line_with_where_it_came_from(scene: Scene) -> None:
    scene.engine.say(scene.external_id, b"one")
    scene.engine.say(scene.external_id, b"two \xff", kind=ERR)
    async with scene.connected(await scene.access("logs")) as peer:
        assert await text_of(peer) == "01 2016-04-12T06:00:00.000000000Z one"
        assert await text_of(peer) == "02 2016-04-12T06:00:00.000000000Z two \ufffd"
        scene.engine.say(scene.external_id, b"later")
        assert (await text_of(peer)).endswith(" later")


async def test_logs_that_are_not_followed_end(scene: Scene) -> None:
    scene.engine.say(scene.external_id, b"one")
    async with scene.connected(await scene.access("logs", {"follow": False})) as peer:
        assert await peer.is_closed_with() == 1000


async def test_command_speaks_base64_both_ways(scene: Scene) -> None:
    async with scene.connected(await scene.access("execute", {"command": ["cat"]})) as peer:
        await peer.send(TextMessage(base64.b64encode(b"hello").decode()))
        assert base64.b64decode(await text_of(peer)) == b"hello"


async def test_command_under_control_tells_outputs_apart_and_how_it_ended(scene: Scene) -> None:
    access = await scene.access("execute", {"command": ["cat"], "tty": False})
    async with scene.connected(access, "&control=true") as peer:
        await peer.send(TextMessage(":resize 132 43"))
        await peer.send(TextMessage(base64.b64encode(b"hello").decode()))
        assert await text_of(peer) == f"01 {base64.b64encode(b'hello').decode()}"
        await peer.send(TextMessage(":eof"))
        assert await text_of(peer) == ":exit 0"
        assert await peer.is_closed_with() == 1000


async def test_input_that_is_no_base64_ends_the_command(scene: Scene) -> None:
    async with scene.connected(await scene.access("execute", {"command": ["cat"]})) as peer:
        await peer.send(TextMessage("!!"))
        assert await peer.is_closed_with() == 1007
    with trio.fail_after(PATIENCE):
        while scene.streams.count:
            await trio.sleep(0.01)


async def test_client_that_goes_away_ends_the_stream(scene: Scene) -> None:
    async with scene.connected(await scene.access("logs")) as peer:
        scene.engine.say(scene.external_id, b"one")
        await text_of(peer)
        assert scene.streams.count == 1
        await peer.send(CloseConnection(1000))
        with trio.fail_after(PATIENCE):
            while scene.streams.count:
                await trio.sleep(0.01)


@pytest.mark.parametrize("link", ["stats", "containerStats"])
async def test_figures_are_rows_of_one_frame_a_second(scene: Scene, link: str) -> None:
    resource = (await scene.client.get(scene.path)).body
    access = (await scene.client.get(resource["links"][link])).body
    assert access["type"] == "statsAccess"
    async with scene.connected(access) as peer:
        [row] = msgspec.json.decode(await text_of(peer))
    assert (row["id"], row["resourceType"]) == (f"1i{scene.number}", "container")
    assert row["memory"]["usage"] > 0


async def test_figures_of_a_host_are_its_own(scene: Scene) -> None:
    [host] = (await scene.client.get("/v1/hosts")).data
    access = (await scene.client.get(host["links"]["hostStats"])).body
    assert access["url"] == "ws://h1:8080/v1/hoststats/"
    async with scene.connected(access) as peer:
        [row] = msgspec.json.decode(await text_of(peer))
    assert (row["id"], row["resourceType"]) == (host["id"], "host")


async def test_actions_are_offered_in_the_states_they_work_in(scene: Scene) -> None:
    assert {"logs", "execute"} <= (await scene.client.get(scene.path)).body["actions"].keys()
    report(scene.replica, scene.number, status="exited", external_id=scene.external_id, exit_code=0)
    scene.replica.apply(SetContainerDesired(id=scene.number, desired="stopped", why="test"))
    actions = (await scene.client.get(scene.path)).body["actions"].keys()
    assert "logs" in actions
    assert "execute" not in actions
    assert (await scene.client.post(f"{scene.path}/?action=execute", {"command": ["ls"]})).status == 409


async def test_command_without_words_is_refused(scene: Scene) -> None:
    answer = await scene.client.post(f"{scene.path}/?action=execute", {"command": []})
    assert (answer.status, answer.body["fieldName"]) == (422, "command")
