"""Logs, commands and figures across two nodes with a real link between them: who may ask, what is kept, how it ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from node.drive.link import Link
from node.drive.stream_records import (
    Ended,
    Figures,
    Input,
    InputEnd,
    Lines,
    Opening,
    Output,
    Piece,
    ReadFigures,
    ReadLog,
    Resize,
    RunCommand,
)
from node.drive.streams import StreamFailed, Streams
from node.drive.wires import WINDOW, Wire, WireCut
from node.engine.memory import MemoryEngine
from node.model import Container, Seen, State
from node.ports import BOTH, ERR, OUT, ContainerSpec
from protocol.ids import NodeId
from tests.fakes.states import grown, launch, node_id
from tests.node.drive.certificates import credentials_of

PATIENCE = 20.0
HERE, THERE = 1, 2
"""Rows of the two hosts; whoever asks is on the first."""


@dataclass
class Replica:
    state: State


@dataclass
class Node:
    me: NodeId
    link: Link
    engine: MemoryEngine
    streams: Streams
    port: int = 0
    lost: list[NodeId] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


@dataclass
class Both:
    asker: Node
    runner: Node
    replica: Replica
    names: dict[int, str] = field(default_factory=dict)

    async def run_container(self, host: int = THERE) -> int:
        """Have a container run on a host, and return the number of its row."""
        node = self.asker if host == HERE else self.runner
        number = len(self.replica.state.containers) + 1
        external_id = await node.engine.create(ContainerSpec(name=f"r-{number}", image="busybox", labels={}))
        await node.engine.start(external_id)
        seen = Seen(status="running", external_id=external_id)
        row = Container(
            id=number, uuid=f"u{number}", created=1, environment_id=5, name=f"c{number}", launch=launch(), host_id=host,
            seen=seen,
        )  # fmt: skip
        state = self.replica.state
        self.replica.state = replace(state, containers={**state.containers, number: row})
        self.names[number] = external_id
        return number


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    async with two_nodes(tmp_path) as made:
        yield made


@asynccontextmanager
async def two_nodes(folder: Path) -> AsyncIterator[Both]:
    replica = Replica(grown(2))
    nodes: dict[NodeId, Node] = {}
    for number in (1, 2):
        me = node_id(number)
        link, engine = Link(credentials_of(me, folder)), MemoryEngine(lambda: 1_460_440_800_000)
        nodes[me] = Node(me, link, engine, Streams(me, replica, engine, link))
    async with trio.open_nursery() as nursery:
        for node in nodes.values():
            await start(node, nodes, nursery)
        asker, runner = nodes.values()
        yield Both(asker, runner, replica)
        nursery.cancel_scope.cancel()


async def start(node: Node, nodes: dict[NodeId, Node], nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    node.port = listeners[0].socket.getsockname()[1]
    node.link.connect(
        resolve=lambda wanted: ("127.0.0.1", nodes[wanted].port) if wanted in nodes else None,
        may_speak=lambda caller: caller in nodes,
        is_host=lambda caller: caller in nodes,
        on_message=lambda sender, payload: None,
        on_lost=node.lost.append,
        handlers={},
        streamer=node.streams.serve,
    )

    async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with node.scope:
            await node.link.run(listeners, task_status=task_status)

    await nursery.start(run)


async def next_of(wire: Wire) -> Piece | None:
    with trio.fail_after(PATIENCE):
        return await wire.receive()


async def rest_of(wire: Wire) -> list[Piece]:
    found: list[Piece] = []
    while (piece := await next_of(wire)) is not None:
        found.append(piece)
        if isinstance(piece, Ended):
            break
    return found


async def until_idle(node: Node) -> None:
    with trio.fail_after(PATIENCE):
        while node.streams.count:
            await trio.sleep(0.01)


@pytest.mark.parametrize("host", [HERE, THERE])
async def test_log_is_read_where_the_container_runs(both: Both, host: int) -> None:
    number = await both.run_container(host)
    runner = both.asker if host == HERE else both.runner
    runner.engine.say(both.names[number], b"one")
    runner.engine.say(both.names[number], b"two", kind=ERR)
    async with both.asker.streams.open(host, ReadLog(number, follow=False)) as wire:
        pieces = await rest_of(wire)
    lines = [(line.kind, line.line) for piece in pieces if isinstance(piece, Lines) for line in piece.lines]
    assert lines == [(OUT, b"one"), (ERR, b"two")]
    assert pieces[-1] == Ended()


async def test_followed_log_gives_lines_as_they_come_and_ends_with_the_asker(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, ReadLog(number, follow=True)) as wire:
        with trio.fail_after(PATIENCE):
            while both.runner.streams.count == 0:
                await trio.sleep(0.01)
        both.runner.engine.say(both.names[number], b"late")
        piece = await next_of(wire)
        assert isinstance(piece, Lines)
        assert [line.line for line in piece.lines] == [b"late"]
    await until_idle(both.runner)


@pytest.mark.parametrize("host", [HERE, THERE])
async def test_command_gets_input_and_gives_output_and_exit_code(both: Both, host: int) -> None:
    number = await both.run_container(host)
    async with both.asker.streams.open(host, RunCommand(number, ("cat",), stdin=True, tty=True)) as wire:
        await wire.send(Resize(132, 43))
        await wire.send(Input(b"hello"))
        assert await next_of(wire) == Output(BOTH, b"hello")
        await wire.send(InputEnd())
        assert await rest_of(wire) == [Ended(0)]


async def test_exit_code_of_a_command_is_told(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, RunCommand(number, ("sh", "-c", "exit 7"))) as wire:
        assert await rest_of(wire) == [Ended(7)]


async def test_command_in_what_does_not_run_ends_with_the_reason(both: Both) -> None:
    number = await both.run_container()
    await both.runner.engine.stop(both.names[number], 1)
    async with both.asker.streams.open(THERE, RunCommand(number, ("true",))) as wire:
        (ended,) = await rest_of(wire)
    assert isinstance(ended, Ended)
    assert "not running" in ended.error


async def test_figures_of_containers_and_host_come_each_second(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, ReadFigures((number,), host=True)) as wire:
        found = [await next_of(wire) for _ in range(4)]
    assert {(piece.kind, piece.id) for piece in found if isinstance(piece, Figures)} == {
        ("container", number),
        ("host", THERE),
    }
    await until_idle(both.runner)


async def test_slow_reader_holds_the_other_side_up(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, RunCommand(number, ("cat",), stdin=True)) as wire:
        sent = 0

        async def push() -> None:
            nonlocal sent
            while True:
                await wire.send(Input(b"x" * 1000))
                sent += 1

        with trio.move_on_after(0.5):
            await push()
        # Both windows, what the command's input holds, and what each side has in its hands.
        assert sent <= 2 * WINDOW + 16 + 4
        for _ in range(sent):
            assert await next_of(wire) == Output(OUT, b"x" * 1000)
    await until_idle(both.runner)


async def test_stream_ends_when_the_host_that_runs_it_goes(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, RunCommand(number, ("sleep", "9"), stdin=True)) as wire:
        both.runner.scope.cancel()
        assert await next_of(wire) is None
        with pytest.raises(WireCut):
            await wire.send(Input(b"x"))


async def test_end_of_a_stream_is_no_loss_of_its_node(both: Both) -> None:
    number = await both.run_container()
    async with both.asker.streams.open(THERE, ReadLog(number, follow=False)) as wire:
        await rest_of(wire)
    await until_idle(both.runner)
    await trio.sleep(0.05)
    assert both.runner.lost == []


REFUSED: list[tuple[Opening, str]] = [
    (ReadLog(99, follow=False), "no such container on this host"),
    (RunCommand(99, ("true",)), "no such container on this host"),
    (RunCommand(1, ()), "a command has 1 to"),
    (ReadLog(1, follow=False, lines=-1), "counted from 0"),
]


@pytest.mark.parametrize(("opening", "why"), REFUSED, ids=[why for _, why in REFUSED])
async def test_what_cannot_be_is_refused_by_the_host_that_would_run_it(both: Both, opening: Opening, why: str) -> None:
    await both.run_container()
    with pytest.raises(StreamFailed, match=why):
        async with both.asker.streams.open(THERE, opening):
            pass


async def test_container_of_another_host_is_refused(both: Both) -> None:
    number = await both.run_container(HERE)
    with pytest.raises(StreamFailed, match="no such container on this host"):
        async with both.asker.streams.open(THERE, ReadLog(number, follow=False)):
            pass


async def test_asker_that_is_no_host_any_more_is_refused(both: Both) -> None:
    number = await both.run_container()
    hosts = both.replica.state.hosts
    asker = replace(hosts[HERE], state="removed")
    both.runner.streams.replica = Replica(replace(both.replica.state, hosts={**hosts, HERE: asker}))
    with pytest.raises(StreamFailed, match="only hosts"):
        async with both.asker.streams.open(THERE, ReadLog(number, follow=False)):
            pass


async def test_host_that_is_not_reached_is_named(both: Both) -> None:
    number = await both.run_container()
    both.runner.scope.cancel()
    await trio.sleep(0.05)
    with pytest.raises(StreamFailed, match=r"cannot be reached|broke off|did not begin"):
        async with both.asker.streams.open(THERE, ReadLog(number, follow=False)):
            pass
