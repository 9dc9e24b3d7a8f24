"""The peer link: frames between nodes over mutual TLS, one outgoing connection per peer.

Requests and one-way messages leave on our own connection to the peer; replies come back on it.  A broken
connection fails what waited on it and is reported at once, since a killed leader shows here first.  Messages to
a peer that is not connected are dropped: the cores above resend.
"""

import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import trio

from node.drive.channel import Channel
from node.drive.credentials import Credentials, server_name
from node.drive.outbox import NETWORK_ERRORS, Outbox
from node.drive.refusals import Bad, CutError, Refusals, UnknownKindError, leaves_of
from node.ports import Unavailable
from protocol.errors import DecodeError, ProtocolError
from protocol.ids import NodeId
from protocol.join import MAX_JOIN_BYTES
from protocol.messages import OPEN_TO_STRANGERS, Kind
from protocol.pki import node_id_of
from protocol.wire import ENVELOPE_BYTES, Frame, FrameReader, encode_frame

HANDSHAKE_TIMEOUT = 5.0
CONNECT_TIMEOUT = 3.0
SILENCE_TIMEOUT = 5.0
"""How long a peer's kernel may acknowledge nothing.  TCP would wait ever longer, and after a long cut of the network
try again only when the doubled time is up; a new connection is made at once."""
FIRST_BACKOFF, LAST_BACKOFF = 0.05, 1.0
MAX_CONNECTIONS = 4096
MAX_UNKNOWN, MAX_UNKNOWN_PER_ADDRESS = 1024, 256
"""Connections that have not said yet who they are: one costs 40 KB, and one address may not take all places."""
MAX_STRANGERS = 64
MAX_STRANGERS_PER_ADDRESS = 8
MAX_STRANGER_FRAME_BYTES = MAX_JOIN_BYTES + ENVELOPE_BYTES
STRANGER_TIMEOUT = 60.0
"""How long one without a certificate may stay connected: long enough for a whole join."""
REQUESTS_AT_ONCE = 64
DEFERRED_AT_ONCE = 2048
"""Requests of one connection that are taken and not answered yet."""

UNKNOWN_ASKER = "this node does not know the asker as a host of the cluster"
REFUSAL = b"it is no host of the cluster any more; `node leave --force` takes away what is left of it there"

KINDS = frozenset(Kind)

log = logging.getLogger("corral.link")


class LinkDownError(Exception):
    """The peer could not be reached, or went away before it replied."""


class RequestFailedError(Exception):
    """The peer's handler failed; the text is the peer's."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a frame: a member by its certificate, or a stranger (`node` None)."""

    node: NodeId | None
    address: str


@dataclass(slots=True, eq=False)
class _Deferred:
    """Counts the requests of one connection that wait for their reply."""

    count: int = 0
    fewer: trio.Event = field(default_factory=trio.Event)

    def give_back(self) -> None:
        self.count -= 1
        if self.count == DEFERRED_AT_ONCE - 1:
            self.fewer.set()
            self.fewer = trio.Event()

    async def wait_for_place(self) -> None:
        while self.count >= DEFERRED_AT_ONCE:
            await self.fewer.wait()


Handler = Callable[[Caller, bytes], Awaitable[bytes]]
"""Answers one request."""

Reply = Callable[[bytes], None]
Taker = Callable[[Caller, bytes, Reply], None]
"""Takes one request and has it answered later, without a task of its own; a ProtocolError refuses it at once."""

Streamer = Callable[[Caller, bytes, Channel], Awaitable[None]]
"""Talks on a connection that became a stream, until that ends."""

Resolve = Callable[[NodeId], tuple[str, int] | None]
"""Where a node's peer port is now, as far as anybody knows."""


@dataclass(slots=True, eq=False)
class _Peer:
    """Our side of the connection to one peer."""

    node: NodeId
    outbox: Outbox = field(default_factory=Outbox)
    waiting: dict[int, tuple[trio.Event, list[Frame]]] = field(default_factory=dict)
    next_number: int = 1
    connected: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    kick: trio.Event = field(default_factory=trio.Event)


