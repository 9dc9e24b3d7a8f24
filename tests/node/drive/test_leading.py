"""What only the leader's loop decides: who counts as missing."""

from random import Random

from node.drive.leading import SILENT, Leading, missed_since
from node.plan.members import plan_members
from protocol.ids import Index, NodeId
from protocol.raft.messages import make_config
from protocol.raft.vocabulary import PeerStatus, ProgressState
from tests.fakes.states import grown


class Members:
    """A consensus of which only the members are asked."""

    def __init__(self, *nodes: NodeId) -> None:
        self.members = dict.fromkeys(nodes)


def leading(members: Members) -> Leading:
    return Leading(
        NodeId("1" * 32),
        members,  # type: ignore[arg-type]
        dead_since=dict,
        plan_seals=lambda state: (),
        now_ms=lambda: 0,
        rng=Random(1),
    )


def test_host_that_never_came_is_missed_from_when_it_was_first_missed() -> None:
    state = grown(3)
    nodes = [host.node for host in state.hosts.values()]
    loop = leading(Members(*nodes[:2]))
    loop._note_absent(state, 10.0)
    loop._note_absent(state, 25.0)
    assert loop._absent_since == {nodes[2]: 10.0}


def test_host_that_comes_after_all_is_missed_no_longer() -> None:
    state = grown(2)
    nodes = [host.node for host in state.hosts.values()]
    members = Members(nodes[0])
    loop = leading(members)
    loop._note_absent(state, 10.0)
    members.members[nodes[1]] = None
    loop._note_absent(state, 11.0)
    assert loop._absent_since == {}


def test_removed_host_stays_in_the_group_until_it_has_heard_of_it() -> None:
    nodes = [host.node for host in grown(3).hosts.values()]
    loop = leading(Members())
    config = make_config(sorted(nodes))
    assert loop._lately_removed(config, nodes[:2], 10.0) == {nodes[2]}
    assert loop._lately_removed(config, nodes[:2], 10.5) == {nodes[2]}
    assert loop._lately_removed(config, nodes[:2], 11.5) == set()


def peer(match: int, heard_at: float) -> PeerStatus:
    return PeerStatus(Index(match), ProgressState.PROBE, heard_at, False)


def test_member_that_has_not_answered_this_leader_or_not_lately_is_not_counted_on() -> None:
    a, b, c, d = (NodeId(letter * 32) for letter in "abcd")
    peers = {a: peer(7, 9.9), b: peer(0, 9.9), c: peer(7, 10.0 - SILENT), d: peer(0, 1.0)}
    assert missed_since(peers, {d: 3.0}, 10.0) == {b: 10.0, c: 10.0, d: 3.0}


def test_removed_leader_does_not_leave_the_group_to_a_voter_that_never_answered_it() -> None:
    me, dead, alive = (NodeId(letter * 32) for letter in "abc")
    # Gossip here began after that voter had died, and has never heard of it.
    missed = missed_since({dead: peer(0, 10.0), alive: peer(7, 10.0)}, {}, 10.0)
    config = make_config([me, dead, alive])
    assert plan_members(config, [dead, alive], me, key_holders=[me, dead, alive], dead=missed) is None
