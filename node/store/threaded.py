"""The log store behind one worker thread, so that a flush of the disk never holds up the event loop.

A snapshot is written in steps between which other writes get their turn.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from node.store.log import LogStore, Staging
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ThreadedStore:
    """The Storage port of the consensus driver on SQLite; calls are made one at a time, in order."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._turn = trio.Lock()

    async def load(self) -> tuple[SavedState, Index]:
        return await self._call(self._store.load)

    async def load_snapshot(self) -> Snapshot | None:
        return await self._call(self._store.load_snapshot)

    async def write(self, output: Output, commit: Index) -> None:
        staging = await self._stage(output.install) if output.install is not None else None
        await self._call(self._store.write, output, commit, staging)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._call(self._store.switch, await self._stage(snapshot))
        while await self._call(self._store.tidy):
            pass

    async def _stage(self, snapshot: Snapshot) -> Staging:
        staging = await self._call(self._store.begin_staging, snapshot)
        for first in staging.steps():
            await self._call(self._store.stage, staging, first)
        return staging

    async def _call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        async with self._turn:
            return await trio.to_thread.run_sync(function, *args)
