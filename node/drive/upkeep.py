"""Small duties of a member: tell the cluster what this host is, renew its certificate, remember where the others are.

Each is level-triggered and harmless to repeat.  Nothing here decides about containers.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import trio

from node.commands import ReportHost
from node.config import VERSION
from node.drive.admission import Admission, encode_renewal
from node.drive.consensus import Consensus, Transport
from node.drive.credentials import Credentials
from node.drive.link import LinkDownError, RequestFailedError
from node.drive.wakeup import Wakeup
from node.model import Host, HostFacts, host_of_node
from node.ports import Engine, EngineError, EngineVersion, MemberView, RefusedError, Unavailable
from node.preflight import DAY_SECONDS, check_certificate
from node.store.identity import DataFolder, Identity
from protocol.errors import ProtocolError
from protocol.messages import Kind
from protocol.pki import (
    certificate_from_der,
    certificate_from_pem,
    certificate_to_pem,
    key_from_pem,
    new_csr,
    node_id_of,
    renew_at,
    utc,
    verify_issued_by,
    verify_key,
)

REPORT_EVERY = 300.0
REPORT_RETRY = 1.0
CURRENT_POLL = 0.1
RENEW_CHECK_EVERY = 3600.0
RENEW_RETRY = 60.0
SEEDS_EVERY = 30.0
MAX_SEEDS = 32
ADDRESS_EVERY = 5.0
ALARM_EVERY = DAY_SECONDS

log = logging.getLogger("corral.upkeep")


@dataclass(slots=True, eq=False)
class Upkeep:
    """The duties, and the identity as it is now: the one writer of the identity file while the daemon runs."""

    folder: DataFolder
    identity: Identity
    consensus: Consensus
    transport: Transport
    admission: Admission
    credentials: Credentials
    engine: Engine
    overlay_facts: Callable[[], tuple[str, int]]
    """Kind and MTU of the overlay in use."""
    now: Callable[[], float]
    find_address: Callable[[Identity], str | None]
    on_address: Callable[[Identity], None] = lambda identity: None
    """Told when this host's address has changed."""
    wakeup: Wakeup = field(default_factory=Wakeup)
    is_reported: trio.Event = field(default_factory=trio.Event)
    """Set once the cluster knows this host as it is: it is active."""
    is_leaving: bool = False
    """Whether this host leaves by its own wish: then it is no trouble that the cluster has lost it."""
    _is_removed: bool = False
    _warn_again_at: float = 0.0
    _saving: trio.Lock = field(default_factory=trio.Lock)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do all duties until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_host)
            nursery.start_soon(self._renew_certificate)
            nursery.start_soon(self._remember_others)
            nursery.start_soon(self._follow_address)
            task_status.started()

    async def _report_host(self) -> None:
        while not self.consensus.is_current:  # Before that nobody leads here, or what we compare with is old.
            await trio.sleep(CURRENT_POLL)
        while True:
            wait = REPORT_EVERY
            try:
                await self._report_once()
            except (EngineError, RefusedError, Unavailable) as error:
                log.debug("this host's facts are not reported yet: %s", error)
                wait = REPORT_RETRY
            await self.wakeup.wait(at_most=wait, settle=0.05)

    async def _report_once(self) -> None:
        state = await self.consensus.wait_state()
        host = host_of_node(state, self.identity.node)
        if host is None:
            self._note_removed()
            return
        kind, mtu = self.overlay_facts()
        wanted = _host_as_it_is(host, self.identity, await self.engine.version(), kind, mtu)
        if wanted != host:
            await self.consensus.submit(
                ReportHost(
                    node=self.identity.node,
                    address=wanted.address,
                    peer_port=wanted.peer_port,
                    api_port=wanted.api_port,
                    overlay_port=wanted.overlay_port,
                    facts=wanted.facts,
                )
            )
        self.is_reported.set()

    def _note_removed(self) -> None:
        if self._is_removed:
            return
        self._is_removed = True
        if self.is_leaving:
            log.info("the cluster has let this host go")
        else:
            log.error("this host was removed from the cluster: `node leave --force` takes away what is left of it here")

    async def _renew_certificate(self) -> None:
        while True:
            due = renew_at(certificate_from_pem(self.identity.certificate_pem.encode()))
            wait = RENEW_CHECK_EVERY
            if self.now() >= due:
                try:
                    await self._renew_once()
                except (ProtocolError, LinkDownError, RequestFailedError, Unavailable) as error:
                    log.warning("this host's certificate is due for renewal and could not be renewed: %s", error)
                    wait = RENEW_RETRY
            self._warn_of_end()
            await trio.sleep(wait)

    def _warn_of_end(self) -> None:
        """Say daily that the certificate ends soon: a log that only tells of attempts is not read."""
        finding = check_certificate(certificate_from_pem(self.identity.certificate_pem.encode()), self.now())
        if finding.level != "ok" and self.now() >= self._warn_again_at:
            self._warn_again_at = self.now() + ALARM_EVERY
            log.error("this host's certificate: %s; %s", finding.detail, finding.try_)

    async def _renew_once(self) -> None:
        await self.consensus.wait_state()
        key = key_from_pem(self.identity.key_pem.encode())
        certificate = await self._ask_certificate(new_csr(self.identity.node, key))
        ca = certificate_from_pem(self.identity.ca_pem.encode())
        parsed = certificate_from_der(certificate)
        verify_issued_by(parsed, ca, utc(self.now()))
        verify_key(parsed, key)
        if node_id_of(certificate) != self.identity.node:
            raise ProtocolError("the leader sent a certificate of another node")
        await self._save(certificate_pem=certificate_to_pem(parsed).decode())
        self.credentials.reload()
        log.info("renewed this host's certificate, in force until %s", f"{parsed.not_valid_after_utc:%Y-%m-%d}")

    async def _ask_certificate(self, csr: bytes) -> bytes:
        leader = self.consensus.raft.leader
        if leader is None:
            raise Unavailable("no leader is known")
        if leader == self.identity.node:
            return self.admission.renew(csr, self.identity.node)
        return await self.transport.request(leader, Kind.RENEW, encode_renewal(csr), timeout=10)

    async def _remember_others(self) -> None:
        while True:
            await trio.sleep(SEEDS_EVERY)
            seeds = _seeds_of([m for m in self.consensus.members.values() if m.node != self.identity.node])
            if seeds and seeds != self.identity.seeds:
                try:
                    await self._save(seeds=seeds)
                except Unavailable as error:
                    log.warning("where the others are could not be noted: %s", error)

    async def _follow_address(self) -> None:
        """Go on under another address when the one chosen has gone from this host: it is known by its identity."""
        while True:
            if self.identity.address_is_own:
                address = self.find_address(self.identity)
                if address is not None and address != self.identity.address:
                    log.warning("this host's address was %s and is %s now", self.identity.address, address)
                    try:
                        await self._save(address=address)
                    except Unavailable as error:
                        # Told to the others all the same: they would look for this host where it is no more.
                        log.error("this host's new address could not be saved: %s", error)
                        self.identity = msgspec.structs.replace(self.identity, address=address)
                    self.on_address(self.identity)
                    self.wakeup.set()
            await trio.sleep(ADDRESS_EVERY)

    async def _save(self, **changes: object) -> None:
        """Have a later start find these changes; Unavailable, and all as it was, when the disk does not take them."""
        async with self._saving:  # Two at once would write into each other's file, or the older one last.
            identity = msgspec.structs.replace(self.identity, **changes)
            try:
                await trio.to_thread.run_sync(self.folder.save, identity)
            except OSError as error:
                raise Unavailable(f"{self.folder.identity_file}: {error.strerror or error}") from error
            self.identity = identity


def _seeds_of(others: list[MemberView]) -> tuple[tuple[str, int], ...]:
    alive = sorted((m.address, m.peer_port) for m in others if m.status == "alive")
    return tuple(alive[:MAX_SEEDS])


def _host_as_it_is(host: Host, identity: Identity, engine: EngineVersion, kind: str, mtu: int) -> Host:
    facts = HostFacts(
        docker_version=engine.version,
        docker_api=engine.api,
        kernel=engine.kernel,
        os=engine.os,
        cpus=engine.cpus,
        memory_bytes=engine.memory_bytes,
        node_version=VERSION,
        overlay_kind=kind,
        mtu=mtu,
    )
    return msgspec.structs.replace(
        host,
        address=identity.address,
        peer_port=identity.peer_port,
        api_port=identity.api_port,
        overlay_port=identity.overlay_port,
        facts=facts,
    )
