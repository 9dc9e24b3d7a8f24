"""The engine in memory keeps the contract, and can be told to fail."""

import pytest

from node.engine.memory import MemoryEngine
from node.ports import EngineError, StreamingEngine
from tests.node.engine.contract import EngineContract
from tests.node.engine.streams_contract import StreamsContract


def now_ms() -> int:
    return 1_000_000


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> MemoryEngine:
        return MemoryEngine(now_ms, images={"busybox:latest"}, pullable={"nginx:1.9"})

    @pytest.fixture
    def image(self) -> str:
        return "busybox:latest"

    async def test_pulled_image_is_there_afterwards(self, engine: MemoryEngine) -> None:
        await engine.pull("nginx:1.9")
        assert await engine.has_image("nginx:1.9")

    async def test_image_that_no_registry_has_is_refused(self, engine: MemoryEngine) -> None:
        with pytest.raises(EngineError) as refused:
            await engine.pull("corral-test/nowhere:1")
        assert refused.value.code == "image-missing"

    async def test_engine_that_is_down_is_unavailable(self, engine: MemoryEngine) -> None:
        engine.is_up = False
        with pytest.raises(EngineError) as refused:
            await engine.list_containers()
        assert refused.value.code == "unavailable"

    async def test_exit_is_seen_with_its_code(self, engine: MemoryEngine, image: str) -> None:
        external_id = await engine.create(self.spec(image))
        await engine.start(external_id)
        engine.exit(external_id, 3)
        seen = await self.find(engine, external_id)
        assert seen is not None
        assert (seen.status, seen.exit_code) == ("exited", 3)


class TestMemoryStreams(StreamsContract):
    @pytest.fixture
    def engine(self) -> MemoryEngine:
        return MemoryEngine(now_ms)

    @pytest.fixture
    def image(self) -> str:
        return "busybox:latest"

    async def talk(self, engine: StreamingEngine, external_id: str, said: list[tuple[int, bytes]]) -> None:
        assert isinstance(engine, MemoryEngine)
        for kind, line in said:
            engine.say(external_id, line, kind=kind)
