"""What attackers try on the API port: large bodies, idle connections, tricks in headers, guesses by the clock."""

import base64
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from node.api.http import Limits
from node.api.server import ConnectionPool
from node.auth.keys import secret_matches
from tests.fakes.replica import FakeReplica
from tests.node.api.client import Client
from tests.node.api.test_server import SMALL, ask, connected, echo

TEN_MB = 10 * 1024 * 1024
PIECE = 64 * 1024


async def send_until_cut(stream: trio.abc.Stream, size: int) -> int:
    """Send as much of a body as the other side takes, and return how much that was."""
    sent = 0
    with trio.move_on_after(5.0):
        while sent < size:
            try:
                await stream.send_all(b"x" * PIECE)
            except trio.BrokenResourceError:
                break
            sent += PIECE
    return sent


async def test_server_never_holds_a_body_of_ten_megabytes(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    pool = ConnectionPool(echo, Limits())
    held = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, theirs)
        answer = await ask(ours, f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {TEN_MB}\r\n\r\n")
        assert answer.startswith("HTTP/1.1 413")
        await send_until_cut(ours, TEN_MB)
        held = pool.buffered
        nursery.cancel_scope.cancel()
    assert held == 0


async def test_server_stays_open_to_others_beside_thousands_of_idle_connections(autojump_clock: MockClock) -> None:
    pool = ConnectionPool(echo, Limits(connections=500))
    async with trio.open_nursery() as nursery:
        idle = []
        for _ in range(3000):
            ours, theirs = memory_stream_pair()
            nursery.start_soon(pool.run, theirs)
            idle.append(ours)
        await trio.testing.wait_all_tasks_blocked()
        ours, theirs = memory_stream_pair()
        nursery.start_soon(pool.run, theirs)
        assert (await ask(ours, "GET /alive HTTP/1.1\r\nHost: h\r\n\r\n")).startswith("HTTP/1.1 200")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\x00\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nBad Name: x\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
async def test_header_tricks_are_no_request(head: str, autojump_clock: MockClock) -> None:
    async with connected(SMALL) as stream:
        answer = await ask(stream, head)
    assert answer.split(" ")[1] in ("400", "501"), answer


async def test_unknown_and_wrong_keys_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: a clock would tell the machine's load."""
    replica = FakeReplica()
    key = await Client(replica, is_local=True).make("/v1/apikeys", {})
    hashed: list[int] = []

    def counted(stored: bytes, secret: str) -> bool:
        hashed.append(len(stored))
        return secret_matches(stored, secret)

    monkeypatch.setattr("node.auth.access.secret_matches", counted)
    costs: list[Any] = []
    for access in (key["publicValue"], "F" * 20):
        hashed.clear()
        pair = base64.b64encode(f"{access}:{'x' * 40}".encode()).decode()
        response = await Client(replica).raw("GET", "/v1/services", headers={"Authorization": f"Basic {pair}"})
        assert response.status == 401
        costs.append((list(hashed), len(response.body)))
    assert costs[0] == costs[1]
