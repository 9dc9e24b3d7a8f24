"""Changing who is a member, by chapter 4 of Ongaro's dissertation."""

import pytest

from protocol.ids import Index, Term
from protocol.raft.messages import (
    Config,
    Entry,
    EntryKind,
    PreVoteRequest,
    encode_config,
    make_config,
)
from protocol.raft.vocabulary import (
    ConfigChanged,
    ConfigInFlight,
    ConfigRefused,
    Role,
)
from tests.protocol.raft.members import (
    ABC,
    A,
    B,
    C,
    D,
    accepted,
    append,
    command,
    commit_first,
    make_follower,
    make_leader,
    make_raft,
    sent,
)


def test_config_is_in_force_once_it_is_in_the_log_4_1() -> None:
    raft = make_follower(1)
    wider = make_config([A, B, C], [D])
    entry = Entry(Index(2), Term(1), EntryKind.CONFIG, encode_config(wider))
    raft.handle_message(B, append(1, 1, 1, entry), 2.1)
    assert raft.config == wider
    assert ConfigChanged(wider, Index(2), False) in raft.take_output().events
    raft.handle_message(C, append(2, 1, 1, command(2, 2)), 9.0)
    assert raft.config == ABC


def test_config_waits_for_an_entry_of_the_leaders_own_term_4_1() -> None:
    raft = make_leader(1)
    with pytest.raises(ConfigInFlight):
        raft.propose_config(make_config([A, B]), 2.0)


def test_config_waits_for_the_one_before_4_1() -> None:
    raft = make_leader(1)
    commit_first(raft)
    raft.propose_config(make_config([A, B, C], [D]), 2.0)
    with pytest.raises(ConfigInFlight):
        raft.propose_config(ABC, 2.0)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(make_config([A]), id="two voters less"),
        pytest.param(make_config([A, B, C, D]), id="a voter that was no learner"),
        pytest.param(make_config([]), id="nobody"),
    ],
)
def test_config_refuses_more_than_one_safe_step_4_1(config: Config) -> None:
    raft = make_leader(1)
    commit_first(raft)
    with pytest.raises(ConfigRefused):
        raft.propose_config(config, 2.0)


def test_learner_gets_a_vote_only_when_caught_up_4_2_1() -> None:
    raft = make_leader(1, config=make_config([A, B], [C]))
    commit_first(raft)
    with pytest.raises(ConfigRefused, match="caught up"):
        raft.propose_config(ABC, 2.1)
    raft.handle_message(C, accepted(2, 2), 2.2)
    raft.propose_config(ABC, 2.3)
    assert raft.config == ABC


def test_learner_that_fell_silent_is_not_caught_up_4_2_1() -> None:
    raft = make_leader(1, config=make_config([A, B], [C]))
    raft.handle_message(C, accepted(2, 2), 2.2)
    assert raft.peers(2.3)[C].is_caught_up
    assert not raft.peers(9.0)[C].is_caught_up


def test_removed_leader_leads_until_the_change_is_committed_4_2_2() -> None:
    raft = make_leader(1)
    commit_first(raft)
    index = raft.propose_config(make_config([B, C]), 2.0)
    raft.handle_message(B, accepted(2, index), 2.0)
    # Our own copy does not count.
    assert raft.is_leader
    assert raft.commit_index < index
    raft.handle_message(C, accepted(2, index), 2.0)
    assert raft.commit_index == index
    assert raft.role is Role.FOLLOWER


def test_voter_whose_removal_may_not_be_committed_still_campaigns_4_2_2() -> None:
    raft = make_raft(1)
    removal = Entry(Index(2), Term(1), EntryKind.CONFIG, encode_config(make_config([B, C])))
    raft.handle_message(B, append(1, 1, 1, removal), 2.0)
    raft.handle_timer(9.0)
    assert sent(raft.take_output(), B)[-1] == PreVoteRequest(Term(2), Index(2), Term(1))
    raft.handle_message(B, append(1, 2, 1, commit=2), 9.0)
    raft.take_output()
    raft.handle_timer(99.0)
    assert raft.take_output().send == ()
