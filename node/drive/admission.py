"""A member's side of joining: checks a stranger's token and facts, probes it, and lets the leader admit it.

Any node answers; the leader alone signs.  The CA's key is opened from the replicated state, where it lies sealed to
each voter, and stays in memory only while this node may need it.  Certificates of members are renewed here too.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from node.commands import AdmitHost, SealCaKey
from node.config import FEATURE_LEVEL, VERSION
from node.drive.consensus import Consensus, Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.model import HostFacts, State, host_of_node
from node.plan import seals
from node.plan.facts import cluster_facts, token_states
from node.ports import RefusedError, Unavailable
from node.preflight import probe_pair, target_of
from node.probes import ProbeService
from node.store.identity import Identity
from protocol.admission import ClusterFacts, check_facts, check_token, refusal_of
from protocol.errors import AuthenticityError, DecodeError, ProtocolError
from protocol.ids import NodeId, parse_node_id
from protocol.join import (
    Endpoint,
    GossipKey,
    JoinInfo,
    JoinRefused,
    JoinReply,
    JoinRequest,
    OverlayConfig,
    PreflightReply,
    PreflightRequest,
    decode_join,
    encode_join,
    encode_join_info,
)
from protocol.messages import Kind
from protocol.pki import Certificate, certificate_from_der, certificate_to_der, issue, key_from_pem, utc
from protocol.probe import derive_probe_key
from protocol.seal import NONCE_BYTES, new_private_key, open_sealed, seal_to
from protocol.swim.messages import Address

PROBE_SECONDS = 30.0
MAX_JOINS_AT_ONCE = 4
FORWARD_TIMEOUT = 15.0
MAX_ENDPOINTS = 64
ROLE = "host"
CA_CONTEXT = b"corral cluster CA key"

log = logging.getLogger("corral.admission")


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member asks for a new certificate for its key."""

    csr: bytes


_renewals = msgspec.msgpack.Decoder(Renewal)


def decode_renewal(payload: bytes) -> bytes:
    """Return the request for a certificate in a renewal, or raise DecodeError."""
    try:
        return _renewals.decode(payload).csr
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"expected a renewal request: {error}") from None


def encode_renewal(csr: bytes) -> bytes:
    """Return the payload of a Kind.RENEW request."""
    return msgspec.msgpack.encode(Renewal(csr))


def seal_ca_key(ca_key_pem: bytes, seal_key: bytes) -> bytes:
    """Return the CA key so that only the holder of the private half of `seal_key` can read it."""
    return seal_to(
        seal_key,
        ca_key_pem,
        ephemeral_private=new_private_key(secrets.token_bytes(32)),
        nonce=secrets.token_bytes(NONCE_BYTES),
        context=CA_CONTEXT,
    )


