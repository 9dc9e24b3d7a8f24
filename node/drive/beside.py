"""Two things side by side, where the first may fail as one thing alone would: with its own error, not a group of it."""

from collections.abc import Awaitable, Callable

import trio

from node.drive.consensus_ports import StoreFailedError


async def beside(write: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[None]]) -> None:
    """Run both to their end; raise what the disk said to `write` only after that."""
    failures: list[StoreFailedError] = []

    async def guarded() -> None:
        try:
            await write()
        except StoreFailedError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded)
        await work()
    if failures:
        raise failures[0]