class Link:
    """Serves the peer port and keeps a connection to each peer that something was sent to."""

    def __init__(self, credentials: Credentials, refusals: Refusals | None = None) -> None:
        self._credentials = credentials
        self._refusals = refusals or Refusals()
        self._handlers: dict[int, Handler] = {}
        self._takers: dict[int, Taker] = {}
        self._streamer: Streamer | None = None
        self._peers: dict[NodeId, _Peer] = {}
        self._nursery: trio.Nursery | None = None
        self._connections = 0
        self._unknown = Counter[str]()
        self._strangers = Counter[str]()
        self._incoming: dict[NodeId, set[trio.CancelScope]] = {}
        self._refused: set[NodeId] = set()
        self.refused_by: set[NodeId] = set()
        """Peers that have said that this node is no member."""
        self.is_leaving = False
        """Whether it leaves by its own wish: then peers that refuse it are no trouble."""

    def connect(
        self,
        *,
        resolve: Resolve,
        may_speak: Callable[[NodeId], bool],
        is_host: Callable[[NodeId], bool],
        on_message: Callable[[NodeId, bytes], None],
        on_lost: Callable[[NodeId], None],
        handlers: Mapping[Kind, Handler],
        takers: Mapping[Kind, Taker] = MappingProxyType({}),
        streamer: Streamer | None = None,
    ) -> None:
        """Say who may send messages, who may ask, who is told and who answers; once, before `run`."""
        self._resolve = resolve
        self._may_speak = may_speak
        self._is_host = is_host
        self._on_message = on_message
        self._on_lost = on_lost
        self._handlers = {int(kind): handler for kind, handler in handlers.items()}
        self._takers = {int(kind): taker for kind, taker in takers.items()}
        self._streamer = streamer

    async def run(
        self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve `listeners` and run the outgoing connections until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(trio.serve_listeners, self._serve, listeners)
            task_status.started()

    def send(self, node: NodeId, payload: bytes) -> None:
        """Send a one-way Raft message, or drop it when the peer is not connected or slow."""
        peer = self._peer(node)
        if peer.connected and peer.outbox.has_room:
            peer.outbox.put(encode_frame(Frame(Kind.RAFT, 0, payload)))

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes:
        """Ask `node` and return its reply; LinkDownError without an answer, RequestFailedError with a bad one."""
        peer = self._peer(node)
        number, peer.next_number = peer.next_number, peer.next_number + 1
        done, answer = trio.Event(), list[Frame]()
        peer.waiting[number] = (done, answer)
        try:
            with trio.move_on_after(timeout):
                await peer.outbox.wait_for_room()
                peer.outbox.put(encode_frame(Frame(kind, number, payload)))
                await done.wait()
        finally:
            peer.waiting.pop(number, None)
        if not answer:
            raise LinkDownError(f"node {node[:8]} did not answer within {timeout:g} s or closed the connection")
        if answer[0].kind == Kind.FAILED:
            raise RequestFailedError(answer[0].payload.decode("utf-8", "replace"))
        return answer[0].payload

    async def open_apart(self, node: NodeId) -> Channel:
        """Return a connection to `node` apart from that of the requests; whoever asked for it closes it."""
        channel = await self._connect(node)
        if channel is None:
            raise LinkDownError(f"node {node[:8]} cannot be reached")
        return channel

    def keep_warm(self, nodes: Iterable[NodeId]) -> None:
        """Be connected to `nodes` before there is anything to say: a new leader's first words would be lost."""
        for node in nodes:
            self._peer(node)

    def is_connected(self, node: NodeId) -> bool:
        """Whether what is sent to `node` now would leave."""
        peer = self._peers.get(node)
        return peer is not None and peer.connected

    def hint_changed(self, node: NodeId) -> None:
        """Gossip has news of `node`: try to connect now rather than at the end of a back-off."""
        if peer := self._peers.get(node):
            peer.kick.set()

    def drop(self, node: NodeId, why: str) -> None:
        """End what a member sends on: it has sent what nobody can read, and the rest may be no better."""
        self._refusals.note(Bad.RAFT, f"node {node[:8]}", why, trio.current_time())
        for scope in self._incoming.get(node, ()):
            scope.cancel()

    def drop_removed(self) -> None:
        """End the connections, both ways, of nodes that may not speak any more."""
        for node in [node for node in self._peers if not self._may_speak(node)]:
            self._peers.pop(node).scope.cancel()
        for node, scopes in self._incoming.items():
            if not self._may_speak(node):
                for scope in scopes:
                    scope.cancel()

    def _peer(self, node: NodeId) -> _Peer:
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = _Peer(node)
            if self._nursery is None:
                raise RuntimeError("the link is not running")
            self._nursery.start_soon(self._keep_connected, peer)
        return peer

    async def _keep_connected(self, peer: _Peer) -> None:
        backoff = FIRST_BACKOFF
        with peer.scope:
            while True:
                channel = await self._connect(peer.node)
                if channel is not None:
                    backoff = FIRST_BACKOFF
                    await self._converse(peer, channel)
                    self._on_lost(peer.node)
                _drain(peer)
                peer.kick = trio.Event()
                with trio.move_on_after(backoff):
                    await peer.kick.wait()
                backoff = min(backoff * 2, LAST_BACKOFF)

    async def _connect(self, node: NodeId) -> Channel | None:
        where = self._resolve(node)
        if where is None:
            return None
        tcp: trio.SocketStream | None = None
        with trio.move_on_after(CONNECT_TIMEOUT):
            try:
                tcp = await trio.open_tcp_stream(*where)
                _bound_silence(tcp)
                channel = Channel(tcp, self._credentials.client, server_hostname=server_name(node))
                await channel.do_handshake()
                return channel
            except (ValueError, *NETWORK_ERRORS) as error:  # ValueError: no address at all.
                self._refusals.note_error(error, f"node {node[:8]} at {where[0]}", trio.current_time())
                log.debug("cannot reach %s at %s:%s: %s", node[:8], *where, error)
        if tcp is not None:
            await trio.aclose_forcefully(tcp)
        return None

    async def _converse(self, peer: _Peer, channel: Channel) -> None:
        """Write what is queued and hand out replies, until the connection breaks."""
        peer.connected = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.outbox.write_all, channel, nursery.cancel_scope)
                reader = FrameReader()
                with suppress(*NETWORK_ERRORS):
                    try:
                        while data := await channel.receive():
                            for frame in reader.feed(data):
                                self._take_reply(peer, frame)
                    except ProtocolError as error:
                        self._refusals.note_error(error, f"node {peer.node[:8]}", trio.current_time())
                nursery.cancel_scope.cancel()
        finally:
            peer.connected = False
            with trio.CancelScope(shield=True):
                await channel.close()

    def _take_reply(self, peer: _Peer, frame: Frame) -> None:
        if frame.kind == Kind.FAILED and frame.number == 0 and peer.node not in self.refused_by:
            self.refused_by.add(peer.node)
            if self.is_leaving:
                log.info("node %s hears this one no more, which leaves", peer.node[:8])
            else:
                log.error("node %s refuses this one: %s", peer.node[:8], frame.payload[:200].decode("utf-8", "replace"))
        waiting = peer.waiting.get(frame.number)
        if waiting and not waiting[1]:
            waiting[1].append(frame)
            waiting[0].set()

    async def _serve(self, tcp: trio.SocketStream) -> None:
        """Serve one incoming connection; whatever it sends, only this connection suffers."""
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS and (channel := await self._shake_hands(tcp)) is not None:
                await self._serve_caller(_identify(channel, tcp), channel)
        except* (ProtocolError, trio.TooSlowError, *NETWORK_ERRORS) as errors:
            for error in leaves_of(errors):
                self._refusals.note_error(error, _address_of(tcp), trio.current_time())
            log.debug("a connection to the peer port ended: %s", errors.exceptions[0])
        finally:
            self._connections -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(tcp)

    async def _shake_hands(self, tcp: trio.SocketStream) -> Channel | None:
        """Return the connection once TLS is up, None for one too many."""
        _bound_silence(tcp)
        address = str(tcp.socket.getpeername()[0])
        if self._unknown[address] >= MAX_UNKNOWN_PER_ADDRESS or self._unknown.total() >= MAX_UNKNOWN:
            return None
        self._unknown[address] += 1
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                # What TLS needs is made only for one that says something.
                await tcp.socket.recv(1, socket.MSG_PEEK)
                channel = Channel(tcp, self._credentials.server, server_side=True)
                await channel.do_handshake()
                return channel
        finally:
            self._unknown[address] -= 1
            if not self._unknown[address]:
                del self._unknown[address]

    async def _serve_caller(self, caller: Caller, channel: Channel) -> None:
        if caller.node is None:
            await self._serve_stranger(caller, channel)
            return
        if not self._may_speak(caller.node):
            level = logging.DEBUG if caller.node in self._refused else logging.WARNING  # It tries again each second.
            self._refused.add(caller.node)
            log.log(level, "refused node %s at %s: it is no member", caller.node[:8], caller.address)
            with trio.move_on_after(HANDSHAKE_TIMEOUT):
                await channel.send_all(encode_frame(Frame(Kind.FAILED, 0, REFUSAL)))
            return
        scopes = self._incoming.setdefault(caller.node, set())
        opening: Frame | None = None
        with trio.CancelScope() as scope:
            scopes.add(scope)
            try:
                opening = await self._read_requests(caller, channel, FrameReader())
                if opening is not None and self._streamer is not None:
                    await self._streamer(caller, opening.payload, channel)
            finally:
                scopes.discard(scope)
                if not scopes:
                    self._incoming.pop(caller.node, None)
                if opening is None:  # The end of a stream says nothing about its node.
                    self._on_lost(caller.node)

    async def _serve_stranger(self, caller: Caller, channel: Channel) -> None:
        if self._strangers.total() >= MAX_STRANGERS or self._strangers[caller.address] >= MAX_STRANGERS_PER_ADDRESS:
            return
        self._strangers[caller.address] += 1
        try:
            with trio.move_on_after(STRANGER_TIMEOUT):
                await self._read_requests(caller, channel, FrameReader(MAX_STRANGER_FRAME_BYTES))
        finally:
            self._strangers[caller.address] -= 1
            if not self._strangers[caller.address]:
                del self._strangers[caller.address]

    async def _read_requests(self, caller: Caller, channel: Channel, reader: FrameReader) -> Frame | None:
        """Answer what is asked until the connection ends, or return what makes it a stream."""
        outbox, deferred = Outbox(), _Deferred()
        limit = trio.Semaphore(REQUESTS_AT_ONCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbox.write_all, channel, nursery.cancel_scope)
            while data := await channel.receive():
                for frame in reader.feed(data):
                    if frame.kind not in KINDS:
                        raise UnknownKindError(f"a frame of kind {frame.kind}; is that host's release later than ours?")
                    if frame.kind == Kind.RAFT and caller.node is not None:
                        self._on_message(caller.node, frame.payload)
                        continue
                    if frame.kind == Kind.STREAM and caller.node is not None and self._is_host(caller.node):
                        nursery.cancel_scope.cancel()
                        return frame
                    if not outbox.has_room:
                        await outbox.wait_for_room()  # A slow reader asks no more.
                    if caller.node is not None and (taker := self._takers.get(frame.kind)) is not None:
                        await deferred.wait_for_place()
                        self._take(taker, caller, frame, outbox, deferred)
                        continue
                    await limit.acquire()
                    nursery.start_soon(self._answer, caller, frame, outbox, limit)
            if reader.pending_bytes:
                raise CutError(f"the stream ended within a frame, {reader.pending_bytes} bytes into it")
            nursery.cancel_scope.cancel()
        return None

    def _take(self, taker: Taker, caller: Caller, frame: Frame, outbox: Outbox, deferred: "_Deferred") -> None:
        """Give a request to whoever answers it later."""
        number = frame.number

        def reply(payload: bytes) -> None:
            deferred.give_back()
            outbox.put(encode_frame(Frame(Kind.REPLY, number, payload)))

        deferred.count += 1
        try:
            if not self._is_host(caller.node or NodeId("")):
                raise ProtocolError(UNKNOWN_ASKER)
            taker(caller, frame.payload, reply)
        except ProtocolError as error:
            deferred.give_back()
            outbox.put(encode_frame(Frame(Kind.FAILED, number, str(error).encode())))

    async def _answer(self, caller: Caller, frame: Frame, outbox: Outbox, limit: trio.Semaphore) -> None:
        """Answer one request.  The place is free again once the reply is on its way."""
        try:
            kind, payload = await self._reply_to(caller, frame)
            outbox.put(encode_frame(Frame(kind, frame.number, payload)))
        finally:
            limit.release()

    async def _reply_to(self, caller: Caller, frame: Frame) -> tuple[Kind, bytes]:
        handler = self._handlers.get(frame.kind)
        if handler is None or (caller.node is None and frame.kind not in OPEN_TO_STRANGERS):
            self._refusals.note(Bad.KIND, caller.address, f"a request of kind {frame.kind}", trio.current_time())
            return Kind.FAILED, f"requests of kind {frame.kind} are not answered here".encode()
        if caller.node is not None and not self._is_host(caller.node):
            return Kind.FAILED, UNKNOWN_ASKER.encode()
        try:
            return Kind.REPLY, await handler(caller, frame.payload)
        except DecodeError as error:
            self._refusals.note(Bad.PAYLOAD, caller.address, str(error), trio.current_time())
            return Kind.FAILED, str(error).encode()
        except (ProtocolError, LinkDownError, RequestFailedError, Unavailable) as error:
            return Kind.FAILED, str(error).encode()
        except Exception:
            # Whatever one request brings about, the node goes on: others must not be able to end it.
            log.exception("a request of kind %d from %s failed", frame.kind, caller.address)
            return Kind.FAILED, b"the request failed; see this node's log"


def _bound_silence(tcp: trio.SocketStream) -> None:
    """Have the kernel end a connection whose other side is gone, whether something waits to be sent or not."""
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENCE_TIMEOUT * 1000))
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(SILENCE_TIMEOUT))
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)


def _address_of(tcp: trio.SocketStream) -> str:
    with suppress(OSError):
        return str(tcp.socket.getpeername()[0])
    return "somebody who is gone"


def _identify(channel: Channel, tcp: trio.SocketStream) -> Caller:
    certificate = channel.certificate()
    address = str(tcp.socket.getpeername()[0])
    return Caller(node_id_of(certificate) if certificate else None, address)


def _drain(peer: _Peer) -> None:
    """Forget what was queued for a connection that is gone, and wake whoever waits for a reply on it."""
    peer.outbox.clear()
    for done, _ in peer.waiting.values():
        done.set()
