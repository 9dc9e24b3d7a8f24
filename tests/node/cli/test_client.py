"""Requests: what is asked again, what is not, and how failures are told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from node.cli.client import ApiFailure, Client, failure_of, fetch_join_info
from node.cli.errors import CliError
from node.cli.reach import Target
from tests.node.cli.served import Served


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """A server that says the same to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def run() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def test_change_is_asked_for_again_until_there_is_a_leader(served: Served) -> None:
    time, notes = Time(), list[str]()
    served.replica.leaderless_since = 1

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        served.replica.leaderless_since = None

    client = Client(Target("http://localhost", str(served.socket)), note=notes.append, sleep=sleep, clock=time.clock)
    assert client.post("/v1/projects/1a5/environments", {"name": "web"})["name"] == "web"
    client.close()
    assert time.slept == [2.0]
    assert "asking again in 2 s" in notes[0]


def test_change_is_given_up_after_some_seconds_with_the_reason(served: Served) -> None:
    time = Time()
    served.replica.leaderless_since = 1
    client = Client(Target("http://localhost", str(served.socket)), sleep=time.sleep, clock=time.clock)
    with pytest.raises(ApiFailure) as caught:
        client.post("/v1/projects/1a5/environments", {"name": "web"})
    client.close()
    assert time.now == 8.0
    assert "nothing was changed" in caught.value.message
    assert "too few to elect one" in (caught.value.why or "")


def test_change_that_may_still_happen_is_not_claimed_to_have_failed() -> None:
    found = {"code": "ServiceUnavailable", "detail": "not confirmed within 10 s; it may still happen"}
    failure = failure_of(503, found, Target("http://h1:8080"))
    assert "did not confirm" in failure.message
    assert "nothing was changed" not in failure.message


def test_list_follows_every_page(served: Served) -> None:
    client = Client(Target("http://localhost", str(served.socket)))
    assert [row["name"] for row in client.list("/v1/hosts", limit="1")] == ["h1", "h2", "h3"]
    client.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_answer_that_is_not_of_the_api_is_told_so(raw: bytes) -> None:
    with answering(raw) as url:
        client = Client(Target(url))
        with pytest.raises(CliError) as caught:
            client.get("/v1")
        client.close()
    assert "is not a Corral node" in caught.value.message


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{" + b" " * 300_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
    ids=["html", "404", "endless", "ssh"],
)
def test_join_information_of_another_kind_is_refused(raw: bytes) -> None:
    with answering(raw) as url, pytest.raises(CliError) as caught:
        fetch_join_info(url)
    assert "is not a Corral node" in caught.value.message


def test_socket_that_a_dead_daemon_left_is_no_daemon(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(CliError) as caught:
        Client(Target("http://localhost", str(path)))
    assert caught.value.message == "no node runs on this host"
