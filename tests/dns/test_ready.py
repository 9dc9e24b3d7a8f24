"""The rules of dns.ready: every address first equally often, and bounded memory."""

from collections import Counter
from random import Random

from dns.answer import Reply
from dns.ready import MAX_TURN, Fixed, ReadyReplies, make_ready

RECORDS = (b"aa", b"bb", b"cc")


def test_every_address_stands_first_equally_often() -> None:
    ready = make_ready(Reply(b"<", RECORDS, 3, b">"), Random(3))
    firsts = Counter(ready.take()[1:3] for _ in range(300))
    assert firsts == dict.fromkeys(RECORDS, 100)


def test_order_differs_between_turns() -> None:
    ready = make_ready(Reply(b"", RECORDS, 3), Random(3))
    assert len({ready.take() for _ in range(300)}) == 6


def test_all_shown_addresses_are_different() -> None:
    ready = make_ready(Reply(b"", tuple(bytes((n,)) for n in range(40)), 25), Random(3))
    assert all(len(set(ready.take())) == 25 for _ in range(100))


def test_every_address_is_shown_when_there_are_more_than_one_turn_takes() -> None:
    records = tuple(n.to_bytes(2, "big") for n in range(MAX_TURN + 100))
    ready = make_ready(Reply(b"", records, 25), Random(3))
    seen = {taken[at : at + 2] for taken in (ready.take() for _ in range(5000)) for at in range(0, 50, 2)}
    assert seen == set(records)


def test_reply_without_choice_is_always_the_same() -> None:
    assert isinstance(make_ready(Reply(b"h", (b"r",), 1, b"t"), Random(3)), Fixed)
    assert make_ready(Reply(b"h", RECORDS, 0, b"t"), Random(3)).take() == b"ht"


def test_kept_reply_is_found_by_all_of_the_same_search_list_only() -> None:
    replies = ReadyReplies(Random(3))
    kept = replies.keep(("a",), b"query", Reply(b"h"))
    assert replies.table(("a",)) == {b"query": kept}
    assert replies.table(("b",)) == {}


def test_unrepeatable_reply_is_not_kept() -> None:
    replies = ReadyReplies(Random(3))
    replies.keep((), b"cookie", Reply(b"h", is_repeatable=False))
    assert replies.table(()) == {}


def test_memory_is_bounded_by_bytes() -> None:
    replies = ReadyReplies(Random(3), max_bytes=10_000)
    table = replies.table(())
    for number in range(1000):
        replies.keep((), b"%d" % number, Reply(b"h" * 100))
        assert len(table) <= 20
