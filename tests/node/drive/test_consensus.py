"""The consensus driver on one host: what is submitted, kept, skipped and answered."""

from typing import Any
from zlib import crc32

import msgspec
import pytest
import trio
from trio.testing import MockClock

from node.commands import CreateStack, Proposal, RemoveHost, encode_command, encode_proposal
from node.drive.consensus import Consensus
from node.drive.link import Caller
from node.drive.proposals import MAX_PROPOSED_BYTES
from node.drive.snapshots import NewerStateError
from node.model import DEFAULT_ENVIRONMENT_ID, Change, State
from node.ports import RefusedError, Unavailable
from node.state import encode_state, state_digest
from protocol.errors import DecodeError
from protocol.ids import Index, NodeId, Term
from protocol.messages import Kind, Submit, SubmitReply, decode_submit_reply, encode as encode_record
from protocol.raft.messages import (
    MAX_ENTRY_BYTES,
    Entry,
    EntryKind,
    SnapshotChunk,
    SnapshotMeta,
    SnapshotReply,
    decode_message,
    encode_config,
    encode_message,
    make_config,
)
from protocol.raft.vocabulary import SavedState, Snapshot
from tests.fakes.consensus import (
    ME,
    OTHER,
    Follower,
    founded_disk,
    leading_alone,
    make_consensus,
    running,
    two_voters,
)
from tests.fakes.states import admit, node_id
from tests.sim.cluster_parts import SimDisk
from tests.sim.raft_cluster import Disk


def stack(name: str, **fields: Any) -> CreateStack:
    return CreateStack(uuid=f"uuid-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name, **fields)


def submit_of(command: CreateStack, proposal: str = "f" * 32) -> bytes:
    return encode_record(Submit(proposal, encode_command(command)))


def hold_snapshots(consensus: Consensus) -> trio.Event:
    """Have a snapshot that is made stay unfinished until the event is set."""
    release = trio.Event()

    async def hold(*args: object) -> object:
        function, *rest = args
        if function is encode_state:
            await release.wait()
        return function(*rest)  # type: ignore[operator]

    consensus._snapshots.offload = hold
    return release


async def test_submit_returns_once_the_change_is_applied_here(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        done = await consensus.submit(stack("shop"))
        assert consensus.state.stacks[done.id].name == "shop"


async def test_submit_raises_the_states_refusal(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        await consensus.submit(stack("shop"))
        with pytest.raises(RefusedError) as refused:
            await consensus.submit(stack("SHOP"))
        assert (refused.value.code, refused.value.field) == ("NotUnique", "name")


async def test_submit_is_unavailable_when_no_leader_is_known_in_time(autojump_clock: MockClock) -> None:
    async with running(make_consensus(SimDisk(founded_disk().rng, slowness=0.0))) as consensus:
        start = trio.current_time()
        with pytest.raises(Unavailable, match="no leader is known here"):
            await consensus.submit(stack("shop"), timeout=3.0)
        assert 3.0 <= trio.current_time() - start < 4.0


async def test_submit_says_that_a_change_may_still_happen_when_no_majority_confirms_it(
    autojump_clock: MockClock,
) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]

    async def take(kind: Kind, payload: bytes) -> bytes:
        return encode_record(SubmitReply(True, OTHER))

    follower.transport.answer = take
    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), 3)
        with pytest.raises(Unavailable, match="it may still happen"):
            await consensus.submit(stack("shop"), timeout=0.5)


