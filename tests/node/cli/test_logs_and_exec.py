"""`logs` and `exec` by typing, and the websocket below them, against the real API and an engine in memory."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from node.cli.errors import CliError
from node.cli.reach import Target
from node.cli.sockets import SocketEnded, connect, connect_with
from node.ports import ERR
from tests.node.cli.conftest import Typed
from tests.node.cli.served import Served

PATIENCE = 60.0


@pytest.fixture
def box(served: Served, typed: Typed) -> Typed:
    """Types commands where a container named box runs on this host."""
    assert typed("container", "create", "box", "alpine:3", "--host", "h1").code == 0
    return typed


def access_of(served: Served, typed: Typed, action: str, body: str) -> dict[str, str]:
    found = typed("api", "POST", f"containers/1i1?action={action}", "-d", body)
    return dict(found.json)


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_websocket_carries_both_ways_and_ends_cleanly(served: Served, box: Typed, way: str) -> None:
    target = Target(served.url) if way == "tcp" else Target("http://localhost", str(served.socket))
    access = access_of(served, box, "execute", '{"command": ["cat"], "tty": false}')
    socket = connect_with(target, access, "&control=true")
    with pytest.raises(TimeoutError):
        socket.receive(0)
    socket.post("aGVsbG8=")
    assert socket.receive(PATIENCE) == "01 aGVsbG8="
    socket.post(":eof")
    assert socket.receive(PATIENCE) == ":exit 0"
    with pytest.raises(SocketEnded) as ended:
        socket.receive(PATIENCE)
    assert ended.value.code == 1000
    socket.close()


def test_websocket_that_is_refused_says_why(served: Served) -> None:
    with pytest.raises(CliError) as refused:
        connect(Target(served.url), "/v1/logs/?token=nonsense")
    assert "token of the last five minutes" in (refused.value.why or "")


def test_websocket_to_nobody_says_so(tmp_path: Path) -> None:
    with pytest.raises(CliError) as missing:
        connect(Target("http://localhost", str(tmp_path / "nobody.sock")), "/v1/logs/")
    assert "cannot reach" in missing.value.message


def test_receiver_that_is_hung_up_on_hears_of_it(served: Served, box: Typed) -> None:
    socket = connect_with(Target(served.url), access_of(served, box, "logs", "{}"))
    socket.hang_up()
    with pytest.raises(SocketEnded) as ended:
        socket.receive(PATIENCE)
    assert ended.value.code == 1006
    socket.close()


def test_logs_print_what_was_written_where_it_was(served: Served, box: Typed) -> None:
    for line in (b"one", b"two", b"three"):
        served.engine.say("docker-1", line)
    served.engine.say("docker-1", b"oh", kind=ERR)
    result = box("logs", "box", "--tail", "3")
    assert (result.code, result.out, result.err) == (0, "two\nthree\n", "oh\n")
    assert box("logs", "box", "--tail", "0").out == ""
    assert box("logs", "box", "--tail", "all", "-t").out.splitlines()[0].split("Z ")[1] == "one"


def test_logs_of_several_begin_with_whose_they_are(served: Served, box: Typed) -> None:
    assert box("container", "create", "other", "alpine:3", "--host", "h1").code == 0
    served.engine.say("docker-1", b"one")
    served.engine.say("docker-2", b"two")
    lines = box("logs", "box", "other").out.splitlines()
    assert sorted(lines) == ["box   | one", "other | two"]


def test_logs_of_what_there_is_not_are_an_error(box: Typed) -> None:
    for name, noun in (("nosuch", "container"), ("web/nosuch", "service")):
        result = box("logs", name)
        assert result.code == 1
        assert f"no {noun} '{name}'" in result.err


@pytest.mark.parametrize("words", [("--tail", "x"), ("--tail", "100001"), ("--since", "x"), ("--since", "2016-99-01")])
def test_logs_refuse_nonsense(box: Typed, words: tuple[str, ...]) -> None:
    assert box("logs", "box", *words).code == 2


def test_logs_followed_end_with_ctrl_c(served: Served, box: Typed) -> None:
    served.engine.say("docker-1", b"one")
    process = start(served, "logs", "-f", "box", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.startswith(b"interrupted: stopped reading")


def test_exec_passes_output_and_exit_code_on(box: Typed) -> None:
    result = box("exec", "box", "echo", "-n", "hi")
    assert (result.code, result.out) == (0, "-n hi\n")
    assert box("exec", "box", "sh", "-c", "exit 7").code == 7
    failed = box("exec", "box", "nosuch")
    assert (failed.code, failed.out, failed.err) == (127, "", "nosuch: not found\n")


def test_exec_hands_on_more_input_than_fits_anywhere(served: Served, box: Typed) -> None:
    sent = bytes(range(256)) * 8192
    process = start(served, "exec", "-i", "box", "cat", stdin=subprocess.PIPE)
    out, err = process.communicate(sent, timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    assert out == sent


def test_exec_in_what_does_not_run_is_an_error(box: Typed) -> None:
    box("container", "stop", "box")
    result = box("exec", "box", "ls")
    assert result.code == 1
    assert "nothing can run in box" in result.err


def test_exec_with_a_terminal_gives_it_back_as_it_was(served: Served, box: Typed) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    process = start(served, "exec", "-it", "box", "cat", stdin=theirs, stdout=theirs)
    try:
        give_up_at = time.monotonic() + PATIENCE
        while termios.tcgetattr(theirs) == before:
            assert time.monotonic() < give_up_at
            assert process.poll() is None
            time.sleep(0.02)
        os.write(ours, b"\x03")
        assert select.select([ours], [], [], PATIENCE)[0]
        assert os.read(ours, 100) == b"\x03"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_exec_with_a_terminal_needs_one(served: Served, box: Typed) -> None:
    process = start(served, "exec", "-it", "box", "cat", stdin=subprocess.DEVNULL)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert b"standard input is no terminal" in err


def start(served: Served, *words: str, stdin: int, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "node", words[0], "--socket", str(served.socket), *words[1:]]
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
