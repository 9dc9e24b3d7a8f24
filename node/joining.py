"""The joining host's side: find out who answers, check from both sides, and only then ask and write.

Nothing is written before everything is known to work: a refused join leaves no trace.  The secret of the token is
said only over TLS to a holder of a certificate of the CA whose digest the token carries.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import SystemRandom

import trio

from node.config import FEATURE_LEVEL, OVERLAY_PORTS, VERSION, Folders
from node.drive.credentials import stranger_context
from node.drive.outbox import NETWORK_ERRORS
from node.ports import EngineVersion
from node.preflight import Local, PairReport, Target, ask_docker, check_local, merge_ways, probe_pair
from node.probes import ProbeListener
from node.store.errors import StoreFailedError
from node.store.identity import DataFolder, Identity
from node.store.log import LogStore
from protocol.admission import check_info, check_served_ca, proof_of, refusal_of
from protocol.errors import AuthenticityError, DecodeError, ProtocolError
from protocol.ids import NodeId, new_node_id
from protocol.join import (
    Endpoint,
    Facts,
    Finding,
    JoinInfo,
    JoinMessage,
    JoinRefused,
    JoinReply,
    JoinRequest,
    KernelFeatures,
    PreflightReply,
    PreflightRequest,
    TokenProof,
    decode_join,
    decode_join_info,
    encode_join,
)
from protocol.messages import Kind
from protocol.pki import (
    ca_digest,
    certificate_from_der,
    certificate_from_pem,
    certificate_to_pem,
    key_to_pem,
    new_csr,
    new_key,
    node_id_of,
    utc,
    verify_issued_by,
    verify_key,
)
from protocol.probe import ProbeKeys, derive_probe_key
from protocol.seal import new_private_key, public_of
from protocol.tokens import parse_token
from protocol.wire import Frame, FrameReader, encode_frame

CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 30.0
PROBE_SECONDS = 60.0
NONCE_BYTES = 16


class JoinRefusedError(Exception):
    """The join cannot work; nothing was written.  `findings` are what was checked, the failures among them."""

    def __init__(self, message: str, try_: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.try_ = try_
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Joining:
    """What a person chose for this host, and what the host is."""

    name: str
    address: str
    underlay_mtu: int
    addresses: tuple[str, ...]
    api_port: int
    peer_port: int
    overlay_port: int | None
    """None: the mode's usual port."""
    labels: dict[str, str]
    kernel: KernelFeatures
    range_in_use: Callable[[str], tuple[str, ...]]
    """What on this host overlaps a network, in words."""
    bind: str = "0.0.0.0"
    """Where the daemon is going to listen."""
    has_overlay: bool = True
    """False with the in-memory engine, which needs no kernel."""


def probe_address(joining: Joining) -> str:
    """Return where probes are answered until the daemon listens.

    An answer from another address than the one asked is no answer.  On all addresses at once the kernel picks the one
    to answer from, so take the advertised one where this host has it itself.
    """
    if ip_address(joining.bind).is_unspecified and joining.address in joining.addresses:
        return joining.address
    return joining.bind


@dataclass(frozen=True, slots=True)
class Joined:
    """What a host has become."""

    identity: Identity
    environment: str
    """The environment's name."""
    host_id: str
    """As the API writes it: `1h2`."""


@dataclass(slots=True)
class _Conversation:
    """One TLS connection to a member's peer port, for requests one after another."""

    stream: "trio.SSLStream[trio.SocketStream]"
    address: str
    _reader: FrameReader = field(default_factory=FrameReader)
    _number: int = 0

    async def ask(self, kind: Kind, message: JoinMessage) -> JoinMessage:
        self._number += 1
        await self.stream.send_all(encode_frame(Frame(kind, self._number, encode_join(message))))
        with trio.fail_after(REPLY_TIMEOUT):
            while True:
                data = await self.stream.receive_some(65536)
                if not data:
                    raise DecodeError("the member closed the connection")
                for frame in self._reader.feed(bytes(data)):
                    if frame.kind == Kind.FAILED:
                        raise DecodeError(frame.payload.decode("utf-8", "replace"))
                    return decode_join(frame.payload)


