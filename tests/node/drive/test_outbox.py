"""What waits to be written on a connection: in order, joined, bounded, and the end of one that takes nothing."""

import trio
from trio.testing import MemorySendStream, MockClock

from node.drive.outbox import MAX_FRAMES, WRITE_BYTES, WRITE_TIMEOUT, Outbox


class Pieces(trio.abc.SendStream):
    """A stream that keeps each write apart."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.pieces.append(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def written(outbox: Outbox) -> list[bytes]:
    stream = Pieces()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.write_all, stream, nursery.cancel_scope)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return stream.pieces


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

    async def stuck() -> None:
        await trio.sleep_forever()

    stream = MemorySendStream(send_all_hook=stuck)
    start = trio.current_time()
    outbox.put(b"x")
    with trio.CancelScope() as scope:
        await outbox.write_all(stream, scope)
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - start == WRITE_TIMEOUT