@dataclass(slots=True, eq=False)
class Admission:
    """The handlers of PREFLIGHT, JOIN, ADMIT and RENEW, and the planner that seals the CA key to voters."""

    identity: Identity
    consensus: Consensus
    transport: Transport
    probes: ProbeService
    overlay_port: int | None
    """What a joining host may probe; None where no tunnel is."""
    now: Callable[[], float]
    limit: trio.Semaphore

    def join_info(self) -> bytes:
        """The body of GET /v1/join: what a stranger may know before it shows a token."""
        state = self.consensus.state
        alive = [m for m in self.consensus.members.values() if m.status in ("alive", "suspect")]
        mine = [m for m in alive if m.node == self.identity.node]
        others = [m for m in alive if m.node != self.identity.node]
        info = JoinInfo(
            cluster_id=state.cluster.id,
            ca=self.identity.ca_pem,
            peers=tuple(Endpoint(m.address, m.peer_port) for m in (*mine, *others)[:MAX_ENDPOINTS]),
            version=VERSION,
            feature_level=FEATURE_LEVEL,
            overlay_mode=state.cluster.overlay_mode,
            overlay_network=state.cluster.overlay_network,
            clock=self.now(),
        )
        return encode_join_info(info)

    async def answer_preflight(self, caller: Caller, payload: bytes) -> bytes:
        """Check the stranger's facts, and its ports from here."""
        request = decode_join(payload)
        if not isinstance(request, PreflightRequest):
            raise DecodeError("expected a pre-flight request")
        refused = check_token(request.token, token_states(self.consensus.state), self.now())
        if refused is not None:
            return encode_join(refused)
        key = derive_probe_key(request.token.secret.encode(), request.nonce)
        if not self.probes.expect(key, PROBE_SECONDS):
            return encode_join(JoinRefused("busy", "too many hosts are joining just now", "try again in a minute"))
        async with self.limit:
            findings = check_facts(request.facts, self._facts(), self.now())
            if not any(each.check == "address" and not each.ok for each in findings):
                # The address is one that can be dialled.
                findings += (await probe_pair(self.identity.name, target_of(request.facts), key)).findings
        log.info("pre-flight of %s at %s", request.facts.name, caller.address)
        return encode_join(PreflightReply(self.identity.name, findings, self.overlay_port))

    async def answer_join(self, caller: Caller, payload: bytes) -> bytes:
        """Pass a stranger's request to the leader, who admits it."""
        if self.consensus.is_leader:
            return await self.answer_admit(caller, payload)
        leader = self.consensus.raft.leader
        if leader is None:
            return encode_join(_no_leader("no leader is known here"))
        try:
            return await self.transport.request(leader, Kind.ADMIT, payload, timeout=FORWARD_TIMEOUT)
        except (LinkDownError, RequestFailedError) as error:
            return encode_join(_no_leader(str(error)))

    async def answer_admit(self, caller: Caller, payload: bytes) -> bytes:
        """Admit a host: the leader's part, also on behalf of a member that passed the request on."""
        request = decode_join(payload)
        if not isinstance(request, JoinRequest):
            raise DecodeError("expected a join request")
        try:
            return encode_join(await self._admit(request))
        except Unavailable as error:
            return encode_join(_no_leader(str(error)))
        except RefusedError as error:
            return encode_join(JoinRefused("bad_request", str(error)))
        except ProtocolError as error:
            return encode_join(JoinRefused("bad_request", f"the certificate request is not good: {error}"))

    async def answer_renew(self, caller: Caller, payload: bytes) -> bytes:
        """Sign a new certificate for a member that showed its present one."""
        if caller.node is None or host_of_node(self.consensus.state, caller.node) is None:
            raise AuthenticityError("only members may renew their certificates")
        return self.renew(decode_renewal(payload), caller.node)

    def renew(self, csr: bytes, node: NodeId) -> bytes:
        """Return a new certificate, DER, for a member whose identity is known."""
        return certificate_to_der(self._sign(csr, node))

    def plan_seals(self, state: State) -> tuple[SealCaKey, ...]:
        """Give each voter a copy of the CA key that it can open; the leader takes back the others'."""
        voters = self.consensus.raft.config.voters
        plan = seals.plan_seals(state, voters, self.identity.node, leads=self.consensus.is_leader)
        if plan.take_back:
            return tuple(SealCaKey(node=node, sealed=None) for node in plan.take_back)
        if not plan.give:
            return ()
        key = self._ca_key_pem(state)
        return tuple(SealCaKey(node=host.node, sealed=seal_ca_key(key, host.seal_key)) for host in plan.give)

    async def _admit(self, request: JoinRequest) -> JoinReply | JoinRefused:
        state = self.consensus.state
        refused = check_token(request.token, token_states(state), self.now())
        refused = refused or refusal_of(check_facts(request.facts, self._facts(), self.now()))
        if refused is not None:
            return refused
        node = parse_node_id(request.facts.node_id)
        environment = state.environments[int(request.token.environment_id.removeprefix("1a"))]
        certificate = self._sign(request.csr, node)
        done = await self.consensus.submit(_admit_command(request, node, environment.id))
        log.info("admitted %s (%s) to %s", request.facts.name, node[:8], environment.name)
        return JoinReply(
            certificate=certificate_to_der(certificate),
            ca=state.cluster.ca,
            gossip_keys=(GossipKey(self.identity.gossip_key),),
            cluster_id=state.cluster.id,
            environment_id=f"1a{environment.id}",
            environment_name=environment.name,
            host_id=f"1h{done.id}",
            members=tuple(Endpoint(*address) for address in self._gossip_addresses()),
            overlay=OverlayConfig(
                state.cluster.overlay_mode, state.cluster.overlay_network, request.facts.overlay_port
            ),
        )

    def _facts(self) -> ClusterFacts:
        alive = {m.node for m in self.consensus.members.values() if m.status in ("alive", "suspect")}
        return cluster_facts(self.consensus.state, alive=alive, version=VERSION, feature_level=FEATURE_LEVEL)

    def _sign(self, csr: bytes, node: NodeId) -> Certificate:
        state = self.consensus.state
        ca_key = key_from_pem(self._ca_key_pem(state))
        ca = certificate_from_der(state.cluster.ca)
        return issue(csr, node_id=node, role=ROLE, ca=ca, ca_key=ca_key, now=utc(self.now()))

    def _ca_key_pem(self, state: State) -> bytes:
        sealed = state.sealed_ca_keys.get(self.identity.node)
        if sealed is None:
            raise Unavailable("the leader has not received the cluster's signing key yet; try again in a moment")
        return open_sealed(self.identity.seal_private, sealed, context=CA_CONTEXT)

    def _gossip_addresses(self) -> list[Address]:
        alive = [m for m in self.consensus.members.values() if m.status == "alive"]
        return [Address(member.address, member.peer_port) for member in alive[:MAX_ENDPOINTS]]


def _no_leader(why: str) -> JoinRefused:
    return JoinRefused("no_leader", why, "see `node status` on a member; a majority of the voters must be up")


def _admit_command(request: JoinRequest, node: NodeId, environment_id: int) -> AdmitHost:
    facts = request.facts
    return AdmitHost(
        uuid=f"{node[:8]}-{node[8:12]}-{node[12:16]}-{node[16:20]}-{node[20:]}",
        environment_id=environment_id,
        node=node,
        name=facts.name,
        address=facts.advertise,
        peer_port=facts.peer_port,
        api_port=facts.api_port,
        overlay_port=facts.overlay_port,
        overlay_key=request.wireguard_key,
        seal_key=request.seal_key,
        labels=dict(request.labels),
        facts=HostFacts(docker_version=facts.docker_version, docker_api=facts.docker_api, node_version=facts.version),
    )
