"""The log store behind a thread of its own, so that a slow flush of the disk never holds up the event loop.

A snapshot is written in steps between which other writes get their turn.  The thread is asked, and says that it is
done, by descriptors: whoever waits is woken by that alone, and writing to one lets go of the interpreter, which the
other side needs at once.  The loop itself waits for a small write, for a moment, while the disk is quick: a round of
the loop and a struggle for the interpreter would take longer than such a flush.
"""

import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

import trio

from node.store.log import LogStore, Staging
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot

SMALL = 4
"""Entries up to which a write is waited for in place; with more, the loop has others to serve meanwhile."""
MOMENT_MS = 2
"""How long the loop waits in place."""
SLOW_FOR = 64
"""After a write that took longer than a moment, so many are not waited for in place."""

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
        self._poll = select.poll()
        self._poll.register(self._done, select.POLLIN)
        self._slow_for = 0
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
        is_small = staging is None and len(output.append) <= SMALL
        await self._call(self._store.write, output, commit, staging, in_place=is_small)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await self._call(self._store.switch, await self._stage(snapshot))
        while await self._call(self._store.tidy):
            pass

    async def _stage(self, snapshot: Snapshot) -> Staging:
        staging = await self._call(self._store.begin_staging, snapshot)
        for first in staging.steps():
            await self._call(self._store.stage, staging, first)
        return staging

    async def _call(self, function: Callable[[*Ts], T], *args: *Ts, in_place: bool = False) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._turn.acquire_nowait()  # To acquire would be a round of the loop even when it is free.
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            job = _Job(function, args)
            self._jobs.append(job)
            os.eventfd_write(self._asked, 1)
            if not (in_place and self._is_done_in_a_moment()):
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

    def _is_done_in_a_moment(self) -> bool:
        """Wait in place for what was begun, unless the disk was slow lately."""
        if self._slow_for:
            self._slow_for -= 1
            return False
        if self._poll.poll(MOMENT_MS):
            return True
        self._slow_for = SLOW_FOR
        return False


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
