"""Names, states and removal of environments, stacks and services."""

import pytest

from node.commands import (
    ActivateService,
    AnyCommand,
    CreateEnvironment,
    CreateService,
    CreateStack,
    CreateToken,
    DeactivateService,
    FinishStackRemoval,
    RemoveEnvironment,
    RemoveService,
    RemoveStack,
    SetServiceState,
    SetTokenState,
    UpdateEnvironment,
    UpdateService,
    UpdateStack,
)
from node.model import Refused, State
from node.state import apply
from tests.fakes.states import admit, done, grown, launch, with_service, with_stack


def refusal(state: State, command: AnyCommand) -> Refused:
    applied = apply(state, command, at=7)
    assert isinstance(applied.result, Refused), applied.result
    assert applied.state is state
    return applied.result


def create(name: str = "web", *, stack_id: int = 1, **fields: object) -> CreateService:
    return CreateService(uuid=f"u-{name}", stack_id=stack_id, name=name, **{"launch": launch(), **fields})  # type: ignore[arg-type]


def test_first_new_environment_is_1a7() -> None:
    state = done(grown(0), CreateEnvironment(uuid="e", name="test"))
    assert set(state.environments) == {5, 7}


def test_environment_name_is_refused_when_taken_also_by_rename() -> None:
    state = done(grown(0), CreateEnvironment(uuid="e", name="test"))
    assert refusal(state, CreateEnvironment(uuid="f", name="Test")).code == "NotUnique"
    assert refusal(state, UpdateEnvironment(id=5, name="test")).code == "NotUnique"
    assert done(state, UpdateEnvironment(id=5, name="dev")).environments[5].name == "dev"


def test_default_environment_is_not_removed() -> None:
    assert refusal(grown(0), RemoveEnvironment(id=5)).code == "Conflict"


def test_environment_is_not_removed_while_hosts_are_in_it() -> None:
    state = done(grown(0), CreateEnvironment(uuid="e", name="test"))
    message = refusal(done(state, admit(1, 7)), RemoveEnvironment(id=7)).message
    assert "h1" in message


def test_environment_is_removed_with_all_that_is_in_it() -> None:
    state = done(grown(0), CreateEnvironment(uuid="e", name="test"))
    state = done(state, CreateStack(uuid="s", environment_id=7, name="shop"))
    state = with_service(state)
    state = done(state, CreateToken(uuid="t", environment_id=7, token_id="t", secret_hash=b""))
    state = done(state, RemoveEnvironment(id=7))
    for row in (state.stacks[1], state.services[1], state.tokens[1], state.environments[7]):
        assert row.state == "removed"
        assert row.removed == 1000


def test_removed_token_is_gone_for_good() -> None:
    state = done(grown(0), CreateToken(uuid="t", environment_id=5, token_id="t", secret_hash=b""))
    state = done(state, SetTokenState(id=1, state="inactive"))
    state = done(state, SetTokenState(id=1, state="removed"))
    assert refusal(state, SetTokenState(id=1, state="active")).code == "Not Found"


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a.b", "a b", "ä", "x" * 64, "a\n"])
def test_stack_and_service_names_are_refused_when_they_are_no_labels(name: str) -> None:
    state = with_stack(grown(0))
    assert refusal(state, CreateStack(uuid="s", environment_id=5, name=name)).field == "name"
    assert refusal(state, create(name)).field == "name"


def test_stack_of_another_environment_may_have_the_same_name() -> None:
    state = done(with_stack(grown(0)), CreateEnvironment(uuid="e", name="test"))
    assert len(done(state, CreateStack(uuid="s", environment_id=7, name="shop")).stacks) == 2


def test_renaming_a_stack_to_itself_in_other_case_is_allowed() -> None:
    assert done(with_stack(grown(0)), UpdateStack(id=1, name="SHOP")).stacks[1].name == "SHOP"


def test_service_is_refused_when_its_stack_is_unknown_or_going() -> None:
    state = with_stack(grown(0))
    refused = refusal(state, create(stack_id=9))
    assert (refused.code, refused.field) == ("InvalidReference", "environmentId")
    assert refusal(done(state, RemoveStack(id=1)), create()).code == "Conflict"


def test_service_name_is_unique_in_its_stack_only() -> None:
    state = with_service(with_stack(with_stack(grown(0)), "other"))
    assert refusal(state, create("WEB")).code == "NotUnique"
    assert len(done(state, create(stack_id=2)).services) == 2


@pytest.mark.parametrize(("scale", "code"), [(-1, "MinLimitExceeded"), (1001, "MaxLimitExceeded")])
def test_scale_is_refused_when_out_of_bounds(scale: int, code: str) -> None:
    state = with_service(with_stack(grown(0)))
    assert refusal(state, UpdateService(id=1, scale=scale)).code == code
    assert refusal(state, create("other", scale=scale)).code == code


@pytest.mark.parametrize("metadata", [{"a": {1: 2}}, {"a": b"raw"}])
def test_metadata_is_refused_when_it_is_no_json(metadata: dict[str, object]) -> None:
    assert refusal(with_stack(grown(0)), create(metadata=metadata)).field == "metadata"


def test_metadata_is_refused_when_nested_too_deep() -> None:
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep}
    assert refusal(with_stack(grown(0)), create(metadata=deep)).field == "metadata"


def test_service_follows_its_life_from_inactive_to_removed() -> None:
    state = done(with_stack(grown(0)), create())
    steps: list[tuple[AnyCommand, str]] = [
        (ActivateService(id=1), "activating"),
        (SetServiceState(id=1, state="active"), "active"),
        (UpdateService(id=1, scale=2), "updating-active"),
        (SetServiceState(id=1, state="active"), "active"),
        (DeactivateService(id=1), "deactivating"),
        (SetServiceState(id=1, state="inactive"), "inactive"),
        (UpdateService(id=1, scale=3), "inactive"),
        (RemoveService(id=1), "removing"),
        (SetServiceState(id=1, state="removed"), "removed"),
    ]
    for command, expected in steps:
        state = done(state, command)
        assert state.services[1].state == expected
    assert state.services[1].removed == 1000


def test_action_is_a_conflict_when_the_state_does_not_allow_it() -> None:
    state = done(with_stack(grown(0)), create())
    assert refusal(state, DeactivateService(id=1)).code == "Conflict"
    assert refusal(state, SetServiceState(id=1, state="active")).code == "Conflict"
    assert refusal(done(state, ActivateService(id=1)), ActivateService(id=1)).code == "Conflict"
    assert refusal(done(state, RemoveService(id=1)), UpdateService(id=1, scale=2)).code == "Conflict"


def test_removing_a_stack_removes_its_services_and_finishes_after_them() -> None:
    state = done(with_service(with_stack(grown(0))), RemoveStack(id=1))
    assert state.services[1].state == "removing"
    assert refusal(state, FinishStackRemoval(id=1)).code == "Conflict"
    state = done(state, SetServiceState(id=1, state="removed"))
    state = done(state, FinishStackRemoval(id=1))
    assert state.stacks[1].state == "removed"
    assert len(with_stack(state).stacks) == 2
