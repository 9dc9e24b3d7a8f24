"""What containers in memory write, answer and use: made up, and held to the same contract as Docker's.

A container starts nothing, so its log has what tests and the light demo have it say.  A command is one of a few words
that are needed to see input, output, errors and exit codes: `echo`, `cat`, `sleep` and `sh -c 'exit N'`.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from node.ports import BOTH, ERR, OUT, EngineError, ExecSpec, LogLine

MAX_LOG_LINES = 1000
INPUT_CHUNKS = 16


@dataclass(slots=True, eq=False)
class MemoryLog:
    """The latest lines of one container, each with its time in milliseconds."""

    lines: deque[tuple[int, int, LogLine]] = field(default_factory=lambda: deque(maxlen=MAX_LOG_LINES))
    count: int = 0
    news: trio.Event = field(default_factory=trio.Event)

    def say(self, at_ms: int, line: LogLine) -> None:
        """Add a line and wake who reads on."""
        self.count += 1
        self.lines.append((self.count, at_ms, line))
        self.wake()

    def wake(self) -> None:
        self.news.set()
        self.news = trio.Event()

    def since(self, number: int) -> tuple[int, tuple[LogLine, ...]]:
        """Return what was said after the line with that number, and the latest number."""
        return self.count, tuple(line for count, _, line in self.lines if count > number)

    def tail(self, lines: int | None, since: float | None) -> tuple[LogLine, ...]:
        """Return the last lines of those since a time."""
        found = tuple(line for _, at_ms, line in self.lines if since is None or at_ms >= since * 1000)
        return found if lines is None else found[max(0, len(found) - lines) :]


class MemoryExec:
    """One of the few commands there are."""

    def __init__(self, spec: ExecSpec) -> None:
        self._spec = spec
        self._to_stdin, self._stdin = trio.open_memory_channel[bytes](INPUT_CHUNKS)
        self._code: int | None = None
        self._said = False
        self.size = (0, 0)

    async def send(self, data: bytes) -> None:
        try:
            await self._to_stdin.send(data)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise EngineError("failed", "the command reads no input any more") from None

    async def end_input(self) -> None:
        await self._to_stdin.aclose()

    async def receive(self) -> tuple[int, bytes] | None:
        await trio.lowlevel.checkpoint()
        if self._code is not None:
            return None
        kind = BOTH if self._spec.tty else OUT
        match self._spec.command:
            case ("cat", *_) if self._spec.stdin:
                async for data in self._stdin:
                    return kind, data
                self._code = 0
                return None
            case ("sleep", *_):
                await trio.sleep_forever()
            case ("echo", *words) if not self._said:
                self._said = True
                return kind, " ".join(words).encode() + (b"\r\n" if self._spec.tty else b"\n")
            case ("echo" | "cat", *_):
                self._code = 0
                return None
            case ("sh", "-c", script) if script.startswith("exit ") and script[5:].isdigit():
                self._code = int(script[5:])
                return None
        if not self._said:
            self._said = True
            return BOTH if self._spec.tty else ERR, f"{self._spec.command[0]}: not found\n".encode()
        self._code = 127
        return None

    async def resize(self, columns: int, rows: int) -> None:
        if self._spec.tty:
            self.size = (columns, rows)

    async def exit_code(self) -> int | None:
        return self._code

    def close(self) -> None:
        """Leave nothing open."""
        self._to_stdin.close()
        self._stdin.close()


async def read_log(
    log: MemoryLog, number: int, first: tuple[LogLine, ...], *, goes_on: Callable[[], bool]
) -> AsyncGenerator[tuple[LogLine, ...], None]:
    """Give `first`, then what comes after line `number`, for as long as the container runs."""
    if first:
        yield first
    while goes_on():
        news = log.news
        number, lines = log.since(number)
        if lines:
            yield lines
        else:
            await news.wait()


async def make_figures() -> AsyncGenerator[Mapping[str, Any], None]:
    """Give one made-up set of figures a second."""
    total = 0
    while True:
        total += 1_000_000
        yield {
            "read": "2016-04-12T06:00:00Z",
            "cpu_stats": {
                "cpu_usage": {"total_usage": total, "percpu_usage": [total], "usage_in_usermode": total},
                "system_cpu_usage": total * 1000,
                "online_cpus": 1,
            },
            "memory_stats": {"usage": 1_048_576, "limit": 67_108_864},
            "networks": {"eth0": {"rx_bytes": 0, "tx_bytes": 0}},
            "blkio_stats": {"io_service_bytes_recursive": []},
        }
        await trio.sleep(1)
