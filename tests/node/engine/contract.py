"""What every engine must do; run on the one in memory and, live, on Docker.

A class to inherit from: subclasses give `engine` and `image` fixtures.
"""

from uuid import uuid4

import pytest
import trio

from node.model import PortBinding
from node.ports import ContainerSpec, Engine, EngineContainer, EngineError


def spec_of(image: str, name: str, cluster: str, **fields: object) -> ContainerSpec:
    labels = {"io.rancher.container.uuid": f"uuid-of-{name}", "io.corral.cluster": cluster}
    return ContainerSpec(name=name, image=image, labels=labels, stdin_open=True, tty=True, **fields)  # type: ignore[arg-type]


class EngineContract:
    """The tests."""

    cluster = "c" * 32

    def spec(self, image: str, **fields: object) -> ContainerSpec:
        return spec_of(image, f"r-contract-{uuid4().hex[:8]}", self.cluster, **fields)

    async def find(self, engine: Engine, external_id: str) -> EngineContainer | None:
        return next((c for c in await engine.list_containers() if c.external_id == external_id), None)

    async def test_version_names_the_engine_and_its_api(self, engine: Engine) -> None:
        version = await engine.version()
        assert version.version
        assert [int(part) for part in version.api.split(".")] >= [1, 24]

    async def test_container_goes_from_created_to_running_to_exited_to_gone(self, engine: Engine, image: str) -> None:
        spec = self.spec(image)
        external_id = await engine.create(spec)
        created = await self.find(engine, external_id)
        assert created is not None
        assert (created.status, created.name) == ("created", spec.name)
        assert created.uuid == spec.labels["io.rancher.container.uuid"]
        await engine.start(external_id)
        running = await self.find(engine, external_id)
        assert running is not None
        assert running.status == "running"
        assert running.started is not None
        await engine.stop(external_id, 1)
        stopped = await self.find(engine, external_id)
        assert stopped is not None
        assert stopped.status == "exited"
        assert stopped.exit_code is not None
        await engine.remove(external_id)
        assert await self.find(engine, external_id) is None

    async def test_running_container_can_be_removed(self, engine: Engine, image: str) -> None:
        external_id = await engine.create(self.spec(image))
        await engine.start(external_id)
        await engine.remove(external_id)
        assert await self.find(engine, external_id) is None

    async def test_stop_and_remove_of_what_is_gone_are_no_errors(self, engine: Engine) -> None:
        await engine.stop("f" * 64, 1)
        await engine.remove("f" * 64)

    async def test_start_of_what_is_gone_says_so(self, engine: Engine) -> None:
        with pytest.raises(EngineError) as refused:
            await engine.start("f" * 64)
        assert refused.value.code == "not-found"

    async def test_taken_name_is_told_apart(self, engine: Engine, image: str) -> None:
        spec = self.spec(image)
        external_id = await engine.create(spec)
        try:
            with pytest.raises(EngineError) as refused:
                await engine.create(spec)
            assert refused.value.code == "name-taken"
        finally:
            await engine.remove(external_id)

    async def test_taken_port_is_told_apart(self, engine: Engine, image: str) -> None:
        ports = (PortBinding(public=28473, private=80),)
        first = await engine.create(self.spec(image, ports=ports))
        second = await engine.create(self.spec(image, ports=ports))
        try:
            await engine.start(first)
            with pytest.raises(EngineError) as refused:
                await engine.start(second)
            assert refused.value.code == "port-taken"
        finally:
            await engine.remove(first)
            await engine.remove(second)

    async def test_missing_image_is_told_apart(self, engine: Engine) -> None:
        assert not await engine.has_image("corral-test/nowhere:1")
        with pytest.raises(EngineError) as refused:
            await engine.create(self.spec("corral-test/nowhere:1"))
        assert refused.value.code == "image-missing"

    async def test_present_image_is_found(self, engine: Engine, image: str) -> None:
        assert await engine.has_image(image)

    async def test_watch_wakes_when_a_container_changes(self, engine: Engine, image: str) -> None:
        woken = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.watch, woken.set)
            external_id = ""
            with trio.fail_after(20):
                # The watch needs a moment to begin: make changes until one is heard.
                while not woken.is_set():
                    external_id = await engine.create(self.spec(image))
                    await engine.remove(external_id)
                    with trio.move_on_after(0.3):
                        await woken.wait()
            nursery.cancel_scope.cancel()
        assert external_id
