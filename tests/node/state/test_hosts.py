"""Admission, subnets and removal of hosts."""

import msgspec
import pytest

from node.commands import (
    AnyCommand,
    CreateEnvironment,
    MarkHostDown,
    RemoveHost,
    ReportHost,
    SealCaKey,
    SetHostState,
    UpdateHost,
)
from node.model import HostFacts, Refused, State
from node.state import apply
from tests.fakes.states import admit, carried_out, done, found, grown, node_id, only_host
from tests.node.state.test_containers import filled


def refusal(state: State, command: AnyCommand) -> Refused:
    applied = apply(state, command, at=7)
    assert isinstance(applied.result, Refused), applied.result
    assert applied.state is state
    return applied.result


def test_each_host_gets_the_lowest_free_subnet_and_a_removed_one_frees_its_own() -> None:
    state = grown(3)
    assert [host.subnet for host in state.hosts.values()] == ["10.42.0.0/24", "10.42.1.0/24", "10.42.2.0/24"]
    state = done(state, RemoveHost(id=2))
    assert done(state, admit(4)).hosts[4].subnet == "10.42.1.0/24"


def test_admission_is_refused_with_numbers_when_all_subnets_are_used() -> None:
    state = grown(4, network="10.42.0.0/24", bits=26)
    refused = refusal(state, admit(5))
    assert "4 of 4 host subnets used" in refused.message


def test_same_node_again_updates_its_row_and_keeps_its_subnet() -> None:
    state = done(grown(2), MarkHostDown(id=1, why="test"))
    again = msgspec.structs.replace(admit(1), address="192.0.2.99", uuid="other")
    state = done(state, again)
    host = state.hosts[1]
    assert (host.address, host.subnet, host.uuid, host.up) == ("192.0.2.99", "10.42.0.0/24", "host-1", True)
    assert len(state.hosts) == 2


def test_node_is_a_host_of_one_environment_only() -> None:
    state = done(grown(1), CreateEnvironment(uuid="e", name="test"))
    assert refusal(state, admit(1, 7)).code == "Conflict"


def test_node_may_come_back_to_another_environment_once_removed() -> None:
    state = done(grown(1), CreateEnvironment(uuid="e", name="test"))
    state = done(state, RemoveHost(id=1))
    assert done(state, admit(1, 7)).hosts[2].environment_id == 7


def test_host_name_is_refused_while_a_live_host_has_it() -> None:
    state = grown(1)
    refused = refusal(state, msgspec.structs.replace(admit(2), name="H1"))
    assert (refused.code, refused.field) == ("NotUnique", "name")
    assert "192.0.2.1" in refused.message
    assert refusal(grown(2), UpdateHost(id=2, name="h1")).code == "NotUnique"


@pytest.mark.parametrize("name", ["", "a b", "-h", "h\n", "x" * 256])
def test_host_name_is_refused_when_it_is_none(name: str) -> None:
    assert refusal(found(), msgspec.structs.replace(admit(1), name=name)).field == "name"


def test_admission_is_refused_when_the_environment_is_unknown() -> None:
    assert refusal(found(), admit(1, 99)).code == "InvalidReference"


def test_host_reports_only_what_changed() -> None:
    state = done(grown(1), ReportHost(node=node_id(1), address="192.0.2.7", facts=HostFacts(kernel="6.1")))
    assert state.hosts[1].address == "192.0.2.7"
    assert state.hosts[1].api_port == 8080
    assert state.hosts[1].facts.kernel == "6.1"


def test_report_of_a_stranger_is_refused() -> None:
    assert refusal(grown(1), ReportHost(node=node_id(9), address="192.0.2.7")).code == "Not Found"


def test_removed_host_takes_its_containers_along_and_leaves_its_ca_key_copy_to_the_planner() -> None:
    state = carried_out(filled(hosts=2, scale=2))
    state = done(state, SealCaKey(node=node_id(1), sealed=b"x"))
    state = done(state, RemoveHost(id=1))
    assert [row.removed for row in state.containers.values()] == [1000, None]
    assert state.sealed_ca_keys == {node_id(1): b"x"}
    assert state.removed_nodes == {node_id(1): 1000}
    assert refusal(state, SetHostState(id=1, state="active")).code == "Not Found"


def test_ca_key_is_sealed_for_members_only() -> None:
    assert refusal(grown(1), SealCaKey(node=node_id(9), sealed=b"x")).code == "InvalidReference"


def test_inactive_host_stays_inactive_when_its_node_is_admitted_again() -> None:
    state = done(grown(1), SetHostState(id=1, state="inactive"))
    assert only_host(done(state, admit(1)), 1).state == "inactive"
