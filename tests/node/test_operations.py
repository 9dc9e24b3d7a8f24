"""A host leaves only while those who stay can decide, and says what it cannot take away."""

from types import SimpleNamespace
from typing import cast

import pytest
import trio

from node.api.errors import ApiError
from node.assembly import Parts
from node.operations import NodeOperations, keeps_majority
from node.ports import EngineError
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


class _StuckAgent:
    async def remove_all(self) -> None:
        raise EngineError("failed", "these containers are still here: r-a; `docker rm -f` them")


async def test_host_that_cannot_be_cleaned_says_what_remains_and_goes_on_running() -> None:
    stop = trio.Event()
    operations = NodeOperations(cast(Parts, SimpleNamespace(agent=_StuckAgent())), stop)
    with pytest.raises(ApiError, match=r"not clean yet: .*r-a.*leave --force") as refused:
        await operations._remove_traces()
    assert refused.value.status == 409
    assert not operations.is_leaving
    assert not stop.is_set()
