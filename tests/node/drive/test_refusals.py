"""Bad input on the peer port and by datagram: refused with the reason, counted, and nobody else notices."""

import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgpack
import pytest
import trio

from node.drive.credentials import server_name, stranger_context
from node.drive.refusals import WARN_EVERY, Bad, Refusals
from protocol.errors import DecodeError
from protocol.messages import Kind
from protocol.wire import MAX_FRAME_BYTES, Frame, encode_frame
from tests.node.drive.certificates import ca_pem, credentials_of
from tests.node.drive.test_link import PATIENCE, A, B, Node, pair, until

Stream = trio.SSLStream[trio.SocketStream]


def refusals_of(node: Node) -> Refusals:
    return node.link._refusals


@asynccontextmanager
async def connected(to: Node, folder: Path, *, stranger: bool = False) -> AsyncIterator[Stream]:
    """Speak to a node as a member of its cluster, or as one without a certificate."""
    tcp = await trio.open_tcp_stream("127.0.0.1", to.port)
    context = stranger_context(ca_pem()) if stranger else credentials_of(B, folder).client
    stream = trio.SSLStream(tcp, context, server_hostname=server_name(to.me))
    await stream.do_handshake()
    try:
        yield stream
    finally:
        await trio.aclose_forcefully(tcp)


async def is_closed(stream: Stream) -> bool:
    with trio.move_on_after(PATIENCE):
        try:
            while await stream.receive_some(1000):
                pass
        except (trio.BrokenResourceError, ssl.SSLError):
            pass
        return True
    return False


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


