"""Probing: the order of a round, indirect probes, nacks and what they say of us, and probing for others."""

from random import Random

from protocol.ids import NodeId
from protocol.swim import State, SwimTiming
from protocol.swim.health import LocalHealth
from protocol.swim.members import MemberTable
from protocol.swim.messages import Ack, Nack, Ping, PingRequest
from protocol.swim.probe import MAX_RELAYS, Prober
from tests.protocol.swim.builders import ME, B, C, D, E, member

TIMING = SwimTiming()


def prober_with(*others: NodeId) -> tuple[Prober, MemberTable, LocalHealth]:
    table, health = MemberTable(member(ME)), LocalHealth()
    for other in others:
        table.put(member(other))
    return Prober(table, TIMING, health, Random(1), 0.0), table, health


def begin(prober: Prober) -> tuple[float, Ping]:
    """Run to the next probe; return when it began and its ping."""
    while True:
        now = prober.wake_at()
        for _, message in prober.handle_timer(now)[0]:
            if isinstance(message, Ping):
                return now, message


def fail(prober: Prober, nacks: int = 0) -> NodeId | None:
    """Let one probe fail while `nacks` helpers answer; return whom it accuses."""
    begin(prober)
    errands, _ = prober.handle_timer(prober.wake_at())
    for helper, message in errands[:nacks]:
        assert isinstance(message, PingRequest)
        prober.handle_nack(Nack(message.seq), helper)
    return prober.handle_timer(prober.wake_at())[1]


def test_every_member_is_probed_once_in_a_round() -> None:
    prober, _, _ = prober_with(B, C, D, E)
    for _ in range(3):
        targets = []
        for _ in range(4):
            _, ping = begin(prober)
            targets.append(ping.target)
            prober.handle_ack(Ack(ping.seq, ping.target), ping.target)
        assert sorted(targets) == [B, C, D, E]


def test_the_gone_and_we_ourselves_are_not_probed() -> None:
    prober, table, _ = prober_with(B)
    table.put(member(B, State.DEAD))
    for _ in range(5):
        assert prober.handle_timer(prober.wake_at()) == ([], None)


def test_member_put_first_is_probed_next() -> None:
    prober, _, _ = prober_with(B, C, D, E)
    begin(prober)
    prober.probe_next(E)
    assert begin(prober)[1].target == E


def test_newcomer_gets_a_place_in_the_round_under_way() -> None:
    prober, table, _ = prober_with(B, C)
    begin(prober)
    table.put(member(E))
    prober.note_newcomer(E)
    assert E in {begin(prober)[1].target for _ in range(2)}


def test_answered_probe_accuses_nobody_and_mends_our_health() -> None:
    prober, _, health = prober_with(B)
    health.worsen(2)
    _, ping = begin(prober)
    prober.handle_ack(Ack(ping.seq, B), B)
    prober.handle_ack(Ack(ping.seq, B), B)
    assert health.score == 1
    assert prober.handle_timer(prober.wake_at())[1] is None


def test_ack_for_another_member_or_number_answers_nothing() -> None:
    prober, _, _ = prober_with(B)
    _, ping = begin(prober)
    prober.handle_ack(Ack(ping.seq, C), C)
    prober.handle_ack(Ack(ping.seq + 1, B), B)
    prober.handle_timer(prober.wake_at())
    assert prober.handle_timer(prober.wake_at())[1] == B


def test_others_are_asked_once_the_direct_probe_times_out() -> None:
    prober, _, _ = prober_with(B, C, D, E)
    began_at, ping = begin(prober)
    asked_at = prober.wake_at()
    assert asked_at == began_at + TIMING.probe_timeout
    errands, accused = prober.handle_timer(asked_at)
    assert accused is None
    assert sorted(helper for helper, _ in errands) == sorted({B, C, D, E} - {ping.target})
    assert {message for _, message in errands} == {PingRequest(ping.seq, ping.target)}


def test_answer_through_a_helper_counts() -> None:
    prober, _, _ = prober_with(B, C)
    _, ping = begin(prober)
    errands, _ = prober.handle_timer(prober.wake_at())
    prober.handle_ack(Ack(ping.seq, ping.target), errands[0][0])
    assert prober.handle_timer(prober.wake_at())[1] is None


def test_failed_probe_worsens_our_health_by_what_missing_nacks_outweigh() -> None:
    for nacks, worse in enumerate((3, 1, 0, 0)):
        prober, _, health = prober_with(B, C, D, E)
        assert fail(prober, nacks) is not None
        assert health.score == worse


def test_failed_probe_without_helpers_worsens_our_health_by_one() -> None:
    prober, _, health = prober_with(B)
    assert fail(prober) == B
    assert health.score == 1


def test_silence_of_a_suspect_helper_says_nothing_about_us() -> None:
    prober, table, health = prober_with(B, C)
    _, ping = begin(prober)
    helper = C if ping.target == B else B
    table.put(member(helper, State.SUSPECT))
    errands, _ = prober.handle_timer(prober.wake_at())
    assert [who for who, _ in errands] == [helper]
    prober.handle_timer(prober.wake_at())
    assert health.score == 1, "as if there were no helpers"


def test_probes_are_slower_while_our_health_is_bad() -> None:
    prober, _, health = prober_with(B)
    health.worsen(1)
    began_at, ping = begin(prober)
    assert prober.wake_at() == began_at + 2 * TIMING.probe_timeout
    prober.handle_ack(Ack(ping.seq, B), B)
    assert prober.wake_at() == began_at + 2 * TIMING.probe_interval


def test_abandoned_probe_accuses_nobody() -> None:
    prober, _, _ = prober_with(B)
    _, ping = begin(prober)
    prober.abandon(50.0)
    errands, accused = prober.handle_timer(50.0 + TIMING.probe_interval)
    assert accused is None
    assert all(message != ping for _, message in errands)


def test_relay_pings_the_target_and_hands_its_answer_back() -> None:
    prober, _, _ = prober_with(B, C)
    ((to, ping),) = prober.handle_request(PingRequest(7, C), B, 0.0)
    assert to == C
    assert isinstance(ping, Ping)
    assert prober.handle_ack(Ack(ping.seq, C), B) == [], "only the target answers for itself"
    assert prober.handle_ack(Ack(ping.seq, C), C) == [(B, Ack(7, C))]
    assert prober.handle_ack(Ack(ping.seq, C), C) == []


def test_relay_sends_a_nack_in_time_and_still_hands_back_a_late_answer() -> None:
    prober, _, _ = prober_with(B, C)
    ((_, ping),) = prober.handle_request(PingRequest(7, C), B, 0.0)
    nack_at = 0.8 * TIMING.probe_timeout
    assert (B, Nack(7)) not in prober.handle_timer(nack_at - 0.01)[0]
    assert (B, Nack(7)) in prober.handle_timer(nack_at)[0]
    assert (B, Nack(7)) not in prober.handle_timer(nack_at + 0.1)[0]
    assert isinstance(ping, Ping)
    assert prober.handle_ack(Ack(ping.seq, C), C) == [(B, Ack(7, C))]


def test_relays_are_bounded_and_for_members_only() -> None:
    prober, _, _ = prober_with(B, C)
    assert prober.handle_request(PingRequest(1, D), B, 0.0) == []
    assert prober.handle_request(PingRequest(1, C), D, 0.0) == []
    for seq in range(MAX_RELAYS + 50):
        prober.handle_request(PingRequest(seq, C), B, 0.0)
    nacks = [message for _, message in prober.handle_timer(0.2)[0] if isinstance(message, Nack)]
    assert len(nacks) == MAX_RELAYS
