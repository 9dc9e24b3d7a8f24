"""Push/pull: tables cut into datagrams, and joins that go on until answered."""

from random import Random

from protocol.swim import Address
from protocol.swim.members import MemberTable
from protocol.swim.messages import MAX_SYNC_DATAGRAMS, Record, SyncReply, SyncRequest, decode_packet, encode_packet
from protocol.swim.sync import MAX_PARTIAL_ANSWERS, MAX_RETRY_INTERVALS, MAX_SEEDS, Joining, encode_table
from tests.protocol.swim.builders import ME, B, C, member, node

SEED = Address("10.0.0.9", 7946)


def rows_of(size: int) -> tuple[list[Record], int]:
    """Return all records of an encoded table of `size` members, and the number of datagrams."""
    table = MemberTable(member(ME))
    for number in range(2, size + 1):
        table.put(member(node(number)))
    bodies = encode_table(SyncRequest, 5, table, node(size), Random(1))
    rows: list[Record] = []
    for part, body in enumerate(bodies):
        (message,) = decode_packet(encode_packet(ME, [body])).messages
        assert isinstance(message, SyncRequest)
        assert (message.seq, message.part, message.parts) == (5, part, len(bodies))
        rows += message.records
    return rows, len(bodies)


def test_table_of_a_usual_group_goes_whole() -> None:
    for size in (1, 3, 50, 200):
        rows, _ = rows_of(size)
        assert sorted(row.node for row in rows) == [node(number) for number in range(1, size + 1)]


def test_table_of_a_large_group_is_cut_to_the_bound_with_both_sides_in_it() -> None:
    rows, datagrams = rows_of(2000)
    assert datagrams == MAX_SYNC_DATAGRAMS
    assert [row.node for row in rows[:2]] == [ME, node(2000)]


def test_join_is_complete_once_every_part_of_one_answer_came() -> None:
    joining = Joining([SEED], 0.0, 1.0)
    joining.knock(1, 0.0)
    assert not joining.handle_reply(SyncReply(9, 0, 1, ()), B), "an answer to another request"
    assert not joining.handle_reply(SyncReply(1, 0, 2, ()), B)
    assert not joining.handle_reply(SyncReply(1, 0, 2, ()), B), "the same part twice"
    assert not joining.handle_reply(SyncReply(1, 1, 2, ()), C), "a part of another answer"
    assert joining.handle_reply(SyncReply(1, 1, 2, ()), B)


def test_join_settles_for_answers_that_keep_losing_parts() -> None:
    joining = Joining([SEED], 0.0, 1.0)
    for knock in range(MAX_PARTIAL_ANSWERS):
        joining.knock(knock, 0.0)
        assert not joining.handle_reply(SyncReply(knock, 0, 9, ()), B)
    joining.knock(99, 0.0)
    assert joining.handle_reply(SyncReply(99, 0, 9, ()), B)


def test_join_knocks_less_and_less_often() -> None:
    joining, spans = Joining([SEED], 0.0, 1.0), []
    for knock in range(60):
        joining.knock(knock, 0.0)
        spans.append(joining.retry_at)
    assert spans == sorted(spans)
    assert (spans[0], spans[-1]) == (1.0, MAX_RETRY_INTERVALS)


def test_seeds_are_bounded_and_each_counts_once() -> None:
    seeds = [Address("10.0.0.9", port) for port in range(1, MAX_SEEDS + 10)]
    assert len(Joining(seeds, 0.0, 1.0).seeds) == MAX_SEEDS
    assert Joining([SEED, SEED], 0.0, 1.0).seeds == (SEED,)
