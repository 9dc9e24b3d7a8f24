"""What the daemon and its DNS server say to each other over their unix socket, and how it is written down.

Pure.  One frame is a length of four bytes and a msgpack list `[kind, version, fields…]`.  The server checks all it
reads: a name or address that DNS cannot carry is refused by name.  The same bytes are what the state file keeps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

from dns.zone import Alias, Change, Record, Zone, is_address, is_name, is_record, make_zone, parse_networks

VERSION = 1
TIMELESS = ("Status", "Stop", "Ack")
"""Read in any version: a server and a daemon of different releases must be able to part."""

MAX_FRAME_BYTES = 32 << 20
LENGTH_BYTES = 4


class FrameError(Exception):
    """Bytes that are no frame of ours, or one whose content breaks a rule; says which."""


@dataclass(frozen=True, slots=True)
class Full:
    """Replace whatever you have by this zone."""

    zone: Zone


@dataclass(frozen=True, slots=True)
class Status:
    """Say how you are."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The zone with this serial is what askers get from now on."""

    serial: int


@dataclass(frozen=True, slots=True)
class NeedFull:
    """The change does not start from my serial, this one: send the whole zone."""

    serial: int


@dataclass(frozen=True, slots=True)
class Refused:
    """I keep my zone: what was sent breaks a rule."""

    why: str


@dataclass(frozen=True, slots=True)
class StatusReply:
    """How the server is."""

    serial: int
    pid: int
    version: str
    queries: int
    counts: Mapping[str, int]
    listening: tuple[str, ...]
    """`address:port` of each place that is bound."""

    trouble: str
    """Why an address is not bound yet, or empty."""


Request = Full | Change | Status | Stop
Response = Ack | NeedFull | Refused | StatusReply
Message = Request | Response


def encode_frame(message: Message) -> bytes:
    """Return `message` with its length in front; raise FrameError for one that is too large."""
    body = encode_body(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"the frame has {len(body)} bytes, at most {MAX_FRAME_BYTES} are allowed")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def encode_body(message: Message) -> bytes:
    """Return `message` without a length."""
    packed = msgpack.packb([type(message).__name__, VERSION, *_fields_of(message)])
    assert isinstance(packed, bytes)
    return packed


def decode_length(prefix: bytes) -> int:
    """Return the length of the body that follows; raise FrameError where it is out of bounds."""
    length = int.from_bytes(prefix, "big")
    if not 0 < length <= MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {length} bytes was announced, at most {MAX_FRAME_BYTES} are allowed")
    return length


def decode_body(body: bytes) -> Message:
    """Return the message in `body`; raise FrameError for anything else."""
    try:
        unpacked = msgpack.unpackb(body, strict_map_key=True)
    except (ValueError, msgpack.UnpackException, RecursionError) as broken:
        raise FrameError(f"not msgpack: {broken}") from broken
    if not isinstance(unpacked, list) or len(unpacked) < 2 or unpacked[0] not in _READERS:
        raise FrameError("expected a list that starts with a kind and a version")
    kind, version, *fields = unpacked
    if version != VERSION and kind not in TIMELESS:
        raise FrameError(f"version {version!r} of {kind} is unknown here, expected {VERSION}")
    try:
        return _READERS[kind](fields)
    except (ValueError, TypeError, IndexError, AttributeError) as wrong:
        raise FrameError(f"{kind}: {wrong}") from wrong


def _fields_of(message: Message) -> list[Any]:
    match message:
        case Full(zone):
            scopes = {asker: list(suffixes) for asker, suffixes in zone.scopes.items()}
            parts = [list(zone.upstreams), list(zone.allow), list(zone.networks)]
            return [zone.serial, zone.domain, _pack_names(zone.names), scopes, *parts]
        case Change():
            scopes = {asker: list(suffixes) for asker, suffixes in message.set_scopes.items()}
            lists = [
                None if part is None else list(part) for part in (message.upstreams, message.allow, message.networks)
            ]
            dropped = [list(message.drop), scopes, list(message.drop_scopes)]
            return [message.from_serial, message.to_serial, _pack_names(message.set), *dropped, *lists]
        case Ack(serial) | NeedFull(serial):
            return [serial]
        case Refused(why):
            return [why]
        case StatusReply():
            counts, listening = dict(message.counts), list(message.listening)
            return [message.serial, message.pid, message.version, message.queries, counts, listening, message.trouble]
        case Status() | Stop():
            return []


