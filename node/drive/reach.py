"""Tells a host that is gone from one whose daemon is: containers outlive their daemon, and so must their names.

Gossip hears a daemon.  A host that it holds dead is asked by opening its peer port: a kernel that refuses, or accepts
for a daemon that is frozen, is alive, and then so are its containers.  Who gave no answer once stays out of reach until
gossip hears of it again, since after a power loss the kernel is back before the containers are.
"""

import logging
from collections.abc import Callable

import trio

from protocol.ids import NodeId

ANSWER_TIMEOUT = 1.0

log = logging.getLogger("corral.reach")


class Reach:
    """Remembers which of the silent hosts are out of reach."""

    def __init__(self, resolve: Callable[[NodeId], tuple[str, int] | None]) -> None:
        self._resolve = resolve
        self._lost: set[NodeId] = set()

    async def sift(self, dead: frozenset[NodeId]) -> frozenset[NodeId]:
        """Return those of the nodes that gossip holds dead whose hosts do not answer either."""
        self._lost &= dead
        async with trio.open_nursery() as nursery:
            for node in dead - self._lost:
                nursery.start_soon(self._ask, node)
        return frozenset(self._lost)

    async def _ask(self, node: NodeId) -> None:
        where = self._resolve(node)
        if where is None or not await answers(*where):
            log.info("host of node %s is out of reach: its containers' names are not answered", node[:8])
            self._lost.add(node)


async def answers(address: str, port: int) -> bool:
    """Tell whether a host's kernel says anything to an attempt to connect."""
    family = trio.socket.AF_INET6 if ":" in address else trio.socket.AF_INET
    with trio.socket.socket(family, trio.socket.SOCK_STREAM) as sock:
        with trio.move_on_after(ANSWER_TIMEOUT):
            try:
                await sock.connect((address, port))
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
            return True
    return False
