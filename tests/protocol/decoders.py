"""Every function that reads bytes or text of somebody else, with valid samples and what it may raise.

A new decoder goes in here; tests/protocol/test_decoders_fuzz.py says which one is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import gettempdir
from typing import Any
from zlib import crc32

import msgpack
import msgspec

from dns import keep, messages as dns_messages, wire as dns_wire
from dns.messages import Full
from node.commands import Proposal, decode_command, decode_proposal, encode_command, encode_proposal
from node.drive import stream_records as streams
from node.drive.admission import decode_renewal, encode_renewal
from node.drive.proposals import UNREADABLE, decode_result, encode_result
from node.model import Done, Refused
from node.ports import ERR, OUT, LogLine
from node.state import decode_state, encode_state
from protocol import join, messages, pki, probe, seal, tokens, wire
from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term, parse_node_id
from protocol.raft import messages as raft
from protocol.swim import messages as swim
from tests.dns.questions import ask, make_shop
from tests.fakes.states import admit, grown, with_service, with_stack
from tests.protocol.swim.builders import B, datagram, meta
from tests.protocol.test_join import INFO, MESSAGES

KEY = bytes(range(32))
NONCE = bytes(range(12))
NODE = NodeId("a" * 32)


@dataclass(frozen=True, slots=True)
class Decoder:
    """One function that reads what others wrote."""

    name: str
    decode: Callable[[bytes], Any]
    samples: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (ProtocolError,)


def _read_stream(data: bytes) -> list[wire.Frame]:
    """Feed a stream in pieces."""
    reader = wire.FrameReader()
    frames = [frame for at in range(0, len(data), 7) for frame in reader.feed(data[at : at + 7])]
    assert reader.pending_bytes <= wire.MAX_FRAME_BYTES + wire.LENGTH_BYTES
    return frames


def _load_zone(body: bytes) -> Any:
    """Keep bytes under a right checksum, so that what is behind it is tried too."""
    path = Path(gettempdir()) / f"corral-zone-{crc32(body):08x}"
    try:
        path.write_bytes(keep.MAGIC + crc32(body).to_bytes(4, "big") + body)
        return keep.load_zone(path)
    finally:
        path.unlink(missing_ok=True)


def _announced_length(data: bytes) -> int:
    return dns_messages.decode_length(data[:4])


def _text(decode: Callable[[str], Any]) -> Callable[[bytes], Any]:
    return lambda data: decode(data.decode("utf-8", "replace"))


def _raft_samples() -> tuple[bytes, ...]:
    config = raft.make_config([NODE], [NodeId("b" * 32)])
    snapshot = raft.SnapshotMeta(Index(5), Term(2), config)
    entries = (
        raft.Entry(Index(4), Term(1), raft.EntryKind.COMMAND, b"command"),
        raft.Entry(Index(5), Term(2), raft.EntryKind.CONFIG, raft.encode_config(config)),
    )
    said: list[raft.RaftMessage] = [
        raft.PreVoteRequest(Term(3), Index(5), Term(2)),
        raft.VoteRequest(Term(3), Index(5), Term(2)),
        raft.VoteReply(Term(3), True, False),
        raft.AppendRequest(Term(3), Index(3), Term(1), entries, Index(4), 9),
        raft.AppendReply(Term(3), False, Index(3), Index(2), Term(1), 9),
        raft.SnapshotChunk(Term(3), snapshot, 10, 1234, 4, b"chunk"),
        raft.SnapshotReply(Term(3), Index(5), 4, False),
        raft.TimeoutNow(Term(3)),
    ]
    return tuple(raft.encode_message(each) for each in said)


def _swim_samples() -> tuple[bytes, ...]:
    said = (swim.Ping(1, B), swim.Alive(B, 3, meta(2)), swim.Dead(B, 3, NODE), swim.Left(B, 4), swim.Nack(7))  # type: ignore[arg-type]
    rows = [swim.encode_message(swim.Record(B, swim.State.ALIVE, 3, meta(2)))]  # type: ignore[arg-type]
    sync = swim.encode_packet(B, [swim.encode_sync(swim.SyncReply, 1, 1, 3, rows)])
    return datagram(B, *said), sync


def _pki_samples() -> tuple[bytes, bytes, bytes, bytes]:
    """Return a certificate as DER and PEM, a request, and a key."""
    now, ca_key, key = pki.utc(1e9), pki.new_key(), pki.new_key()
    ca = pki.new_ca("c" * 32, ca_key, now)
    request = pki.new_csr(NODE, key)
    certificate = pki.issue(request, node_id=NODE, role="host", ca=ca, ca_key=ca_key, now=now)
    return pki.certificate_to_der(certificate), pki.certificate_to_pem(certificate), request, pki.key_to_pem(key)


def make_decoders() -> tuple[Decoder, ...]:
    """Return all of them."""
    return (*_wire_decoders(), *_key_decoders(), *_state_decoders(), *_dns_decoders())


def _wire_decoders() -> tuple[Decoder, ...]:
    frames = [wire.Frame(messages.Kind.SUBMIT, 7, b"payload"), wire.Frame(1, 0, b"x" * 300)]
    submit = messages.encode(messages.Submit("f" * 32, encode_command(admit(2))))
    return (
        Decoder("wire.decode_envelope", wire.decode_envelope, tuple(wire.encode_envelope(each) for each in frames)),
        Decoder("wire.FrameReader", _read_stream, (b"".join(wire.encode_frame(each) for each in frames),)),
        Decoder("raft.messages.decode_message", raft.decode_message, _raft_samples()),
        Decoder("raft.messages.decode_config", raft.decode_config, (raft.encode_config(raft.make_config([NODE])),)),
        Decoder("swim.messages.decode_packet", swim.decode_packet, _swim_samples()),
        Decoder("join.decode_join", join.decode_join, tuple(join.encode_join(each) for each in MESSAGES)),
        Decoder("join.decode_join_info", join.decode_join_info, (join.encode_join_info(INFO),)),
        Decoder("messages.decode_submit", messages.decode_submit, (submit,)),
        Decoder(
            "messages.decode_submit_reply",
            messages.decode_submit_reply,
            (messages.encode(messages.SubmitReply(False, NODE, "not here")),),
        ),
        Decoder(
            "messages.decode_execute_reply",
            messages.decode_execute_reply,
            (messages.encode(messages.ExecuteReply(b"result", None)),),
        ),
        Decoder(
            "messages.decode_transfer_reply",
            messages.decode_transfer_reply,
            (messages.encode(messages.TransferReply(NODE)), messages.encode(messages.TransferReply(None, "no"))),
        ),
        Decoder("messages.decode_index", messages.decode_index, (messages.encode_index(Index(7)),)),
        Decoder("drive.admission.decode_renewal", decode_renewal, (encode_renewal(b"csr"),)),
        *_stream_decoders(),
    )


def _stream_decoders() -> tuple[Decoder, ...]:
    openings = (
        streams.ReadLog(1, True, 100, 1.5),
        streams.RunCommand(1, ("sh", "-c", "ls"), tty=True, stdin=True),
        streams.ReadFigures((1, 2), host=True),
    )
    pieces = (
        streams.Lines((LogLine(OUT, "2016-04-12T06:00:00Z", b"line"),)),
        streams.Output(ERR, b"out"),
        streams.Input(b"in"),
        streams.InputEnd(),
        streams.Resize(80, 24),
        streams.Figures("host", 1, b"{}"),
        streams.Ended(3, "why"),
        streams.Credit(2),
    )
    encode = streams.encode_stream
    return (
        Decoder(
            "drive.stream_records.decode_opening", streams.decode_opening, tuple(encode(each) for each in openings)
        ),
        Decoder("drive.stream_records.decode_piece", streams.decode_piece, tuple(encode(each) for each in pieces)),
    )


def _key_decoders() -> tuple[Decoder, ...]:
    der, pem, request, key_pem = _pki_samples()
    ring, private = seal.Keyring(KEY), seal.new_private_key(KEY)
    once = seal.new_private_key(KEY[::-1])
    box = seal.seal_to(seal.public_of(private), b"secret", ephemeral_private=once, nonce=NONCE)
    sealed = seal.seal_datagram(ring, b"hello", bytes(seal.NONCE_BYTES))
    kept = seal.seal_kept(KEY, b"secret", nonce=NONCE, context=b"5")
    question = probe.encode_question(KEY[:16], 1)
    token = tokens.new_join_token("1a5", bytes(range(32)), Random(1))
    return (
        Decoder("tokens.parse_token", _text(tokens.parse_token), (tokens.render_token(token).encode(),)),
        Decoder("ids.parse_node_id", _text(parse_node_id), (NODE.encode(),), (ValueError,)),
        Decoder(
            "seal.open_datagram",
            lambda data: seal.open_datagram(ring, data),
            (sealed,),
        ),
        Decoder("seal.open_sealed", lambda data: seal.open_sealed(private, data), (box,)),
        Decoder("seal.open_kept", lambda data: seal.open_kept([KEY], data, context=b"5"), (kept,)),
        Decoder(
            "probe.decode_answer",
            lambda data: probe.decode_answer(KEY[:16], data),
            (question,),
        ),
        Decoder("pki.node_id_of", pki.node_id_of, (der,)),
        Decoder("pki.certificate_from_der", pki.certificate_from_der, (der,)),
        Decoder("pki.certificate_from_pem", pki.certificate_from_pem, (pem,)),
        Decoder("pki.csr_public_key", pki.csr_public_key, (request,)),
        Decoder("pki.key_from_pem", pki.key_from_pem, (key_pem,)),
    )


def _state_decoders() -> tuple[Decoder, ...]:
    state = with_service(with_stack(grown()))
    proposal = encode_proposal(Proposal(id="f" * 32, at=1, command=admit(2)))
    results = (encode_result(Done(kind="stack", id=3)), encode_result(Refused(code="NotUnique", message="taken")))
    return (
        Decoder("commands.decode_proposal", decode_proposal, (proposal,), UNREADABLE),
        Decoder("commands.decode_command", decode_command, (encode_command(admit(2)),), UNREADABLE),
        Decoder("drive.proposals.decode_result", decode_result, results, UNREADABLE),
        Decoder("state.codec.decode_state", decode_state, (encode_state(state),), (msgspec.MsgspecError,)),
    )


def _dns_decoders() -> tuple[Decoder, ...]:
    question = ask("web.shop.rancher.internal", edns=1232)
    answer = (
        bytes.fromhex("123481800001000100000000") + question[12:-11] + bytes.fromhex("c00c00010001000000010004c0000201")
    )
    body = dns_messages.encode_body(Full(make_shop()))
    frame_error, malformed = dns_messages.FrameError, dns_wire.MalformedError
    return (
        Decoder("dns.wire.parse_query", dns_wire.parse_query, (question, ask("a.b"))),
        Decoder("dns.wire.read_answers", dns_wire.read_answers, (answer,), (malformed,)),
        Decoder("dns.wire.read_name", lambda data: dns_wire.read_name(data, 12), (question, answer), (malformed,)),
        Decoder(
            "dns.messages.decode_length",
            lambda data: dns_messages.decode_length(data[:4]),
            (b"\0\0\1\0",),
            (frame_error,),
        ),
        Decoder("dns.messages.decode_body", dns_messages.decode_body, (body,), (frame_error,)),
        Decoder("dns.keep.load_zone", _load_zone, (body,), (keep.StateError,)),
    )


HOSTILE = (
    b"",
    b"\x00",
    b"\x91" * 100_000 + b"\x90",
    b"\x81\xa1a" * 50_000 + b"\xc0",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x30\x84\xff\xff\xff\xff",
    b"\xc0\x00" * 200,
    b"\xc0\x0c" * 200,
    b"\xff" * 5000,
    b"-----BEGIN CERTIFICATE-----\n" + b"A" * 5000 + b"\n-----END CERTIFICATE-----\n",
    msgpack.packb([1] * 16),
    msgpack.packb({"version": 1}),
    msgpack.packb([4, 2**64 - 1, -(2**63), 1.5, None, True, b"\xff", {"a": 1}]),
)
"""Nested without end, lengths that are lies, pointers to themselves, and values of other types."""
