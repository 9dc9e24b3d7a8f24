"""Who votes: one voter for up to two hosts, three from three, five from seven, one safe step at a time."""

from hypothesis import given, settings, strategies as st

from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config
from protocol.raft.quorum import check_change, has_quorum
from protocol.raft.voters import HostView, VoterPlan, plan_voters, wanted_voters

NAMES = [NodeId(f"{n:x}" * 32) for n in range(1, 10)]
A, B, C, D, E = NAMES[:5]
NOW = 1000.0


def plan(
    config: Config,
    *,
    dead: dict[NodeId, float] | None = None,
    behind: tuple[NodeId, ...] = (),
    zones: dict[NodeId, str] | None = None,
    lost_log: tuple[NodeId, ...] = (),
    preferred: tuple[NodeId, ...] = (),
    drained: tuple[NodeId, ...] = (),
    wanted: int | None = None,
    leaves: bool = False,
) -> VoterPlan | None:
    caught_up = set(config.learners) - set(behind)
    view = HostView(A, dead or {}, caught_up, zones or {}, lost_log, drained, preferred, wanted, leaves)
    return plan_voters(config, view, NOW)


def settle(config: Config, view: HostView) -> Config:
    for _ in range(20):
        step = plan_voters(config, view, NOW)
        if step is None:
            return config
        check_change(config, step.config)
        config = step.config
    raise AssertionError("the plan never ends")


def test_one_voter_serves_up_to_two_hosts() -> None:
    assert [wanted_voters(hosts) for hosts in range(9)] == [0, 1, 1, 3, 3, 3, 3, 5, 5]
    assert plan(make_config([A], [B])) is None


def test_heir_of_a_leader_that_leaves_keeps_its_vote() -> None:
    assert plan(make_config([A, B]), leaves=True) is None
    assert plan(make_config([A, B], [C]), leaves=True) is None


def test_dead_voter_makes_room_before_a_leader_leaves() -> None:
    step = plan(make_config([A, B, C]), dead={B: NOW - 1.0}, leaves=True)
    assert step is not None
    assert step.config == make_config([A, C], [B])


def test_third_host_brings_two_more_voters_one_by_one() -> None:
    first = plan(make_config([A], [B, C]))
    assert first is not None
    assert first.config == make_config([A, B], [C])
    second = plan(first.config)
    assert second is not None
    assert second.config == make_config([A, B, C])
    assert plan(second.config) is None


def test_learner_that_is_behind_gets_no_vote() -> None:
    # With B alone there would be two voters, which are no better than one: not even B is worth a change.
    assert plan(make_config([A], [B, C]), behind=(C,)) is None
    assert plan(make_config([A, B], [C]), behind=(C,)) is None


def test_dead_learner_gets_no_vote() -> None:
    assert plan(make_config([A, B], [C]), dead={C: NOW - 1}) is None


def test_voter_dead_for_long_gives_way_to_a_live_learner() -> None:
    config = make_config([A, B, C], [D])
    assert plan(config, dead={B: NOW - 29}) is None
    step = plan(config, dead={B: NOW - 31})
    assert step is not None
    assert step.config == make_config([A, C], [B, D])
    assert "dead" in step.why
    assert settle(config, HostView(A, {B: NOW - 31}, {D}, {})) == make_config([A, C, D], [B])


def test_dead_voter_keeps_its_vote_while_nobody_can_take_it() -> None:
    assert plan(make_config([A, B, C]), dead={B: 0.0}) is None
    assert plan(make_config([A, B, C], [D]), dead={B: 0.0}, behind=(D,)) is None


def test_dead_spare_voter_goes_first_when_hosts_leave() -> None:
    step = plan(make_config([A, B, C, D], [E]), dead={C: NOW - 1})
    assert step is not None
    assert step.config == make_config([A, B, D], [C, E])


