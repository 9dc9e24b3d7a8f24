"""Many log entries applied at once: the same state, results and indexes as one by one, on every replica."""

from typing import Any

from hypothesis import given, settings, strategies as st

from node.commands import AnyCommand, CreateStack, InitCluster, Proposal
from node.model import Done, State
from node.state import Indexes, Taken, apply_proposal, apply_proposals, state_digest
from node.state.indexes import indexes_of
from tests.fakes.states import found
from tests.node.state.test_histories import COMMANDS, start


def contents(taken: Taken) -> dict[str, Any]:
    """Everything an index says, empty places left out."""
    said: dict[str, Any] = {"uuids": taken.uuids, "names": taken.names}
    for name in ("addresses", "by_service", "on_host", "of_service_on_host"):
        said[name] = {key: value for key, value in getattr(taken, name).items() if value}
    said["ports"] = {key: sorted(holders) for key, holders in taken._ports.items() if holders}
    return said


def check_indexes(indexes: Indexes, state: State) -> None:
    fresh, tables = indexes_of(state), (state.stacks.values(), state.services.values())
    assert contents(indexes.taken(())) == contents(fresh.taken(()))
    assert vars(indexes.named((), ())) == vars(fresh.named(*tables))


def proposals_of(history: list[AnyCommand], repeats: list[int]) -> list[Proposal]:
    """Number the commands; each number of `repeats` hands an earlier proposal in once more."""
    proposals = [Proposal(id=f"p{place}", at=1000 + place % 7, command=each) for place, each in enumerate(history)]
    for number in repeats:
        proposals.insert(number % len(proposals), proposals[number * 7 % len(proposals)])
    return proposals


@settings(max_examples=80, deadline=None)
@given(
    history=st.lists(COMMANDS, min_size=10, max_size=60),
    repeats=st.lists(st.integers(0, 1000), max_size=4),
    cuts=st.lists(st.integers(1, 12), min_size=60, max_size=60),
)
def test_any_history_in_pieces_gives_what_it_gives_one_by_one(
    history: list[AnyCommand], repeats: list[int], cuts: list[int]
) -> None:
    ours, theirs, indexes = start(), start(), indexes_of(start())
    proposals = proposals_of(history, repeats)
    for cut in cuts:
        piece, proposals = proposals[:cut], proposals[cut:]
        if not piece:
            return
        before, digest = ours, state_digest(ours)
        all_at_once = apply_proposals(ours, piece, indexes)
        results, changes = [], set()
        for proposal in piece:
            applied = apply_proposal(theirs, proposal)
            assert applied.state is not None
            theirs = applied.state
            results.append(applied.result)
            changes |= set(applied.changes)
        assert all_at_once.state == theirs
        assert all_at_once.state is not None
        assert list(all_at_once.state.recent) == list(theirs.recent), "in the order in which they are forgotten"
        assert list(all_at_once.results) == results
        assert set(all_at_once.changes) == changes
        assert state_digest(before) == digest, "the old state is never written to"
        ours = all_at_once.state
        check_indexes(indexes, ours)


def test_what_is_only_repeated_changes_nothing() -> None:
    proposal = Proposal(id="p", at=1, command=CreateStack(uuid="u", environment_id=5, name="shop"))
    state = apply_proposals(found(), [proposal]).state
    again = apply_proposals(state, [proposal, proposal])
    assert again.state is state
    assert again.results == (Done("stack", 1),) * 2
    assert again.changes == ()


def test_founding_and_what_follows_may_come_in_one_piece() -> None:
    state = apply_proposals(
        None,
        [
            Proposal(id="early", at=1, command=CreateStack(uuid="u0", environment_id=5, name="shop")),
            Proposal(id="found", at=2, command=InitCluster(cluster_id="c", ca=b"")),
            Proposal(id="later", at=3, command=CreateStack(uuid="u1", environment_id=5, name="shop")),
        ],
    )
    assert [type(result).__name__ for result in state.results] == ["Refused", "Done", "Done"]
    assert state.state is not None
    assert list(state.state.recent) == ["found", "later"]
    assert {change.table for change in state.changes} == {"environments", "stacks"}
