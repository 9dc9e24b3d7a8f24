"""The whole plan: idempotent, and with hosts that do as they are told every history settles."""

from random import Random

from hypothesis import given, note, settings, strategies as st

from node.commands import Batch
from node.plan.everything import Picture, plan
from node.state import apply
from node.state.published import wanted_ports
from tests.fakes.states import carried_out, launch, with_service
from tests.node.plan.test_services import NOW, commands_of_a_day, live, planned, settled, shop


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 25))
def test_any_day_settles_with_as_many_containers_as_wanted(seed: int, steps: int) -> None:
    note(f"seed {seed}")
    rng = Random(seed)
    state = with_service(shop(hosts=3, scale=2), "other", launch=launch(ports=("10086:80",)))
    for _ in range(steps):
        state = apply(state, commands_of_a_day(rng, state), at=NOW).state
        commands = plan(state, Picture(), NOW, rng)
        applied = apply(state, Batch(commands=commands), at=NOW)
        state = carried_out(applied.state) if rng.random() < 0.5 else applied.state
    state = settled(state, rng)
    assert plan(state, Picture(), NOW, rng) == ()
    for service in state.services.values():
        staying = [row for row in live(state) if row.service_id == service.id]
        if service.state == "active":
            assert len(staying) == service.scale
        elif service.state == "activating":
            assert wanted_ports(service.launch), "only hosts without a free port may keep a service from settling"
            assert service.message is not None
        else:
            assert service.state in ("inactive", "removed", "updating-active"), service


@settings(max_examples=30, deadline=None)
@given(scale=st.integers(0, 40), hosts=st.integers(1, 5))
def test_containers_are_spread_evenly(scale: int, hosts: int) -> None:
    counts = [0] * hosts
    for row in live(planned(shop(hosts=hosts, scale=scale))):
        counts[(row.host_id or 0) - 1] += 1
    assert max(counts) - min(counts) <= 1
