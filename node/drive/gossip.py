"""Drives protocol.swim over one UDP socket: seals what leaves, opens what arrives, and says who is believed alive.

Decides nothing.  What cannot be opened costs one AEAD attempt and is dropped; probe datagrams of a pre-flight
are answered from the same port.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from random import Random

import trio

from node.drive.refusals import Bad, Refusals
from node.ports import MemberView
from protocol.errors import ProtocolError
from protocol.ids import Incarnation, NodeId
from protocol.probe import ProbeKeys, is_probe
from protocol.seal import NONCE_BYTES, Keyring, open_datagram, seal_datagram
from protocol.swim.core import Swim
from protocol.swim.events import Event, MemberForgotten
from protocol.swim.members import Member
from protocol.swim.messages import Address, Meta, State
from protocol.swim.timing import SwimTiming

MAX_DATAGRAM = 65535
DRAIN = 64
"""Datagrams read before the loop gives others a turn."""

_STATUS: Mapping[State, str] = {State.ALIVE: "alive", State.SUSPECT: "suspect", State.DEAD: "dead", State.LEFT: "left"}

log = logging.getLogger("corral.gossip")


class Gossip:
    """This node's part in the group's failure detector."""

    def __init__(
        self,
        me: NodeId,
        meta: Meta,
        keyring: Keyring,
        *,
        probe_keys: ProbeKeys,
        incarnation: Incarnation,
        rng: Random,
        timing: SwimTiming | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._me = me
        self._refusals = refusals or Refusals()
        self._keyring = keyring
        self._rng = rng
        self._swim = Swim(
            me, meta, timing=timing or SwimTiming(), rng=rng, now=trio.current_time(), incarnation=incarnation
        )
        self._listeners: list[Callable[[Event], None]] = []
        self._wake = trio.Event()
        self._views: dict[NodeId, MemberView] | None = None
        self._probe_keys = probe_keys

    @property
    def members(self) -> Mapping[NodeId, MemberView]:
        """Everybody known, this node included."""
        if self._views is None:
            self._views = {node: _view(member) for node, member in self._swim.members.items()}
        return self._views

    @property
    def dead(self) -> frozenset[NodeId]:
        """Who is held dead, or said goodbye."""
        return frozenset(node for node, member in self._swim.members.items() if member.is_gone)

    def dead_since(self) -> dict[NodeId, float]:
        """Who is held dead and since when, in the loop's clock."""
        return {node: member.changed_at for node, member in self._swim.members.items() if member.is_gone}

    def address_of(self, node: NodeId) -> tuple[str, int] | None:
        """Where a node says its peer port is."""
        member = self._swim.members.get(node)
        return (member.address.ip, member.address.port) if member else None

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called at each change of belief; it must not block."""
        self._listeners.append(listener)

    def join(self, seeds: Sequence[tuple[str, int]]) -> None:
        """Look for the others at these addresses until somebody answers."""
        self._swim.join([Address(*seed) for seed in seeds], trio.current_time())
        self._wake.set()

    def update_meta(self, meta: Meta) -> None:
        """Tell the others that this node's address or release changed."""
        self._swim.update_meta(meta, trio.current_time())
        self._wake.set()

    async def leave(self) -> None:
        """Say goodbye, long enough for it to spread."""
        self._swim.leave(trio.current_time())
        self._wake.set()
        await trio.sleep(0.5)

    async def run(
        self, sock: "trio.socket.SocketType", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Speak on `sock`, a bound UDP socket, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, sock)
            task_status.started()
            while True:
                self._swim.handle_timer(trio.current_time())
                output = self._swim.take_output()
                for event in output.events:
                    self._tell(event)
                for datagram in output.send:
                    await self._send(sock, datagram.data, datagram.to)
                with trio.move_on_at(output.wake_at):
                    await self._wake.wait()
                self._wake = trio.Event()

    async def _receive(self, sock: "trio.socket.SocketType") -> None:
        while True:
            for _ in range(DRAIN):
                try:
                    data, source = await sock.recvfrom(MAX_DATAGRAM)
                except OSError as error:  # An ICMP error of an earlier send; the socket is fine.
                    log.debug("gossip socket: %s", error)
                    continue
                await self._take(sock, data, Address(source[0], source[1]))
            await trio.sleep(0)

    async def _take(self, sock: "trio.socket.SocketType", data: bytes, source: Address) -> None:
        now = trio.current_time()
        if is_probe(data):
            if (answer := self._probe_keys.answer(data, now)) is not None:
                await _send_raw(sock, answer, source)
            return
        try:
            self._swim.handle_datagram(open_datagram(self._keyring, data), source, now)
        except ProtocolError as error:
            self._refusals.note(Bad.DATAGRAM, source.ip, str(error), now)
            return
        self._wake.set()

    async def _send(self, sock: "trio.socket.SocketType", data: bytes, to: Address) -> None:
        await _send_raw(sock, seal_datagram(self._keyring, data, os.urandom(NONCE_BYTES)), to)

    def _tell(self, event: Event) -> None:
        self._views = None
        member = event.member
        if member.node != self._me and not isinstance(event, MemberForgotten):
            log.info("%s (%s) is %s", member.meta.name, member.node[:8], _STATUS[member.state])
        for listener in self._listeners:
            listener(event)


async def _send_raw(sock: "trio.socket.SocketType", data: bytes, to: Address) -> None:
    try:
        await sock.sendto(data, tuple(to))
    except OSError as error:
        log.debug("cannot send to %s: %s", to.ip, error)


def _view(member: Member) -> MemberView:
    meta = member.meta
    return MemberView(
        node=member.node,
        name=meta.name,
        address=meta.address,
        peer_port=meta.port,
        api_port=meta.api_port,
        status=_STATUS[member.state],  # type: ignore[arg-type]
        version=meta.version,
    )
