"""The core's surface: answers, accusations that travel first, joins, leaves, stalls, bounds and junk."""

from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from protocol.errors import DecodeError
from protocol.ids import Incarnation, NodeId
from protocol.swim import MAX_DATAGRAM_BYTES, Address, MemberDied, Meta, State, Swim, SwimTiming
from protocol.swim.core import MAX_REPLIES
from protocol.swim.messages import (
    Ack,
    Alive,
    Dead,
    Left,
    Message,
    Nack,
    Ping,
    PingRequest,
    Record,
    Suspect,
    SyncReply,
    SyncRequest,
    decode_packet,
    encode_message,
    encode_packet,
    encode_sync,
)
from tests.protocol.swim.builders import ME, B, C, D, address, datagram, meta, node, said, swim

NOBODY = Address("10.99.0.1", 7946)


few = st.sampled_from([ME, B, C, D])
incarnations = st.integers(0, 3).map(Incarnation)
rows = st.builds(lambda who, state, inc: Record(who, state, inc, meta(2)), few, st.sampled_from(State), incarnations)
known_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, st.integers(0, 9), few),
    st.builds(PingRequest, st.integers(0, 9), few),
    st.builds(Ack, st.integers(0, 9), few),
    st.builds(Nack, st.integers(0, 9)),
    st.builds(lambda who, inc: Alive(who, inc, meta(3)), few, incarnations),
    st.builds(Suspect, few, incarnations, few),
    st.builds(Dead, few, incarnations, few),
    st.builds(Left, few, incarnations),
    st.builds(SyncRequest, st.integers(0, 9), st.integers(0, 2), st.integers(0, 2), st.tuples(rows, rows)),
    st.builds(SyncReply, st.integers(0, 9), st.integers(0, 2), st.integers(0, 2), st.tuples(rows, rows)),
)


def alive(who: NodeId, incarnation: int = 0) -> Alive:
    return Alive(who, Incarnation(incarnation), meta(int(who, 16)))


def swim_with(*others: NodeId) -> Swim:
    core = swim()
    for other in others:
        core.handle_datagram(datagram(other, alive(other)), address(other), 0.0)
    core.take_output()
    return core


def drive(core: Swim, until: float) -> None:
    while (wake_at := core.take_output().wake_at) < until:
        core.handle_timer(wake_at)


def test_ping_is_answered_where_it_came_from() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(B, Ping(7, ME)), NOBODY, 0.0)
    (answer,) = core.take_output().send
    assert answer.to == NOBODY
    assert Ack(7, ME) in decode_packet(answer.data).messages


def test_ping_for_somebody_else_at_our_address_is_not_answered() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(B, Ping(7, C)), address(B), 0.0)
    assert core.take_output().send == ()


def test_our_own_datagram_coming_back_is_ignored() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(ME, Ping(7, ME), Suspect(ME, Incarnation(0), ME)), NOBODY, 0.0)
    assert core.take_output().send == ()
    assert core.incarnation == 0


def test_refutation_rides_with_the_answer_to_the_accuser() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(B, Suspect(ME, Incarnation(0), B), Ping(7, ME)), address(B), 0.0)
    words = said(core, B)
    assert words[0] == Alive(ME, Incarnation(1), meta(1))
    assert Ack(7, ME) in words


def test_accused_member_is_told_before_anything_else() -> None:
    core = swim_with(B, C)
    core.handle_datagram(datagram(C, Suspect(B, Incarnation(0), C)), address(C), 0.0)
    core.take_output()
    core.handle_datagram(datagram(B, Ping(7, ME)), address(B), 0.0)
    assert said(core, B)[0] == Suspect(B, Incarnation(0), C)


def test_dead_member_that_pings_learns_of_its_death() -> None:
    core = swim_with(B, C)
    core.handle_datagram(datagram(C, Dead(B, Incarnation(0), C)), address(C), 0.0)
    drive(core, 4.0)
    assert core.members[B].state is State.DEAD
    core.handle_datagram(datagram(B, Ping(7, ME)), address(B), 4.0)
    assert said(core, B)[0] == Dead(B, Incarnation(0), ME)


