"""Snapshots read back as they were written, and digests compare replicas."""

import msgspec
import pytest

from node.state import decode_state, encode_state, state_digest
from tests.fakes.states import done, grown, with_stack
from tests.node.state.test_containers import filled, standalone


def test_state_reads_back_as_it_was_written() -> None:
    state = done(filled(hosts=2, scale=3), standalone())
    assert decode_state(encode_state(state)) == state


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
