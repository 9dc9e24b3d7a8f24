"""The log store behind a thread of its own, so that a flush of the disk never holds up the event loop.

A snapshot is written in steps between which other writes get their turn.  The thread says by a descriptor that it is
done: whoever waits is woken by that alone, where a pool of threads takes three rounds of the loop.
"""

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

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
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        threading.Thread(target=_work, args=(self._jobs, self._done), name="log store", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

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
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._turn.acquire_nowait()  # To acquire would be a round of the loop even when it is free.
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            job = _Job(function, args)
            self._jobs.put(job)
            with trio.CancelScope(shield=True):  # What was begun is waited for: the next call may not overlap it.
                await trio.lowlevel.wait_readable(self._done)
            os.eventfd_read(self._done)
        finally:
            self._turn.release()
        if job.error is not None:
            try:
                raise job.error
            finally:
                del job  # The error refers to this frame, which would refer to the error.
        result: T = job.result
        return result


class _Job:
    """A call, and what came of it."""

    __slots__ = ("_args", "_function", "error", "result")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args
        self.result: Any = None
        self.error: BaseException | None = None

    def do(self) -> None:
        try:
            self.result = self._function(*self._args)
        except BaseException as error:
            self.error = error


def _work(jobs: "SimpleQueue[_Job | None]", done: int) -> None:
    """The thread: it ends with the store, to which it has no reference."""
    while (job := jobs.get()) is not None:
        job.do()
        del job
        os.eventfd_write(done, 1)
    os.close(done)
