"""A node's real API over a unix socket and TCP, on a replica in memory whose planners and agents always succeed.

The server runs in a thread of its own, as the CLI blocks.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import trio

from node.api.access import Access
from node.api.api import Api
from node.api.feed import Feed
from node.api.listeners import open_tcp_listeners, open_unix_listener
from node.api.server import serve
from node.api.sockets import SocketRoute
from node.api.streaming import stream_routes
from node.api.subscribe import subscribing
from node.commands import AnyCommand, Batch
from node.drive.streams import Streams
from node.engine.memory import MemoryEngine, _Held
from node.model import Done, State
from node.plan.everything import Picture, plan
from node.ports import ContainerSpec, EngineContainer, MemberView
from protocol.ids import NodeId
from tests.fakes.replica import ME, FakeReplica
from tests.fakes.states import admit, carried_out, done, found
from tests.node.api.client import KEYS

ROUNDS = 20


class SettlingReplica(FakeReplica):
    """A replica of three hosts, this node being h1; after each change it plans and carries out, if `settles`."""

    def __init__(self) -> None:
        state = done(found(), msgspec.structs.replace(admit(1), node=ME))
        super().__init__(done(done(state, admit(2)), admit(3)))
        self.settles = True
        self.known = {
            host.node: MemberView(
                node=host.node,
                name=host.name,
                address=host.address,
                peer_port=host.peer_port,
                api_port=host.api_port,
                status="alive",
                version="0.1.0",
            )
            for host in self.state.hosts.values()
        }

    async def submit(self, command: AnyCommand, *, timeout: float = 10.0) -> Done:
        """Take a command, then settle."""
        result = await super().submit(command, timeout=timeout)
        if self.settles:
            self.settle()
        return result

    def settle(self) -> None:
        """Plan and carry out until nothing is left to do."""
        for _ in range(ROUNDS):
            planned = plan(self.state, Picture(dead_for={}), self.now, self.rng)
            if planned:
                self.apply(Batch(commands=tuple(planned)))
            before = self.state
            self._put(carried_out(before, at=self.now))
            if not planned and self.state is before:
                return

    def _put(self, state: State) -> None:
        self._state = state


class OpenEngine(MemoryEngine):
    """An engine in which every container that anybody asks for runs."""

    def _find(self, external_id: str) -> _Held:
        if external_id not in self._held:
            seen = EngineContainer(
                external_id=external_id,
                uuid="",
                given_name="",
                name=external_id,
                status="running",
                exit_code=None,
                started=1,
                finished=None,
            )
            self._held[external_id] = _Held(ContainerSpec(name=external_id, image="busybox", labels={}), seen)
        return self._held[external_id]


class NoLink:
    """Reaches no other host."""

    async def open_apart(self, node: object) -> Any:
        raise OSError("no host is reached from here")


class Chores:
    """What the API has the node itself do, noted."""

    def __init__(self) -> None:
        self.findings: list[dict[str, Any]] = [
            {"check": "leader", "level": "ok", "detail": "term 1", "try": ""},
        ]
        self.left: list[bool] = []
        self.transferred: list[int | None] = []

    async def doctor(self) -> list[dict[str, Any]]:
        """Return the findings that a test set."""
        return self.findings

    async def transfer(self, host_id: int | None) -> None:
        """Note whom leadership was to go to."""
        self.transferred.append(host_id)

    async def leave(self, *, force: bool) -> None:
        """Note that the node was told to leave."""
        self.left.append(force)


@dataclass(slots=True)
class Served:
    """A running API."""

    socket: Path
    url: str
    replica: SettlingReplica
    chores: Chores
    engine: MemoryEngine
    """That of h1."""
    feed: Feed

    @property
    def listens(self) -> bool:
        """Whether anybody has subscribed."""
        return bool(self.feed._subscribers)

    @property
    def me(self) -> NodeId:
        """The node that answers."""
        return ME


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve until the block ends."""
    replica, chores = SettlingReplica(), Chores()
    engine, feed = OpenEngine(replica.now_ms), Feed(replica.now_ms)
    replica.listeners.append(feed.note)
    served = Served(folder / "api.sock", "", replica, chores, engine, feed)
    ready = threading.Event()
    handles: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []

    async def main() -> None:
        tcp = await open_tcp_listeners("127.0.0.1", 0)
        served.url = f"http://127.0.0.1:{tcp[0].socket.getsockname()[1]}"
        access = Access(replica, (b"k" * 32,), now_ms=replica.now_ms, clock=lambda: replica.now / 1000, rng=replica.rng)
        api = Api(
            replica,
            now_ms=replica.now_ms,
            rng=replica.rng,
            join_info=lambda: b'{"not":"ours"}',
            operations=chores,
            access=access,
            keys=KEYS,
            sockets={
                "subscribe": SocketRoute(subscribing(feed)),
                **stream_routes(Streams(ME, replica, engine, NoLink()), replica),
            },
        )
        stop = trio.Event()
        handles.append((trio.lowlevel.current_trio_token(), stop))
        listeners: list[trio.abc.Listener[Any]] = [*tcp, open_unix_listener(served.socket)]
        async with trio.open_nursery() as nursery:
            await nursery.start(feed.run)

            async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                await serve(api.handle, listeners, upgrader=api.upgrade, stop=stop, task_status=task_status)
                nursery.cancel_scope.cancel()

            await nursery.start(run)
            ready.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    assert ready.wait(10)
    try:
        yield served
    finally:
        token, stop = handles[0]
        token.run_sync_soon(stop.set)
        thread.join(10)
