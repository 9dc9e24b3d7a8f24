"""A host leaves only while those who stay can decide."""

import pytest

from node.operations import keeps_majority
from protocol.ids import NodeId

A, B, C = (NodeId(letter * 32) for letter in "abc")


@pytest.mark.parametrize(
    ("voters", "alive", "leaving", "kept"),
    [
        ((A,), (A, B), B, True),
        ((A,), (A,), A, True),
        ((A, B, C), (A, B, C), C, True),
        ((A, B, C), (A, C), C, False),
        ((A, B), (A, B), A, True),
        ((A, B), (A,), A, False),
    ],
)
def test_majority_is_counted_among_those_who_stay(
    voters: tuple[NodeId, ...], alive: tuple[NodeId, ...], leaving: NodeId, kept: bool
) -> None:
    assert keeps_majority(voters, alive, leaving) is kept
