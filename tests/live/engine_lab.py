"""One lab host with a real engine, and a client of it, for the engine's contracts."""

import gc
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from node.engine.dockerd import DockerEngine
from scripts.lablib import Lab
from tests.node.engine.contract import EngineContract

HOST = "h1"


@contextmanager
def one_host(name: str) -> Iterator[Lab]:
    """Bring up a lab of one host."""
    made = Lab(name)
    made.down()
    made.up(1)
    yield made
    made.down()
    # The client library leaves the sockets of broken conversations to the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@asynccontextmanager
async def client_of(lab: Lab) -> AsyncIterator[DockerEngine]:
    """Talk to the host's engine."""
    # A folder that the engine sees, too, so that it can mount what is written there.
    url = f"unix://{lab.docker_socket(HOST)}"
    made = DockerEngine(EngineContract.cluster, resolv_dir=lab.layout.folder / "resolv", url=url)
    # Two first calls at once would each make a client, and only one of them could be closed.
    await made.version()
    yield made
    close(made)


def close(engine: DockerEngine) -> None:
    """Close its connections: an engine has no end of its own, it lives as long as the daemon."""
    if engine._client is not None:
        engine._client.close()
