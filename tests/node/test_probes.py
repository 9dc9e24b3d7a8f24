"""Probes over loopback: who answers is proven, silence ends with the deadline, ports are given back."""

import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from node import probes
from protocol.probe import ANSWER_BYTES, Answer, ProbeKeys, decode_answer, derive_probe_key, encode_question

KEY = derive_probe_key(b"secret", b"n" * 16)
OTHER = derive_probe_key(b"secret", b"m" * 16)
HERE = "127.0.0.1"


async def start_listener(nursery: trio.Nursery, key: bytes = KEY) -> probes.ProbeListener:
    keys = ProbeKeys()
    assert keys.expect(key, trio.current_time(), trio.current_time() + 60)
    listener = probes.ProbeListener(keys, peer_port=0, overlay_port=0, address=HERE)
    await nursery.start(listener.run)
    return listener


async def test_listener_answers_on_all_three_ports(nursery: trio.Nursery) -> None:
    listener = await start_listener(nursery)
    assert (await probes.probe_tcp(HERE, listener.peer_port, KEY)).ok
    assert (await probes.probe_udp(HERE, listener.peer_port, KEY)).ok
    assert (await probes.probe_udp(HERE, listener.overlay_port, KEY)).ok


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here")
async def test_listener_answers_over_ipv6(nursery: trio.Nursery) -> None:
    keys = ProbeKeys()
    keys.expect(KEY, trio.current_time(), trio.current_time() + 60)
    listener = probes.ProbeListener(keys, peer_port=0, overlay_port=0, address="::1")
    await nursery.start(listener.run)
    assert (await probes.probe_udp("::1", listener.peer_port, KEY)).ok
    assert await probes.probe_path_mtu("::1", listener.peer_port, KEY, mtu=1500) == 1500


@pytest.mark.parametrize("mtu", [1500, 1400, 1399, 9000, 65536])
async def test_path_mtu_is_found_up_to_the_size_asked_for(nursery: trio.Nursery, mtu: int) -> None:
    listener = await start_listener(nursery)
    assert await probes.probe_path_mtu(HERE, listener.peer_port, KEY, mtu=mtu) == min(mtu, 9000)


async def test_listener_with_another_key_is_told_apart_over_tcp(nursery: trio.Nursery) -> None:
    listener = await start_listener(nursery, OTHER)
    got = await probes.probe_tcp(HERE, listener.peer_port, KEY)
    assert got.error == "somebody else answers there"


async def test_listener_gives_its_ports_back(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as inner:
        listener = await start_listener(inner)
        assert (await probes.probe_tcp(HERE, listener.peer_port, KEY)).ok
        inner.cancel_scope.cancel()
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((HERE, listener.peer_port))
        udp.bind((HERE, listener.overlay_port))


async def test_port_where_nothing_listens_says_that_it_was_refused() -> None:
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as udp:
        taken.bind((HERE, 0))
        udp.bind((HERE, 0))
        free_udp = udp.getsockname()[1]
        udp.close()
        assert (await probes.probe_tcp(HERE, taken.getsockname()[1], KEY)).error == "Connection refused"
        assert (await probes.probe_udp(HERE, free_udp, KEY, timeout=0.1)).error == "Connection refused"


async def test_silence_ends_with_the_deadline_and_is_no_error(autojump_clock: MockClock) -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        for mute in (tcp, udp):
            mute.bind((HERE, 0))
        tcp.listen(1)
        start = trio.current_time()
        assert await probes.probe_udp(HERE, udp.getsockname()[1], KEY, timeout=2) == probes.Reached(None)
        assert await probes.probe_tcp(HERE, tcp.getsockname()[1], KEY, timeout=2) == probes.Reached(None)
        assert await probes.probe_path_mtu(HERE, udp.getsockname()[1], KEY, mtu=1500, timeout=1) is None
        assert trio.current_time() - start == pytest.approx(5)


async def test_connection_without_a_word_does_not_keep_others_from_being_answered(nursery: trio.Nursery) -> None:
    listener = await start_listener(nursery)
    streams = [await trio.open_tcp_stream(HERE, listener.peer_port) for _ in range(probes.MAX_TCP_PROBES - 1)]
    assert (await probes.probe_tcp(HERE, listener.peer_port, KEY)).ok
    for stream in streams:
        await stream.aclose()


async def test_noise_gets_no_answer_and_does_not_stop_the_listener(nursery: trio.Nursery) -> None:
    listener = await start_listener(nursery)
    with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
        await sock.connect((HERE, listener.peer_port))
        for noise in (b"", b"x", b"x" * 1400, encode_question(OTHER, 1)):
            await sock.send(noise)
        await sock.send(encode_question(KEY, 7))
        first = await sock.recv(100)
    assert decode_answer(KEY, first) == Answer(7, ANSWER_BYTES)
    assert (await probes.probe_udp(HERE, listener.peer_port, KEY)).ok
    async with await trio.open_tcp_stream(HERE, listener.peer_port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n".ljust(ANSWER_BYTES))
        assert await stream.receive_some(100) == b""


async def test_service_answers_for_a_key_while_it_lasts(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    service = probes.ProbeService(overlay_port=None)
    await nursery.start(service.run)
    question = encode_question(KEY, 1)
    for _ in range(2):
        assert service.keys.answer(question, trio.current_time()) is None
        assert service.expect(KEY, 10)
        await trio.sleep(9)
        assert service.keys.answer(question, trio.current_time()) is not None
        await trio.sleep(2)
    assert service.keys.answer(question, trio.current_time()) is None


async def test_watch_on_the_overlay_port_goes_on_after_any_failure(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    attempts = 0

    async def answer(keys: ProbeKeys, port: int) -> None:
        nonlocal attempts
        attempts += 1
        await trio.lowlevel.checkpoint()
        raise KeyError("odd") if attempts == 1 else OSError("no buffer")

    monkeypatch.setattr(probes, "answer_overlay", answer)
    service = probes.ProbeService(overlay_port=51820)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        assert service.expect(KEY, 3.5 * probes.TAP_RETRY)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert attempts == 4
