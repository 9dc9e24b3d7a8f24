"""An engine in memory: for the light demo, for simulations, and as the fake behind the Engine port.

Obeys the same contract as Docker's (names, addresses and published ports are taken once per host) and starts
nothing.  Faults are asked for by name, so that tests can see what the agent makes of them.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import trio

from node.engine.memory_streams import MemoryExec, MemoryLog, make_figures, read_log
from node.ports import BOTH, ContainerSpec, EngineContainer, EngineError, EngineVersion, ExecSpec, LogLine, NetworkSpec

UUID_LABEL = "io.rancher.container.uuid"
NAME_LABEL = "io.rancher.container.name"


@dataclass(frozen=True, slots=True)
class _Held:
    spec: ContainerSpec
    seen: EngineContainer


@dataclass(slots=True, eq=False)
class MemoryEngine:
    """The Engine port without an engine.  `images` None means that every image is there."""

    now_ms: Callable[[], int]
    images: Collection[str] | None = None
    pullable: set[str] = field(default_factory=set)
    is_up: bool = True
    _held: dict[str, _Held] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _logs: dict[str, MemoryLog] = field(default_factory=dict)
    _watchers: list[Callable[[], None]] = field(default_factory=list)
    networks: dict[str, NetworkSpec] = field(default_factory=dict)

    async def version(self) -> EngineVersion:
        await self._reach()
        return EngineVersion(version="memory", api="1.41", kernel="", os="in memory", cpus=1, memory_bytes=0)

    async def list_containers(self) -> tuple[EngineContainer, ...]:
        await self._reach()
        return tuple(held.seen for held in self._held.values())

    async def has_image(self, image: str) -> bool:
        await self._reach()
        return self.images is None or image in self.images

    async def pull(self, image: str) -> None:
        await self._reach()
        if image not in self.pullable:
            raise EngineError("image-missing", f"manifest for {image} not found")
        self.images = {*(self.images or ()), image}

    async def create(self, spec: ContainerSpec) -> str:
        await self._reach()
        if not await self.has_image(spec.image):
            raise EngineError("image-missing", f"no such image: {spec.image}")
        if any(held.spec.name == spec.name for held in self._held.values()):
            raise EngineError("name-taken", f"the container name {spec.name} is already in use by container")
        external_id = f"{next(self._numbers):064x}"
        seen = EngineContainer(
            external_id=external_id,
            uuid=spec.labels.get(UUID_LABEL, ""),
            given_name=spec.labels.get(NAME_LABEL, ""),
            name=spec.name,
            status="created",
            exit_code=None,
            started=None,
            finished=None,
        )
        self._put(external_id, _Held(spec, seen))
        return external_id

    async def start(self, external_id: str) -> None:
        await self._reach()
        held = self._find(external_id)
        self._check_free(held)
        seen = msgspec.structs.replace(held.seen, status="running", started=self.now_ms(), exit_code=None)
        self._put(external_id, replace(held, seen=seen))

    async def stop(self, external_id: str, timeout: float) -> None:
        await self._reach()
        if external_id in self._held:
            self.exit(external_id, 0)

    async def remove(self, external_id: str) -> None:
        await self._reach()
        self._held.pop(external_id, None)
        if (log := self._logs.pop(external_id, None)) is not None:
            log.wake()
        self._wake()

    async def ensure_network(self, spec: NetworkSpec) -> None:
        await self._reach()
        self.networks[spec.name] = spec

    async def remove_network(self, name: str) -> None:
        await self._reach()
        self.networks.pop(name, None)

    async def watch(self, wake: Callable[[], None]) -> None:
        self._watchers.append(wake)
        try:
            await trio.sleep_forever()
        finally:
            self._watchers.remove(wake)

    @asynccontextmanager
    async def logs(
        self, external_id: str, *, follow: bool, lines: int | None = None, since: float | None = None
    ) -> AsyncIterator[AsyncIterator[tuple[LogLine, ...]]]:
        await self._reach()
        self._find(external_id)
        log = self._logs.setdefault(external_id, MemoryLog())

        def goes_on() -> bool:
            held = self._held.get(external_id)
            return follow and held is not None and held.seen.status == "running"

        async with aclosing(read_log(log, log.count, log.tail(lines, since), goes_on=goes_on)) as batches:
            yield batches

    @asynccontextmanager
    async def exec(self, external_id: str, spec: ExecSpec) -> AsyncIterator[MemoryExec]:
        await self._reach()
        self._find_running(external_id)
        session = MemoryExec(spec)
        try:
            yield session
        finally:
            session.close()

    @asynccontextmanager
    async def stats(self, external_id: str) -> AsyncIterator[AsyncIterator[Mapping[str, Any]]]:
        await self._reach()
        self._find_running(external_id)
        async with aclosing(make_figures()) as figures:
            yield figures

    def say(self, external_id: str, line: bytes, *, kind: int = 1) -> None:
        """Have a container write a line; with a terminal all lines are of one kind."""
        held = self._find(external_id)
        at = datetime.fromtimestamp(self.now_ms() / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        log = self._logs.setdefault(external_id, MemoryLog())
        log.say(self.now_ms(), LogLine(BOTH if held.spec.tty else kind, at, line))

    def exit(self, external_id: str, code: int) -> None:
        """Let a container end by itself."""
        held = self._find(external_id)
        if held.seen.status == "running":
            seen = msgspec.structs.replace(held.seen, status="exited", exit_code=code, finished=self.now_ms())
            self._put(external_id, replace(held, seen=seen))
            if external_id in self._logs:
                self._logs[external_id].wake()

    def _find_running(self, external_id: str) -> _Held:
        held = self._find(external_id)
        if held.seen.status != "running":
            raise EngineError("failed", f"container {external_id[:12]} is not running")
        return held

    def _find(self, external_id: str) -> _Held:
        held = self._held.get(external_id)
        if held is None:
            raise EngineError("not-found", f"no such container: {external_id[:12]}")
        return held

    def _check_free(self, wanted: _Held) -> None:
        for held in self._held.values():
            if held is wanted or held.seen.status != "running":
                continue
            if wanted.spec.address is not None and held.spec.address == wanted.spec.address:
                raise EngineError("address-taken", f"address already in use: {wanted.spec.address}")
            taken = {(port.public, port.protocol) for port in held.spec.ports}
            for port in wanted.spec.ports:
                if (port.public, port.protocol) in taken:
                    raise EngineError("port-taken", f"port is already allocated: {port.public}/{port.protocol}")

    def _put(self, external_id: str, held: _Held) -> None:
        self._held[external_id] = held
        self._wake()

    def _wake(self) -> None:
        for wake in self._watchers:
            wake()

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self.is_up:
            raise EngineError("unavailable", "the engine does not answer")
