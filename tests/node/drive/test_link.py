"""The peer link: who may say what, what a broken connection does, and that junk harms nobody."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
import trio

from node.drive.credentials import stranger_context
from node.drive.link import DEFERRED_AT_ONCE, Caller, Link, LinkDownError, Reply, RequestFailedError
from protocol.errors import DecodeError
from protocol.ids import NodeId
from protocol.messages import Kind
from protocol.wire import Frame, FrameReader, encode_frame
from tests.node.drive.certificates import ca_pem, credentials_of

A, B = NodeId("a" * 32), NodeId("b" * 32)
PATIENCE = 10.0


def later(caller: Caller, payload: bytes, reply: Reply) -> None:
    if payload == b"bad":
        raise DecodeError("not like this")
    if payload != b"never":
        trio.lowlevel.current_trio_token().run_sync_soon(reply, payload + b"!")


@dataclass
class Node:
    """A link on a loopback port, and what it was told."""

    me: NodeId
    link: Link
    port: int = 0
    messages: list[tuple[NodeId, bytes]] = field(default_factory=list)
    lost: list[NodeId] = field(default_factory=list)
    members: set[NodeId] = field(default_factory=lambda: {A, B})
    hosts: set[NodeId] = field(default_factory=lambda: {A, B})
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


async def echo(caller: Caller, payload: bytes) -> bytes:
    return (caller.node or "stranger").encode() + b":" + payload


async def refuse(caller: Caller, payload: bytes) -> bytes:
    raise DecodeError("not like this")


async def fall(caller: Caller, payload: bytes) -> bytes:
    raise KeyError("a defect")


async def hang(caller: Caller, payload: bytes) -> bytes:
    await trio.sleep(3600)
    return b""


@asynccontextmanager
async def pair(folder: Path, *, cluster_of_b: str = "c" * 32) -> AsyncIterator[tuple[Node, Node]]:
    """Two links that know each other's ports."""
    a = Node(A, Link(credentials_of(A, folder)))
    b = Node(B, Link(credentials_of(B, folder, cluster=cluster_of_b)))
    nodes = {A: a, B: b}
    async with trio.open_nursery() as nursery:
        for node in nodes.values():
            await start(node, nodes, nursery)
        yield a, b
        nursery.cancel_scope.cancel()


async def start(node: Node, nodes: dict[NodeId, Node], nursery: trio.Nursery) -> None:
    listeners = await trio.open_tcp_listeners(node.port, host="127.0.0.1")
    node.port = listeners[0].socket.getsockname()[1]
    node.link.connect(
        resolve=lambda wanted: ("127.0.0.1", nodes[wanted].port) if wanted in nodes else None,
        may_speak=lambda caller: caller in node.members,
        is_host=lambda caller: caller in node.hosts,
        on_message=lambda sender, payload: node.messages.append((sender, payload)),
        on_lost=node.lost.append,
        handlers={Kind.SUBMIT: echo, Kind.JOIN: echo, Kind.RENEW: refuse, Kind.PROBE: hang, Kind.ADMIT: fall},
        takers={Kind.EXECUTE: later},
    )

    async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with node.scope:
            await node.link.run(listeners, task_status=task_status)

    await nursery.start(run)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.01)


