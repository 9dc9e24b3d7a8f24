"""A disk in memory that fails as it is told, and believes nothing afterwards until it was loaded again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.store.errors import StoreFailedError
from protocol.ids import Index
from protocol.raft.vocabulary import Output, SavedState, Snapshot
from tests.sim.cluster_parts import SimDisk


@dataclass(eq=False)
class FailingDisk(SimDisk):
    """The Storage port; set `why` to have it fail, and None to have it work once it is loaded again."""

    why: str | None = None
    lands: bool = False
    """A write that fails is on the disk all the same."""
    only: Callable[[Output], bool] | None = None
    """Which writes fail; None: every call."""
    loads: int = 0
    failed_writes: int = 0
    _is_broken: bool = False

    async def load(self) -> tuple[SavedState, Index]:
        self.loads += 1
        if self.why is not None:
            raise StoreFailedError(Path("state.db"), self.why)
        self._is_broken = False
        return await super().load()

    async def load_snapshot(self) -> Snapshot | None:
        self._check()
        return await super().load_snapshot()

    async def write(self, output: Output, commit: Index) -> None:
        try:
            self._check(output)
        except StoreFailedError:
            self.failed_writes += 1
            if self.lands and self.failed_writes == 1:
                await super().write(output, commit)
            raise
        await super().write(output, commit)

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        self._check()
        await super().save_snapshot(snapshot)

    def _check(self, output: Output | None = None) -> None:
        spared = output is not None and self.only is not None and not self.only(output)
        if self._is_broken or (self.why is not None and not spared):
            self._is_broken = True
            raise StoreFailedError(Path("state.db"), self.why or "it failed before")
