"""What the consensus driver needs around it: a disk, a way to the others, listeners, a place for long work."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from node.model import Change, State
from protocol.ids import Index, NodeId
from protocol.messages import Kind
from protocol.raft.vocabulary import Output, SavedState, Snapshot


class Storage(Protocol):
    """Where the core's promises are kept; each call returns when it is durable."""

    async def load(self) -> tuple[SavedState, Index]: ...

    async def load_snapshot(self) -> Snapshot | None: ...

    async def write(self, output: Output, commit: Index) -> None: ...

    async def save_snapshot(self, snapshot: Snapshot) -> None: ...


class Transport(Protocol):
    """How messages reach other members; node.drive.link is the real one."""

    def send(self, node: NodeId, payload: bytes) -> None: ...

    async def request(self, node: NodeId, kind: Kind, payload: bytes, *, timeout: float) -> bytes: ...


Applied = Callable[[State, Sequence[Change]], None]
"""Told of each new state with the rows that changed; an installed snapshot comes with no rows: read everything."""


Offload = Callable[..., Awaitable[Any]]
"""Runs a function with arguments where it does not hold up the loop."""
