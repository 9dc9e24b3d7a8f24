"""Logs, commands and figures on a real Docker daemon, that of a lab host."""

import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from node.engine.dockerd import CALLS_AT_ONCE, DockerEngine
from node.ports import ERR, OUT, ExecSpec, StreamingEngine
from scripts.lablib import Lab
from tests.live.engine_lab import client_of, one_host
from tests.node.engine.streams_contract import PATIENCE, StreamsContract, read_log

pytestmark = pytest.mark.live

LISTENS = "while read -r kind line; do if [ $kind = 2 ]; then echo $line >&2; else echo $line; fi; done <>/said"
"""Passes on what is written to a pipe in the container: so tests say when it writes, and with a terminal too."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with one_host("streams") as made:
        yield made


@pytest.fixture
async def engine(lab: Lab) -> AsyncIterator[DockerEngine]:
    async with client_of(lab) as made:
        yield made


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class TestDockerStreams(StreamsContract):
    command = ("sh", "-c", f"trap 'exit 0' TERM; mkfifo /said; {LISTENS} & wait")

    @pytest.fixture
    def image(self) -> str:
        return "busybox:latest"

    async def talk(self, engine: StreamingEngine, external_id: str, said: list[tuple[int, bytes]]) -> None:
        script = "".join(f"echo {kind} {line.decode()}; " for kind, line in said)
        wait = "until [ -p /said ]; do sleep 0.05; done"
        async with engine.exec(external_id, ExecSpec(command=("sh", "-c", f"{wait}; ({script}) >/said"))) as session:
            with trio.fail_after(PATIENCE):
                while await session.receive() is not None:
                    pass

    async def test_command_that_is_left_ends_in_the_container_too(
        self, engine: StreamingEngine, running: str, lab: Lab
    ) -> None:
        with trio.move_on_after(0.5):
            async with engine.exec(running, ExecSpec(command=("sleep", "4321"), tty=True)) as session:
                await session.receive()
        with trio.fail_after(PATIENCE):
            while "sleep 4321" in lab.exec("h1", ["docker", "top", running]).stdout:
                await trio.sleep(0.1)

    async def test_left_streams_leave_no_thread_and_no_socket(self, engine: StreamingEngine, running: str) -> None:
        threads, descriptors = threading.active_count(), count_descriptors()

        async def follow() -> None:
            async with engine.logs(running, follow=True) as batches:
                async for _ in batches:
                    pass

        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                for _ in range(40):
                    nursery.start_soon(follow)
                await trio.sleep(0.8)
                assert threading.active_count() <= threads + 8  # The calls before a stream, at most.
        assert count_descriptors() <= descriptors + CALLS_AT_ONCE  # The client keeps the connections of its calls.

    async def test_slow_reader_holds_the_container_up_and_nothing_is_lost(
        self, engine: StreamingEngine, running: str
    ) -> None:
        count = 20_000
        command = ("sh", "-c", f"i=0; while [ $i -lt {count} ]; do echo $i; i=$((i+1)); done")
        found = b""
        async with engine.exec(running, ExecSpec(command=command)) as session:
            await trio.sleep(0.5)
            with trio.fail_after(PATIENCE):
                while (piece := await session.receive()) is not None:
                    found += piece[1]
        assert found.split() == [b"%d" % number for number in range(count)]

    async def test_line_longer_than_docker_keeps_whole_is_one_line(self, engine: StreamingEngine, running: str) -> None:
        long = b"x" * 40_000
        command = ("sh", "-c", f"s=$(head -c {len(long)} /dev/zero | tr '\\0' x); echo 1 $s >/said")
        async with engine.exec(running, ExecSpec(command=command)) as session:
            while await session.receive() is not None:
                pass
        with trio.fail_after(PATIENCE):
            while not (found := await read_log(engine, running)):
                await trio.sleep(0.05)
        assert [(line.kind, line.line) for line in found] == [(OUT, long)]
        assert ERR not in {line.kind for line in found}
