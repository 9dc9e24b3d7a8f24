"""What one query gets: a reply from the zone, a question to ask outside first, a refusal, or nothing.

Pure: bytes, zone and asker in, a decision out; the order of a reply's addresses is left to `dns.ready`.  Rules: RFC
1035 and 2308 (negative answers carry the SOA); a name without any record is NXDOMAIN and one with records of other
types is an empty NOERROR, so that musl goes on with its search list in the first case only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from dns import wire
from dns.search import find_name, is_kept_inside
from dns.wire import NOERROR, NXDOMAIN, Query, Rejected
from dns.zone import Alias, Network, Record, Zone

TTL = 1
MAX_PLAIN_ADDRESSES = 25
"""In a plain datagram: old musl reads 512 bytes and ignores the truncation bit."""

MAX_ALIASES = 8
SOA_TIMES = b"".join(seconds.to_bytes(4, "big") for seconds in (60, 10, 600, TTL))
REVERSE_V4, REVERSE_V6 = ".in-addr.arpa", ".ip6.arpa"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply but for its id: `head`, then `shown` of the `records` in any order, then `tail`."""

    head: bytes
    records: tuple[bytes, ...] = ()
    shown: int = 0
    tail: bytes = b""
    is_repeatable: bool = True
    """Whether the same bytes from the same scope may be answered with it until the zone changes."""


@dataclass(frozen=True, slots=True)
class Forward:
    """The name is not ours: ask the resolvers outside, and hand on what they say."""

    query: Query


@dataclass(frozen=True, slots=True)
class Chase:
    """Our name is an alias of a name outside: ask for that, and answer with the alias and what it leads to."""

    query: Query
    target: str
    aliases: bytes
    """The CNAME records, ready for the answer section."""

    alias_count: int


Decision = Reply | Forward | Chase | None


def answer_query(
    message: bytes, zone: Zone, suffixes: tuple[str, ...] | None, networks: tuple[Network, ...], *, stream: bool = False
) -> Decision:
    """Decide what `message` gets; `suffixes` of None means that its sender may not ask, None that it gets nothing."""
    query = wire.parse_query(message)
    if isinstance(query, Rejected):
        if query.rcode is None:
            return None
        return Reply(wire.encode_error(message, query.rcode)[2:])
    if zone.serial == 0:
        # Nothing is known yet, so nothing may be denied either; a resolver asks again after this.
        return _fail(query, wire.SERVFAIL)
    if suffixes is None:
        return _fail(query, wire.REFUSED)
    if query.edns_version:
        return _fail(query, wire.BADVERS)
    if query.qclass != wire.IN or wire.FIRST_META_TYPE <= query.qtype <= wire.LAST_META_TYPE:
        return _fail(query, wire.NOTIMP)
    return _Answer(query, zone, stream).decide(suffixes, networks)


def fail(message: bytes, rcode: int) -> bytes:
    """Return the whole reply that says `rcode` to `message`, with its question where that can be read."""
    query = wire.parse_query(message)
    if isinstance(query, Rejected):
        return wire.encode_error(message, rcode)
    return message[:2] + _fail(query, rcode).head


def _fail(query: Query, rcode: int) -> Reply:
    tail = wire.encode_edns(rcode, dnssec=query.dnssec) if query.edns else b""
    return Reply(_head(query, rcode, aa=False, counts=(0, 0)) + tail, is_repeatable=query.is_repeatable)


def _head(query: Query, rcode: int, *, aa: bool, counts: tuple[int, int]) -> bytes:
    flags = wire.QR | wire.RA | (wire.AA if aa else 0) | (query.flags & (wire.RD | wire.CD)) | (rcode & wire.RCODE_MASK)
    return wire.HEADER_AFTER_ID.pack(flags, 1, *counts, int(query.edns)) + query.question