NESTED = b"\x91" * 5000 + b"\x90"
BAD_STREAMS: dict[str, tuple[bytes, Bad, str]] = {
    "too long": ((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + b"x" * 100, Bad.FRAME, "its length says"),
    "empty": (framed(b""), Bad.FRAME, "its length says 0"),
    "another version": (framed(msgpack.packb([2, 1, 0, b""])), Bad.FRAME, "wire version"),
    "no envelope": (framed(b"\xc1\xc1\xc1"), Bad.FRAME, "none"),
    "another shape": (framed(msgpack.packb([1, 2, 3])), Bad.FRAME, "envelope"),
    "nested": (framed(NESTED), Bad.FRAME, "envelope"),
    "unknown kind": (encode_frame(Frame(200, 1, b"")), Bad.KIND, "kind 200"),
}


@pytest.mark.parametrize("what", BAD_STREAMS)
async def test_frame_that_cannot_be_is_named_and_ends_only_its_connection(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content, bad, words = BAD_STREAMS[what]
    async with pair(tmp_path) as (a, b):
        await b.link.request(A, Kind.SUBMIT, b"before", timeout=PATIENCE)
        async with connected(a, tmp_path) as stream:
            await stream.send_all(content)
            assert await is_closed(stream)
        assert refusals_of(a).counts == {bad.value: 1}
        refused = [record for record in caplog.records if record.name == "corral.refused"]
        assert [record.levelno for record in refused] == [logging.WARNING]
        assert "127.0.0.1" in refused[0].getMessage()
        assert words in refused[0].getMessage()
        assert await b.link.request(A, Kind.SUBMIT, b"after", timeout=PATIENCE)


async def test_stream_that_ends_within_a_frame_is_counted(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        async with connected(a, tmp_path) as stream:
            await stream.send_all(encode_frame(Frame(Kind.SUBMIT, 1, b"x" * 100))[:50])
            await stream.aclose()
        await until(lambda: refusals_of(a).counts == {Bad.CUT.value: 1})


async def test_connection_that_ends_between_frames_is_no_bad_input(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        async with connected(a, tmp_path) as stream:
            await stream.send_all(encode_frame(Frame(Kind.SUBMIT, 1, b"x")))
            await stream.receive_some(1000)
            await stream.aclose()
        tcp = await trio.open_tcp_stream("127.0.0.1", a.port)
        await tcp.aclose()
        await trio.sleep(0.2)
        assert not refusals_of(a).counts


async def test_server_of_another_cluster_is_refused_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(tmp_path, cluster_of_b="d" * 32) as (a, b):
        b.link.send(A, b"hello")
        await until(lambda: refusals_of(b).counts[Bad.HANDSHAKE.value] > 0)
        assert not a.messages
    assert "not of this cluster" in caplog.text


async def test_caller_of_another_cluster_is_refused_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(tmp_path) as (a, _):
        context = credentials_of(B, tmp_path, cluster="d" * 32).client
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        tcp = await trio.open_tcp_stream("127.0.0.1", a.port)
        stream = trio.SSLStream(tcp, context)
        await stream.do_handshake()
        assert await is_closed(stream)
        assert refusals_of(a).counts == {Bad.HANDSHAKE.value: 1}
        await trio.aclose_forcefully(tcp)
    assert "not of this cluster" in caplog.text


async def test_who_speaks_no_tls_is_counted(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        tcp = await trio.open_tcp_stream("127.0.0.1", a.port)
        await tcp.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: refusals_of(a).counts == {Bad.HANDSHAKE.value: 1})
        await tcp.aclose()


async def test_request_that_cannot_be_read_is_answered_and_counted(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        with pytest.raises(Exception, match="not like this"):
            await b.link.request(A, Kind.RENEW, b"x", timeout=PATIENCE)
        assert refusals_of(a).counts == {Bad.PAYLOAD.value: 1}


async def test_stranger_that_asks_what_only_members_may_is_counted(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, _):
        async with connected(a, tmp_path, stranger=True) as stream:
            await stream.send_all(encode_frame(Frame(Kind.SUBMIT, 1, b"x")))
            await stream.receive_some(1000)
        assert refusals_of(a).counts == {Bad.KIND.value: 1}


async def test_member_whose_messages_cannot_be_read_loses_its_connection_and_makes_a_new_one(tmp_path: Path) -> None:
    async with pair(tmp_path) as (a, b):
        assert await b.link.request(A, Kind.SUBMIT, b"x", timeout=PATIENCE)
        lost = len(b.lost)
        a.link.drop(B, "not a Raft message")
        await until(lambda: len(b.lost) > lost)
        assert refusals_of(a).counts == {Bad.RAFT.value: 1}

        async def is_answered() -> bool:
            try:
                return bool(await b.link.request(A, Kind.SUBMIT, b"again", timeout=1))
            except Exception:
                return False

        with trio.fail_after(PATIENCE):
            while not await is_answered():
                await trio.sleep(0.05)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_same_bad_input_is_said_once_in_a_while_and_always_counted(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    for number in range(100):
        refusals.note(Bad.DATAGRAM, "192.0.2.1", "altered", now=number * 0.1)
    assert refusals.counts == {Bad.DATAGRAM.value: 100}
    assert len(warnings_of(caplog)) == 1
    refusals.note(Bad.DATAGRAM, "192.0.2.1", "altered", now=10 + WARN_EVERY)
    refusals.note(Bad.DATAGRAM, "192.0.2.2", "altered", now=10 + WARN_EVERY)
    refusals.note(Bad.FRAME, "192.0.2.2", "too long", now=10 + WARN_EVERY)
    assert len(warnings_of(caplog)) == 4


def test_senders_without_number_are_not_remembered_without_end() -> None:
    refusals = Refusals()
    for number in range(5000):
        refusals.note(Bad.DATAGRAM, f"192.0.2.{number}", "altered", now=1.0)
    assert refusals.counts[Bad.DATAGRAM.value] == 5000
    assert len(refusals._warned_at) <= 1024


@pytest.mark.parametrize(
    ("error", "is_bad"),
    [
        (DecodeError("no"), True),
        (ssl.SSLCertVerificationError("no"), True),
        (ssl.SSLEOFError("gone"), False),
        (ConnectionResetError(), False),
        (trio.BrokenResourceError(), False),
        (socket.gaierror(), False),
    ],
)
def test_what_the_network_does_is_no_bad_input(error: Exception, is_bad: bool) -> None:
    assert Refusals().note_error(error, "somebody", 1.0) is is_bad
