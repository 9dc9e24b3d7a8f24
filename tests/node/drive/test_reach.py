"""A host whose daemon is down still refuses connections, and keeps its names; one that says nothing loses them."""

import trio
from trio.testing import MockClock

from node.drive import reach
from node.drive.reach import Reach, answers
from protocol.ids import NodeId

ONE, TWO = NodeId("1" * 32), NodeId("2" * 32)


async def test_kernel_that_refuses_and_one_that_accepts_are_alive() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    assert await answers("127.0.0.1", port)
    await listener.aclose()
    assert await answers("127.0.0.1", port)


async def test_address_to_which_the_kernel_opens_nothing_does_not_answer() -> None:
    assert not await answers("224.0.0.1", 8090)


async def test_node_without_an_address_is_lost() -> None:
    assert await Reach(lambda node: None).sift(frozenset({ONE})) == {ONE}


async def test_lost_stays_lost_until_gossip_hears_of_it_though_its_kernel_is_back(autojump_clock: MockClock) -> None:
    where = {ONE: ("224.0.0.1", 1), TWO: ("127.0.0.1", 1)}
    sifting = Reach(where.get)
    assert await sifting.sift(frozenset({ONE, TWO})) == {ONE}
    where[ONE] = ("127.0.0.1", 1)
    assert await sifting.sift(frozenset({ONE, TWO})) == {ONE}
    assert await sifting.sift(frozenset()) == frozenset()
    assert await sifting.sift(frozenset({ONE})) == frozenset()
    assert reach.ANSWER_TIMEOUT <= 1