class _Answer:
    """The answer to one well-formed question from somebody who may ask."""

    def __init__(self, query: Query, zone: Zone, stream: bool) -> None:
        self.query = query
        self.zone = zone
        self.limit = wire.STREAM_BYTES if stream else query.payload

    def decide(self, suffixes: tuple[str, ...], networks: tuple[Network, ...]) -> Decision:
        query, zone = self.query, self.zone
        name = find_name(zone, query.name, suffixes)
        if name is not None:
            return self._from_record(zone.lookup(name) or ())
        if query.name == zone.domain:
            return self._apex()
        if is_kept_inside(zone, query.name):
            return self._empty(NXDOMAIN)
        address = parse_reverse(query.name)
        if address is not None:
            return self._reverse(address, networks)
        return Forward(query)

    def _from_record(self, record: Record) -> Decision:
        aliases: list[str] = []
        while isinstance(record, Alias):
            aliases.append(record.target)
            if self.query.qtype == wire.CNAME or len(aliases) == MAX_ALIASES:
                return self._fixed(self._encode_aliases(aliases), len(aliases))
            found = self.zone.lookup(record.target)
            if found is None and not self.zone.is_ours(record.target):
                return Chase(self.query, record.target, self._encode_aliases(aliases), len(aliases))
            record = found or ()
        prefix = self._encode_aliases(aliases)
        # Addresses belong to the last alias' target, which stands at the end of the prefix.
        at = wire.HEADER_BYTES
        if aliases:
            at += len(self.query.question) + len(prefix) - len(wire.encode_name(aliases[-1]))
        records = self._address_records(wire.encode_pointer(at), record)
        if records or prefix:
            return self._addresses(prefix, len(aliases), records)
        return self._empty(NOERROR)

    def _encode_aliases(self, targets: list[str]) -> bytes:
        encoded = b""
        owner_at = wire.HEADER_BYTES
        for target in targets:
            rdata = wire.encode_name(target)
            encoded += wire.encode_record(wire.encode_pointer(owner_at), wire.CNAME, TTL, rdata)
            owner_at = wire.HEADER_BYTES + len(self.query.question) + len(encoded) - len(rdata)
        return encoded

    def _address_records(self, owner: bytes, addresses: Iterable[str]) -> tuple[bytes, ...]:
        size = {wire.A: 4, wire.AAAA: 16}.get(self.query.qtype)
        packed = (ip_address(address).packed for address in addresses)
        return tuple(wire.encode_record(owner, self.query.qtype, TTL, rdata) for rdata in packed if len(rdata) == size)

    def _addresses(self, prefix: bytes, prefix_count: int, records: tuple[bytes, ...]) -> Reply:
        query = self.query
        tail = self._edns()
        used = wire.HEADER_BYTES + len(query.question) + len(prefix) + len(tail)
        shown = min(len(records), (self.limit - used) // len(records[0])) if records else 0
        if self.limit == wire.PLAIN_BYTES and not query.edns:
            shown = min(shown, MAX_PLAIN_ADDRESSES)
        head = _head(query, NOERROR, aa=True, counts=(prefix_count + shown, 0)) + prefix
        return Reply(head, records, shown, tail, query.is_repeatable)

    def _fixed(self, records: bytes, count: int) -> Reply:
        head = _head(self.query, NOERROR, aa=True, counts=(count, 0)) + records
        return Reply(head, tail=self._edns(), is_repeatable=self.query.is_repeatable)

    def _empty(self, rcode: int) -> Reply:
        head = _head(self.query, rcode, aa=True, counts=(0, 1)) + self._soa(wire.encode_name(self.zone.domain))
        return Reply(head, tail=self._edns(), is_repeatable=self.query.is_repeatable)

    def _edns(self) -> bytes:
        return wire.encode_edns(dnssec=self.query.dnssec) if self.query.edns else b""

    def _soa(self, owner: bytes) -> bytes:
        zone = self.zone
        names = wire.encode_name(zone.nameserver) + wire.encode_name(f"hostmaster.{zone.domain}")
        serial = (zone.serial & 0xFFFFFFFF).to_bytes(4, "big")
        return wire.encode_record(owner, wire.SOA, TTL, names + serial + SOA_TIMES)

    def _apex(self) -> Reply:
        owner = wire.encode_pointer(wire.HEADER_BYTES)
        if self.query.qtype == wire.SOA:
            return self._fixed(self._soa(owner), 1)
        if self.query.qtype == wire.NS:
            return self._fixed(wire.encode_record(owner, wire.NS, TTL, wire.encode_name(self.zone.nameserver)), 1)
        return self._empty(NOERROR)

    def _reverse(self, address: str, networks: tuple[Network, ...]) -> Decision:
        name = self.zone.name_of(address)
        if name is None:
            parsed = ip_address(address)
            # Whoever is behind an address of ours is nobody else's business, known or not.
            if any(parsed in network for network in networks):
                return self._empty(NXDOMAIN)
            return Forward(self.query)
        if self.query.qtype != wire.PTR:
            return self._empty(NOERROR)
        owner = wire.encode_pointer(wire.HEADER_BYTES)
        return self._fixed(wire.encode_record(owner, wire.PTR, TTL, wire.encode_name(name)), 1)


def parse_reverse(name: str) -> str | None:
    """Return the address that a whole reverse name stands for, or None."""
    if name.endswith(REVERSE_V4):
        text = ".".join(reversed(name.removesuffix(REVERSE_V4).split(".")))
    elif name.endswith(REVERSE_V6):
        nibbles = "".join(reversed(name.removesuffix(REVERSE_V6).split(".")))
        text = ":".join(nibbles[at : at + 4] for at in range(0, len(nibbles), 4)) if len(nibbles) == 32 else ""
    else:
        return None
    try:
        return str(ip_address(text))
    except ValueError:
        return None
