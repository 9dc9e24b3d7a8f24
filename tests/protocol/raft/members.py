"""Members of a group in the states that tests start from, and short words for messages."""

from random import Random

from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Config,
    Entry,
    EntryKind,
    RaftMessage,
    VoteReply,
    encode_config,
    make_config,
)
from protocol.raft.vocabulary import (
    DEFAULT_LIMITS,
    HardState,
    Limits,
    Output,
    SavedState,
    Timing,
)

A, B, C, D = (NodeId(letter * 32) for letter in "abcd")
ABC = make_config([A, B, C])
TIMING = Timing()


def make_entries(*terms: int, config: Config = ABC) -> tuple[Entry, ...]:
    """Return a log of entries of these terms, the first of which is `config`."""
    first = Entry(Index(1), Term(terms[0]), EntryKind.CONFIG, encode_config(config))
    return (first, *(command(index, term) for index, term in enumerate(terms[1:], 2)))


def command(index: int, term: int, text: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.COMMAND, text)


def make_raft(
    *terms: int, me: NodeId = A, vote: NodeId | None = None, config: Config = ABC, limits: Limits = DEFAULT_LIMITS
) -> Raft:
    log = make_entries(*terms, config=config)
    saved = SavedState(HardState(log[-1].term, vote), None, log)
    return Raft(me, saved=saved, rng=Random(1), now=0.0, timing=TIMING, limits=limits)


def make_leader(*terms: int, config: Config = ABC, limits: Limits = DEFAULT_LIMITS) -> Raft:
    """Return A, elected at time 2.0 by everybody, with its first output taken."""
    raft = make_raft(*terms, config=config, limits=limits)
    raft.handle_timer(2.0)
    for pre in (True, False):
        for peer in config.voters:
            raft.handle_message(peer, VoteReply(Term(terms[-1] + 1), True, pre), 2.0)
    assert raft.is_leader
    raft.take_output()
    return raft


def make_follower(*terms: int, leader: NodeId = B, now: float = 2.0) -> Raft:
    """Return A, which heard `leader` at `now`."""
    raft = make_raft(*terms)
    raft.handle_message(leader, heartbeat(terms[-1], len(terms), terms[-1]), now)
    raft.take_output()
    return raft


def heartbeat(term: int, prev: int, prev_term: int, commit: int = 0) -> AppendRequest:
    return AppendRequest(Term(term), Index(prev), Term(prev_term), (), Index(commit), 1)


def append(term: int, prev: int, prev_term: int, *entries: Entry, commit: int = 0) -> AppendRequest:
    return AppendRequest(Term(term), Index(prev), Term(prev_term), entries, Index(commit), 1)


def accepted(term: int, index: int, seq: int = 99) -> AppendReply:
    return AppendReply(Term(term), True, Index(index), Index(0), Term(0), seq)


def sent(output: Output, to: NodeId) -> list[RaftMessage]:
    return [envelope.message for envelope in output.send if envelope.to == to]


def commit_first(raft: Raft) -> None:
    raft.handle_message(B, accepted(raft.term, raft.last_index), 2.0)
    raft.take_output()
