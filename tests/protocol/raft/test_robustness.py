"""Whatever decodable messages come, a core stays whole: it refuses with ProtocolError, or carries on."""

from random import Random

from hypothesis import given, settings, strategies as st

from protocol.errors import ProtocolError
from protocol.ids import Index, NodeId, Term
from protocol.raft.core import Raft
from protocol.raft.messages import (
    AppendReply,
    AppendRequest,
    Entry,
    EntryKind,
    PreVoteRequest,
    RaftMessage,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
    encode_config,
    make_config,
)
from protocol.raft.snapshots import OutgoingSnapshot
from protocol.raft.vocabulary import Limits, SavedState, Snapshot
from tests.protocol.raft.members import ABC, A, B, C, D, make_leader, make_raft

terms = st.integers(0, 5).map(Term)
indexes = st.integers(0, 8).map(Index)
seqs = st.integers(0, 9)
payloads = st.sampled_from([(EntryKind.COMMAND, b"x"), (EntryKind.CONFIG, encode_config(make_config([A, B], [D])))])


@st.composite
def append_requests(draw: st.DrawFn) -> AppendRequest:
    prev, prev_term, entries = draw(indexes), draw(terms), []
    last_term = prev_term
    for number in range(draw(st.integers(0, 3))):
        last_term = max(last_term, draw(terms), Term(1))
        entries.append(Entry(Index(prev + number + 1), last_term, *draw(payloads)))
    return AppendRequest(max(last_term, draw(terms)), prev, prev_term, tuple(entries), draw(indexes), draw(seqs))


@st.composite
def chunks(draw: st.DrawFn) -> SnapshotChunk:
    meta = SnapshotMeta(Index(draw(indexes) + 1), Term(draw(terms) + 1), ABC)
    return OutgoingSnapshot(Snapshot(meta, b"0123456789")).cut_chunk(draw(terms), draw(st.sampled_from([0, 5])), 5)


messages: st.SearchStrategy[RaftMessage] = st.one_of(
    st.builds(PreVoteRequest, terms, indexes, terms),
    st.builds(VoteRequest, terms, indexes, terms, st.booleans()),
    st.builds(TimeoutNow, terms),
    st.builds(VoteReply, terms, st.booleans(), st.booleans()),
    append_requests(),
    st.builds(AppendReply, terms, st.booleans(), indexes, indexes, terms, seqs),
    chunks(),
    st.builds(SnapshotReply, terms, indexes, seqs, st.booleans()),
)
inputs = st.lists(st.tuples(st.sampled_from([B, C, D]), st.none() | messages), max_size=20)
cores = st.sampled_from(["newcomer", "follower", "leader"])


def make_core(kind: str) -> Raft:
    if kind == "newcomer":
        return Raft(A, saved=SavedState(), rng=Random(1), now=0.0)
    return make_raft(1, 1, 2) if kind == "follower" else make_leader(1, 1, 2, limits=Limits(batch_entries=2))


@settings(max_examples=300, deadline=None)
@given(cores, inputs)
def test_core_stays_whole_whatever_it_is_told(kind: str, told: list[tuple[NodeId, RaftMessage | None]]) -> None:
    raft, now, applied = make_core(kind), 2.0, Index(0)
    for sender, message in told:
        now += 0.3
        try:
            if message is None:
                raft.handle_timer(now)
            else:
                raft.handle_message(sender, message, now)
        except ProtocolError:
            continue
        output = raft.take_output()
        assert raft.applied_index == raft.commit_index <= raft.last_index
        assert raft.commit_index >= applied
        applied = raft.commit_index
        assert message is not None or output.wake_at > now
