"""What the consensus driver needs around it: a disk, a way to the others, listeners, a place for long work."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from node.model import Change, State
from node.store.errors import CorruptStoreError as CorruptStoreError, StoreFailedError as StoreFailedError
from protocol.ids import Index, NodeId
from protocol.messages import Kind
from protocol.raft.vocabulary import Output, SavedState, Snapshot


class Storage(Protocol):
    """Where the core's promises are kept; each call returns when it is durable.  Calls are carried out one at a time.

    Every call may raise StoreFailedError: the disk is full, a flush failed, the file cannot be opened.  From then on
    every other call raises it too, until `load` has come back: what the failed call left on the disk is not known
    before.  CorruptStoreError says that something on the disk is not what was written; no later call mends that.
    """

    async def load(self) -> tuple[SavedState, Index]:
        """Open what is on the disk anew, check it, and return it with the highest index known to be committed.

        The first call, and the only one that may follow a StoreFailedError.  What it returns is durable, whatever
        became of earlier calls: a write that failed is there whole or not at all.  Returning means that there is
        room for more; while there is none it raises StoreFailedError.
        """

    async def load_snapshot(self) -> Snapshot | None:
        """Return the latest snapshot, checked."""

    async def write(self, output: Output, commit: Index) -> None:
        """Make what `output` owes the disk durable, all of it or nothing; `commit` is a hint that costs no promise."""

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the snapshot by a later one; one that is older than what is there by now changes nothing."""


class Transport(Protocol):
    """How messages reach other members; node.drive.link is the real one."""

    def send(self, node: NodeId, payload: bytes) -> None: ...

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes: ...


Applied = Callable[[State, Sequence[Change]], None]
"""Told of each new state with the rows that changed; an installed snapshot comes with no rows: read everything."""


Offload = Callable[..., Awaitable[Any]]
"""Runs a function with arguments where it does not hold up the loop."""
