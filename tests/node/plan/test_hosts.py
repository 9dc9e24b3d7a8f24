"""A host is down when gossip has held it dead for long enough, and up as soon as it does not."""

from random import Random

from node.commands import MarkHostDown, MarkHostUp, RemoveHost
from node.plan.everything import Picture, plan
from tests.fakes.states import done, grown, node_id


def test_host_is_marked_down_once_it_has_been_dead_for_10_seconds() -> None:
    state = grown(2)
    assert plan(state, Picture(dead_for={node_id(2): 9.9}), 1, Random(1)) == ()
    (command,) = plan(state, Picture(dead_for={node_id(2): 10.0}), 1, Random(1))
    assert command == MarkHostDown(id=2, why="h2 has not answered for 10 s")
    assert plan(done(state, command), Picture(dead_for={node_id(2): 11.0}), 1, Random(1)) == ()


def test_host_is_marked_up_when_it_is_not_dead_any_more() -> None:
    state = done(grown(2), MarkHostDown(id=2, why="test"))
    assert plan(state, Picture(), 1, Random(1)) == (MarkHostUp(id=2, why="h2 answers again"),)


def test_removed_host_is_left_alone() -> None:
    state = done(grown(2), RemoveHost(id=2))
    assert plan(state, Picture(dead_for={node_id(2): 100.0}), 1, Random(1)) == ()