def _pack_names(names: Mapping[str, Record]) -> dict[str, list[str]]:
    return {
        name: ["CNAME", record.target] if isinstance(record, Alias) else list(record) for name, record in names.items()
    }


def _read_full(fields: list[Any]) -> Full:
    serial, domain, names, scopes, upstreams, allow, networks = fields
    if not isinstance(domain, str) or not is_name(domain):
        raise ValueError(f"expected a domain name, got {domain!r:.80}")
    zone = make_zone(
        _serial(serial),
        _records(names),
        domain=domain,
        scopes=_scopes(scopes),
        upstreams=_texts(upstreams),
        allow=_prefixes(allow),
        networks=_prefixes(networks),
    )
    if zone.skipped:
        raise ValueError(f"the name {zone.skipped[0]!r:.80} cannot be served with {names[zone.skipped[0]]!r:.80}")
    return Full(zone)


def _read_change(fields: list[Any]) -> Change:
    from_serial, to_serial, changed, drop, set_scopes, drop_scopes, upstreams, allow, networks = fields
    return Change(
        from_serial=_serial(from_serial),
        to_serial=_serial(to_serial),
        set=_names(changed),
        drop=_texts(drop),
        set_scopes=_scopes(set_scopes),
        drop_scopes=_texts(drop_scopes),
        upstreams=None if upstreams is None else _texts(upstreams),
        allow=None if allow is None else _prefixes(allow),
        networks=None if networks is None else _prefixes(networks),
    )


def _read_status_reply(fields: list[Any]) -> StatusReply:
    serial, pid, version, queries, counts, listening, trouble = fields
    return StatusReply(serial, pid, version, queries, counts, tuple(listening), trouble)


_READERS: dict[str, Callable[[list[Any]], Message]] = {
    "Full": _read_full,
    "Change": _read_change,
    "Status": lambda fields: Status(),
    "Stop": lambda fields: Stop(),
    "Ack": lambda fields: Ack(fields[0]),
    "NeedFull": lambda fields: NeedFull(*fields),
    "Refused": lambda fields: Refused(*fields),
    "StatusReply": _read_status_reply,
}


def _serial(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 63:
        raise ValueError(f"expected a serial from 1, got {value!r:.80}")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"expected a list of texts, got {values!r:.80}")
    return tuple(values)


def _prefixes(values: Any) -> tuple[str, ...]:
    prefixes = _texts(values)
    parse_networks(prefixes)
    return prefixes


def _records(values: Any) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for name, packed in values.items():
        if not isinstance(name, str):
            raise ValueError(f"expected a name, got {name!r:.80}")
        texts = _texts(packed)
        records[name] = Alias(texts[1]) if texts[:1] == ("CNAME",) and len(texts) == 2 else texts
    return records


def _names(values: Any) -> dict[str, Record]:
    names = _records(values)
    for name, record in names.items():
        if not is_name(name) or not is_record(record):
            raise ValueError(f"the name {name!r:.80} cannot be served with {values[name]!r:.80}")
    return names


def _scopes(values: Any) -> dict[str, tuple[str, ...]]:
    scopes: dict[str, tuple[str, ...]] = {}
    for asker, suffixes in values.items():
        if not isinstance(asker, str) or not is_address(asker):
            raise ValueError(f"expected an address to have a search list, got {asker!r:.80}")
        scopes[asker] = _texts(suffixes)
    return scopes
