"""The CA key: every voter gets a copy, and none is taken back before."""

from dataclasses import dataclass, field

import msgspec

from node.drive.admission import CA_CONTEXT, Admission, seal_ca_key
from node.model import State
from protocol.ids import NodeId
from protocol.raft.messages import Config, make_config
from protocol.seal import new_private_key, open_sealed, public_of
from tests.fakes.states import grown, node_id

KEY = b"-----BEGIN PRIVATE KEY-----"
PRIVATE = {number: new_private_key(bytes([number]) * 32) for number in (1, 2, 3)}
A, B, C = (node_id(number) for number in (1, 2, 3))


@dataclass
class Group:
    """As much of a consensus as sealing asks for."""

    config: Config
    is_leader: bool

    @property
    def raft(self) -> "Group":
        return self


@dataclass
class Me:
    """As much of an identity as sealing asks for."""

    node: NodeId
    seal_private: bytes = field(repr=False)


def state(*holders: int) -> State:
    cluster = grown(3)
    hosts = {
        row.id: msgspec.structs.replace(row, seal_key=public_of(PRIVATE[row.id])) for row in cluster.hosts.values()
    }
    sealed = {node_id(number): seal_ca_key(KEY, public_of(PRIVATE[number])) for number in holders}
    return msgspec.structs.replace(cluster, hosts=hosts, sealed_ca_keys=sealed)


def admission(me: int, *voters: NodeId, leads: bool = True) -> Admission:
    group = Group(make_config(sorted(voters)), leads)
    return Admission(Me(node_id(me), PRIVATE[me]), group, None, None, None, None, None)  # type: ignore[arg-type]


def test_each_voter_without_a_copy_gets_one_that_only_it_can_open() -> None:
    seals = admission(1, A, B, C).plan_seals(state(1, 3))
    assert [seal.node for seal in seals] == [B]
    assert seals[0].sealed is not None
    assert open_sealed(PRIVATE[2], seals[0].sealed, context=CA_CONTEXT) == KEY


def test_holder_that_does_not_lead_gives_the_leader_its_copy() -> None:
    assert [seal.node for seal in admission(1, A, B, leads=False).plan_seals(state(1))] == [B]


def test_who_holds_no_copy_gives_none() -> None:
    assert admission(2, A, B).plan_seals(state(1)) == ()


def test_copy_of_one_who_votes_no_longer_is_taken_back_by_the_leader() -> None:
    seals = admission(1, A, B).plan_seals(state(1, 2, 3))
    assert [(seal.node, seal.sealed) for seal in seals] == [(C, None)]
    assert admission(1, A, B, leads=False).plan_seals(state(1, 2, 3)) == ()


def test_nothing_is_taken_back_while_a_voter_has_no_copy() -> None:
    assert all(seal.sealed is not None for seal in admission(3, A, B).plan_seals(state(3)))