async def test_submit_refuses_what_fits_no_log_entry(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        with pytest.raises(RefusedError) as refused:
            await consensus.submit(stack("big", description="x" * MAX_PROPOSED_BYTES))
        assert refused.value.code == "MaxLengthExceeded"
        assert consensus.is_leader


async def test_largest_command_that_is_let_in_fits_a_log_entry(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        empty = len(encode_command(stack("big", docker_compose="")))
        command = stack("big", docker_compose="x" * (MAX_PROPOSED_BYTES - empty - 4))
        assert MAX_PROPOSED_BYTES - 4 <= len(encode_command(command)) <= MAX_PROPOSED_BYTES
        done = await consensus.submit(command)
        assert consensus.state.stacks[done.id].name == "big"


async def test_leader_goes_on_when_a_member_sends_a_command_that_fits_no_entry(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        command = stack("big", docker_compose="x" * (MAX_ENTRY_BYTES - 150))
        reply = decode_submit_reply(await consensus.answer_submit(Caller(OTHER, "192.0.2.2"), submit_of(command)))
        assert not reply.accepted
        assert "more than a log entry holds" in reply.detail
        await consensus.submit(stack("shop"))


async def test_refused_size_of_one_change_does_not_hold_up_the_others_of_its_batch(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        big = stack("big", docker_compose="x" * (MAX_ENTRY_BYTES - 150))
        nursery.start_soon(consensus.answer_submit, Caller(OTHER, "192.0.2.2"), submit_of(big))
        done = await consensus.submit(stack("shop"))
        assert done.kind == "stack"


async def test_proposal_is_applied_once_however_often_it_is_sent(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        caller = Caller(OTHER, "192.0.2.2")
        for _ in range(3):
            reply = decode_submit_reply(await consensus.answer_submit(caller, submit_of(stack("shop"))))
            assert reply == SubmitReply(True, ME)
        await consensus.submit(stack("later"))
        assert [row.name for row in consensus.state.stacks.values()] == ["shop", "later"]


async def test_submit_from_elsewhere_is_answered_with_who_leads(autojump_clock: MockClock) -> None:
    async with running(make_consensus(SimDisk(founded_disk().rng, slowness=0.0))) as consensus:
        reply = decode_submit_reply(await consensus.answer_submit(Caller(OTHER, ""), submit_of(stack("shop"))))
        assert reply == SubmitReply(False, None, "this node does not lead")


async def test_submit_from_elsewhere_is_turned_down_while_the_disk_is_still_read(autojump_clock: MockClock) -> None:
    consensus = make_consensus(founded_disk())
    reply = decode_submit_reply(await consensus.answer_submit(Caller(OTHER, ""), submit_of(stack("shop"))))
    assert not reply.accepted


async def test_command_that_this_release_cannot_read_is_no_submit(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        with pytest.raises(DecodeError, match="cannot read"):
            await consensus.answer_submit(Caller(OTHER, ""), encode_record(Submit("f" * 32, b"\x81\xa4type\xa1X")))


async def test_committed_entry_that_cannot_be_read_is_skipped_and_counted(autojump_clock: MockClock) -> None:
    disk = founded_disk()
    entries = disk.disk.saved.entries
    junk = Entry(Index(entries[-1].index + 1), Term(1), EntryKind.COMMAND, b"from a later release")
    disk.disk = Disk(SavedState(disk.disk.saved.hard, None, (*entries, junk)))
    async with leading_alone(disk) as consensus:
        assert consensus.skipped_entries == 1
        assert "1 committed changes were skipped" in " ".join(consensus.alarms)
        await consensus.submit(stack("shop"))


async def test_state_is_there_again_after_a_restart(autojump_clock: MockClock) -> None:
    disk = founded_disk()
    async with leading_alone(disk) as consensus:
        await consensus.submit(stack("shop"))
    async with leading_alone(disk) as consensus:
        assert [row.name for row in consensus.state.stacks.values()] == ["shop"]


async def test_state_is_readable_after_a_restart_before_anybody_leads(autojump_clock: MockClock) -> None:
    disk = two_voters()
    async with running(make_consensus(disk)) as consensus:
        assert consensus.raft.leader is None
        assert [host.name for host in consensus.state.hosts.values()] == ["h1"]


async def test_due_snapshot_waits_after_a_restart_until_the_core_knows_what_is_committed(
    autojump_clock: MockClock,
) -> None:
    disk = two_voters()
    async with running(make_consensus(disk, snapshot_every=2, keep_entries=1)) as consensus:
        await trio.sleep(5)
        assert consensus.consensus.applied_index == 3
        assert disk.disk.snapshot is None


async def test_snapshot_is_made_in_time_and_read_after_a_restart(autojump_clock: MockClock) -> None:
    disk = founded_disk()
    async with running(make_consensus(disk, snapshot_every=10, keep_entries=5)) as consensus:
        await trio.sleep(1)
        for number in range(30):
            await consensus.submit(stack(f"s{number}"))
        await trio.sleep(1)
        assert consensus.raft.snapshot_index >= 20
        applied = consensus.consensus.applied_index
    assert disk.disk.saved.entries[0].index > 10
    async with running(make_consensus(disk, snapshot_every=10, keep_entries=5)) as consensus:
        await trio.sleep(1)
        assert consensus.consensus.applied_index > applied
        assert len(consensus.state.stacks) == 30


async def test_listener_hears_each_state_with_what_changed(autojump_clock: MockClock) -> None:
    heard: list[tuple[State, tuple[Change, ...]]] = []
    async with leading_alone() as consensus:
        consensus.listen(lambda state, changes: heard.append((state, tuple(changes))))
        await consensus.submit(stack("shop"))
    assert heard[-1][1] == (Change("stacks", 1),)


async def test_wait_changed_returns_the_next_state(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus, trio.open_nursery() as nursery:
        before = consensus.state
        nursery.start_soon(consensus.submit, stack("shop"))
        after = await consensus.wait_changed(before)
        assert after is not before


# Two members: the other one is played by the test.


async def test_follower_is_not_current_before_its_leader_has_an_entry_of_its_own_committed(
    autojump_clock: MockClock,
) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus) as consensus:
        noop = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (noop,), 3)
        assert consensus.raft.leader == OTHER
        assert not consensus.is_current, "the new leader may not know what its predecessor acknowledged"
        await follower.hear(noop, (), noop.index)
        assert consensus.is_current


async def test_follower_is_not_current_before_it_has_all_that_is_committed(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus) as consensus:
        noop = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        more = Entry(Index(last.index + 2), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (noop,), more.index)
        assert consensus.consensus.applied_index == noop.index
        assert not consensus.is_current, "the leader speaks of one more"
        await follower.hear(noop, (more,), more.index)
        assert consensus.is_current


async def test_follower_stays_current_when_its_leader_is_lost(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus) as consensus:
        noop = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (noop,), noop.index)
        await trio.sleep(10)
        assert consensus.raft.leader is None
        assert consensus.consensus.stale_since is not None
        assert consensus.is_current


async def test_snapshot_of_ours_does_not_replace_a_newer_one_of_the_leaders(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    release = hold_snapshots(follower.consensus)
    async with running(follower.consensus) as consensus:
        entries = tuple(Entry(Index(last.index + n), Term(2), EntryKind.NOOP, b"") for n in range(1, 12))
        await follower.hear(last, entries, entries[-1].index)
        meta = SnapshotMeta(Index(100), Term(2), make_config([ME, OTHER]))
        state = encode_state(consensus.state)
        chunk = SnapshotChunk(Term(2), meta, len(state), crc32(state), 0, state)
        consensus.deliver(OTHER, encode_message(chunk))
        await trio.sleep(0.1)
        release.set()
        await trio.sleep(0.1)
        assert follower.disk.disk.snapshot is not None
        assert follower.disk.disk.snapshot.meta.index == 100


async def test_state_that_differs_is_replaced_by_the_leaders_and_what_followed_is_applied_again(
    autojump_clock: MockClock,
) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), int(last.index))
        right = consensus.state
        proposal = encode_proposal(Proposal(id="e" * 32, at=right.last_at + 1, command=stack("shop")))
        entry = Entry(Index(last.index + 1), Term(2), EntryKind.COMMAND, proposal)
        await follower.hear(last, (entry,), int(entry.index))
        after = consensus.state
        consensus._state = msgspec.structs.replace(after, hosts={}, stacks={})
        meta, state = SnapshotMeta(last.index, last.term, make_config([ME, OTHER])), encode_state(right)
        chunk = SnapshotChunk(Term(2), meta, len(state), crc32(state), 0, state, crc32(state), True)
        consensus.deliver(OTHER, encode_message(chunk))
        await trio.sleep(0.1)
        assert state_digest(consensus.state) == state_digest(after)
        assert consensus.consensus.applied_index == entry.index
        assert follower.disk.disk.snapshot is not None
        assert follower.disk.disk.snapshot.meta.index == last.index
    async with running(make_consensus(follower.disk)) as consensus:
        assert state_digest(consensus.state) == state_digest(after)


async def test_snapshot_of_a_state_that_is_replaced_does_not_outlive_it(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    release = hold_snapshots(follower.consensus)
    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), int(last.index))
        right = consensus.state
        consensus._state = msgspec.structs.replace(right, hosts={})
        entries = tuple(Entry(Index(last.index + n), Term(2), EntryKind.NOOP, b"") for n in range(1, 12))
        await follower.hear(last, entries, entries[-1].index)
        meta, state = SnapshotMeta(last.index, last.term, make_config([ME, OTHER])), encode_state(right)
        chunk = SnapshotChunk(Term(2), meta, len(state), crc32(state), 0, state, crc32(state), True)
        consensus.deliver(OTHER, encode_message(chunk))
        await trio.sleep(0.1)
        release.set()
        await trio.sleep(0.1)
        assert state_digest(consensus.state) == state_digest(right)
        assert follower.disk.disk.snapshot is not None
        assert consensus.raft.snapshot_index == follower.disk.disk.snapshot.meta.index
    async with running(make_consensus(follower.disk)) as consensus:
        assert state_digest(consensus.state) == state_digest(right)


async def test_snapshot_that_this_release_cannot_read_changes_nothing_on_disk_and_is_an_alarm(
    autojump_clock: MockClock,
) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]

    async def offer(index: int, state: bytes) -> None:
        meta = SnapshotMeta(Index(index), Term(2), make_config([ME, OTHER]))
        follower.consensus.deliver(
            OTHER, encode_message(SnapshotChunk(Term(2), meta, len(state), crc32(state), 0, state))
        )
        await trio.sleep(0.1)

    async with running(follower.consensus) as consensus:
        await follower.hear(last, (), int(last.index))
        before, saved = consensus.state, follower.disk.disk.saved
        for _ in range(3):
            await offer(100, msgspec.msgpack.encode({"version": 10**6}))
            assert consensus.state is before
            assert follower.disk.disk.snapshot is None
            assert follower.disk.disk.saved.entries == saved.entries
            (alarm,) = consensus.alarms
            assert "a snapshot of version 1000000" in alarm
            assert "give this host the release that the leader runs" in alarm
        replies = [decode_message(payload) for _, payload in follower.transport.sent]
        assert not [reply for reply in replies if isinstance(reply, SnapshotReply) and reply.done]
        entry = Entry(Index(last.index + 1), Term(2), EntryKind.NOOP, b"")
        await follower.hear(last, (entry,), entry.index)
        assert consensus.consensus.applied_index == entry.index, "it goes on, as far as it can"
    follower.consensus = make_consensus(follower.disk, follower.transport)
    async with running(follower.consensus) as consensus:
        assert state_digest(consensus.state) == state_digest(before)
        await offer(200, b"from a later release")
        assert ["cannot be read" in alarm for alarm in consensus.alarms] == [True]
        await offer(200, encode_state(before))
        assert not consensus.alarms
        assert follower.disk.disk.saved.snapshot is not None


async def test_state_on_the_own_disk_that_a_later_release_wrote_ends_the_start_and_says_so(
    autojump_clock: MockClock,
) -> None:
    follower = Follower(two_voters())
    meta = SnapshotMeta(Index(100), Term(2), make_config([ME, OTHER]))
    await follower.disk.save_snapshot(Snapshot(meta, msgspec.msgpack.encode({"version": 10**6})))
    with pytest.RaisesGroup(
        pytest.RaisesExc(NewerStateError, match=r"as of entry 100, .* start the release that wrote it"),
        flatten_subgroups=True,
    ):
        async with running(make_consensus(follower.disk)):
            pass


# Who may speak.


async def test_newcomer_without_a_state_hears_whoever_the_ca_vouches_for(autojump_clock: MockClock) -> None:
    async with running(make_consensus(SimDisk(founded_disk().rng, slowness=0.0))) as consensus:
        assert consensus.may_speak(node_id(9))


async def test_removed_host_is_not_heard_once_it_is_out_of_the_group(autojump_clock: MockClock) -> None:
    async with leading_alone() as consensus:
        done = await consensus.submit(admit(2))
        assert consensus.may_speak(OTHER)
        consensus.propose_config(make_config([ME], [OTHER]))
        await trio.sleep(0.1)
        await consensus.submit(RemoveHost(id=done.id))
        assert consensus.may_speak(OTHER), "it may have to hand over its vote"
        consensus.propose_config(make_config([ME]))
        await trio.sleep(0.1)
        assert not consensus.may_speak(OTHER)


async def test_removed_host_is_heard_while_the_change_that_takes_it_out_may_be_taken_back(
    autojump_clock: MockClock,
) -> None:
    # Whoever leads next may be the removed host itself, from a log that never had that change.
    follower = Follower(two_voters())
    third = NodeId("9" * 32)
    before = follower.disk.disk.saved.entries[-1]
    first = before.index + 1
    remove = encode_proposal(Proposal(id="a" * 32, at=2000, command=RemoveHost(id=2)))
    entries = (
        Entry(Index(first), Term(2), EntryKind.CONFIG, encode_config(make_config(sorted([ME, OTHER, third])))),
        Entry(Index(first + 1), Term(2), EntryKind.COMMAND, remove),
        Entry(Index(first + 2), Term(2), EntryKind.CONFIG, encode_config(make_config(sorted([ME, third])))),
    )
    async with running(follower.consensus) as consensus:
        await follower.hear(before, entries, first + 1)
        await trio.sleep(2.0)
        assert not consensus.is_host(OTHER)
        assert consensus.raft.leader is None
        assert consensus.may_speak(OTHER)


async def test_unknown_node_is_heard_only_while_nobody_leads(autojump_clock: MockClock) -> None:
    follower = Follower(two_voters())
    last = follower.disk.disk.saved.entries[-1]
    stranger = NodeId("9" * 32)
    async with running(follower.consensus) as consensus:
        assert consensus.may_speak(stranger), "it may have joined and come to lead since we were last here"
        await follower.hear(last, (), 3)
        assert not consensus.may_speak(stranger)