async def test_request_is_answered_and_names_the_caller(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        assert await a.link.request(B, Kind.SUBMIT, b"x", timeout=PATIENCE) == A.encode() + b":x"


async def test_requests_are_answered_side_by_side(tmp_path: Path) -> None:
    answers: list[bytes] = []
    async with pair(tmp_path) as (a, _), trio.open_nursery() as nursery:
        nursery.start_soon(expect_down, a, 0.5)

        async def ask(number: int) -> None:
            answers.append(await a.link.request(B, Kind.SUBMIT, b"%d" % number, timeout=PATIENCE))

        for number in range(20):
            nursery.start_soon(ask, number)
    assert sorted(answers) == sorted(A.encode() + b":%d" % number for number in range(20))


async def expect_down(node: Node, timeout: float) -> None:
    with pytest.raises(LinkDownError):
        await node.link.request(B, Kind.PROBE, b"", timeout=timeout)


async def test_requests_taken_for_later_are_each_answered(tmp_path: Path) -> None:
    answers: list[bytes] = []
    async with pair(tmp_path) as (a, _), trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            answers.append(await a.link.request(B, Kind.EXECUTE, b"%d" % number, timeout=PATIENCE))

        for number in range(200):
            nursery.start_soon(ask, number)
    assert sorted(answers) == sorted(b"%d!" % number for number in range(200))


async def test_request_that_is_not_taken_tells_the_asker_why(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        with pytest.raises(RequestFailedError, match="not like this"):
            await a.link.request(B, Kind.EXECUTE, b"bad", timeout=PATIENCE)
        b.hosts.discard(A)
        with pytest.raises(RequestFailedError, match="as a host"):
            await a.link.request(B, Kind.EXECUTE, b"x", timeout=PATIENCE)


async def test_connection_with_too_many_unanswered_requests_is_read_no_further(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b), trio.open_nursery() as nursery:
        b.link._takers[int(Kind.EXECUTE)] = lambda caller, payload, reply: waiting.append(reply)
        waiting: list[Reply] = []

        async def ask() -> None:
            await a.link.request(B, Kind.EXECUTE, b"x", timeout=PATIENCE)

        for _ in range(DEFERRED_AT_ONCE + 10):
            nursery.start_soon(ask)
        await until(lambda: len(waiting) == DEFERRED_AT_ONCE)
        await trio.sleep(0.05)
        assert len(waiting) == DEFERRED_AT_ONCE
        for number in range(DEFERRED_AT_ONCE + 10):
            await until(lambda number=number: len(waiting) > number)  # type: ignore[misc]
            waiting[number](b"done")


async def test_message_arrives_once_connected(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        with trio.fail_after(PATIENCE):
            while not b.messages:
                a.link.send(B, b"raft")
                await trio.sleep(0.02)
        assert b.messages[0] == (A, b"raft")


async def test_first_message_arrives_where_the_connection_is_kept_warm(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        a.link.keep_warm([B])
        await until(lambda: a.link.is_connected(B))
        a.link.send(B, b"first")
        await until(lambda: bool(b.messages))
        assert b.messages == [(A, b"first")]


async def test_failing_handler_tells_the_asker_why(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        with pytest.raises(RequestFailedError, match="not like this"):
            await a.link.request(B, Kind.RENEW, b"", timeout=PATIENCE)


async def test_peer_that_ends_fails_what_waits_and_is_reported_lost(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.link.request(B, Kind.SUBMIT, b"", timeout=PATIENCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_down, a, 60.0)
            await trio.sleep(0.1)
            b.scope.cancel()
        await until(lambda: B in a.lost)


async def test_node_that_is_no_member_is_not_answered(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        b.members.clear()
        with pytest.raises(LinkDownError):
            await a.link.request(B, Kind.SUBMIT, b"", timeout=1.0)
        assert a.link.refused_by == {B}


@pytest.mark.parametrize("is_leaving", [False, True])
async def test_refusal_is_an_error_only_for_a_node_that_did_not_ask_to_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_leaving: bool
) -> None:
    caplog.set_level(logging.INFO, "corral.link")
    async with pair(tmp_path) as (a, b):
        a.link.is_leaving = is_leaving
        b.members.clear()
        with pytest.raises(LinkDownError):
            await a.link.request(B, Kind.SUBMIT, b"", timeout=1.0)
    told = [record for record in caplog.records if "this one" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.INFO if is_leaving else logging.ERROR]


async def test_node_of_another_cluster_is_not_believed(tmp_path: Path) -> None:
    async with pair(tmp_path, cluster_of_b="d" * 32) as (a, _):
        with pytest.raises(LinkDownError):
            await a.link.request(B, Kind.SUBMIT, b"", timeout=1.0)


async def ask_as_stranger(port: int, kind: Kind) -> Frame:
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    async with trio.SSLStream(tcp, stranger_context(ca_pem())) as stream:
        await stream.send_all(encode_frame(Frame(kind, 7, b"hello")))
        reader = FrameReader()
        with trio.fail_after(PATIENCE):
            while True:
                if frames := reader.feed(bytes(await stream.receive_some(65536))):
                    return frames[0]


async def test_stranger_may_ask_to_join_and_nothing_else(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, b):
        joined = await ask_as_stranger(b.port, Kind.JOIN)
        assert joined == Frame(Kind.REPLY, 7, b"stranger:hello")
        refused = await ask_as_stranger(b.port, Kind.SUBMIT)
        assert refused.kind == Kind.FAILED


async def test_random_bytes_at_the_port_harm_nobody(tmp_path: Path) -> None:
    seed = Random().randrange(2**32)
    print("seed", seed)
    rng = Random(seed)
    async with pair(tmp_path) as (a, b):
        for _ in range(200):
            stream = await trio.open_tcp_stream("127.0.0.1", b.port)
            await stream.send_all(rng.randbytes(rng.randrange(1, 600)))
            await stream.aclose()
        assert await a.link.request(B, Kind.SUBMIT, b"x", timeout=PATIENCE)


async def test_link_reconnects_to_a_peer_that_comes_back(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b), trio.open_nursery() as nursery:
        await a.link.request(B, Kind.SUBMIT, b"", timeout=PATIENCE)
        b.scope.cancel()
        await until(lambda: B in a.lost)
        again = Node(B, Link(credentials_of(B, tmp_path)), port=b.port)
        await start(again, {A: a, B: again}, nursery)
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await a.link.request(B, Kind.SUBMIT, b"", timeout=1.0)
                    break
                except LinkDownError:
                    await trio.sleep(0.05)
        nursery.cancel_scope.cancel()


async def test_defect_in_a_handler_costs_one_request(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        with pytest.raises(RequestFailedError, match="see this node's log"):
            await a.link.request(B, Kind.ADMIT, b"", timeout=PATIENCE)
        assert await a.link.request(B, Kind.SUBMIT, b"", timeout=PATIENCE)


async def test_member_of_the_group_that_is_no_host_may_speak_and_not_ask(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        b.hosts.clear()
        with pytest.raises(RequestFailedError, match="does not know the asker"):
            await a.link.request(B, Kind.SUBMIT, b"", timeout=PATIENCE)
        a.link.send(B, b"raft")
        await until(lambda: bool(b.messages))


async def test_open_connection_ends_when_its_node_is_removed(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        await a.link.request(B, Kind.SUBMIT, b"", timeout=PATIENCE)
        b.members.clear()
        b.link.drop_removed()
        await until(lambda: B in a.lost)
        with pytest.raises(LinkDownError):
            await a.link.request(B, Kind.SUBMIT, b"", timeout=1.0)


async def test_stranger_that_reads_no_replies_is_not_served_without_end(tmp_path: Path) -> None:
    async with pair(tmp_path) as (_, b):
        tcp = await trio.open_tcp_stream("127.0.0.1", b.port)
        async with trio.SSLStream(tcp, stranger_context(ca_pem())) as stream:
            frames = encode_frame(Frame(Kind.SUBMIT, 1, b"")) * 2000
            with trio.move_on_after(2.0) as patience:
                while True:
                    await stream.send_all(frames)
            assert patience.cancelled_caught, "it took everything that was sent"
            tasks = trio.lowlevel.current_statistics().tasks_living
            assert tasks < 300
            await trio.aclose_forcefully(stream)
