"""The log store behind a thread of its own, so that a flush of the disk never holds up the event loop.

A snapshot is written in steps between which other writes get their turn.  The thread is asked, and says that it is
done, by descriptors: whoever waits is woken by that alone, and writing to one lets go of the interpreter, which the
other side needs at once.
"""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
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
        self._jobs = deque[_Job]()
        self._asked = os.eventfd(0, os.EFD_CLOEXEC)
        self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        thread = threading.Thread(target=_work, args=(self._jobs, self._asked, self._done), name="log store")
        thread.daemon = True
        thread.start()
        weakref.finalize(self, os.eventfd_write, self._asked, 1)

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
            self._jobs.append(job)
            os.eventfd_write(self._asked, 1)
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


def _work(jobs: deque[_Job], asked: int, done: int) -> None:
    """The thread: asked when there is no job it ends, with the store, to which it has no reference."""
    while os.eventfd_read(asked) and jobs:
        jobs.popleft().do()
        os.eventfd_write(done, 1)
    os.close(asked)
    os.close(done)