async def join_cluster(
    folders: Folders,
    joining: Joining,
    *,
    url: str,
    token_text: str,
    fetch: Callable[[str], Awaitable[bytes]],
    ask_version: Callable[[], Awaitable[EngineVersion]],
    say: Callable[[Sequence[Finding]], None],
    now: Callable[[], float],
) -> Joined:
    """Check, join, and write who this host is now into the data folder, which the caller holds.

    JoinRefusedError leaves everything as it was.
    """
    try:
        token = parse_token(token_text)
        info = decode_join_info(await fetch(url))
        ca = certificate_from_pem(info.ca.encode())
    except ProtocolError as error:
        raise JoinRefusedError(str(error), "see that URL and token are those printed by `node token create`") from None
    if refused := check_served_ca(token, ca_digest(ca), url):
        raise JoinRefusedError(refused.message, refused.try_)
    node = new_node_id(SystemRandom())
    facts, own = await _look_around(folders, joining, node, info, ask_version, now())
    say(own)
    _stop_if_refused(refusal_of(own), own)
    attempt = _Attempt(joining, node, facts, own=own, now=now)
    try:
        conversation = await _connect(info.peers, info.ca)
    except ProtocolError as error:
        advice = "open the peer port (TCP 8090) on the members and see that they are up: `node status` there"
        raise JoinRefusedError(str(error), advice, own) from None
    try:
        found = await attempt.preflight(conversation, proof_of(token))
        say(found)
        _stop_if_refused(refusal_of(found), found)
        joined = await attempt.join(conversation, proof_of(token), ca_digest(ca))
    except (ProtocolError, trio.TooSlowError, *NETWORK_ERRORS) as error:
        raise JoinRefusedError(
            f"the conversation with {conversation.address} broke off: {error}", "try again"
        ) from None
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(conversation.stream)
    try:
        await trio.to_thread.run_sync(_write_membership, DataFolder(folders.data), joined.identity)
    except (OSError, StoreFailedError) as error:
        advice = f"make room, `node host rm {joining.name}` on a member, and join again"
        why = f"the cluster admitted this host, and that could not be written down here: {error}"
        raise JoinRefusedError(why, advice) from None
    return joined


def _write_membership(folder: DataFolder, identity: Identity) -> None:
    """Write an empty log, then who this host is: from then on a log that is missing is a damaged one."""
    LogStore.anew(folder.log_file).close()
    folder.save(identity)


