"""What the benchmarks beside etcd count by: replies told apart however they are cut, and failures never counted."""

from random import Random

import pytest

from node.drive.proposals import encode_result
from node.model import Done, Refused
from protocol.messages import ExecuteReply, Kind, decode_submit, encode
from protocol.wire import Frame, FrameReader, encode_frame
from scripts.benchlib.commits import CommitTalk
from scripts.benchlib.etcd import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    HEADERS,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    EtcdError,
    PutTalk,
    ResponseReader,
    _field,
    _frame,
)
from scripts.benchlib.load import LoadError


def put_reply(stream: int) -> bytes:
    head = _frame(HEADERS, END_HEADERS, stream, b"\x88")
    return (
        head + _frame(DATA, 0, stream, b"\x00\x00\x00\x00\x00") + _frame(HEADERS, END_HEADERS | END_STREAM, stream, b"")
    )


def asked(talk: PutTalk | CommitTalk) -> int:
    question = talk.ask()
    assert question is not None
    return question[0]


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_puts_are_counted_however_their_replies_are_cut(cut: int) -> None:
    talk = PutTalk("127.0.0.1:2379", 256)
    numbers = [asked(talk) for _ in range(5)]
    data = b"".join(put_reply(number) for number in numbers)
    done: list[int] = []
    for start in range(0, len(data), cut):
        done += talk.hear(data[start : start + cut])[0]
    assert done == numbers == [1, 3, 5, 7, 9]


def test_put_has_the_size_wanted() -> None:
    talk = PutTalk("127.0.0.1:2379", 256)
    question = talk.ask()
    assert question is not None
    body = question[1][question[1].rindex(_field(1, b"00000000")) :]
    assert len(body) == 256


def test_put_that_failed_is_never_counted() -> None:
    talk = PutTalk("127.0.0.1:2379", 256)
    number = asked(talk)
    with pytest.raises(EtcdError, match="a put failed"):
        talk.hear(_frame(HEADERS, END_HEADERS | END_STREAM, number, b"\x88"))


def test_connection_that_etcd_ends_is_an_error() -> None:
    with pytest.raises(EtcdError, match="ended a conversation"):
        PutTalk("127.0.0.1:2379", 256).hear(_frame(GOAWAY, 0, 0, bytes(8)))


def test_puts_stop_at_the_window_and_go_on_when_it_grows() -> None:
    talk = PutTalk("127.0.0.1:2379", 256)
    count = 0
    while talk.ask() is not None:
        count += 1
    assert count == FIRST_WINDOW // 261
    talk.hear(_frame(WINDOW_UPDATE, 0, 0, (1000).to_bytes(4, "big")))
    assert talk.ask() is not None


def test_settings_and_pings_are_acknowledged() -> None:
    talk = PutTalk("127.0.0.1:2379", 256)
    ping = bytes(range(8))
    _, owed = talk.hear(_frame(SETTINGS, 0, 0, bytes(6)) + _frame(PING, 0, 0, ping) + _frame(PING, ACK, 0, ping))
    assert owed == _frame(SETTINGS, ACK, 0, b"") + _frame(PING, ACK, 0, ping)


def test_responses_are_counted_however_they_are_cut() -> None:
    reader = ResponseReader(200)
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" * 3
    assert sum(reader.feed(data[start : start + 5]) for start in range(0, len(data), 5)) == 3
    with pytest.raises(EtcdError, match="expected a response of status 200"):
        reader.feed(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


def reply(number: int, result: Done | Refused | None) -> bytes:
    record = ExecuteReply(encode_result(result) if result else None, None, "" if result else "this node does not lead")
    return encode_frame(Frame(Kind.REPLY, number, encode(record)))


def test_commits_are_counted_by_what_became_of_them() -> None:
    talk = CommitTalk([1, 2], 256, Random(1))
    numbers = [asked(talk) for _ in range(2)]
    assert talk.hear(b"".join(reply(number, Done("stack", 1)) for number in numbers)) == (numbers, b"")
    with pytest.raises(LoadError, match="no such stack"):
        talk.hear(reply(3, Refused("Not Found", "no such stack")))
    with pytest.raises(LoadError, match="does not lead"):
        talk.hear(reply(4, None))


def test_proposal_has_the_size_wanted() -> None:
    question = CommitTalk([1, 2], 256, Random(1)).ask()
    assert question is not None
    (frame,) = FrameReader().feed(question[1])
    assert frame.kind == Kind.EXECUTE
    assert decode_submit(frame.payload)
    assert abs(len(frame.payload) - 256) <= 2
