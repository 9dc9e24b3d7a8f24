"""The store behind its thread: the same answers, one call at a time, and the loop goes on meanwhile."""

from collections.abc import AsyncIterator
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import trio
import trio.testing

from node.store.log import LogStore
from node.store.threaded import ThreadedStore
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
