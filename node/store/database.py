"""One SQLite file, opened so that a finished transaction is on the disk, with errors that say whose fault they are.

WAL and synchronous=FULL: one flush per transaction, and SQLite drops a torn tail of the write-ahead log whole.  The
file gives pages back (auto_vacuum), and the write-ahead log shrinks after it had to grow.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import error as StructError
from typing import Any

from node.store.errors import CorruptStoreError, StoreFailedError
from protocol.errors import ProtocolError

WAL_LIMIT_BYTES = 8 * 1024 * 1024
"""What a write-ahead log that a large transaction made longer is cut back to."""


NONSENSE = (ValueError, TypeError, AttributeError, OverflowError, LookupError, StructError, ProtocolError)
"""What reading raises where a record has values of another type or none."""


class Database:
    """An open file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_full = False
        """Whether the last StoreFailedError said that there is no room, and nothing worse."""
        try:
            self._sqlite = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise StoreFailedError(path, str(error)) from error
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        with self.reading():
            if self.one("PRAGMA page_count") == (0,):
                self.execute("PRAGMA auto_vacuum = INCREMENTAL")  # Of a file that has pages it would only be a write.
            self.execute("PRAGMA journal_mode = WAL")
            self.path.chmod(0o600)
            self.execute("PRAGMA synchronous = FULL")
            self.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
            if self.one("PRAGMA synchronous") != (2,):
                raise StoreFailedError(self.path, "SQLite refuses synchronous=FULL, so nothing could be promised")

    def close(self) -> None:
        """Close the file; every finished transaction is in it already."""
        with suppress(sqlite3.Error):
            self._sqlite.close()

    def execute(self, statement: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        return self._sqlite.execute(statement, tuple(values))

    def execute_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        self._sqlite.executemany(statement, rows)

    def one(self, statement: str, values: Iterable[Any] = ()) -> Any:
        """Return the first row, None without one."""
        return self.execute(statement, values).fetchone()

    def has_table(self, name: str) -> bool:
        with self.reading():
            return self.one("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)) is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it durable at the end, or nothing of it."""
        with self._named_errors():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self._sqlite.in_transaction:
                    with suppress(sqlite3.Error):
                        self.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Name what does not make sense as damage of the file."""
        try:
            with self._named_errors():
                yield
        except NONSENSE as error:
            # A damaged record header makes SQLite give values of another type.
            raise CorruptStoreError(self.path, "a record", str(error)) from error

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreFailedError(self.path, error.strerror or str(error)) from error
        except sqlite3.DatabaseError as error:
            code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            # SQLITE_ERROR: it complains of what it read (its schema, its text) and not of the disk.
            if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
                self.is_full = code == sqlite3.SQLITE_FULL
                raise StoreFailedError(self.path, str(error)) from error
            raise CorruptStoreError(self.path, "the file", str(error)) from error
