"""The rules of dns.port, over its real socket and in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import msgpack
import pytest
import trio

from dns import messages, port as bounds
from dns.control import ControlClient, ControlError
from dns.messages import Ack, Full, Message, Refused
from dns.port import ControlPort
from dns.responder import Responder
from dns.upstream import Upstreams
from dns.zone import Change, make_zone
from tests.dns.questions import make_shop


@asynccontextmanager
async def control_port(path: Path) -> AsyncIterator[tuple[ControlPort, Responder]]:
    """Run a control port at `path`."""
    responder = Responder(Upstreams([], Random(1)), Random(1))
    port = ControlPort(responder, "1.0", lambda: {"udp 127.0.0.1:53": "", "tcp 127.0.0.1:53": "taken"})
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listener:
        await listener.bind(str(path))
        listener.listen(16)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.run, listener)
            yield port, responder
            nursery.cancel_scope.cancel()


async def say(path: Path, body: bytes) -> Message:
    """Send one body on a connection of its own and return what comes back."""
    async with await trio.open_unix_socket(str(path)) as stream:
        await stream.send_all(len(body).to_bytes(4, "big") + body)
        prefix = await bounds.receive_exactly(stream, 4)
        return messages.decode_body(await bounds.receive_exactly(stream, messages.decode_length(prefix)))


async def test_frame_that_breaks_a_rule_is_refused_and_the_zone_stays(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s") as (_, responder):
        await say(tmp_path / "s", messages.encode_body(Full(make_shop(7))))
        broken = msgpack.packb(["Change", 1, 7, 8, {"a" * 64: []}, [], {}, [], None, None, None])
        answer = await say(tmp_path / "s", broken)
        assert isinstance(answer, Refused)
        assert "cannot be served" in answer.why
        assert responder.zone.serial == 7


async def test_answers_are_no_requests(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s"):
        assert await say(tmp_path / "s", messages.encode_body(Ack(3))) == Refused("Ack is for the server to say")


async def test_client_is_told_why_it_is_refused(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s"), await ControlClient.connect(tmp_path / "s") as client:
        with pytest.raises(ControlError, match="refused: Full: expected an address to have a search list"):
            await client.publish(make_zone(1, {}, scopes={"nobody": ()}))
        assert await client.publish(make_shop(2)) == 2


async def test_large_zone_is_taken(tmp_path: Path) -> None:
    names = {f"stack_web_{number}.rancher.internal": (f"10.42.0.{number % 256}",) for number in range(3000)}
    assert len(messages.encode_body(Full(make_zone(1, names)))) > bounds.INLINE_FRAME_BYTES
    async with control_port(tmp_path / "s") as (_, responder), await ControlClient.connect(tmp_path / "s") as client:
        assert await client.publish(make_zone(1, names)) == 1
        assert len(responder.zone.names) == 3000


async def test_publish_sends_a_change_after_the_first_time_and_all_of_it_when_that_does_not_follow(
    tmp_path: Path,
) -> None:
    async with control_port(tmp_path / "s") as (_, responder), await ControlClient.connect(tmp_path / "s") as client:
        await client.publish(make_shop(1))
        await client.publish(make_shop(2, names={}))
        assert (responder.zone.serial, dict(responder.zone.names)) == (2, {})
        responder.use_zone(make_shop(50))
        await client.publish(make_shop(3))
        assert responder.zone == make_shop(3)


async def test_publisher_that_starts_over_with_lower_serials_is_followed(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s") as (_, responder), await ControlClient.connect(tmp_path / "s") as client:
        await client.publish(make_shop(9))
        await client.publish(make_shop(1))
        assert responder.zone.serial == 1


async def test_connections_are_bounded_and_the_publisher_is_not_the_one_to_go(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s"), await ControlClient.connect(tmp_path / "s") as publisher:
        await publisher.publish(make_shop(1))
        others = [await ControlClient.connect(tmp_path / "s") for _ in range(bounds.MAX_CONNECTIONS + 3)]
        assert (await others[-1].status()).serial == 1
        with pytest.raises(ControlError, match="closed the connection"):
            await others[0].status()
        assert await publisher.send_change(Change(1, 2)) == 2
        for other in others:
            await other.aclose()


async def test_status_tells_what_listens_and_what_does_not(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s"), await ControlClient.connect(tmp_path / "s") as client:
        status = await client.status()
        assert (status.version, status.listening) == ("1.0", ("udp 127.0.0.1:53",))
        assert status.trouble == "tcp 127.0.0.1:53: taken"


async def test_stop_is_acknowledged_before_it_happens(tmp_path: Path) -> None:
    async with control_port(tmp_path / "s") as (port, _), await ControlClient.connect(tmp_path / "s") as client:
        await client.stop()
        await port.stop.wait()


async def test_answer_of_another_version_is_said_to_the_caller(tmp_path: Path) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(1024)
        body = msgpack.packb(["StatusReply", 9, {}])
        await stream.send_all(len(body).to_bytes(4, "big") + body)

    path = tmp_path / "s"
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listening:
        await listening.bind(str(path))
        listening.listen(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, answer, [trio.SocketListener(listening)])
            async with await ControlClient.connect(path) as client:
                with pytest.raises(ControlError, match="version 9 of StatusReply is unknown"):
                    await client.status()
            nursery.cancel_scope.cancel()


async def test_zone_that_is_too_large_is_said_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "MAX_FRAME_BYTES", 16)
    async with control_port(tmp_path / "s"), await ControlClient.connect(tmp_path / "s") as client:
        with pytest.raises(ControlError, match="at most 16 are allowed"):
            await client.publish(make_shop(7))
