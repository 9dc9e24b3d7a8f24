"""What a client of chaos writes down for each answer: what certainly happened, certainly did not, or nobody knows."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from random import Random

import pytest

from scripts.chaoslib.clients import Client, Ground
from tests.sim.history import History, Operation


class OneNode:
    """A node at a port of this machine."""

    hosts: tuple[str, ...] = ("h1",)

    def __init__(self, port: int) -> None:
        self._port = port

    def connect(self, host: str, timeout: float) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._port, timeout=10)

    def session(self, host: str) -> str:
        return f"{host}#1"


@contextmanager
def answering(answer: bytes) -> Iterator[OneNode]:
    """Run a node that says this to every request, nothing meaning that it hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server, answer), daemon=True)
        thread.start()
        try:
            yield OneNode(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def serve(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            stream, _ = server.accept()
        except OSError:
            return
        with stream:
            stream.settimeout(5)
            heard = b""
            while b"\r\n\r\n" not in heard:
                heard += stream.recv(65536)
            stream.sendall(answer)
            stream.shutdown(socket.SHUT_WR)
            # Whatever of the request is still under way: closing over it would be a reset.
            while stream.recv(65536):
                pass


def http(status: int, body: object) -> bytes:
    raw = json.dumps(body).encode()
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


def told(nodes: OneNode, *acts: str, read: str | None = "linearizable") -> tuple[Operation, ...]:
    """Return what a client writes down that does these things."""
    ground = Ground(nodes, History(), read)
    ground.texts["text-0"] = "1st1"
    for number in range(10):
        ground.seen[f"pool-{number}"] = [("1st2", "tag")]
    client = Client(ground, "c1", Random(1), pause=0)
    for act in acts:
        getattr(client, act)()
    return ground.history.operations()


CREATED = http(201, {"id": "1st3", "description": "c1-1", "state": "active"})
TAKEN = http(422, {"code": "NotUnique", "detail": "taken"})
INVALID = http(422, {"code": "InvalidCharacters"})
CONFLICT = http(409, {"code": "Conflict"})
GONE = http(404, {"code": "Not Found"})
NO_LEADER = http(503, {"code": "ServiceUnavailable", "detail": "it may still happen"})
BROKEN = http(500, {"code": "Internal Server Error"})
CHANGED = http(200, {"id": "1st1", "description": "c1-1", "state": "active"})


@pytest.mark.parametrize(
    ("act", "answer", "result"),
    [
        ("_create", CREATED, True),
        ("_create", TAKEN, False),
        ("_delete", CHANGED, True),
        ("_write_text", CHANGED, None),
    ],
)
def test_change_has_a_result_when_the_answer_says_so(act: str, answer: bytes, result: object) -> None:
    with answering(answer) as nodes:
        (only,) = told(nodes, act)
    assert not only.failed
    assert not only.is_unknown
    assert only.result is result


@pytest.mark.parametrize("act", ["_create", "_delete", "_write_text"])
@pytest.mark.parametrize("answer", [INVALID, CONFLICT, GONE])
def test_change_certainly_did_not_happen_when_it_is_refused(act: str, answer: bytes) -> None:
    with answering(answer) as nodes:
        (only,) = told(nodes, act)
    assert only.failed


@pytest.mark.parametrize("act", ["_create", "_delete", "_write_text"])
@pytest.mark.parametrize("answer", [NO_LEADER, BROKEN, b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_nobody_knows_what_became_of_a_change_when_the_answer_does_not_tell(act: str, answer: bytes) -> None:
    with answering(answer) as nodes:
        (only,) = told(nodes, act)
    assert only.is_unknown
    assert only.note


def test_change_certainly_did_not_happen_when_nobody_listens() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        (only,) = told(OneNode(nobody.getsockname()[1]), "_write_text")
    assert only.failed


def test_list_results_in_the_tags_of_what_is_active() -> None:
    rows = [
        {"id": "1", "description": "b", "state": "active"},
        {"id": "2", "description": "c", "state": "removing"},
        {"id": "3", "description": "a", "state": "active"},
    ]
    with answering(http(200, {"data": rows})) as nodes:
        operations = told(nodes, *["_list"] * 8)
    assert {each.result for each in operations} == {("a", "b")}
    assert {each.kind for each in operations} == {"list", "local"}


def test_reads_are_local_when_nodes_know_of_no_others() -> None:
    with answering(CHANGED) as nodes:
        operations = told(nodes, *["_read_text"] * 8, read=None)
    assert {(each.kind, each.result) for each in operations} == {("local", "c1-1")}


def test_made_stack_is_the_one_that_is_deleted_next() -> None:
    with answering(CREATED) as nodes:
        ground = Ground(nodes, History(), None)
        client = Client(ground, "c1", Random(1), pause=0)
        client._create()
    assert list(ground.seen.values()) == [[("1st3", "c1-1")]]
