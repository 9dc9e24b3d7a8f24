"""Removed rows are shown for five minutes, then dropped, children first."""

from random import Random

from node.commands import PurgeRows, RemoveHost, RemoveStack
from node.plan.everything import Picture, plan
from node.plan.purge import SHOWN_MS
from tests.fakes.states import done
from tests.node.plan.test_services import NOW, settled, shop


def test_removed_rows_go_after_five_minutes_and_what_they_refer_to_after_them() -> None:
    state = settled(done(settled(shop(hosts=1, scale=2)), RemoveStack(id=1)))
    assert plan(state, Picture(), 2000 + SHOWN_MS, Random(1)) == ()
    kinds = []
    while commands := plan(state, Picture(), 10 * NOW + SHOWN_MS, Random(1)):
        (purge,) = commands
        assert isinstance(purge, PurgeRows)
        kinds.append({table for table, _ in purge.rows})
        state = done(state, purge)
    assert kinds == [{"containers"}, {"services"}, {"stacks"}]
    assert not state.containers
    assert not state.stacks


def test_removed_host_goes_once_its_containers_are_purged() -> None:
    state = settled(done(settled(shop(hosts=2, scale=2)), RemoveHost(id=1)), Random(2))
    while commands := plan(state, Picture(), 10 * NOW + SHOWN_MS, Random(1)):
        state = done(state, commands[0])
    assert set(state.hosts) == {2}
