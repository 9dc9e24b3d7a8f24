"""The store behind its thread: the same answers, one call at a time, and the loop goes on meanwhile."""

import gc
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from node.store.log import LogStore
from node.store.threaded import SLOW_FOR, ThreadedStore
from protocol.ids import Index, Term
from protocol.raft.messages import Entry, EntryKind, SnapshotMeta, make_config
from protocol.raft.vocabulary import HardState, Output, SavedState, Snapshot
from tests.fakes.states import node_id

NOTHING = Output(None, None, None, None, (), (), (), False, (), inf)
SNAPSHOT = Snapshot(SnapshotMeta(Index(1), Term(1), make_config([node_id(1)])), b"state")


def entry(index: int) -> Entry:
    return Entry(Index(index), Term(1), EntryKind.COMMAND, b"%d" % index)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ThreadedStore]:
    log = LogStore(tmp_path / "state.db")
    yield ThreadedStore(log)
    log.close()


async def test_fresh_store_is_empty(store: ThreadedStore) -> None:
    assert await store.load() == (SavedState(), Index(0))
    assert await store.load_snapshot() is None


async def test_what_is_written_is_loaded(store: ThreadedStore) -> None:
    hard = HardState(Term(3), node_id(1))
    await store.write(replace(NOTHING, hard=hard, append=(entry(1), entry(2))), Index(1))
    assert await store.load() == (SavedState(hard, None, (entry(1), entry(2))), Index(1))


async def test_snapshot_that_is_saved_is_loaded(store: ThreadedStore) -> None:
    await store.write(replace(NOTHING, append=(entry(1),)), Index(1))
    await store.save_snapshot(SNAPSHOT)
    assert await store.load_snapshot() == SNAPSHOT
    saved, _ = await store.load()
    assert saved.snapshot == SNAPSHOT.meta


async def test_writes_are_made_in_the_order_in_which_they_are_asked_for(store: ThreadedStore) -> None:
    async with trio.open_nursery() as nursery:
        for index in range(1, 20):
            nursery.start_soon(store.write, replace(NOTHING, append=(entry(index),)), Index(index))
            # Each has taken its place in the queue before the next one asks.
            await trio.testing.wait_all_tasks_blocked()
    saved, commit = await store.load()
    assert [one.index for one in saved.entries] == list(range(1, 20))
    assert commit == 19


async def test_thread_and_its_descriptors_end_with_the_store(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def threads() -> list[threading.Thread]:
        return [each for each in threading.enumerate() if each.name == "log store"]

    log = LogStore(tmp_path / "other")
    gc.collect()
    with trio.fail_after(10):
        while threads():
            await trio.sleep(0.01)
        before = open_files()
        store = ThreadedStore(log)
        assert (await store.load())[1] == 0
        assert len(threads()) == 1
        del store
        while threads():
            await trio.sleep(0.01)
    assert open_files() == before
    log.close()


async def test_call_that_was_begun_is_waited_for_when_its_caller_is_cancelled(store: ThreadedStore) -> None:
    began, may_end = threading.Event(), threading.Event()

    def hold() -> str:
        began.set()
        may_end.wait()
        return "held"

    found: list[str] = []

    async def ask() -> None:
        found.append(await store._call(hold))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        while not began.is_set():
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
        may_end.set()
    assert found == ["held"]
    with pytest.raises(ZeroDivisionError):
        await store._call(lambda: 1 // 0)
    assert await store._call(lambda: 1) == 1


async def test_loop_goes_on_while_a_small_write_is_slow(store: ThreadedStore) -> None:
    may_end = threading.Event()

    async def let_end() -> None:
        may_end.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_end)
        # The loop has to come round for this to end: a moment at the most is it kept in place.
        assert await store._call(may_end.wait, 60.0, in_place=True)


async def test_loop_does_not_wait_in_place_for_a_disk_that_was_slow_lately(store: ThreadedStore) -> None:
    may_end = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(store._call, may_end.wait, 60.0, in_place=True))
        await trio.testing.wait_all_tasks_blocked()
        may_end.set()
    for _ in range(SLOW_FOR):
        assert not store._is_done_in_a_moment()


async def test_write_that_is_waited_for_in_place_raises_what_went_wrong(store: ThreadedStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await store._call(lambda: 1 // 0, in_place=True)
    assert await store._call(lambda: 1, in_place=True) == 1
