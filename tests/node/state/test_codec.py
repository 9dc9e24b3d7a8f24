"""Snapshots read back as they were written, and digests compare replicas."""

import hashlib
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from node.model import Done, Result, Stack, State
from node.state import decode_state, encode_state, state_digest
from node.state.codec import PER_PIECE
from node.state.txn import TABLES
from tests.fakes.states import done, found, grown, with_stack
from tests.node.state.test_containers import filled, standalone


def test_state_reads_back_as_it_was_written() -> None:
    state = done(filled(hosts=2, scale=3), standalone())
    assert decode_state(encode_state(state)) == state


def large() -> State:
    """More rows in a table than go into one piece, and more than fit a small header."""
    state = found()
    rows = [Stack(id=n, uuid=f"u{n}", created=n, environment_id=5, name=f"s{n}") for n in range(1, 70_000)]
    recent: dict[str, Result] = {f"p{n}": Done("stack", n) for n in range(PER_PIECE * 2)}
    return msgspec.structs.replace(state, stacks={row.id: row for row in rows}, recent=recent)


def test_large_state_reads_back_with_all_in_order() -> None:
    state = large()
    again = decode_state(encode_state(state))
    assert again == state
    assert list(again.recent) == list(state.recent)


@pytest.mark.parametrize("make", [found, lambda: filled(hosts=2, scale=3), large])
def test_bytes_are_those_of_msgspec_and_so_is_the_digest(make: Callable[[], State]) -> None:
    state = make()
    assert encode_state(state) == msgspec.msgpack.encode(state)
    canonical = msgspec.msgpack.Encoder(order="deterministic")
    whole = canonical.encode(msgspec.structs.replace(state, **{table: {} for table in TABLES}))
    tables = [getattr(state, table) for table in TABLES]
    whole += b"".join(canonical.encode([rows[row_id] for row_id in sorted(rows)]) for rows in tables)
    assert state_digest(state) == hashlib.sha256(whole).hexdigest()


def test_row_filed_under_another_id_is_refused() -> None:
    state = with_stack(grown(1))
    mixed = msgspec.structs.replace(state, stacks={7: state.stacks[1]})
    with pytest.raises(msgspec.ValidationError, match="filed under 7"):
        decode_state(encode_state(mixed))


def test_bytes_after_a_state_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="follows"):
        decode_state(encode_state(grown(1)) + b"\xc0")


@settings(max_examples=200, deadline=None)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_spoilt_bytes_are_a_msgspec_error_or_another_state(place: int, byte: int, cut: bool) -> None:
    data = bytearray(encode_state(with_stack(grown(2))))
    place %= len(data)
    if cut:
        del data[place:]
    else:
        data[place] = byte
    with suppress(msgspec.MsgspecError):
        assert isinstance(decode_state(bytes(data)), State)


def test_state_of_another_version_is_refused_with_advice() -> None:
    data = encode_state(msgspec.structs.replace(grown(1), version=2))
    with pytest.raises(msgspec.ValidationError, match=r"version 2.*upgrade this node"):
        decode_state(data)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x81\xa7version\x01", b"nonsense" * 9])
def test_bytes_that_are_no_state_are_refused(data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_state(data)


def test_digest_does_not_depend_on_the_order_of_tables() -> None:
    state = filled(hosts=2, scale=3)
    shuffled = msgspec.structs.replace(state, containers=dict(reversed(state.containers.items())))
    assert state_digest(shuffled) == state_digest(state)
    assert state_digest(with_stack(state, "other")) != state_digest(state)
    assert state_digest(decode_state(encode_state(state))) == state_digest(state)
