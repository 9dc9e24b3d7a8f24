"""What can go wrong with the disk under the log: it does not take or give (mendable), or gave something else (not)."""

from pathlib import Path


class CorruptStoreError(Exception):
    """A record that is not what was written; the message names file and record and says what to do."""

    def __init__(self, path: Path, record: str, why: str) -> None:
        super().__init__(
            f"{path}: {record} is damaged ({why}); this host must not go on with it: move the folder away and join "
            "the cluster again, or restore the file from a backup made while the daemon was stopped"
        )


class StoreFailedError(Exception):
    """The disk did not take a write or did not answer; nothing may be promised that depends on it.

    The store is of no use afterwards until it was loaded again: what a failed flush left behind, nobody knows.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}; make room on that disk or repair it: nothing that was acknowledged is lost")
        self.why = why
