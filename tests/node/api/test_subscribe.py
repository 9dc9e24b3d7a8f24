"""/v1/subscribe: who is told what, how often, and how much a slow or unwelcome subscriber may cost."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair
from wsproto.events import CloseConnection, TextMessage

from node.api.api import Api
from node.api.call import Call
from node.api.feed import MAX_BEHIND, Feed, Subscriber
from node.api.http import Request, Response
from node.api.listing import Params
from node.api.sockets import SocketRoute
from node.api.subscribe import event_names, subscribing
from node.api.websocket import Socket, run_socket
from node.auth import tickets
from node.auth.keys import hash_secret
from node.auth.ring import derive_keys
from node.commands import (
    AnyCommand,
    CreateApiKey,
    CreateEnvironment,
    CreateService,
    CreateStack,
    UpdateApiKey,
    UpdateService,
)
from protocol.seal import Keyring
from tests.fakes.replica import FakeReplica
from tests.fakes.states import launch
from tests.node.api.test_websocket import Peer

FOLLOW = "/v1/subscribe?eventNames=resource.change"
KEYS = derive_keys(Keyring(bytes(32)))


class Node:
    """An Api with a feed, and sockets to it."""

    def __init__(self, nursery: trio.Nursery, routes: dict[str, SocketRoute] | None = None) -> None:
        self.replica = FakeReplica()
        self.feed = Feed(self.replica.now_ms)
        self.replica.listeners.append(self.feed.note)
        self.nursery = nursery
        self.api = Api(
            self.replica,
            now_ms=self.replica.now_ms,
            rng=self.replica.rng,
            join_info=lambda: b"{}",
            keys=KEYS,
            sockets=routes or {"subscribe": SocketRoute(subscribing(self.feed))},
        )

    async def ask(self, target: str, *, is_local: bool = True, **headers: str) -> Response | Peer:
        path, _, query = target.partition("?")
        sent = {"host": "h1:8080", **headers}
        request = Request("GET", path, query, tuple(sent.items()), is_local=is_local)
        answer = await self.api.upgrade(request)
        if isinstance(answer, Response):
            return answer
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(run_socket, Socket(theirs), answer, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        return Peer(ours)

    async def open(self, target: str = FOLLOW, **headers: Any) -> Peer:
        peer = await self.ask(target, **headers)
        assert isinstance(peer, Peer)
        return peer

    async def refused(self, target: str = FOLLOW, **headers: Any) -> int:
        answer = await self.ask(target, **headers)
        assert isinstance(answer, Response)
        return answer.status

    def apply(self, command: AnyCommand) -> int:
        return self.replica.apply(command).id

    def with_shop(self, environment_id: int = 5) -> int:
        stack = self.apply(CreateStack(uuid=f"s{environment_id}", environment_id=environment_id, name="shop"))
        return self.apply(CreateService(uuid=f"w{environment_id}", stack_id=stack, name="web", launch=launch()))

    def with_key(self, environment_id: int | None, access: str = "A" * 20) -> str:
        secret = hash_secret("s" * 40, bytes(16))
        self.apply(CreateApiKey(uuid=access, environment_id=environment_id, public=access, secret_hash=secret))
        return "Basic " + base64.b64encode(f"{access}:{'s' * 40}".encode()).decode()


@asynccontextmanager
async def node(routes: dict[str, SocketRoute] | None = None) -> AsyncIterator[Node]:
    async with trio.open_nursery() as nursery:
        one = Node(nursery, routes)
        await nursery.start(one.feed.run)
        yield one
        nursery.cancel_scope.cancel()


async def heard(peer: Peer, seconds: float = 0.1) -> list[dict[str, Any]]:
    """Every frame that comes within a while, pings left out."""
    frames: list[dict[str, Any]] = []
    with trio.move_on_after(seconds):
        while isinstance(event := await peer.receive(), TextMessage):
            frames.append(json.loads(event.data))
    return [frame for frame in frames if frame["name"] != "ping"]


def names(frames: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(frame["resourceType"], frame["resourceId"]) for frame in frames]


async def test_change_is_told_with_the_whole_resource_as_a_get_shows_it(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open()
        one.with_shop()
        stack, service = await heard(peer)
        assert (stack["resourceType"], stack["resourceId"]) == ("environment", "1e1")
        assert set(service) == {"name", "id", "resourceType", "resourceId", "time", "data"}
        assert service["time"] == one.replica.now
        got = await one.api.handle(Request("GET", "/v1/services/1s1", headers=(("host", "h1:8080"),), is_local=True))
        assert service["data"]["resource"] == json.loads(got.body)


async def test_ping_comes_every_five_seconds_and_nothing_else_while_nothing_changes(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open()
        began = trio.current_time()
        for _ in range(3):
            assert await peer.receive() == TextMessage('{"name":"ping"}')
        assert trio.current_time() - began == pytest.approx(15)


@pytest.mark.parametrize(
    ("query", "names_wanted"),
    [
        ([("eventNames", "resource.change")], {"resource.change"}),
        ([("eventNames", "a,resource.change;handler=x"), ("eventNames", "b")], {"a", "b", "resource.change"}),
        ([("eventNames", ",;")], set()),
        ([("include", "x")], set()),
    ],
)
def test_event_names_are_read_from_lists_and_without_filters(query: Params, names_wanted: set[str]) -> None:
    assert event_names(query) == names_wanted


async def test_socket_without_event_names_is_closed_with_the_reason(autojump_clock: MockClock) -> None:
    async with node() as one:
        event = await (await one.open("/v1/subscribe")).receive()
    assert isinstance(event, CloseConnection)
    assert (event.code, "eventNames" in (event.reason or "")) == (1008, True)


async def test_other_events_never_come(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open("/v1/subscribe?eventNames=compute.instance.activate")
        one.with_shop()
        assert await heard(peer) == []


async def test_included_links_are_embedded(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open(f"{FOLLOW}&include=environment")
        one.with_shop()
        assert (await heard(peer))[1]["data"]["resource"]["environment"]["name"] == "shop"


async def test_environment_is_told_of_its_own_alone(autojump_clock: MockClock) -> None:
    async with node() as one:
        key = one.with_key(5)
        other = one.apply(CreateEnvironment(uuid="e", name="Other"))
        peer = await one.open(is_local=False, authorization=key)
        one.with_shop(other)
        one.with_shop(5)
        assert names(await heard(peer)) == [("environment", "1e2"), ("service", "1s2")]


@pytest.mark.parametrize("target", [f"{FOLLOW}&projectId=1a5", "/v1/projects/1a5/subscribe?eventNames=resource.change"])
async def test_administrator_may_follow_one_project(target: str, autojump_clock: MockClock) -> None:
    async with node() as one:
        other = one.apply(CreateEnvironment(uuid="e", name="Other"))
        peer = await one.open(target)
        one.with_shop(other)
        one.with_shop(5)
        frames = await heard(peer)
        assert names(frames) == [("environment", "1e2"), ("service", "1s2")]
        assert ("/projects/1a5/" in frames[0]["data"]["resource"]["links"]["self"]) == target.startswith("/v1/projects")


async def test_stranger_foreign_scope_and_unknown_path_are_refused(autojump_clock: MockClock) -> None:
    async with node() as one:
        key = one.with_key(5)
        other = one.apply(CreateEnvironment(uuid="e", name="Other"))
        assert await one.refused(is_local=False) == 401
        assert await one.refused(f"{FOLLOW}&projectId=1a{other}", is_local=False, authorization=key) == 403
        assert await one.refused("/v1/nothing") == 404
        assert await one.refused("/v1/subscribe/x/y") == 404


async def test_page_of_another_site_is_refused(autojump_clock: MockClock) -> None:
    async with node() as one:
        assert await one.refused(origin="http://evil.example") == 403
        assert await one.refused(origin="null") == 403
        await one.open(origin="http://h1:8080")


async def test_plain_get_is_told_to_upgrade(autojump_clock: MockClock) -> None:
    async with node() as one:
        answer = await one.api.handle(Request("GET", "/v1/subscribe", is_local=True))
    assert answer.status == 426


async def test_subscriber_is_let_go_when_its_key_is_taken_away(autojump_clock: MockClock) -> None:
    async with node() as one:
        key = one.with_key(5)
        number = next(row.id for row in one.replica.state.api_keys.values() if row.public == "A" * 20)
        peer = await one.open(is_local=False, authorization=key)
        one.apply(UpdateApiKey(id=number, state="inactive"))
        one.with_shop()
        assert await peer.is_closed_with() == 1008


async def test_slow_reader_gets_the_latest_state_of_each_resource_once(autojump_clock: MockClock) -> None:
    async with node() as one:
        service = one.with_shop()
        subscriber = _listening(one)
        for scale in range(2, 50):
            one.apply(UpdateService(id=service, scale=scale))
            await trio.testing.wait_all_tasks_blocked()
        (frame,) = subscriber.take()
        assert json.loads(frame)["data"]["resource"]["scale"] == 49


async def test_frame_is_made_once_for_all_who_see_the_same(autojump_clock: MockClock) -> None:
    async with node() as one:
        service = one.with_shop()
        first, second = _listening(one), _listening(one)
        one.apply(UpdateService(id=service, scale=2))
        await trio.testing.wait_all_tasks_blocked()
        assert first.take()[0] is second.take()[0]


def _listening(one: Node) -> Subscriber:
    def again() -> Call:
        return one.api._scoped(request, one.api._caller(request, {}), None, {})

    request = Request("GET", "/v1/subscribe", headers=(("host", "h1:8080"),), is_local=True)
    subscriber = Subscriber(replace(again(), again=again), ())
    one.feed.add(subscriber)
    return subscriber


async def test_subscriber_that_falls_too_far_behind_is_closed(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open()
        (subscriber,) = one.feed._subscribers
        for number in range(MAX_BEHIND + 1):
            subscriber.offer(("service", f"1s{number}"), "{}")
        assert await peer.is_closed_with() == 1013


async def test_state_that_came_whole_is_compared_with_what_was_told(autojump_clock: MockClock) -> None:
    async with node() as one:
        one.with_shop()
        peer = await one.open()
        one.replica.listeners.clear()
        one.apply(UpdateService(id=1, scale=3))
        one.feed.note(one.replica.state, ())
        assert names(await heard(peer)) == [("service", "1s1")]


async def test_nothing_is_kept_once_the_last_subscriber_has_gone(autojump_clock: MockClock) -> None:
    async with node() as one:
        peer = await one.open()
        await peer.send(CloseConnection(1000))
        assert await peer.is_closed_with() == 1000
        await trio.testing.wait_all_tasks_blocked()
        one.with_shop()
        assert one.feed._subscribers == {}
        assert one.feed._state is None


async def test_ticket_opens_its_own_kind_of_socket_and_no_other(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def logs(call: Call, socket: Socket, params: Params) -> None:
        assert call.ticket is not None
        seen.append(call.ticket["logs"])

    async with node({"logs": SocketRoute(logs, claim="logs"), "exec": SocketRoute(logs, claim="exec")}) as one:
        ticket = tickets.issue(KEYS, {"logs": {"Lines": 5}}, one.replica.now)
        await one.open(f"/v1/logs/?token={ticket}", is_local=False)
        assert seen == [{"Lines": 5}]
        assert await one.refused(f"/v1/exec/?token={ticket}", is_local=False) == 401
        assert await one.refused("/v1/logs/", is_local=True) == 401
        one.replica.now += tickets.LIFETIME_MS
        assert await one.refused(f"/v1/logs/?token={ticket}", is_local=False) == 401
