"""Small files written whole: atomically, durably, private to root, and checked when read.

A torn or altered file is found by its checksum and named; it is never skipped in silence.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600


class CorruptFileError(Exception):
    """A file of ours that is not what we wrote; the message names it and says what can be done."""


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: after a crash it is the old file or the new one, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def write_checked(path: Path, content: bytes) -> None:
    """As write_private, with a first line that holds the content's SHA-256."""
    write_private(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(path: Path) -> bytes:
    """Return what write_checked wrote; CorruptFileError when it is something else."""
    digest, newline, content = path.read_bytes().partition(b"\n")
    if not newline or hashlib.sha256(content).hexdigest().encode() != digest:
        raise CorruptFileError(f"{path} is damaged: its checksum does not match its content")
    return content


def sync_directory(path: Path) -> None:
    """Make a rename in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make durable what anybody has written to `path`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
