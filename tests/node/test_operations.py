"""A host leaves only while those who stay can decide, and says what it cannot take away."""

from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from node.api.errors import ApiError
from node.assembly import Parts
from node.commands import RemoveHost
from node.operations import NodeOperations, keeps_majority
from node.ports import EngineError, Unavailable
from protocol.ids import NodeId
from protocol.raft.messages import make_config
from tests.fakes.states import grown, node_id

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


class _Cluster:
    """The consensus of h1 beside h2; it takes the change or does not."""

    def __init__(self, is_up: bool) -> None:
        self.state = grown(2)
        self.is_up = is_up
        self.is_leader = False
        self.members = {node: SimpleNamespace(node=node, status="alive") for node in (node_id(1), node_id(2))}
        self.raft = SimpleNamespace(config=make_config(sorted(self.members)))
        self.group = SimpleNamespace(handover=SimpleNamespace(try_transfer=trio.lowlevel.checkpoint))

    async def submit(self, command: RemoveHost) -> None:
        await trio.lowlevel.checkpoint()
        if not self.is_up:
            raise Unavailable("the change was not confirmed")


@pytest.mark.parametrize("is_up", [False, True])
async def test_host_that_leaves_tells_its_parts_so_and_takes_it_back_when_it_stays(
    autojump_clock: MockClock, is_up: bool
) -> None:
    link, upkeep = SimpleNamespace(is_leaving=False), SimpleNamespace(is_leaving=False)
    base = SimpleNamespace(consensus=_Cluster(is_up), link=link)
    parts = SimpleNamespace(base=base, upkeep=upkeep, agent=_StuckAgent(), identity=SimpleNamespace(node=node_id(1)))
    with pytest.raises(ApiError if is_up else Unavailable):
        await NodeOperations(cast(Parts, parts), trio.Event()).leave(force=False)
    assert (link.is_leaving, upkeep.is_leaving) == (is_up, is_up)
