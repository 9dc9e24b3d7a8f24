"""Two gossip drivers over loopback datagrams: they find each other, notice a death, and junk harms nobody."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio
from trio.testing import MockClock

from node.drive.gossip import Gossip
from protocol.ids import Incarnation, NodeId
from protocol.probe import ProbeKeys, decode_answer, encode_question
from protocol.seal import NONCE_BYTES, Keyring, seal_datagram
from protocol.swim.events import Event, MemberDied, MemberJoined, MemberUpdated
from protocol.swim.messages import Meta

A, B = NodeId("a" * 32), NodeId("b" * 32)
KEYRING = Keyring(bytes(32))


@dataclass(eq=False)
class Speaker:
    """A gossip driver on a loopback port."""

    gossip: Gossip
    sock: "trio.socket.SocketType"
    keys: ProbeKeys
    meta: Meta
    events: list[Event] = field(default_factory=list)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.meta.port

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.gossip.run(self.sock, task_status=task_status)


async def loopback() -> "trio.socket.SocketType":
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await sock.bind(("127.0.0.1", 0))
    return sock


async def make_speaker(node: NodeId, keyring: Keyring = KEYRING) -> Speaker:
    sock, keys = await loopback(), ProbeKeys()
    meta = Meta(f"h-{node[0]}", "127.0.0.1", sock.getsockname()[1], 8080, version="1.0")
    gossip = Gossip(node, meta, keyring, probe_keys=keys, incarnation=Incarnation(1), rng=Random(node))
    speaker = Speaker(gossip, sock, keys, meta)
    gossip.listen(speaker.events.append)
    return speaker


@asynccontextmanager
async def pair(keyring_of_b: Keyring = KEYRING) -> AsyncIterator[tuple[Speaker, Speaker]]:
    a, b = await make_speaker(A), await make_speaker(B, keyring_of_b)
    with a.sock, b.sock:
        async with trio.open_nursery() as nursery:
            await nursery.start(a.run)
            await nursery.start(b.run)
            b.gossip.join([a.address])
            yield a, b
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.05)


def knows(speaker: Speaker, node: NodeId, status: str) -> bool:
    return node in speaker.gossip.members and speaker.gossip.members[node].status == status


async def test_members_find_each_other_from_one_address(autojump_clock: MockClock) -> None:
    async with pair() as (a, b):
        await until(lambda: knows(a, B, "alive") and knows(b, A, "alive"))
        assert a.gossip.address_of(B) == b.address
        assert a.gossip.members[B].name == "h-b"
        assert [type(event) for event in a.events if event.member.node == B] == [MemberJoined]


async def test_member_that_falls_silent_is_held_dead_since_then(autojump_clock: MockClock) -> None:
    async with pair() as (a, b):
        await until(lambda: knows(a, B, "alive"))
        await trio.sleep(5)
        b.scope.cancel()
        silent_at = trio.current_time()
        await until(lambda: knows(a, B, "dead"))
        assert trio.current_time() - silent_at < 15
        assert a.gossip.dead == {B}
        assert silent_at < a.gossip.dead_since()[B] <= trio.current_time()
        assert any(isinstance(event, MemberDied) for event in a.events)


async def test_member_that_says_goodbye_has_left(autojump_clock: MockClock) -> None:
    async with pair() as (a, b):
        await until(lambda: knows(a, B, "alive") and knows(b, A, "alive"))
        await b.gossip.leave()
        await until(lambda: knows(a, B, "left"), seconds=2)
        assert a.gossip.dead == {B}


async def test_new_words_about_a_member_reach_the_others(autojump_clock: MockClock) -> None:
    async with pair() as (a, b):
        await until(lambda: knows(a, B, "alive") and knows(b, A, "alive"))
        b.gossip.update_meta(Meta("renamed", "127.0.0.1", b.meta.port, 8080, version="1.1"))
        await until(lambda: a.gossip.members[B].name == "renamed")
        assert any(isinstance(event, MemberUpdated) for event in a.events)


async def test_junk_is_dropped_and_gossip_goes_on(autojump_clock: MockClock) -> None:
    async with pair() as (a, b):
        rng = Random(5)
        with await loopback() as stranger:
            for size in (0, 1, 16, 40, 1200, 9000):
                await stranger.sendto(rng.randbytes(size), a.address)
            sealed_junk = seal_datagram(KEYRING, b"not gossip", os.urandom(NONCE_BYTES))
            await stranger.sendto(sealed_junk, a.address)
        await until(lambda: knows(a, B, "alive") and knows(b, A, "alive"))


async def test_who_has_another_key_is_not_heard(autojump_clock: MockClock) -> None:
    async with pair(Keyring(bytes([1]) * 32)) as (a, _):
        await trio.sleep(10)
        assert set(a.gossip.members) == {A}


async def test_probe_of_an_expected_host_is_answered_from_the_same_port(autojump_clock: MockClock) -> None:
    key = bytes(range(32))
    async with pair() as (a, _):
        a.keys.expect(key, trio.current_time(), trio.current_time() + 60)
        with await loopback() as stranger, trio.fail_after(5):
            await stranger.sendto(encode_question(key, 7, 300), a.address)
            data, source = await stranger.recvfrom(2000)
        assert source == a.address
        answer = decode_answer(key, data)
        assert answer is not None
        assert (answer.sequence, answer.arrived_bytes) == (7, 300)


async def test_probe_that_nobody_expects_is_not_answered(autojump_clock: MockClock) -> None:
    async with pair() as (a, _):
        with await loopback() as stranger, trio.move_on_after(5) as waiting:
            await stranger.sendto(encode_question(bytes(32), 7), a.address)
            await stranger.recvfrom(2000)
        assert waiting.cancelled_caught
