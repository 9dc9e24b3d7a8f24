"""Rules of `apply` as a whole: refusals change nothing, batches, retried proposals, the first command."""

import msgspec
import pytest
from hypothesis import given, strategies as st

from node.commands import (
    AnyCommand,
    Batch,
    Command,
    CreateApiKey,
    CreateStack,
    CreateToken,
    InitCluster,
    Proposal,
    RemoveStack,
    SealCaKey,
    SingleCommand,
)
from node.model import Change, Done, Refused, State
from node.state import MAX_RECENT, TOO_OLD, apply, apply_proposal
from node.state.apply import HANDLERS
from tests.fakes.states import CLUSTER_ID, admit, done, found, grown, node_id, with_stack


def stack(name: str, environment_id: int = 5) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=environment_id, name=name)


def test_every_command_has_a_meaning() -> None:
    assert set(HANDLERS) == set(Command.__subclasses__()) - {Batch}
    assert set(HANDLERS) == set(SingleCommand.__args__)


def test_first_command_is_refused_unless_it_founds_the_cluster() -> None:
    applied = apply(None, stack("shop"), at=1)
    assert applied.state is None
    assert isinstance(applied.result, Refused)
    assert "node start" in applied.result.message


def test_founding_makes_environment_5_with_ranchers_uuid() -> None:
    state = found()
    assert state.environments[5].name == "Default"
    assert state.environments[5].uuid == "adminProject"
    assert state.cluster.id == CLUSTER_ID


def test_founding_twice_is_refused() -> None:
    applied = apply(found(), InitCluster(cluster_id="other", ca=b""), at=2)
    assert isinstance(applied.result, Refused)
    assert applied.state.cluster.id == CLUSTER_ID


def test_founding_is_refused_when_the_network_cannot_be_cut() -> None:
    cases = (("10.42.0.0/16", 8), ("10.42.0.0/16", 31), ("10.42.0.1/16", 24), ("nonsense", 24))
    for network, bits in cases:
        command = InitCluster(cluster_id="c", ca=b"", overlay_network=network, overlay_subnet_bits=bits)
        applied = apply(None, command, at=1)
        assert isinstance(applied.result, Refused), (network, bits)


def test_refusal_returns_the_very_same_state() -> None:
    state = with_stack(grown(1))
    applied = apply(state, stack("SHOP"), at=5)
    assert applied.state is state
    assert applied.changes == ()
    assert isinstance(applied.result, Refused)
    assert (applied.result.code, applied.result.field) == ("NotUnique", "name")


def test_old_state_stays_readable_after_a_change() -> None:
    old = with_stack(grown(1))
    new = done(old, stack("other"))
    assert len(old.stacks) == 1
    assert len(new.stacks) == 2
    assert new.hosts is old.hosts


def test_changes_name_each_touched_row_once() -> None:
    applied = apply(grown(1), Batch(commands=(stack("a"), RemoveStack(id=1))), at=5)
    assert applied.changes == (Change("stacks", 1),)


def test_batch_refuses_one_and_does_the_others() -> None:
    applied = apply(grown(1), Batch(commands=(stack("a"), stack("A"), stack("b"))), at=5)
    assert [type(result) for result in applied.results] == [Done, Refused, Done]
    assert applied.result == Done("batch", 2)
    assert [row.name for row in applied.state.stacks.values()] == ["a", "b"]


def test_batch_may_found_a_cluster_and_go_on() -> None:
    applied = apply(None, Batch(commands=(InitCluster(cluster_id="c", ca=b""), admit(1))), at=1)
    assert applied.results == (Done("cluster", 0), Done("host", 1))


def test_retried_proposal_is_applied_once_and_answered_alike() -> None:
    proposal = Proposal(id="p1", at=9, command=Batch(commands=(stack("a"), stack("A"))))
    first = apply_proposal(grown(1), proposal)
    again = apply_proposal(first.state, proposal)
    assert again.state is first.state
    assert again.results == first.results
    assert again.changes == ()


def test_refused_proposal_is_remembered_too() -> None:
    state = with_stack(grown(1))
    proposal = Proposal(id="p1", at=9, command=stack("shop"))
    first = apply_proposal(state, proposal)
    assert first.state is not None
    freed = msgspec.structs.replace(first.state, stacks={})
    assert apply_proposal(freed, proposal).result == first.result


