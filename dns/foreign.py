"""What is asked of resolvers outside, whether an answer is one to that, and how it is handed on.

Pure.  The question goes out anew with an id of ours and nothing else of the asker's; what comes back is believed only
with that id and that question (RFC 5452 9.1).  Answers longer than the asker can take are cut at a record, with TC.
"""

from dns import wire
from dns.answer import TTL, Chase
from dns.wire import MalformedError, Query

PASSED_FLAGS = wire.RD | wire.CD | wire.AD
RETRIED_RCODES = frozenset({wire.SERVFAIL, wire.REFUSED, wire.NOTIMP, wire.FORMERR})
MAX_CHASED_RECORDS = 64


def encode_question(query: Query, ident: int, question: bytes | None = None) -> bytes:
    """Return the query to send outside for `query`; `question` replaces the asker's own."""
    head = wire.HEADER.pack(ident, query.flags & PASSED_FLAGS, 1, 0, 0, int(query.edns))
    tail = wire.encode_edns(dnssec=query.dnssec, payload=query.payload) if query.edns else b""
    return head + (question or query.question) + tail


def question_for(target: str, qtype: int) -> bytes:
    """Return the question section that asks for `target`."""
    return wire.encode_name(target) + qtype.to_bytes(2, "big") + wire.IN.to_bytes(2, "big")


def is_answer_to(sent: bytes, received: bytes) -> bool:
    """Say whether `received` answers the query `sent`: same id, same question, a response."""
    if len(received) < wire.HEADER_BYTES or received[:2] != sent[:2] or not received[2] & 0x80:
        return False
    end = _question_end(sent)
    if received[4:6] == b"\0\0" and rcode_of(received):
        # Some resolvers leave the question out of an error; an error is all that a forger could bring.
        return True
    return received[4:6] == b"\0\1" and received[12:end].lower() == sent[12:end].lower()


def _question_end(message: bytes) -> int:
    at = wire.HEADER_BYTES
    while message[at]:
        at += 1 + message[at]
    return at + 5


def rcode_of(message: bytes) -> int:
    """Return the response code in the header."""
    return message[3] & wire.RCODE_MASK


def is_truncated(message: bytes) -> bool:
    """Say whether the sender had more to say than fits."""
    return bool(message[2] & 0x02)


def hand_on(query: Query, received: bytes, limit: int) -> bytes:
    """Return `received` as the reply to `query`, in at most `limit` bytes; raise MalformedError if it is garbage."""
    if received[4:6] != b"\0\1":
        raise MalformedError("the answer does not repeat the question")
    end = wire.HEADER_BYTES + len(query.question)
    flags = int.from_bytes(received[2:4], "big") | wire.RA
    if query.qtype == wire.AAAA and flags & wire.RCODE_MASK == wire.NXDOMAIN:
        # Some resolvers deny a whole name for want of an IPv6 address, and clients then drop the A answer too.
        flags &= ~wire.RCODE_MASK
    if len(received) > limit:
        return _cut(query, received, flags, limit)
    head = query.id.to_bytes(2, "big") + flags.to_bytes(2, "big") + received[4 : wire.HEADER_BYTES]
    return head + query.question + received[end:]


def _cut(query: Query, received: bytes, flags: int, limit: int) -> bytes:
    tail = wire.encode_edns(dnssec=query.dnssec) if query.edns else b""
    start, records = wire.read_answers(received)
    fitting = [record for record in records if record.end + len(tail) <= limit]
    end = fitting[-1].end if fitting else start
    head = wire.HEADER.pack(query.id, flags | wire.TC, 1, len(fitting), 0, int(query.edns))
    return head + query.question + received[start:end] + tail


def answer_chase(chase: Chase, received: bytes | None, limit: int) -> bytes:
    """Return the reply made of our aliases and of the addresses they lead to; without those, only the aliases."""
    query = chase.query
    tail = wire.encode_edns(dnssec=query.dnssec) if query.edns else b""
    records = _chased_records(received, query.qtype) if received else []
    body, count = chase.aliases, chase.alias_count
    room = limit - wire.HEADER_BYTES - len(query.question) - len(tail)
    for record in records:
        if len(body) + len(record) > room:
            break
        body, count = body + record, count + 1
    rcode = wire.NOERROR if received else wire.SERVFAIL
    flags = wire.QR | wire.RA | (query.flags & (wire.RD | wire.CD)) | rcode
    return wire.HEADER.pack(query.id, flags, 1, count, 0, int(query.edns)) + query.question + body + tail


def _chased_records(received: bytes, qtype: int) -> list[bytes]:
    """Return the aliases and addresses in `received`, without compression, so that they fit anywhere."""
    chased = []
    for record in wire.read_answers(received)[1][:MAX_CHASED_RECORDS]:
        if record.rtype == wire.CNAME:
            rdata = wire.read_name(received, record.rdata_at)
        elif record.rtype == qtype and qtype in (wire.A, wire.AAAA):
            rdata = received[record.rdata_at : record.end]
        else:
            continue
        owner = wire.read_name(received, record.owner_at)
        chased.append(wire.encode_record(owner, record.rtype, min(record.ttl, TTL), rdata))
    return chased
