"""What the logs, commands and figures of every engine must do; run on the one in memory and, live, on Docker.

A class to inherit from: subclasses give `engine` and `image` fixtures, and `talk`, which makes a container say lines.
"""

from uuid import uuid4

import pytest
import trio

from node.ports import BOTH, ERR, OUT, ContainerSpec, EngineError, ExecSession, ExecSpec, LogLine, StreamingEngine
from tests.node.engine.contract import EngineContract

PATIENCE = 30.0


async def read_all(session: ExecSession) -> list[tuple[int, bytes]]:
    """Return what a command wrote, joined per origin."""
    found: dict[int, bytes] = {}
    with trio.fail_after(PATIENCE):
        while (piece := await session.receive()) is not None:
            found[piece[0]] = found.get(piece[0], b"") + piece[1]
    return sorted(found.items())


async def read_log(engine: StreamingEngine, external_id: str, lines: int | None = None) -> list[LogLine]:
    with trio.fail_after(PATIENCE):
        async with engine.logs(external_id, follow=False, lines=lines) as batches:
            return [line async for batch in batches for line in batch]


class StreamsContract:
    """The tests."""

    async def talk(self, engine: StreamingEngine, external_id: str, said: list[tuple[int, bytes]]) -> None:
        """Have the running container say lines, each with where to."""
        raise NotImplementedError

    def spec(self, image: str, *, tty: bool = False) -> ContainerSpec:
        labels = {"io.rancher.container.uuid": "uuid", "io.corral.cluster": EngineContract.cluster}
        # One whose first process waits for input that never comes, and passes on what is written to it.
        name = f"r-streams-{uuid4().hex[:8]}"
        return ContainerSpec(name=name, image=image, labels=labels, stdin_open=True, tty=tty, command=self.command)

    command: tuple[str, ...] | None = None

    @pytest.fixture
    async def running(self, engine: StreamingEngine, image: str):  # type: ignore[no-untyped-def]
        external_id = await engine.create(self.spec(image))
        await engine.start(external_id)
        yield external_id
        await engine.remove(external_id)

    @pytest.fixture
    async def with_terminal(self, engine: StreamingEngine, image: str):  # type: ignore[no-untyped-def]
        external_id = await engine.create(self.spec(image, tty=True))
        await engine.start(external_id)
        yield external_id
        await engine.remove(external_id)

    async def test_log_tells_both_outputs_apart_each_line_with_its_time(
        self, engine: StreamingEngine, running: str
    ) -> None:
        await self.talk(engine, running, [(OUT, b"one"), (ERR, b"two")])
        with trio.fail_after(PATIENCE):
            while len(found := await read_log(engine, running)) < 2:
                await trio.sleep(0.05)
        assert sorted((line.kind, line.line) for line in found) == [(OUT, b"one"), (ERR, b"two")]
        assert all(line.at.startswith("20") or line.at.startswith("19") for line in found)
        assert all(line.at.endswith("Z") and "T" in line.at for line in found)

    async def test_log_of_a_terminal_is_of_one_kind_without_carriage_returns(
        self, engine: StreamingEngine, with_terminal: str
    ) -> None:
        await self.talk(engine, with_terminal, [(OUT, b"one"), (OUT, b"two")])
        with trio.fail_after(PATIENCE):
            while len(found := await read_log(engine, with_terminal)) < 2:
                await trio.sleep(0.05)
        assert [(line.kind, line.line) for line in found] == [(BOTH, b"one"), (BOTH, b"two")]

    async def test_log_begins_with_the_last_lines_that_were_asked_for(
        self, engine: StreamingEngine, running: str
    ) -> None:
        await self.talk(engine, running, [(OUT, b"%d" % number) for number in range(5)])
        with trio.fail_after(PATIENCE):
            while len(await read_log(engine, running)) < 5:
                await trio.sleep(0.05)
        assert [line.line for line in await read_log(engine, running, lines=2)] == [b"3", b"4"]
        assert await read_log(engine, running, lines=0) == []

    async def test_followed_log_goes_on_until_the_container_stops(self, engine: StreamingEngine, running: str) -> None:
        with trio.fail_after(PATIENCE):
            async with engine.logs(running, follow=True) as batches, trio.open_nursery() as nursery:
                nursery.start_soon(self.talk, engine, running, [(OUT, b"late")])
                found: list[bytes] = []
                async for batch in batches:
                    found += [line.line for line in batch]
                    if found == [b"late"]:
                        nursery.start_soon(engine.stop, running, 1)
        assert found == [b"late"]

    async def test_followed_log_is_left_at_once(self, engine: StreamingEngine, running: str) -> None:
        with trio.move_on_after(0.3):
            async with engine.logs(running, follow=True) as batches:
                async for _ in batches:
                    pass
        with trio.fail_after(PATIENCE):
            await engine.stop(running, 1)

    async def test_log_of_what_is_gone_says_so(self, engine: StreamingEngine) -> None:
        with pytest.raises(EngineError) as refused:
            async with engine.logs("f" * 64, follow=False):
                pass
        assert refused.value.code == "not-found"

    async def test_command_gives_its_output_and_its_exit_code(self, engine: StreamingEngine, running: str) -> None:
        async with engine.exec(running, ExecSpec(command=("echo", "hello"))) as session:
            assert await read_all(session) == [(OUT, b"hello\n")]
            assert await session.exit_code() == 0
        async with engine.exec(running, ExecSpec(command=("sh", "-c", "exit 3"))) as session:
            assert await read_all(session) == []
            assert await session.exit_code() == 3

    async def test_command_reads_what_is_sent_until_its_input_ends(self, engine: StreamingEngine, running: str) -> None:
        async with engine.exec(running, ExecSpec(command=("cat",), stdin=True)) as session:
            with trio.fail_after(PATIENCE):
                await session.send(b"first\n")
                assert await session.receive() == (OUT, b"first\n")
                await session.send(b"second\n")
                await session.end_input()
            assert await read_all(session) == [(OUT, b"second\n")]
            assert await session.exit_code() == 0

    async def test_command_in_a_terminal_writes_as_one(self, engine: StreamingEngine, running: str) -> None:
        async with engine.exec(running, ExecSpec(command=("echo", "hello"), tty=True)) as session:
            await session.resize(132, 43)
            assert await read_all(session) == [(BOTH, b"hello\r\n")]

    async def test_command_that_runs_is_left_at_once(self, engine: StreamingEngine, running: str) -> None:
        with trio.fail_after(PATIENCE):
            with trio.move_on_after(0.3):
                async with engine.exec(running, ExecSpec(command=("sleep", "600"), tty=True)) as session:
                    await read_all(session)

    async def test_command_in_what_does_not_run_is_refused(self, engine: StreamingEngine, running: str) -> None:
        await engine.stop(running, 1)
        with pytest.raises(EngineError, match="not running"):
            async with engine.exec(running, ExecSpec(command=("true",))):
                pass

    async def test_figures_come_again_and_again(self, engine: StreamingEngine, running: str) -> None:
        with trio.fail_after(PATIENCE):
            async with engine.stats(running) as figures:
                first = await anext(figures)
                second = await anext(figures)
        assert first["memory_stats"]["usage"] > 0
        assert second["cpu_stats"]["cpu_usage"]["total_usage"] >= first["cpu_stats"]["cpu_usage"]["total_usage"]