def test_silent_member_dies_and_the_event_says_so() -> None:
    core, died = swim_with(B), []
    for _ in range(200):
        output = core.take_output()
        died += [event.member.node for event in output.events if isinstance(event, MemberDied)]
        core.handle_timer(output.wake_at)
    assert died == [B]
    assert core.alive == {ME}
    assert core.local_health > 0


def test_join_asks_every_seed_until_one_answers() -> None:
    core = swim()
    core.join([address(B), address(C)], 0.0)
    drive(core, 0.5)
    before = core.is_joining
    core.handle_timer(1.1)
    sent = core.take_output().send
    requests = {item.to: decode_packet(item.data).messages[0] for item in sent}
    assert set(requests) == {address(B), address(C)}
    request = requests[address(B)]
    assert isinstance(request, SyncRequest)
    rows = [Record(who, State.ALIVE, Incarnation(0), meta(int(who, 16))) for who in (B, D)]
    reply = encode_sync(SyncReply, request.seq, 0, 1, [encode_message(row) for row in rows])
    core.handle_datagram(encode_packet(B, [reply]), address(B), 1.2)
    assert (before, core.is_joining) == (True, False)
    assert core.alive == {ME, B, D}


def test_sync_request_is_answered_once_with_the_whole_table() -> None:
    core = swim_with(B, C)
    for part in range(3):
        core.handle_datagram(datagram(D, SyncRequest(9, part, 3, ())), address(D), 0.0)
    (reply,) = said(core, D)
    assert isinstance(reply, SyncReply)
    assert {row.node for row in reply.records} == {ME, B, C}


def test_stranger_that_pings_makes_us_ask_around_soon() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(D, Ping(7, ME)), address(D), 0.0)
    asked = []
    while (output := core.take_output()).wake_at < 1.0:
        asked += [item for item in output.send if isinstance(decode_packet(item.data).messages[0], SyncRequest)]
        core.handle_timer(output.wake_at)
    assert asked


def test_late_timer_is_taken_for_a_stall_and_buries_nobody() -> None:
    core = swim_with(B, C, D)
    core.handle_datagram(datagram(C, Dead(B, Incarnation(0), C)), address(C), 0.0)
    core.take_output()
    core.handle_timer(60.0)
    assert core.members[B].state is State.SUSPECT
    assert core.local_health == 1
    core.handle_datagram(datagram(B, alive(B, 1)), address(B), 60.0)
    assert core.members[B].state is State.ALIVE


def run_to_ping(core: Swim) -> Ping:
    while True:
        output = core.take_output()
        for item in output.send:
            for message in decode_packet(item.data).messages:
                if isinstance(message, Ping):
                    return message
        core.handle_timer(output.wake_at)


def test_probe_that_a_stall_interrupted_accuses_nobody() -> None:
    core = swim_with(B, C)
    run_to_ping(core)
    core.handle_timer(60.0)
    assert {row.state for row in core.members.values()} == {State.ALIVE}


@pytest.mark.parametrize("suspect", [B, C, D])
def test_newly_suspected_member_of_a_small_group_is_probed_next(suspect: NodeId) -> None:
    core = swim_with(B, C, D)
    accuser = next(who for who in (B, C) if who != suspect)
    core.handle_datagram(datagram(accuser, Suspect(suspect, Incarnation(0), accuser)), address(accuser), 0.0)
    assert run_to_ping(core).target == suspect


def test_late_datagram_is_taken_for_a_stall_too() -> None:
    core = swim_with(B, C, D)
    core.handle_datagram(datagram(C, Dead(B, Incarnation(0), C)), address(C), 0.0)
    core.take_output()
    core.handle_datagram(datagram(D, alive(D)), address(D), 60.0)
    core.handle_timer(60.0)
    assert core.members[B].state is State.SUSPECT


def test_deadline_that_lay_idle_is_no_stall() -> None:
    core = swim_with(B, C, D)
    drive(core, 10.0)
    before = core.local_health
    for turn in range(50):
        now = 10.0 + turn * 0.01
        core.update_meta(meta(1, name=f"turn{turn}"), now)
        assert core.take_output().wake_at >= now
    assert core.local_health == before


