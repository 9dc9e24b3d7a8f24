"""What waits to be written on a connection: in order, joined, bounded, and the end of one that takes nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import trio
from trio.testing import MockClock

from node.drive.outbox import BURST, MAX_FRAMES, WRITE_BYTES, WRITE_TIMEOUT, Outbox


class Pieces:
    """A channel that keeps each write apart, and takes as many bytes as it is told."""

    def __init__(self, room: float = inf) -> None:
        self.pieces: list[bytes] = []
        self.room = room
        self.is_broken = False

    @property
    def is_clear(self) -> bool:
        return sum(map(len, self.pieces)) <= self.room

    def write(self, data: bytes) -> bool:
        if self.is_broken:
            raise trio.BrokenResourceError
        if data:
            self.pieces.append(data)
        return self.is_clear

    async def flush(self) -> None:
        while not self.is_clear:
            await trio.sleep(0.01)


@asynccontextmanager
async def connected(outbox: Outbox, channel: Pieces) -> AsyncIterator[trio.CancelScope]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.write_all, channel, nursery.cancel_scope)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def written(outbox: Outbox) -> list[bytes]:
    channel = Pieces()
    async with connected(outbox, channel):
        return channel.pieces


async def test_frame_after_a_pause_leaves_at_once_and_the_burst_behind_it_in_one_write(
    autojump_clock: MockClock,
) -> None:
    outbox, channel = Outbox(), Pieces()
    async with connected(outbox, channel):
        for frame in (b"a", b"b", b"c"):
            outbox.put(frame)
        assert channel.pieces == [b"a"]
        await trio.testing.wait_all_tasks_blocked()
        assert channel.pieces == [b"a", b"bc"]
        await trio.sleep(BURST)
        outbox.put(b"d")
        assert channel.pieces == [b"a", b"bc", b"d"]


async def test_nothing_overtakes_what_the_kernel_has_not_taken(autojump_clock: MockClock) -> None:
    outbox, channel = Outbox(), Pieces(room=0)
    async with connected(outbox, channel):
        for frame in (b"a", b"b", b"c"):
            outbox.put(frame)
            await trio.sleep(2 * BURST)
        assert channel.pieces == [b"a"]
        channel.room = inf
        await trio.sleep(1)
        assert channel.pieces == [b"a", b"bc"]


async def test_connection_on_which_a_frame_does_not_leave_is_ended(autojump_clock: MockClock) -> None:
    outbox, channel = Outbox(), Pieces()
    async with connected(outbox, channel) as scope:
        channel.is_broken = True
        outbox.put(b"a")
        assert scope.cancel_called


async def test_frames_that_wait_leave_in_order_in_one_write() -> None:
    outbox = Outbox()
    for number in range(10):
        outbox.put(b"%d" % number)
    assert await written(outbox) == [b"0123456789"]


async def test_much_leaves_in_several_writes() -> None:
    outbox = Outbox()
    frame = bytes(WRITE_BYTES // 2)
    for _ in range(5):
        outbox.put(frame)
    assert [len(piece) for piece in await written(outbox)] == [WRITE_BYTES, WRITE_BYTES, WRITE_BYTES // 2]


async def test_room_is_gone_when_full_and_back_once_written() -> None:
    outbox = Outbox()
    for _ in range(MAX_FRAMES):
        assert outbox.has_room
        outbox.put(b"x")
    assert not outbox.has_room
    with trio.move_on_after(0) as scope:
        await outbox.wait_for_room()
    assert scope.cancelled_caught
    await written(outbox)
    assert outbox.has_room
    await outbox.wait_for_room()  # type: ignore[unreachable]


async def test_connection_that_takes_nothing_is_ended(autojump_clock: MockClock) -> None:
    outbox = Outbox()
    start = trio.current_time()
    outbox.put(b"x")
    with trio.CancelScope() as scope:
        await outbox.write_all(Pieces(room=0), scope)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert WRITE_TIMEOUT <= trio.current_time() - start < WRITE_TIMEOUT + 1
