"""The DNS server as the process it is: started, fed, asked, orphaned and stopped on loopback."""

import fcntl
import os
import random
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from dns import control, wire
from dns.control import ControlClient, ControlError, NeedFullError, ServerOptions, ensure_server
from dns.zone import Change, Zone, make_zone
from tests.dns.outside import outside_resolver
from tests.dns.questions import addresses_in, ask, read
from tests.fakes.loopback import free_port

MAX_RSS_KB = 30 * 1024


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    listen = (f"127.0.0.1:{free_port()}",)
    return ServerOptions(tmp_path / "dns.sock", listen, tmp_path / "zone", tmp_path / "log", release="1.0")


@asynccontextmanager
async def running(options: ServerOptions) -> AsyncIterator[ControlClient]:
    """Run a server and end it, whatever became of the client meanwhile."""
    client = await ensure_server(options)
    pid = (await client.status()).pid
    try:
        yield client
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()
            await end(pid)


async def end(pid: int, how: signal.Signals = signal.SIGTERM) -> None:
    """End the server that we started and wait until it is gone."""
    try:
        os.kill(pid, how)
        with trio.fail_after(30):
            while is_alive(pid):
                await trio.sleep(0.02)
    except ProcessLookupError:
        pass


def is_alive(pid: int) -> bool:
    """Say whether the process runs; one that only waits for init to collect it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def exchange(options: ServerOptions, message: bytes) -> bytes:
    host, _, port = options.listen[0].partition(":")
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
        await sock.connect((host, int(port)))
        await sock.send(message)
        with trio.fail_after(30):
            return await sock.recv(65535)


async def exchange_by_stream(options: ServerOptions, *messages: bytes) -> list[bytes]:
    host, _, port = options.listen[0].partition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    replies = []
    async with stream:
        await stream.send_all(b"".join(len(message).to_bytes(2, "big") + message for message in messages))
        for _ in messages:
            received = b""
            with trio.fail_after(30):
                while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                    wanted = 2 + int.from_bytes(received[:2], "big") if len(received) >= 2 else 2
                    received += bytes(await stream.receive_some(wanted - len(received)))
            replies.append(received[2:])
    return replies


def zone_of(serial: int, *addresses: str, upstreams: tuple[str, ...] = ()) -> Zone:
    names = {"web.shop.rancher.internal": addresses}
    return make_zone(serial, names, scopes={"127.0.0.1": ("shop.rancher.internal",)}, upstreams=upstreams)


async def test_zone_is_served_by_datagram_and_stream_once_acknowledged(options: ServerOptions) -> None:
    async with running(options) as client:
        assert await client.publish(zone_of(3, "10.42.0.1", "10.42.0.2")) == 3
        for reply in (await exchange(options, ask("web")), *await exchange_by_stream(options, ask("web"), ask("WEB"))):
            assert sorted(addresses_in(reply)) == ["10.42.0.1", "10.42.0.2"]
        assert stat.S_IMODE(options.control.stat().st_mode) == 0o600


async def test_change_is_served_once_acknowledged_though_the_reply_was_ready(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.publish(zone_of(3, "10.42.0.1"))
        for _ in range(2):
            assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.1"]
        await client.publish(zone_of(4, "10.42.0.9"))
        assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.9"]


async def test_change_that_does_not_follow_is_answered_with_the_serial(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.send_full(zone_of(3, "10.42.0.1"))
        with pytest.raises(NeedFullError) as gap:
            await client.send_change(Change(8, 9))
        assert gap.value.serial == 3
        assert await client.send_change(Change(3, 4)) == 4


async def test_server_goes_on_without_its_publisher_and_is_found_again(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.publish(zone_of(3, "10.42.0.1"))
        await client.aclose()
        assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.1"]
        async with await ensure_server(options) as again:
            assert (await again.status()).serial == 3
            await again.publish(zone_of(1, "10.42.0.2"))
        assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.2"]


async def test_latest_publisher_wins_and_a_status_takes_nothing_over(options: ServerOptions) -> None:
    async with running(options) as first:
        await first.publish(zone_of(3, "10.42.0.1"))
        async with await ControlClient.connect(options.control) as second:
            await second.status()
            await first.publish(zone_of(4, "10.42.0.1"))
            await second.publish(zone_of(9, "10.42.0.1"))
            with pytest.raises(ControlError, match="took over"):
                await first.publish(zone_of(10, "10.42.0.1"))


async def test_second_server_for_one_socket_does_not_start(options: ServerOptions) -> None:
    async with running(options):
        ended = await trio.run_process(
            list(options.command()), env=options.environment(), check=False, capture_stderr=True
        )
        assert ended.returncode == 75
        assert b"another DNS server holds" in ended.stderr


async def test_server_of_another_release_is_replaced_and_starts_with_the_kept_zone(options: ServerOptions) -> None:
    async with running(options) as client:
        old = (await client.status()).pid
        await client.publish(zone_of(3, "10.42.0.1"))
        newer = ServerOptions(options.control, options.listen, options.state, options.log, release="1.1")
        async with running(newer) as replaced:
            status = await replaced.status()
            assert (status.version, status.serial) == ("1.1", 3)
            assert status.pid != old
            assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.1"]


async def test_server_that_does_not_answer_is_ended_and_another_starts_with_the_kept_zone(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr(control, "STOP_TIMEOUT", 0.3)
    async with running(options) as client:
        frozen = (await client.status()).pid
        await client.publish(zone_of(3, "10.42.0.1"))
        assert options.state is not None
        with trio.fail_after(30):
            while not options.state.exists():
                await trio.sleep(0.05)
        os.kill(frozen, signal.SIGSTOP)
        async with running(options) as other:
            monkeypatch.setattr(control, "ANSWER_TIMEOUT", 10.0)
            status = await other.status()
            assert status.pid != frozen
            assert status.serial == 3


async def test_server_that_nobody_can_reach_is_ended_by_its_lock(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STOP_TIMEOUT", 0.3)
    async with running(options) as client:
        pid = (await client.status()).pid
        options.control.unlink()
        await control.end_server(options.control)
        with trio.fail_after(30):
            while is_alive(pid):
                await trio.sleep(0.02)
        await control.end_server(options.control)


async def test_process_that_is_no_dns_server_is_not_signalled(
    options: ServerOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "STOP_TIMEOUT", 0.05)
    with control.lock_of(options.control).open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ControlError, match="does not end"):
            await control.end_server(options.control)


async def test_broken_state_file_is_named_in_the_log_and_the_server_starts_empty(options: ServerOptions) -> None:
    assert options.state is not None
    assert options.log is not None
    options.state.write_bytes(b"rubbish")
    async with running(options) as client:
        assert (await client.status()).serial == 0
        assert read(await exchange(options, ask("web"))).header.rcode == wire.SERVFAIL
        assert f"cannot use the kept zone {options.state}" in options.log.read_text()


async def test_stop_removes_the_socket_and_frees_the_lock(options: ServerOptions) -> None:
    async with running(options) as client:
        pid = (await client.status()).pid
        await client.stop()
        with trio.fail_after(30):
            while is_alive(pid):
                await trio.sleep(0.02)
        assert not options.control.exists()
        assert control.lock_of(options.control).read_bytes() == b""
        with pytest.raises(ControlError, match="no DNS server answers"):
            await ControlClient.connect(options.control)


async def test_killed_server_is_started_again_with_its_zone(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.publish(zone_of(3, "10.42.0.1"))
        assert options.state is not None
        with trio.fail_after(30):
            while not options.state.exists():
                await trio.sleep(0.05)
        await end((await client.status()).pid, signal.SIGKILL)
        async with running(options) as again:
            assert (await again.status()).serial == 3


async def test_outside_name_is_relayed_and_fails_at_once_without_resolvers(options: ServerOptions) -> None:
    async with outside_resolver() as resolver, running(options) as client:
        await client.publish(zone_of(3, upstreams=(resolver.server, options.listen[0])))
        assert addresses_in(await exchange(options, ask("example.com"))) == ["192.0.2.0"]
        (by_stream,) = await exchange_by_stream(options, ask("example.com"))
        assert addresses_in(by_stream) == ["192.0.2.0"]
        await client.publish(zone_of(4, upstreams=(options.listen[0],)))
        assert read(await exchange(options, ask("example.com"))).header.rcode == wire.SERVFAIL


async def test_stranger_is_refused(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.publish(make_zone(3, {"web.rancher.internal": ("10.42.0.1",)}, allow=("10.42.0.0/24",)))
        assert read(await exchange(options, ask("web"))).header.rcode == wire.REFUSED


async def test_address_in_use_is_said_in_the_status_and_taken_when_free(options: ServerOptions) -> None:
    host, _, port = options.listen[0].partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind((host, int(port)))
        client = await ensure_server(options)
        status = await client.status()
        holder.close()
        try:
            with trio.fail_after(30):
                while status.trouble or len(status.listening) < 2:
                    await trio.sleep(0.05)
                    status = await client.status()
        finally:
            await end(status.pid)
            await client.aclose()


async def test_ten_thousand_random_strings_leave_it_answering_in_bounded_memory(options: ServerOptions) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    host, _, port = options.listen[0].partition(":")
    async with running(options) as client:
        await client.publish(zone_of(3, "10.42.0.1"))
        pid = (await client.status()).pid
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock:
            await sock.connect((host, int(port)))
            for number in range(10_000):
                start = ask(f"x{number}.rancher.internal")[: rng.choice((0, 0, 12, 100))]
                await sock.send(start + rng.randbytes(rng.randrange(0, 64)))
                if number % 64 == 0:
                    await exchange(options, ask("web"))
        assert addresses_in(await exchange(options, ask("web"))) == ["10.42.0.1"]
        assert resident_kb(pid) < MAX_RSS_KB
        assert "failed" not in (await client.status()).counts


async def test_rubbish_on_the_control_socket_changes_nothing(options: ServerOptions) -> None:
    async with running(options) as client:
        await client.publish(zone_of(3, "10.42.0.1"))
        for rubbish in (b"\xff\xff\xff\xff", b"\0\0\0\3abc", b"\0\0"):
            async with await trio.open_unix_socket(str(options.control)) as stream:
                await stream.send_all(rubbish)
        assert (await client.status()).serial == 3


def resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
