"""The wake-up: none is lost, bursts are one, and it does not wait for ever."""

import trio
from trio.testing import MockClock

from node.drive.wakeup import Wakeup


async def test_wakeup_returns_when_set(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    async with trio.open_nursery() as nursery:

        async def later() -> None:
            await trio.sleep(3)
            wakeup.set()

        nursery.start_soon(later)
        await wakeup.wait(at_most=100)
    assert trio.current_time() == 3


async def test_wakeup_returns_after_its_time_when_nobody_sets_it(autojump_clock: MockClock) -> None:
    await Wakeup().wait(at_most=7)
    assert trio.current_time() == 7


async def test_wakeup_set_before_the_wait_is_not_lost(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    wakeup.set()
    await wakeup.wait(at_most=100)
    assert trio.current_time() == 0


async def test_burst_makes_one_round(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    async with trio.open_nursery() as nursery:

        async def burst() -> None:
            for _ in range(5):
                wakeup.set()
                await trio.sleep(0.1)

        nursery.start_soon(burst)
        await wakeup.wait(at_most=100, settle=1)
        await wakeup.wait(at_most=100)
    assert trio.current_time() == 101, "the whole burst was seen by the first round"


async def test_wakeup_set_during_a_round_makes_another_one(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    wakeup.set()
    await wakeup.wait(at_most=100)
    wakeup.set()
    await wakeup.wait(at_most=100)
    assert trio.current_time() == 0


async def test_settling_does_not_reach_beyond_the_longest_wait(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    wakeup.set()
    await wakeup.wait(at_most=2, settle=50)
    assert trio.current_time() == 2


async def test_rounds_keep_their_distance_while_they_are_asked_for_all_the_time(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    begun = []
    for _ in range(4):
        wakeup.set()
        await wakeup.wait(at_most=100, settle=1, apart=10)
        begun.append(trio.current_time())
    assert begun == [1, 11, 21, 31]


async def test_first_round_after_a_quiet_time_is_not_held_back(autojump_clock: MockClock) -> None:
    wakeup = Wakeup()
    await wakeup.wait(at_most=5, apart=10)
    await trio.sleep(10)
    wakeup.set()
    await wakeup.wait(at_most=100, settle=1, apart=10)
    assert trio.current_time() == 16
