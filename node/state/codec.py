"""The state as bytes for snapshots, and its digest for comparing replicas."""

import hashlib

import msgspec

from node.model import State
from node.state.txn import TABLES

STATE_VERSION = 1


class _Head(msgspec.Struct):
    version: int


_encoder = msgspec.msgpack.Encoder()
_canonical = msgspec.msgpack.Encoder(order="deterministic")
_states = msgspec.msgpack.Decoder(State)
_heads = msgspec.msgpack.Decoder(_Head)


def encode_state(state: State) -> bytes:
    """Return the bytes of a snapshot."""
    return _encoder.encode(state)


def decode_state(data: bytes) -> State:
    """Read a snapshot; msgspec errors for anything that is not one of this version."""
    version = _heads.decode(data).version
    if version != STATE_VERSION:
        raise msgspec.ValidationError(
            f"a snapshot of version {version}, this release reads version {STATE_VERSION}: upgrade this node"
        )
    return _states.decode(data)


def state_digest(state: State) -> str:
    """SHA-256 over the state with sorted keys, in hex: equal on two replicas that applied the same history."""
    digest = hashlib.sha256(_canonical.encode(msgspec.structs.replace(state, **{table: {} for table in TABLES})))
    for table in TABLES:
        rows = getattr(state, table)
        digest.update(_canonical.encode([rows[row_id] for row_id in sorted(rows)]))
    return digest.hexdigest()
