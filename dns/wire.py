"""DNS messages as bytes: reading one question, and the pieces replies are made of.

Pure, and bounded: nothing here follows a pointer twice or reads past the end.  Rules from RFC 1035 4.1 (messages),
RFC 6891 (EDNS).  Questions are kept as the exact bytes that came, so that a reply repeats them letter for letter.
"""

from dataclasses import dataclass
from struct import Struct, error

HEADER_BYTES = 12
PLAIN_BYTES = 512
EDNS_BYTES = 1232
STREAM_BYTES = 65535
MAX_NAME_BYTES = 255
MAX_POINTERS = 32

QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE_MASK, RCODE_MASK = 0x7800, 0x000F
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
A, NS, CNAME, SOA, PTR, AAAA, OPT, ANY = 1, 2, 5, 6, 12, 28, 41, 255
FIRST_META_TYPE, LAST_META_TYPE = 249, 255
IN = 1
DO = 0x8000

HEADER = Struct(">HHHHHH")
HEADER_AFTER_ID = Struct(">HHHHH")
_PAIR = Struct(">HH")
_FIXED = Struct(">HHIH")


class MalformedError(Exception):
    """Bytes that are no DNS message, or one that breaks off or loops."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question as it came."""

    id: int
    flags: int
    question: bytes
    """The question section: name, type and class, letter case as asked."""

    name: str
    """The name in lower case, without final dot; a dot inside a label is written `\\.`."""

    qtype: int
    qclass: int
    payload: int
    """Bytes that a datagram to the asker may have, at most EDNS_BYTES."""

    edns: bool = False
    dnssec: bool = False
    edns_version: int = 0
    is_repeatable: bool = True
    """False where EDNS options (a cookie) make the bytes unique."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that is refused before its question is looked at; no `rcode` means that it gets no reply."""

    rcode: int | None


def parse_query(message: bytes) -> Query | Rejected:
    """Read a query; anything that is none, or that we do not do, comes back as Rejected."""
    if len(message) < HEADER_BYTES:
        return Rejected(None)
    ident, flags, questions, answers, authorities, additional = HEADER.unpack_from(message)
    if flags & QR:
        return Rejected(None)
    if flags & OPCODE_MASK:
        return Rejected(NOTIMP)
    if questions != 1 or answers or authorities or additional > 1:
        return Rejected(FORMERR)
    try:
        name, at = _read_question_name(message)
        qtype, qclass = _PAIR.unpack_from(message, at)
        question = message[HEADER_BYTES : at + 4]
        if not additional:
            return Query(ident, flags, question, name, qtype, qclass, PLAIN_BYTES)
        return _with_edns(message, at + 4, Query(ident, flags, question, name, qtype, qclass, PLAIN_BYTES))
    except (MalformedError, error):
        return Rejected(FORMERR)


def _with_edns(message: bytes, at: int, query: Query) -> Query:
    if message[at : at + 1] != b"\0":
        raise MalformedError("the additional record is not EDNS")
    rtype, payload, extended, length = _FIXED.unpack_from(message, at + 1)
    if rtype != OPT or at + 11 + length > len(message):
        raise MalformedError("the additional record is not EDNS, or breaks off")
    return Query(
        id=query.id,
        flags=query.flags,
        question=query.question,
        name=query.name,
        qtype=query.qtype,
        qclass=query.qclass,
        payload=min(max(payload, PLAIN_BYTES), EDNS_BYTES),
        edns=True,
        dnssec=bool(extended & DO),
        edns_version=(extended >> 16) & 0xFF,
        is_repeatable=length == 0,
    )


def _read_question_name(message: bytes) -> tuple[str, int]:
    """Return the question's name and where it ends; a first question has nothing to point back to."""
    labels = []
    at = HEADER_BYTES
    while True:
        length = message[at] if at < len(message) else 0xFF
        if length > 63 or at + 1 + length > len(message):
            raise MalformedError("a label breaks off or is no label")
        at += 1
        if not length:
            break
        label = message[at : at + length].lower()
        labels.append(label.replace(b".", b"\\.") if b"." in label else label)
        at += length
    if at - HEADER_BYTES > MAX_NAME_BYTES:
        raise MalformedError("the name is longer than 255 bytes")
    return b".".join(labels).decode("latin-1"), at


def encode_name(name: str) -> bytes:
    """Return `name` (as the zone holds it) as labels with their lengths."""
    labels = name.encode("ascii").split(b".") if name else []
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def encode_record(owner: bytes, rtype: int, ttl: int, rdata: bytes) -> bytes:
    """Return one resource record; `owner` is a name or a pointer, already encoded."""
    return owner + _FIXED.pack(rtype, IN, ttl, len(rdata)) + rdata


def encode_pointer(offset: int) -> bytes:
    """Return a compression pointer to `offset`."""
    return (0xC000 | offset).to_bytes(2, "big")


def encode_edns(rcode: int = 0, *, dnssec: bool = False, payload: int = EDNS_BYTES) -> bytes:
    """Return an OPT record without options."""
    return b"\0" + _FIXED.pack(OPT, payload, ((rcode >> 4) << 24) | (DO if dnssec else 0), 0)


def encode_error(message: bytes, rcode: int) -> bytes:
    """Return the shortest reply to `message`, which may be broken: a header, nothing else."""
    flags = int.from_bytes(message[2:4], "big")
    return message[:2] + HEADER_AFTER_ID.pack(QR | (flags & (OPCODE_MASK | RD)) | RA | rcode, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """A record in somebody else's message: where it starts and ends, and what it is."""

    owner_at: int
    rdata_at: int
    end: int
    rtype: int
    ttl: int


def read_answers(message: bytes) -> tuple[int, list[ForeignRecord]]:
    """Return where the question section ends, and the records of the answer section; raise MalformedError."""
    try:
        _, _, questions, answers, _, _ = HEADER.unpack_from(message)
        at = HEADER_BYTES
        for _ in range(questions):
            at = _skip_name(message, at) + 4
        start = at
        records = []
        for _ in range(answers):
            owner_at, at = at, _skip_name(message, at)
            rtype, _, ttl, length = _FIXED.unpack_from(message, at)
            end = at + _FIXED.size + length
            if end > len(message):
                raise MalformedError("a record breaks off")
            records.append(ForeignRecord(owner_at, at + _FIXED.size, end, rtype, ttl))
            at = end
    except error as short:
        raise MalformedError("the message breaks off") from short
    return start, records


def read_name(message: bytes, at: int) -> bytes:
    """Return the name at `at` as plain labels, pointers followed; raise MalformedError."""
    labels = b""
    for _ in range(MAX_POINTERS):
        end = _skip_labels(message, at)
        labels += message[at:end]
        if len(labels) > MAX_NAME_BYTES:
            raise MalformedError("the name is longer than 255 bytes")
        if message[end] == 0:
            return labels + b"\0"
        at = int.from_bytes(message[end : end + 2], "big") & 0x3FFF
    raise MalformedError("the name's pointers loop")


def _skip_name(message: bytes, at: int) -> int:
    at = _skip_labels(message, at)
    return at + (1 if message[at] == 0 else 2)


def _skip_labels(message: bytes, at: int) -> int:
    """Return where the labels that start at `at` end: at the root label or at a pointer."""
    while at < len(message):
        length = message[at]
        if length == 0 or length >= 0xC0:
            return at
        if length > 63:
            break
        at += 1 + length
    raise MalformedError("a name breaks off or has a label of an unknown kind")
