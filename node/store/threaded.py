"""The log store behind one worker thread, so that a flush of the disk never holds up the event loop."""

import trio

from node.store.log import LogStore
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot


class ThreadedStore:
    """The Storage port of the consensus driver on SQLite; calls are made one at a time, in order."""

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._turn = trio.Lock()

    async def load(self) -> tuple[SavedState, Index]:
        async with self._turn:
            return await trio.to_thread.run_sync(self._store.load)

    async def load_snapshot(self) -> Snapshot | None:
        async with self._turn:
            return await trio.to_thread.run_sync(self._store.load_snapshot)

    async def write(self, output: Output, commit: Index) -> None:
        async with self._turn:
            await trio.to_thread.run_sync(self._store.write, output, commit)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        async with self._turn:
            await trio.to_thread.run_sync(self._store.save_snapshot, snapshot)