def test_leaving_says_goodbye_until_it_is_known() -> None:
    core = swim_with(B)
    core.leave(1.0)
    assert not core.has_left
    assert ME not in core.alive
    assert core.take_output().wake_at <= 1.0
    core.handle_timer(1.0)
    assert Left(ME, Incarnation(0)) in said(core, B)
    drive(core, 5.0)
    assert core.has_left


def test_leaving_alone_is_over_at_once() -> None:
    core = swim()
    core.leave(1.0)
    assert core.has_left


def test_new_words_are_gossiped_in_a_new_incarnation() -> None:
    core = swim_with(B)
    moved = Meta("h1", "10.5.5.5", 7946, 8080, labels={"zone": "a"})
    core.update_meta(moved, 1.0)
    core.update_meta(moved, 1.0)
    core.handle_timer(1.0)
    assert Alive(ME, Incarnation(1), moved) in said(core, B)


@pytest.mark.parametrize("meta", [Meta("", "10.0.0.1", 1, 1), Meta("a", "::", 1, 1), Meta("a", "10.0.0.1", 0, 1)])
def test_words_that_others_would_refuse_are_refused_at_once(meta: Meta) -> None:
    with pytest.raises(ValueError, match="not fit"):
        Swim(ME, meta, timing=SwimTiming(), rng=Random(1), now=0.0, incarnation=Incarnation(0))
    with pytest.raises(ValueError, match="not fit"):
        swim().update_meta(meta, 0.0)


def test_junk_raises_decode_error_and_changes_nothing() -> None:
    core = swim_with(B)
    before = dict(core.members)
    sound = datagram(B, Suspect(ME, Incarnation(0), B), Ping(1, ME))
    for junk in (b"", b"\xc1", sound[:-1], sound + b"\0", sound.replace(b"\x06", b"\x63", 1)):
        with pytest.raises(DecodeError):
            core.handle_datagram(junk, NOBODY, 0.0)
    assert (dict(core.members), core.take_output().send) == (before, ())


def test_datagram_full_of_pings_is_answered_within_bounds() -> None:
    core = swim_with(B)
    core.handle_datagram(datagram(B, *[Ping(n, ME) for n in range(25)]), address(B), 0.0)
    assert sum(isinstance(message, Ack) for message in said(core, B)) <= MAX_REPLIES


def test_datagrams_stay_within_bounds_with_the_longest_words() -> None:
    longest = {str(n): "v" * 100 for n in range(4)}
    core = Swim(
        ME,
        Meta("h1", "10.0.0.1", 1, 1, labels=longest),
        timing=SwimTiming(),
        rng=Random(1),
        now=0.0,
        incarnation=Incarnation(0),
    )
    for number in range(2, 40):
        claim = Alive(node(number), Incarnation(0), Meta(f"h{number}", f"10.0.0.{number}", 1, 1, labels=longest))
        core.handle_datagram(datagram(node(number), claim, Ping(1, ME)), address(node(number)), 0.0)
    core.join([NOBODY], 0.0)
    for _ in range(30):
        output = core.take_output()
        assert all(len(item.data) <= MAX_DATAGRAM_BYTES for item in output.send)
        core.handle_timer(output.wake_at)


def test_early_timer_is_harmless() -> None:
    core = swim_with(B)
    wake_at = core.take_output().wake_at
    for _ in range(5):
        core.handle_timer(wake_at - 0.001)
    assert [item for item in core.take_output().send if Ping in map(type, decode_packet(item.data).messages)] == []


@settings(max_examples=60, deadline=None)
@given(heard=st.lists(st.tuples(st.integers(1, 5), known_messages, st.floats(0, 3)), max_size=30))
def test_no_sequence_of_sound_messages_breaks_the_core(heard: list[tuple[int, Message, float]]) -> None:
    core, now = swim_with(B, C), 0.0
    for sender, message, span in heard:
        now += span
        core.handle_datagram(datagram(node(sender), message), address(node(sender)), now)
        for _ in range(4):
            core.handle_timer(now)
            output = core.take_output()
            assert all(len(item.data) <= MAX_DATAGRAM_BYTES for item in output.send)
            if output.wake_at > now:
                break
        else:
            raise AssertionError("the driver would spin")
    assert core.members[ME].state is State.ALIVE
    assert core.alive == {who for who, row in core.members.items() if row.state <= State.SUSPECT}
