"""What a member may hand to the leader, and what is the leader's own."""

import pytest

from node.commands import (
    AdmitHost,
    Batch,
    CreateStack,
    InitCluster,
    PurgeRows,
    ReportContainers,
    ReportHost,
    SealCaKey,
    SingleCommand,
)
from node.plan.permits import LEADERS_OWN, why_refused
from tests.fakes.states import admit, done, grown, node_id

ME, OTHER = node_id(1), node_id(2)


def test_what_people_ask_for_is_passed_on_by_any_member() -> None:
    assert why_refused(CreateStack(uuid="u", environment_id=5, name="shop"), ME, grown()) is None


@pytest.mark.parametrize("command", [InitCluster(cluster_id="c", ca=b""), admit(1), PurgeRows(rows=())])
def test_what_the_leader_decides_is_not_taken_from_others(command: SingleCommand) -> None:
    assert isinstance(command, LEADERS_OWN)
    assert why_refused(command, ME, grown()) is not None


@pytest.mark.parametrize("kind", [ReportHost, ReportContainers])
def test_host_speaks_for_itself_only(kind: type[ReportHost | ReportContainers]) -> None:
    fields: dict[str, object] = {"observations": ()} if kind is ReportContainers else {}
    assert why_refused(kind(node=ME, **fields), ME, grown()) is None  # type: ignore[arg-type]
    assert why_refused(kind(node=OTHER, **fields), ME, grown()) is not None  # type: ignore[arg-type]


def test_ca_key_is_sealed_by_holders_and_taken_back_by_the_leader_alone() -> None:
    state = done(grown(), SealCaKey(node=ME, sealed=b"x"))
    assert why_refused(SealCaKey(node=OTHER, sealed=b"y"), ME, state) is None
    assert why_refused(SealCaKey(node=OTHER, sealed=b"y"), OTHER, state) is not None
    assert why_refused(SealCaKey(node=ME, sealed=None), ME, state) is not None


def test_batch_is_no_way_around() -> None:
    assert isinstance(admit(1), AdmitHost)
    assert why_refused(Batch(commands=(admit(1),)), ME, grown()) is not None