def test_remembered_results_are_bounded_and_the_oldest_go_first() -> None:
    state = apply_proposal(grown(1), Proposal(id="first", at=1, command=stack("shop"))).state
    batch = Batch(commands=(stack("shop"),) * 255)
    for number in range(17):
        state = apply_proposal(state, Proposal(id=f"p{number}", at=1, command=batch)).state
    assert state is not None
    assert len(state.recent) == MAX_RECENT
    assert "first" not in state.recent
    assert "p16" in state.recent


def test_retry_that_nobody_can_tell_from_a_new_proposal_changes_nothing() -> None:
    before = grown(1)
    first = Proposal(id="first", at=1, command=stack("shop"), since=before.forgotten + len(before.recent))
    state = apply_proposal(before, first).state
    batch = Batch(commands=(stack("shop"),) * 255)
    for number in range(17):
        state = apply_proposal(state, Proposal(id=f"p{number}", at=1, command=batch)).state
    assert state is not None
    assert "first" not in state.recent
    again = apply_proposal(msgspec.structs.replace(state, stacks={}), first)
    assert (again.result, again.changes) == (TOO_OLD, ())
    seen = state.forgotten + len(state.recent)
    fresh = apply_proposal(state, Proposal(id="fresh", at=1, command=stack("other"), since=seen))
    assert isinstance(fresh.result, Done)


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(0, 60))
def test_proposal_takes_effect_once_whenever_its_copies_come(sizes: list[int], place: int) -> None:
    """However much comes in between: the second copy is known, or nobody can tell, and it is then refused."""
    state: State | None = grown(1)
    assert state is not None
    proposal = Proposal(id="p", at=1, command=stack("once"), since=state.forgotten + len(state.recent))
    made = 0
    for number, size in enumerate([*sizes[:place], 0, *sizes[place:], 0]):
        if size:
            command: AnyCommand = Batch(commands=(stack("shop"),) * size)
            state = apply_proposal(state, Proposal(id=f"o{number}", at=1, command=command)).state
            continue
        applied = apply_proposal(state, proposal)
        made += Change("stacks", getattr(applied.result, "id", 0)) in applied.changes
        assert applied.state is not None
        state = msgspec.structs.replace(applied.state, stacks={})
    assert made <= 1


def test_keys_and_tokens_never_share_an_id_since_clients_see_one_prefix() -> None:
    state = found()
    state = done(state, CreateToken(uuid="t1", environment_id=5, token_id="a", secret_hash=b"x"))
    state = done(state, CreateApiKey(uuid="k1", environment_id=5, public="K1", secret_hash=b"x"))
    state = done(state, CreateToken(uuid="t2", environment_id=5, token_id="b", secret_hash=b"x"))
    assert (sorted(state.tokens), sorted(state.api_keys)) == ([1, 3], [2])


def test_time_never_runs_backwards_from_one_entry_to_the_next() -> None:
    state = found()
    ahead = apply_proposal(state, Proposal(id="a", at=9_000, command=stack("one"))).state
    behind = apply_proposal(ahead, Proposal(id="b", at=2_000, command=stack("two"))).state
    assert behind is not None
    assert [row.created for row in behind.stacks.values()] == [9_000, 9_000]


def test_last_copy_of_the_ca_key_is_never_dropped() -> None:
    state = done(grown(2), SealCaKey(node=node_id(1), sealed=b"x"))
    assert isinstance(apply(state, SealCaKey(node=node_id(1), sealed=None), at=1).result, Refused)
    state = done(state, SealCaKey(node=node_id(2), sealed=b"y"))
    assert done(state, SealCaKey(node=node_id(1), sealed=None)).sealed_ca_keys == {node_id(2): b"y"}


@pytest.mark.parametrize(
    "change", [{"address": "a..b"}, {"peer_port": 0}, {"overlay_key": b"short"}, {"seal_key": b"x" * 33}]
)
def test_host_that_others_could_not_reach_is_not_admitted(change: dict[str, object]) -> None:
    command = msgspec.structs.replace(admit(1), **change)
    assert isinstance(apply(found(), command, at=1).result, Refused)
