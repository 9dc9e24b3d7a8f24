"""The queue of news."""

from hypothesis import given, settings, strategies as st

from protocol.swim.broadcast import BroadcastQueue, transmit_limit
from tests.protocol.swim.builders import B, C, D, node


def queue_of(*numbers: int) -> BroadcastQueue:
    queue = BroadcastQueue()
    for number in numbers:
        queue.put(node(number), bytes([number]) * 10)
    return queue


def test_limit_grows_with_the_logarithm_of_the_group() -> None:
    assert [transmit_limit(4, n) for n in (1, 3, 10, 50, 100)] == [4, 8, 12, 16, 20]


def test_newest_goes_first_among_equals_and_least_sent_before_that() -> None:
    queue = queue_of(1, 2, 3)
    assert [body[0] for body in queue.take(20, 9)] == [3, 2]
    assert [body[0] for body in queue.take(20, 9)] == [1, 3]


def test_item_is_done_after_its_last_transmission() -> None:
    queue = queue_of(1)
    assert [len(queue.take(100, 3)) for _ in range(4)] == [1, 1, 1, 0]
    assert len(queue) == 0


def test_newer_news_of_a_member_replace_older_news() -> None:
    queue = BroadcastQueue()
    queue.put(B, b"old")
    queue.take(10, 9)
    queue.put(B, b"new")
    assert queue.take(10, 9) == [b"new"]
    assert len(queue) == 1


def test_item_that_does_not_fit_leaves_its_room_to_others() -> None:
    queue = BroadcastQueue()
    queue.put(B, b"short")
    queue.put(C, b"much too long")
    assert queue.take(6, 9) == [b"short"]
    assert C in queue


def test_dropped_item_is_sent_no_more() -> None:
    queue = BroadcastQueue()
    queue.put(D, b"x")
    queue.drop(D)
    assert queue.take(10, 9) == []


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), max_size=30), rooms=st.lists(st.integers(0, 100), max_size=30))
def test_never_more_than_the_room_and_never_more_often_than_the_limit(sizes: list[int], rooms: list[int]) -> None:
    queue, sent = BroadcastQueue(), dict.fromkeys(range(len(sizes)), 0)
    for number, size in enumerate(sizes):
        queue.put(node(number), bytes([number]) * size)
    for room in rooms:
        taken = queue.take(room, 3)
        assert sum(map(len, taken)) <= room
        for body in taken:
            sent[body[0]] += 1
    assert all(count <= 3 for count in sent.values())
