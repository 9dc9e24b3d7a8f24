"""What the DNS server is told: upstreams from resolv.conf, a zone of the state and of who lives, and never old news."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from dns.control import ControlError, ServerOptions
from dns.zone import Zone
from node.commands import CreateStack
from node.drive.consensus import Consensus
from node.drive.names import RETRY_AFTER, HostResolvers, Names, parse_upstreams
from node.drive.wakeup import Wakeup
from node.model import DEFAULT_ENVIRONMENT_ID
from tests.fakes.consensus import ME, founded_disk, leading_alone, make_consensus, now_ms, running, two_voters

METADATA = "rancher-metadata.rancher.internal"


@pytest.mark.parametrize(
    ("text", "upstreams"),
    [
        ("", ()),
        ("nameserver 192.0.2.1\n", ("192.0.2.1",)),
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ("192.0.2.1", "2001:db8::1")),
        ("nameserver 192.0.2.1\nnameserver 192.0.2.1\n", ("192.0.2.1",)),
        ("nameserver 169.254.169.250\nnameserver 192.0.2.1\n", ("192.0.2.1",)),
        ("# nameserver 192.0.2.9\nsearch example.com\noptions ndots:2\n", ()),
        ("nameserver\n  nameserver \t 192.0.2.1  # ours\n", ("192.0.2.1",)),
    ],
)
def test_upstreams_are_the_resolvers_of_the_host_without_ourselves(text: str, upstreams: tuple[str, ...]) -> None:
    assert parse_upstreams(text) == upstreams


def test_resolvers_follow_their_file_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    resolvers = HostResolvers(path)
    assert resolvers.current() == ()
    path.write_bytes(b"# caf\xe9\nnameserver 192.0.2.1\n")
    assert resolvers.current() == ("192.0.2.1",)
    path.write_text("nameserver 192.0.2.1\nnameserver 192.0.2.2\n")
    assert resolvers.current() == ("192.0.2.1", "192.0.2.2")
    path.unlink()
    assert resolvers.current() == ()


def test_resolvers_are_not_read_again_while_their_file_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    resolvers, at = HostResolvers(path), path.stat().st_mtime_ns
    assert resolvers.current() == ("192.0.2.1",)
    path.write_text("nameserver 192.0.2.9\n")
    os.utime(path, ns=(at, at))
    assert resolvers.current() == ("192.0.2.1",)


@dataclass(eq=False)
class FakeServer:
    """The ZoneServer port."""

    zones: list[Zone] = field(default_factory=list)
    is_up: bool = True
    found: int = 0

    async def find(self, options: ServerOptions) -> "FakeServer":
        await self._reach()
        self.found += 1
        return self

    async def publish(self, zone: Zone) -> int:
        await self._reach()
        if not self.zones or self.zones[-1] is not zone:
            self.zones.append(zone)
        return zone.serial

    async def status(self) -> object:
        await self._reach()
        return None

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.is_up:
            raise ControlError("no DNS server answers")


@asynccontextmanager
async def publishing(consensus: Consensus, server: FakeServer) -> AsyncIterator[Names]:
    names = Names(
        me=ME,
        consensus=consensus,
        dead=lambda: frozenset({ME}),
        options=ServerOptions(Path("unused")),
        now_ms=now_ms,
        wakeup=Wakeup(),
        also_allow=("127.0.0.0/8",),
        find_server=server.find,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(names.run)
        yield names
        nursery.cancel_scope.cancel()


async def test_names_are_published_with_the_hosts_subnet_and_the_clusters_network(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with leading_alone() as consensus, publishing(consensus, server):
        await trio.sleep(1)
        (zone,) = server.zones
        assert zone.names[METADATA] == ("169.254.169.250",)
        assert zone.allow == (next(iter(consensus.state.hosts.values())).subnet, "127.0.0.0/8")
        assert zone.networks == ("10.42.0.0/16",)


async def test_equal_names_are_not_published_again(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with leading_alone() as consensus, publishing(consensus, server) as names:
        await trio.sleep(1)
        await consensus.submit(CreateStack(uuid="s", environment_id=DEFAULT_ENVIRONMENT_ID, name="shop"))
        names.wakeup.set()
        await trio.sleep(60)
        assert len(server.zones) == 1


async def test_serial_is_the_time_so_that_it_grows_over_restarts(autojump_clock: MockClock) -> None:
    server, disk = FakeServer(), founded_disk()
    for _ in range(2):
        async with leading_alone(disk) as consensus, publishing(consensus, server):
            await trio.sleep(1)
    first, second = server.zones
    assert first.serial < second.serial


async def test_nothing_is_published_while_the_state_may_be_old(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with running(make_consensus(two_voters())) as consensus, publishing(consensus, server):
        await trio.sleep(60)
        assert consensus.has_state
        assert server.found == 1
        assert not server.zones


async def test_server_that_is_lost_is_looked_for_and_told_again(autojump_clock: MockClock) -> None:
    server = FakeServer()
    async with leading_alone() as consensus, publishing(consensus, server) as names:
        await trio.sleep(1)
        server.is_up = False
        names.wakeup.set()
        await trio.sleep(3 * RETRY_AFTER)
        server.is_up = True
        await trio.sleep(15)
        assert server.found == 2
