"""The state as bytes for snapshots, and its digest for comparing replicas.

One msgpack map, just as msgspec writes a struct.  But it is written and read in pieces: one call of msgspec lets no
other thread run, and a large state would hold up everything that the node does.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import islice
from typing import Any, get_type_hints

import msgpack
import msgspec

from node.model import State
from node.state.txn import TABLES

STATE_VERSION = 1
PER_PIECE = 256
READ_BYTES = 256 * 1024
FIELDS = State.__struct_fields__

_encoder = msgspec.msgpack.Encoder()
_canonical = msgspec.msgpack.Encoder(order="deterministic")
_versions = msgspec.msgpack.Decoder(int)
_heads = msgspec.msgpack.Decoder(State)
_rows = {table: msgspec.msgpack.Decoder(get_type_hints(State)[table].__args__[1]) for table in TABLES}


def encode_state(state: State) -> bytes:
    """Return the bytes of a snapshot."""
    return b"".join(_encode(state))


def _encode(state: State) -> Iterator[bytes]:
    yield _header(len(FIELDS), 0x80, 0xDE)
    for name in FIELDS:
        value = getattr(state, name)
        yield _encoder.encode(name)
        if not isinstance(value, Mapping):
            yield _encoder.encode(value)
            continue
        yield _header(len(value), 0x80, 0xDE)
        for piece in _cut(value.items()):
            yield _encoder.encode(dict(piece))[len(_header(len(piece), 0x80, 0xDE)) :]


def _cut(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while piece := list(islice(rest, PER_PIECE)):
        yield piece


def _header(count: int, few: int, many: int) -> bytes:
    """What msgpack begins a map (0x80, 0xDE) or an array (0x90, 0xDC) of so many with."""
    if count < 16:
        return bytes((few | count,))
    if count < 1 << 16:
        return bytes((many,)) + count.to_bytes(2, "big")
    return bytes((many + 1,)) + count.to_bytes(4, "big")


def decode_state(data: bytes) -> State:
    """Read a snapshot; msgspec errors for anything that is not one of this version."""
    try:
        return _decode(data)
    except msgspec.MsgspecError:
        raise
    except Exception as error:
        # msgpack answers hostile bytes with half a dozen unrelated exception types, some of them undocumented.
        raise msgspec.DecodeError(f"not a state: {error!r:.120}") from None


def _decode(data: bytes) -> State:
    reader = msgpack.Unpacker(BytesIO(data), read_size=READ_BYTES, max_buffer_size=0, strict_map_key=False)
    head: dict[str, msgspec.Raw] = {}
    tables: dict[str, dict[int, Any]] = {}
    for _ in range(reader.read_map_header()):
        name = reader.unpack()
        if name in _rows:
            tables[name] = dict(_read_rows(reader, data, _rows[name]))
            continue
        head[name] = msgspec.Raw(_skip(reader, data))
        if name == "version":
            _check_version(_versions.decode(head[name]))
    if "version" not in head:
        raise msgspec.ValidationError("not a state: it has no version")
    if reader.tell() != len(data):
        raise msgspec.DecodeError("not a state: something follows it")
    return msgspec.structs.replace(_heads.decode(_encoder.encode(head)), **tables)


def _read_rows(
    reader: msgpack.Unpacker, data: bytes, decoder: msgspec.msgpack.Decoder[Any]
) -> Iterator[tuple[int, Any]]:
    for _ in range(reader.read_map_header()):
        row_id = reader.unpack()
        row = decoder.decode(_skip(reader, data))
        if row_id != row.id:
            raise msgspec.ValidationError(f"not a state: row {row.id} is filed under {row_id!r}")
        yield row_id, row


def _skip(reader: msgpack.Unpacker, data: bytes) -> bytes:
    """Return the bytes of the next value."""
    start = reader.tell()
    reader.skip()
    return data[start : reader.tell()]


def _check_version(version: int) -> None:
    if version != STATE_VERSION:
        raise msgspec.ValidationError(
            f"a snapshot of version {version}, this release reads version {STATE_VERSION}: upgrade this node"
        )


def state_digest(state: State) -> str:
    """SHA-256 over the state with sorted keys, in hex: equal on two replicas that applied the same history."""
    digest = hashlib.sha256(_canonical.encode(msgspec.structs.replace(state, **{table: {} for table in TABLES})))
    for table in TABLES:
        rows = getattr(state, table)
        digest.update(_header(len(rows), 0x90, 0xDC))
        for piece in _cut(sorted(rows)):
            encoded = _canonical.encode([rows[row_id] for row_id in piece])
            digest.update(encoded[len(_header(len(piece), 0x90, 0xDC)) :])
    return digest.hexdigest()
