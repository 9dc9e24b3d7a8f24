"""Logs, commands and figures of Docker's containers as streams.

Short questions go through the client library like any other call; what goes on rides on node.engine.raw.  Nothing here
decides whose containers may be read: whoever asks has looked.
"""

import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import trio

from node.engine.cutting import Demultiplexer, LogCutter
from node.engine.raw import RawAnswer, ask_raw, upgrade_raw
from node.ports import BOTH, EngineError, ExecSpec, LogLine

MAX_FIGURES_BYTES = 1024 * 1024
RESIZE_TRIES = 6
"""A terminal has no size before its command has started."""
CODE_TRIES = 20
PAUSE = 0.05
HANG_UP_TIMEOUT = 5.0
HANG_UP_GRACE = 0.5


class Call(Protocol):
    """Runs a function of the client in a thread."""

    def __call__(self, call: Callable[[Any], Any], /) -> Awaitable[Any]: ...


class Streaming:
    """The streams of the Engine port, on one Docker daemon."""

    def __init__(self, url: str, call: Call, label: tuple[str, str]) -> None:
        self._url = url
        self._call = call
        self._label = label
        """What our containers carry; of others nothing is read, and nothing is run in them."""

    @asynccontextmanager
    async def logs(
        self, external_id: str, *, follow: bool, lines: int | None, since: float | None
    ) -> AsyncIterator[AsyncIterator[tuple[LogLine, ...]]]:
        """Read a log."""
        prefix, found = await self._call(lambda client: (_prefix(client), self._inspect(client, external_id)))
        query = {
            "stdout": "1",
            "stderr": "1",
            "timestamps": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if lines is None else str(lines),
        }
        if since is not None:
            query["since"] = f"{since:.9f}"
        cutter = LogCutter(has_terminal=bool(found["Config"]["Tty"]))
        asked = ask_raw(self._url, f"{prefix}/containers/{external_id}/logs", query)
        async with asked as answer, aclosing(_cut(answer, cutter)) as batches:
            yield batches

    @asynccontextmanager
    async def stats(self, external_id: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        """Read figures."""
        prefix, _ = await self._call(lambda client: (_prefix(client), self._inspect(client, external_id)))
        asked = ask_raw(self._url, f"{prefix}/containers/{external_id}/stats", {"stream": "1"})
        async with asked as answer, aclosing(_read_figures(answer)) as figures:
            yield figures

    @asynccontextmanager
    async def exec(self, external_id: str, spec: ExecSpec) -> AsyncIterator["DockerExec"]:
        """Run a command."""
        prefix, exec_id = await self._call(lambda client: (_prefix(client), self._create(client, external_id, spec)))
        body = {"Detach": False, "Tty": spec.tty}
        async with upgrade_raw(self._url, f"{prefix}/exec/{exec_id}/start", body) as answer:
            session = DockerExec(self._call, exec_id, external_id, spec, answer)
            try:
                yield session
            finally:
                with trio.move_on_after(HANG_UP_TIMEOUT, shield=True):
                    await session.hang_up()

    def _inspect(self, client: Any, external_id: str) -> Any:
        found = client.inspect_container(external_id)
        name, value = self._label
        if (found["Config"].get("Labels") or {}).get(name) != value:
            raise EngineError("not-found", f"no container {external_id[:12]} of this cluster")
        return found

    def _create(self, client: Any, external_id: str, spec: ExecSpec) -> str:
        self._inspect(client, external_id)
        made = client.exec_create(
            external_id,
            list(spec.command),
            stdin=spec.stdin,
            stdout=spec.output,
            stderr=spec.output,
            tty=spec.tty,
        )
        return str(made["Id"])


def _prefix(client: Any) -> str:
    return f"/v{client.api_version}"


async def _cut(answer: RawAnswer, cutter: LogCutter) -> AsyncGenerator[tuple[LogLine, ...], None]:
    while data := await answer.receive():
        if lines := cutter.feed(data):
            yield tuple(lines)
    if rest := cutter.end():
        yield tuple(rest)


async def _read_figures(answer: RawAnswer) -> AsyncGenerator[Mapping[str, Any], None]:
    held = b""
    while data := await answer.receive():
        *whole, held = (held + data).split(b"\n")
        if len(held) > MAX_FIGURES_BYTES:
            raise EngineError("failed", "Docker's figures of a container have no end")
        for text in whole:
            with suppress(ValueError, RecursionError):
                if isinstance(found := json.loads(text), dict):
                    yield found


class DockerExec:
    """A command that runs in a container."""

    def __init__(self, call: Call, exec_id: str, external_id: str, spec: ExecSpec, answer: RawAnswer) -> None:
        self._call = call
        self._exec_id = exec_id
        self._external_id = external_id
        self._has_terminal = spec.tty
        self._answer = answer
        self._demultiplexer = Demultiplexer()
        self._pieces: list[tuple[int, bytes]] = []
        self._has_ended = False

    async def send(self, data: bytes) -> None:
        if not self._has_ended:
            await self._answer.send(data)

    async def end_input(self) -> None:
        await self._answer.end_input()

    async def receive(self) -> tuple[int, bytes] | None:
        while not self._pieces:
            data = await self._answer.receive()
            if not data:
                self._has_ended = True
                return None
            if self._has_terminal:
                return BOTH, data
            self._pieces = [(kind, piece) for kind, piece, _ in self._demultiplexer.feed(data) if piece]
        return self._pieces.pop(0)

    async def resize(self, columns: int, rows: int) -> None:
        if not self._has_terminal:
            return
        for attempt in range(RESIZE_TRIES):
            try:
                await self._call(lambda client: client.exec_resize(self._exec_id, height=rows, width=columns))
                return
            except EngineError:
                if self._has_ended or attempt == RESIZE_TRIES - 1:
                    return
                await trio.sleep(PAUSE * 2**attempt)

    async def exit_code(self) -> int | None:
        for _ in range(CODE_TRIES):
            found = await self._call(lambda client: client.exec_inspect(self._exec_id))
            if not found.get("Running"):
                code = found.get("ExitCode")
                return code if isinstance(code, int) else None
            await trio.sleep(PAUSE)  # Its output ends a moment before Docker notes that it has.
        return None

    async def hang_up(self) -> None:
        """Tell a command that still runs what a closed terminal would, and end one that does not listen.

        Docker itself would let it run on for ever.
        """
        with suppress(EngineError):
            if self._has_ended or (pid := await self._process()) is None:
                return
            _tell(pid, signal.SIGHUP)
            await trio.sleep(HANG_UP_GRACE)
            if await self._process() == pid:
                _tell(pid, signal.SIGKILL)

    async def _process(self) -> int | None:
        """Return the number of the process here, None if it has ended or is not to be seen."""
        for _ in range(CODE_TRIES):
            found = await self._call(lambda client: client.exec_inspect(self._exec_id))
            if not found.get("Running"):
                return None
            if isinstance(pid := found.get("Pid"), int) and pid > 0:
                return await trio.to_thread.run_sync(find_process, pid, self._external_id)
            await trio.sleep(PAUSE)  # It is about to start.
        return None


def find_process(pid: int, external_id: str, proc: Path = Path("/proc")) -> int | None:
    """Return our number of the process that Docker calls `pid`, if it is of that container.

    Docker may count processes apart from us; `NSpid` has a process's number in each namespace, the innermost last.
    Never that of a process outside of the container.
    """
    by_last: int | None = None
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if external_id not in (entry / "cgroup").read_text():
                continue
            status = (entry / "status").read_text()
        except OSError:
            continue
        numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [entry.name])
        if len(numbers) > 1 and numbers[-2] == str(pid):
            return int(entry.name)
        if numbers[-1] == str(pid):
            by_last = int(entry.name)  # Right where the container has no namespace of its own.
    return by_last


def _tell(pid: int, number: signal.Signals) -> None:
    with suppress(OSError):
        os.kill(pid, number)