@dataclass(slots=True)
class _Attempt:
    """What this host says of itself during one attempt."""

    joining: Joining
    node: NodeId
    facts: Facts
    own: tuple[Finding, ...]
    """What the person has been told already."""
    now: Callable[[], float]

    async def preflight(self, conversation: _Conversation, proof: TokenProof) -> tuple[Finding, ...]:
        """Have the member check and probe us while we listen, then probe the member."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        key = derive_probe_key(proof.secret.encode(), nonce)
        keys = ProbeKeys()
        keys.expect(key, trio.current_time(), trio.current_time() + PROBE_SECONDS)
        listener = ProbeListener(
            keys,
            peer_port=self.facts.peer_port,
            overlay_port=self.facts.overlay_port,
            address=probe_address(self.joining),
        )
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            # Kept and raised outside: a nursery would wrap it into a group.
            try:
                await nursery.start(listener.run)
                reply, report = await self._exchange(conversation, PreflightRequest(proof, self.facts, nonce), key)
            except (JoinRefusedError, ProtocolError, trio.TooSlowError, *NETWORK_ERRORS) as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        said = {(finding.check, finding.level) for finding in self.own}
        # A port was found free here before; what the member found of the way to it has the same title and is news.
        said -= {(finding.check, "ok") for finding in report.findings}
        news = [finding for finding in reply.findings if (finding.check, finding.level) not in said or not finding.ok]
        return merge_ways(news, report.findings)

    async def _exchange(
        self, conversation: _Conversation, request: PreflightRequest, key: bytes
    ) -> tuple[PreflightReply, PairReport]:
        reply = await conversation.ask(Kind.PREFLIGHT, request)
        if isinstance(reply, JoinRefused):
            raise JoinRefusedError(reply.message, reply.try_)
        if not isinstance(reply, PreflightReply):
            raise DecodeError("the member answered something else than a pre-flight")
        target = Target(
            reply.name,
            conversation.address,
            conversation.stream.transport_stream.socket.getpeername()[1],
            reply.overlay_port if self.joining.has_overlay else None,
            mtu=self.joining.underlay_mtu,
        )
        return reply, await probe_pair(self.joining.name, target, key)

    async def join(self, conversation: _Conversation, proof: TokenProof, digest: bytes) -> Joined:
        """Ask to be admitted, and verify what is handed out."""
        key = new_key()
        overlay_private = new_private_key(secrets.token_bytes(32))
        seal_private = new_private_key(secrets.token_bytes(32))
        request = JoinRequest(
            token=proof,
            csr=new_csr(self.node, key),
            facts=self.facts,
            wireguard_key=public_of(overlay_private),
            seal_key=public_of(seal_private),
            labels=self.joining.labels,
        )
        reply = await conversation.ask(Kind.JOIN, request)
        if isinstance(reply, JoinRefused):
            raise JoinRefusedError(reply.message, reply.try_)
        if not isinstance(reply, JoinReply):
            raise DecodeError("the member answered something else than a join")
        ca, certificate = certificate_from_der(reply.ca), certificate_from_der(reply.certificate)
        if ca_digest(ca) != digest or node_id_of(reply.certificate) != self.node:
            raise AuthenticityError("the member handed out a certificate of another cluster or for another node")
        verify_issued_by(certificate, ca, utc(self.now()))
        verify_key(certificate, key)
        identity = Identity(
            node=self.node,
            name=self.facts.name,
            cluster_id=reply.cluster_id,
            environment_id=int(reply.environment_id.removeprefix("1a")),
            ca_pem=certificate_to_pem(ca).decode(),
            certificate_pem=certificate_to_pem(certificate).decode(),
            key_pem=key_to_pem(key).decode(),
            gossip_key=reply.gossip_keys[0].key,
            overlay_private=overlay_private,
            seal_private=seal_private,
            overlay_network=reply.overlay.network,
            overlay_mode=reply.overlay.mode,
            address=self.facts.advertise,
            address_is_own=self.facts.advertise in self.facts.addresses,
            peer_port=self.facts.peer_port,
            api_port=self.joining.api_port,
            overlay_port=self.facts.overlay_port,
            seeds=tuple((member.address, member.port) for member in reply.members),
        )
        return Joined(identity, reply.environment_name, reply.host_id)


async def _look_around(
    folders: Folders,
    joining: Joining,
    node: NodeId,
    info: JoinInfo,
    ask_version: Callable[[], Awaitable[EngineVersion]],
    now: float,
) -> tuple[Facts, tuple[Finding, ...]]:
    """Return this host's facts, and what it can tell by itself."""
    overlay_port = joining.overlay_port or OVERLAY_PORTS[info.overlay_mode]
    in_use = joining.range_in_use(info.overlay_network) if joining.has_overlay else ()
    local = Local(
        data_dir=folders.data,
        api_port=joining.api_port,
        peer_port=joining.peer_port,
        overlay_port=overlay_port if joining.has_overlay else None,
        kernel=joining.kernel,
        overlay_mode=info.overlay_mode,
        overlay_network=info.overlay_network,
        range_in_use=in_use,
        # The engine in memory asks nothing of the kernel, nor of a user.
        euid=os.geteuid() if joining.has_overlay else 0,
        address=joining.bind,
    )
    findings = await check_local(local, ask_version)
    _, version = await ask_docker(ask_version)
    facts = Facts(
        name=joining.name,
        node_id=node,
        version=VERSION,
        feature_level=FEATURE_LEVEL,
        clock=now,
        docker_api=version.api if version else "",
        docker_version=version.version if version else "",
        kernel=joining.kernel,
        addresses=joining.addresses,
        advertise=joining.address,
        api_port=joining.api_port,
        peer_port=joining.peer_port,
        overlay_port=overlay_port,
        range_in_use=in_use,
        underlay_mtu=joining.underlay_mtu,
    )
    known = {finding.check for finding in findings}
    return facts, (*findings, *(f for f in check_info(info, facts, now) if f.check not in known))


def _stop_if_refused(refused: JoinRefused | None, findings: Sequence[Finding]) -> None:
    if refused is not None:
        raise JoinRefusedError(refused.message, refused.try_, findings)


async def _connect(peers: Sequence[Endpoint], ca_pem: str) -> _Conversation:
    """Return a verified connection to the first member that answers."""
    context = stranger_context(ca_pem)
    why = "the cluster names no member"
    for endpoint in peers:
        where = f"{endpoint.address}:{endpoint.port}"
        stream = None
        try:
            with trio.fail_after(CONNECT_TIMEOUT):
                stream = trio.SSLStream(await trio.open_tcp_stream(endpoint.address, endpoint.port), context)
                await stream.do_handshake()
            node_id_of(stream.getpeercert(binary_form=True) or b"")
            return _Conversation(stream, endpoint.address)
        except (trio.TooSlowError, ProtocolError, *NETWORK_ERRORS) as error:
            why = f"no member's peer port answers; the last tried was {where}: {error or 'no answer'}"
            if stream is not None:
                await trio.aclose_forcefully(stream)
    raise DecodeError(why)
