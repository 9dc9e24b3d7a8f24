"""The Raft group follows the hosts, one safe step at a time."""

from hypothesis import given, strategies as st

from node.plan.members import plan_members
from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config
from protocol.raft.voters import HostView, plan_voters

NODES = [NodeId(f"{number:032x}") for number in range(1, 8)]
A, B, C, D = NODES[:4]


def test_new_hosts_come_in_as_learners() -> None:
    assert plan_members(make_config([A]), {A, B, C}, A) == make_config([A], [B, C])


def test_removed_learner_goes() -> None:
    assert plan_members(make_config([A], [B]), {A}, A) == make_config([A])


def test_removed_voters_go_one_by_one() -> None:
    assert plan_members(make_config([A, B, C]), {A}, A) == make_config([A, C])


def test_removed_voter_keeps_its_vote_while_those_left_are_dead() -> None:
    config = make_config([A, B, C], [D])
    assert plan_members(config, {A, B, D}, A, dead=[B]) is None
    assert plan_members(config, {A, B, D}, A, dead=[]) == make_config([A, B], [D])


def test_removed_voter_that_is_dead_goes_before_one_that_lives() -> None:
    assert plan_members(make_config([A, B, C]), {A}, A, dead=[C]) == make_config([A, B])


def test_leader_that_is_no_host_any_more_goes_once_another_votes() -> None:
    config = make_config([A, B, C])
    assert plan_members(config, {B, C}, A, key_holders=[A, C]) == make_config([B, C])


def test_leader_that_goes_waits_until_another_voter_holds_the_ca_key() -> None:
    assert plan_members(make_config([A, B], [C]), {B, C}, A, key_holders=[A, C]) is None


def test_leader_that_goes_waits_while_those_left_have_no_living_majority() -> None:
    config = make_config([A, B, C])
    assert plan_members(config, {B, C}, A, key_holders=[A, B, C], dead=[B]) is None
    assert plan_members(make_config([A, B, C, D]), {B, C, D}, A, key_holders=[A, B], dead=[B]) is None


def test_last_voter_hands_its_vote_on_before_it_goes() -> None:
    alone = make_config([A], [B, C])
    assert plan_members(alone, {B, C}, A, caught_up=[C]) == make_config([A, C], [B])
    assert plan_members(alone, {B, C}, A, caught_up=[]) is None


@given(
    voters=st.sets(st.sampled_from(NODES), min_size=1, max_size=5),
    learners=st.sets(st.sampled_from(NODES)),
    hosts=st.sets(st.sampled_from(NODES), min_size=1),
)
def test_group_settles_on_the_hosts(voters: set[NodeId], learners: set[NodeId], hosts: set[NodeId]) -> None:
    me = min(voters)
    config: Config = make_config(sorted(voters), sorted(learners - voters))
    for _ in range(20):
        if (following := plan_members(config, hosts, me, caught_up=config.learners, key_holders=NODES)) is None:
            break
        assert len(set(config.voters) ^ set(following.voters)) <= 1
        config = following
        if me not in config.members:
            break
    assert me in hosts or me not in config.members
    assert me not in hosts or set(config.members) == hosts


def test_leader_that_goes_hands_over_to_the_one_host_left_without_end_of_changes() -> None:
    """Both planners, as the leader asks them; the heir gets its copy of the CA key after it got its vote."""
    config, seen = make_config([A], [B]), list[Config]()
    for holders in ([A], [A], [A, B], [A, B]):
        view = HostView(A, {}, config.learners, {}, leaves=True)
        wish = plan_members(config, {B}, A, caught_up=config.learners, key_holders=holders)
        if wish is None and (voters := plan_voters(config, view, 0.0)) is not None:
            wish = voters.config
        config = wish or config
        seen.append(config)
        if A not in config.members:
            break
    assert seen == [make_config([A, B]), make_config([A, B]), make_config([B])]
