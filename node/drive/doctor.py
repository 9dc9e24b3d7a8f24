"""Checks a running host and its paths to every other one, from both sides, and names the pair that fails.

Asks each member over the peer link to expect our probes and to probe us back; adds what Docker, the overlay and
gossip say.  Changes nothing.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import trio

from node.drive.consensus import Consensus, Transport
from node.drive.link import Caller, LinkDownError, RequestFailedError
from node.drive.overlaying import Overlaying
from node.model import Host, host_of_node
from node.ports import Engine
from node.preflight import Target, ask_docker, check_certificate, merge_ways, probe_pair
from node.probes import ProbeService
from node.store.identity import Identity
from protocol.errors import DecodeError, ProtocolError
from protocol.ids import NodeId
from protocol.join import Finding, Findings
from protocol.messages import Kind
from protocol.pki import certificate_from_pem
from protocol.probe import derive_probe_key

PROBE_SECONDS = 20.0
PAIR_TIMEOUT = 15.0
PAIRS_AT_ONCE = 4
NONCE_BYTES = 16
STALE_HANDSHAKE = 300.0


class ProbeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Expect probes under the key of this nonce, and probe the asker back."""

    nonce: bytes
    clock: float


class ProbeReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the other side found, and its clock."""

    findings: Findings
    clock: float


_requests = msgspec.msgpack.Decoder(ProbeRequest)
_replies = msgspec.msgpack.Decoder(ProbeReply)


@dataclass(slots=True, eq=False)
class Doctor:
    """Both sides of the check."""

    identity: Callable[[], Identity]
    consensus: Consensus
    transport: Transport
    probes: ProbeService
    engine: Engine
    overlaying: Overlaying | None
    overlay_is_probed: bool
    now: Callable[[], float]

    async def examine(self) -> tuple[Finding, ...]:
        """Return all findings, this host's own first."""
        findings = [*await self._examine_self()]
        me = self.identity().node
        others = [h for h in self.consensus.state.hosts.values() if h.state != "removed" and h.node != me]
        found: dict[NodeId, tuple[Finding, ...]] = {}
        limit = trio.CapacityLimiter(PAIRS_AT_ONCE)

        async def one(host: Host) -> None:
            async with limit:
                found[host.node] = await self._examine_pair(host)

        async with trio.open_nursery() as nursery:
            for host in others:
                nursery.start_soon(one, host)
        for host in others:
            findings += found[host.node]
        return tuple(findings)

    async def answer_probe(self, caller: Caller, payload: bytes) -> bytes:
        """Handler of Kind.PROBE."""
        host = host_of_node(self.consensus.state, caller.node) if caller.node else None
        if host is None:
            raise DecodeError("only members are probed")
        try:
            request = _requests.decode(payload)
            key = self._key(request.nonce)
        except (msgspec.MsgspecError, ValueError) as error:
            raise DecodeError(f"expected a probe request: {error}") from None
        self.probes.expect(key, PROBE_SECONDS)
        report = await probe_pair(self.identity().name, self._target(host), key)
        return msgspec.msgpack.encode(ProbeReply(report.findings, self.now()))

    async def _examine_self(self) -> list[Finding]:
        docker, _ = await ask_docker(self.engine.version)
        view = self.consensus.consensus
        leader = (
            Finding("leader", "ok", f"term {view.term}")
            if view.leader
            else Finding(
                "leader",
                "fail",
                "no leader is known: changes are refused, names and containers go on",
                "bring back a majority of the voters: `node status` lists them",
            )
        )
        certificate = check_certificate(certificate_from_pem(self.identity().certificate_pem.encode()), self.now())
        findings = [docker, leader, certificate]
        if self.overlaying is not None:
            findings += await self._examine_overlay(self.overlaying)
        return findings

    async def _examine_overlay(self, overlaying: Overlaying) -> list[Finding]:
        report = await overlaying.overlay.inspect()
        if report.kind is None or report.failures:
            detail = overlaying.trouble or "; ".join(report.failures) or "there is no tunnel yet"
            return [Finding("overlay", "fail", detail[:1000], "see the daemon's log")]
        findings = [Finding("overlay", "ok", f"{report.kind}, MTU {report.mtu}")]
        if report.kind == "vxlan":
            return findings  # It has no handshakes.
        names = {host.node: host.name for host in self.consensus.state.hosts.values()}
        for peer in report.peers:
            name = names.get(NodeId(peer.node or ""), peer.node or "unknown peer")
            if peer.handshake_age is None or peer.handshake_age > STALE_HANDSHAKE:
                age = "none yet" if peer.handshake_age is None else f"{peer.handshake_age:.0f} s ago"
                findings.append(
                    Finding(
                        f"tunnel to {name}",
                        "warn" if peer.handshake_age is None else "fail",
                        f"latest WireGuard handshake: {age}",
                        f"open UDP {self.identity().overlay_port} between both hosts",
                    )
                )
            else:
                findings.append(Finding(f"tunnel to {name}", "ok", f"handshake {peer.handshake_age:.0f} s ago"))
        return findings

    async def _examine_pair(self, host: Host) -> tuple[Finding, ...]:
        nonce = secrets.token_bytes(NONCE_BYTES)
        key = self._key(nonce)
        self.probes.expect(key, PROBE_SECONDS)
        request = msgspec.msgpack.encode(ProbeRequest(nonce, self.now()))
        try:
            reply = _replies.decode(await self.transport.request(host.node, Kind.PROBE, request, timeout=PAIR_TIMEOUT))
        except (LinkDownError, RequestFailedError, ProtocolError, msgspec.MsgspecError) as error:
            advice = f"is its daemon running, and TCP {host.peer_port} open between both?"
            mine = await probe_pair(self.identity().name, self._target(host), key)
            down = Finding(f"peer link to {host.name}", "fail", str(error)[:1000], advice)
            return (down, *_named(host, mine.findings))
        mine = await probe_pair(self.identity().name, self._target(host), key)
        skew = abs(reply.clock - self.now())
        clock = Finding("clock", "ok" if skew < 5 else "warn", f"{skew:.1f} s apart", "run a time service on both")
        return _named(host, (*merge_ways(mine.findings, reply.findings), clock))

    def _target(self, host: Host) -> Target:
        member = self.consensus.members.get(host.node)
        address, port = (member.address, member.peer_port) if member else (host.address, host.peer_port)
        overlay_port = host.overlay_port if self.overlay_is_probed else None
        return Target(host.name, address, port, overlay_port)

    def _key(self, nonce: bytes) -> bytes:
        return derive_probe_key(self.identity().gossip_key, nonce)


def _named(host: Host, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    return tuple(msgspec.structs.replace(each, check=f"{host.name}: {each.check}") for each in findings)
