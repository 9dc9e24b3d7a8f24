"""Feeds the host's DNS server: renders this environment's names from the state and from who is alive, sends changes.

The server is a process of its own and outlives the daemon; it is found again or started here.  Level-triggered.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import trio

from dns.control import ControlError, ServerOptions, end_server, ensure_server
from dns.zone import Zone, make_zone
from node.drive.consensus import Consensus
from node.drive.wakeup import Wakeup
from node.model import host_of_node
from node.plan.names import render_names
from protocol.ids import NodeId

SETTLE = 0.02
APART = 0.05
"""While changes never end, names are looked through no more often."""
AT_LEAST_EVERY = 10.0
RETRY_AFTER = 1.0
SIFT_EVERY = 1.0
"""How often hosts are asked whose daemons are silent."""
DNS_ADDRESS = "169.254.169.250"
RESOLV_CONF = Path("/etc/resolv.conf")

log = logging.getLogger("corral.names")


def parse_upstreams(resolv_conf: str) -> tuple[str, ...]:
    """Return the resolvers of a resolv.conf (resolv.conf(5)), without our own address."""
    servers = [
        line.split()[1] for line in resolv_conf.splitlines() if line.split()[:1] == ["nameserver"] and line.split()[1:]
    ]
    return tuple(server for server in dict.fromkeys(servers) if server != DNS_ADDRESS)


class HostResolvers:
    """The resolvers that this host asks, read again only when their file has changed."""

    def __init__(self, path: Path = RESOLV_CONF) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._upstreams: tuple[str, ...] = ()

    def current(self) -> tuple[str, ...]:
        """Return the resolvers; none while there is no file."""
        try:
            file = self._path.stat()
            seen = (file.st_ino, file.st_mtime_ns, file.st_size)
            if seen != self._seen:
                self._upstreams = parse_upstreams(self._path.read_text(errors="replace"))
                self._seen = seen
        except OSError:
            self._seen, self._upstreams = None, ()
        return self._upstreams


class ZoneServer(Protocol):
    """The DNS server as this driver uses it; dns.control.ControlClient is the real one."""

    async def publish(self, zone: Zone) -> int: ...

    async def status(self) -> object: ...

    async def aclose(self) -> None: ...


@dataclass(slots=True, eq=False)
class Names:
    """Keeps the DNS server's zone equal to what state and gossip say."""

    me: NodeId
    consensus: Consensus
    dead: Callable[[], frozenset[NodeId]]
    options: ServerOptions
    now_ms: Callable[[], int]
    wakeup: Wakeup
    also_allow: tuple[str, ...] = ()
    """Prefixes that may ask besides this host's containers."""
    find_server: Callable[[ServerOptions], Awaitable[ZoneServer]] = ensure_server
    sift: Callable[[frozenset[NodeId]], Awaitable[frozenset[NodeId]]] | None = None
    """Which of the dead are out of reach altogether; None: all are."""
    resolvers: HostResolvers = field(default_factory=HostResolvers)
    _doubtful: bool = False
    """A daemon is silent whose host is not: it may go at any moment, and nobody would tell."""
    _client: ZoneServer | None = None
    _zone: Zone | None = None
    _loop: trio.CancelScope = field(default_factory=trio.CancelScope)
    _ended: trio.Event = field(default_factory=trio.Event)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish until cancelled, the server goes on afterwards; or until it is to end."""
        task_status.started()
        try:
            with self._loop:
                await self._follow()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self._close()
            self._ended.set()

    async def _follow(self) -> None:
        while True:
            try:
                await self._publish()
            except ControlError as error:
                log.warning("the DNS server is not following: %s", error)
                await self._close()
                await trio.sleep(RETRY_AFTER)
            at_most = SIFT_EVERY if self._doubtful else AT_LEAST_EVERY
            await self.wakeup.wait(at_most=at_most, settle=SETTLE, apart=APART)

    async def stop_server(self) -> None:
        """End the DNS server: this host leaves the cluster."""
        # The loop would see that there is no server and start one.
        self._loop.cancel()
        await self._ended.wait()
        try:
            await end_server(self.options.control)
        except ControlError as error:
            log.error("%s", error)

    async def _publish(self) -> None:
        is_new = self._client is None
        if self._client is None:
            self._client = await self.find_server(self.options)
        # The server answers from the zone it has; until this node has caught up, ours would be older.
        zone = self._render(await self._find_lost()) if self.consensus.is_current else None
        if zone is not None and (is_new or zone is not self._zone):
            await self._client.publish(zone)
            self._zone = zone
        elif not is_new:
            await self._client.status()  # Is it still there?

    async def _find_lost(self) -> frozenset[NodeId]:
        dead = self.dead() - {self.me}
        lost = dead if self.sift is None else await self.sift(dead)
        self._doubtful = lost != dead
        return lost

    def _render(self, lost: frozenset[NodeId]) -> Zone | None:
        state = self.consensus.state
        host = host_of_node(state, self.me)
        if host is None:
            return None
        table = render_names(state, host.environment_id, lost, host.id)
        previous = self._zone
        # A serial grows over restarts of the daemon too: the server may know us from before.
        serial = max(previous.serial + 1 if previous else 0, self.now_ms())
        zone = make_zone(
            serial,
            table.names,
            scopes=table.scopes,
            upstreams=self.resolvers.current(),
            allow=(*((host.subnet,) if host.subnet else ()), *self.also_allow),
            networks=(state.cluster.overlay_network,),
        )
        if previous is not None and _same(previous, zone):
            return previous
        return zone

    async def _close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _same(one: Zone, other: Zone) -> bool:
    return replace(one, serial=other.serial) == other
