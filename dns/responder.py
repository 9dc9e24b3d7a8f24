"""Holds the zone that is served, the replies that are ready for it, and the questions on their way outside.

Shell, without sockets: the listeners bring messages and take replies.  A new zone takes effect between two messages.
"""

import logging
from collections import Counter
from random import Random

from dns import answer, foreign, wire
from dns.answer import Chase, Forward, Reply
from dns.ready import Ready, ReadyReplies, make_ready
from dns.search import Askers
from dns.upstream import Upstreams
from dns.zone import Zone, parse_networks

MAX_OUTSIDE = 512
MAX_OUTSIDE_PER_ASKER = 128
MAX_ASKERS = 8192
MAX_LOGGED_FAILURES = 20

logger = logging.getLogger("corral.dns")

Outside = Forward | Chase


class Responder:
    """What the listeners ask, for all addresses and transports alike."""

    def __init__(self, upstreams: Upstreams, rng: Random) -> None:
        self.counts: Counter[str] = Counter()
        self.tables: dict[str, dict[bytes, Ready]] = {}
        """Asker -> ready replies by query bytes; the datagram listener looks here first."""

        self._upstreams = upstreams
        self._rng = rng
        self._outside: Counter[str] = Counter()
        self._outside_total = 0
        self.use_zone(Zone())

    @property
    def zone(self) -> Zone:
        """The zone that is served."""
        return self._zone

    def use_zone(self, zone: Zone) -> None:
        """Serve `zone` from the next message on."""
        self._zone = zone
        self._networks = parse_networks(zone.networks)
        self._askers = Askers(zone)
        self._ready = ReadyReplies(self._rng)
        self.tables = {}
        self._upstreams.use_servers(zone.upstreams)

    def respond(self, message: bytes, asker: str, *, stream: bool = False) -> bytes | Outside | None:
        """Return the reply to `message`, or what must be asked outside first, or None where it gets nothing."""
        try:
            return self._respond(message, asker, stream)
        except Exception:
            # The last line before the loop: no byte string may end the names of a whole host.
            self._log_failure(message)
            return None

    def _respond(self, message: bytes, asker: str, stream: bool) -> bytes | Outside | None:
        suffixes = self._askers.suffixes_of(asker)
        decision = answer.answer_query(message, self._zone, suffixes, self._networks, stream=stream)
        if isinstance(decision, Reply):
            self.counts["refused" if suffixes is None else "answered"] += 1
            if stream or suffixes is None or self._zone.serial == 0:
                return message[:2] + make_ready(decision, self._rng).take()
            return message[:2] + self._keep(message, asker, suffixes, decision).take()
        if decision is None:
            self.counts["ignored"] += 1
            return None
        if not self._upstreams.servers or not self._may_go_outside(asker):
            self.counts["unanswerable"] += 1
            return answer.fail(message, wire.SERVFAIL)
        return decision

    def _keep(self, message: bytes, asker: str, suffixes: tuple[str, ...], reply: Reply) -> Ready:
        if asker not in self.tables:
            if len(self.tables) >= MAX_ASKERS:
                self.tables.clear()
            self.tables[asker] = self._ready.table(suffixes)
        return self._ready.keep(suffixes, message[2:], reply)

    def _may_go_outside(self, asker: str) -> bool:
        return self._outside_total < MAX_OUTSIDE and self._outside[asker] < MAX_OUTSIDE_PER_ASKER

    def claim_outside(self, asker: str) -> None:
        """Count one more question of `asker` as on its way; `ask_outside` ends it."""
        self._outside[asker] += 1
        self._outside_total += 1

    async def ask_outside(self, outside: Outside, message: bytes, asker: str, *, stream: bool = False) -> bytes:
        """Return the reply to a claimed question, from the resolvers outside."""
        try:
            reply = await self._ask_outside(outside, wire.STREAM_BYTES if stream else outside.query.payload)
        finally:
            self._outside_total -= 1
            self._outside[asker] -= 1
            if not self._outside[asker]:
                del self._outside[asker]
        self.counts["forwarded" if reply else "unanswerable"] += 1
        return reply or answer.fail(message, wire.SERVFAIL)

    async def _ask_outside(self, outside: Outside, limit: int) -> bytes | None:
        query = outside.query
        try:
            if isinstance(outside, Chase):
                received = await self._upstreams.ask(query, foreign.question_for(outside.target, query.qtype))
                return foreign.answer_chase(outside, received, limit)
            received = await self._upstreams.ask(query)
            return None if received is None else foreign.hand_on(query, received, limit)
        except wire.MalformedError:
            return None
        except Exception:
            self._log_failure(query.question)
            return None

    def _log_failure(self, message: bytes) -> None:
        self.counts["failed"] += 1
        if self.counts["failed"] <= MAX_LOGGED_FAILURES:
            logger.exception("no reply to the message or question %s: please report this", message[:600].hex())