def test_voters_spread_over_zones() -> None:
    zones = {A: "north", B: "north", C: "south", D: "north", E: "east"}
    view = HostView(A, {}, set(NAMES), zones)
    assert settle(make_config([A], [B, C, D, E]), view) == make_config([A, C, E], [B, D])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Config, HostView]:
    hosts = NAMES[: draw(st.integers(1, 9))]
    voters = draw(st.sets(st.sampled_from(hosts), max_size=6)) | {A}
    others = st.sampled_from(hosts)
    dead = {host: NOW - draw(st.sampled_from([1.0, 60.0])) for host in draw(st.sets(others)) - {A}}
    zones = {host: draw(st.sampled_from("xyz")) for host in draw(st.sets(others))}
    return make_config(voters, set(hosts) - voters), HostView(A, dead, draw(st.sets(others)), zones)


@settings(max_examples=200, deadline=None)
@given(situations())
def test_plan_is_one_legal_step_to_voters_with_a_live_majority(situation: tuple[Config, HostView]) -> None:
    config, view = situation
    step = plan_voters(config, view, NOW)
    if step is not None:
        check_change(config, step.config)
        assert set(step.config.members) == set(config.members)
        assert has_quorum(step.config, set(step.config.voters) - view.dead_since.keys())
        added = set(step.config.voters) - set(config.voters)
        assert all(host in view.caught_up and host not in view.dead_since for host in added)
        assert view.me in step.config.voters


@settings(max_examples=200, deadline=None)
@given(situations())
def test_plan_ends(situation: tuple[Config, HostView]) -> None:
    config, view = situation
    settle(config, view)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9))
def test_healthy_hosts_end_with_the_wanted_number_of_voters(count: int) -> None:
    hosts = NAMES[:count]
    view = HostView(A, {}, set(hosts), {})
    assert len(settle(make_config([A], hosts[1:]), view).voters) == wanted_voters(count)


def test_voter_that_has_lost_its_log_becomes_a_learner_first_of_all() -> None:
    step = plan(make_config([A, B, C], [D]), lost_log=(B,), dead={C: NOW - 100})
    assert step is None or step.config == make_config([A, C], [B, D])
    step = plan(make_config([A, B, C], [D]), lost_log=(B,))
    assert step is not None
    assert step.config == make_config([A, C], [B, D])


def test_drained_voter_hands_its_vote_over_before_it_loses_it() -> None:
    config = make_config([A, B, C], [D, E])
    view = HostView(A, {}, {B, D, E}, {}, drained=(B,))
    first = plan_voters(config, view, NOW)
    assert first is not None
    assert first.config == make_config([A, B, C, D], [E])
    assert settle(config, view) == make_config([A, C, D], [B, E])


def test_drained_voter_keeps_its_vote_while_nobody_can_take_it() -> None:
    assert plan(make_config([A, B, C]), drained=(B,)) is None
    assert plan(make_config([A, B, C], [D]), drained=(B,), behind=(D,)) is None


def test_drained_learner_gets_no_vote() -> None:
    assert plan(make_config([A], [B, C]), drained=(B,)) is None


def test_wanted_number_of_voters_replaces_the_usual_one() -> None:
    config = make_config([A, B, C], [D, E])
    assert settle(config, HostView(A, {}, {D, E}, {}, wanted=5)).voters == tuple(NAMES[:5])
    assert settle(config, HostView(A, {}, {D, E}, {}, wanted=1)).voters == (A,)
    assert settle(make_config([A, B, C]), HostView(A, {}, (), {}, wanted=9)).voters == (A, B, C)


def test_preferred_host_gets_a_vote_first_and_takes_one_from_another() -> None:
    first = plan(make_config([A], [B, C, D]), preferred=(D,))
    assert first is not None
    assert first.config == make_config([A, D], [B, C])
    view = HostView(A, {}, {B, C, D, E}, {}, preferred=(D,))
    assert settle(make_config([A, B, C], [D, E]), view) == make_config([A, B, D], [C, E])
    assert settle(make_config([A, B, D], [C, E]), view) == make_config([A, B, D], [C, E])
