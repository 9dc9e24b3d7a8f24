"""TLS over one connection: both ways, more at once than the kernel takes, its ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from node.drive.channel import Channel
from node.drive.credentials import server_name
from node.drive.refusals import Refusals
from protocol.ids import NodeId
from protocol.pki import node_id_of
from tests.node.drive.certificates import credentials_of

A, B = NodeId("a" * 32), NodeId("b" * 32)
MUCH = bytes(range(256)) * 65536


@asynccontextmanager
async def connected(folder: Path, *, cluster: str = "c" * 32) -> AsyncIterator[tuple[Channel, Channel]]:
    """A speaks to B, of this or of another cluster; neither has shaken hands."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    calling = await trio.open_tcp_stream(*listener.socket.getsockname())
    called = await listener.accept()
    try:
        yield (
            Channel(calling, credentials_of(A, folder).client, server_hostname=server_name(B)),
            Channel(called, credentials_of(B, folder, cluster=cluster).server, server_side=True),
        )
    finally:
        for stream in (listener, calling, called):
            await trio.aclose_forcefully(stream)


async def shake_hands(*channels: Channel) -> None:
    async with trio.open_nursery() as nursery:
        for channel in channels:
            nursery.start_soon(channel.do_handshake)


async def received(channel: Channel, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += await channel.receive()
    return got


async def test_both_sides_are_heard_and_known_after_the_handshake(tmp_path: Path) -> None:
    async with connected(tmp_path) as (a, b):
        await shake_hands(a, b)
        for sender, receiver in ((a, b), (b, a)):
            assert sender.write(b"hello")
            assert await received(receiver, 5) == b"hello"
        assert [node_id_of(each.certificate() or b"") for each in (a, b)] == [B, A]


async def test_what_the_kernel_does_not_take_at_once_arrives_in_order(tmp_path: Path) -> None:
    async with connected(tmp_path) as (a, b), trio.open_nursery() as nursery:
        await shake_hands(a, b)
        assert not a.write(MUCH)
        assert not a.write(b"end")
        nursery.start_soon(a.flush)
        assert await received(b, len(MUCH) + 3) == MUCH + b"end"
        assert a.is_clear


async def test_end_of_the_other_side_is_no_fault_of_tls(tmp_path: Path) -> None:
    async with connected(tmp_path) as (a, b):
        await shake_hands(a, b)
        await b.close()
        with pytest.raises(trio.BrokenResourceError) as broken:
            await received(a, 1)
        assert not Refusals().note_error(broken.value, "b", 0.0)


async def test_write_to_what_is_closed_fails(tmp_path: Path) -> None:
    async with connected(tmp_path) as (a, b):
        await shake_hands(a, b)
        await a.close()
        with pytest.raises(trio.BrokenResourceError):
            a.write(b"x")


async def test_certificate_of_another_cluster_breaks_the_handshake(tmp_path: Path) -> None:
    async with connected(tmp_path, cluster="d" * 32) as (a, b):
        with pytest.RaisesGroup(trio.BrokenResourceError) as broken:
            await shake_hands(a, b)
        assert Refusals().note_error(broken.value.exceptions[0], "b", 0.0)
