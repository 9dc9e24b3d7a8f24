"""Keeps the last zone on disk, so that a DNS server that starts alone has names to serve.

Shell.  The file is replaced as a whole and carries a checksum; one that is broken is reported and not used.
"""

import os
from pathlib import Path
from zlib import crc32

from dns.messages import MAX_FRAME_BYTES, FrameError, Full, decode_body, encode_body
from dns.zone import Zone

MAGIC = b"corral dns zone 1\n"


class StateError(Exception):
    """The state file cannot be used; says why."""


def save_zone(path: Path, zone: Zone) -> None:
    """Replace the file at `path` by `zone`, durably; raise OSError."""
    body = encode_body(Full(zone))
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(MAGIC + crc32(body).to_bytes(4, "big") + body)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def load_zone(path: Path) -> Zone | None:
    """Return the zone kept at `path`, None where there is no file; raise StateError for one that cannot be used."""
    try:
        with path.open("rb") as file:
            kept = file.read(MAX_FRAME_BYTES + 64)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise StateError(str(failed)) from failed
    head, body = kept[: len(MAGIC) + 4], kept[len(MAGIC) + 4 :]
    if not head.startswith(MAGIC):
        raise StateError("it does not start as a kept zone does")
    if head[len(MAGIC) :] != crc32(body).to_bytes(4, "big"):
        raise StateError("its checksum is wrong")
    try:
        message = decode_body(body)
    except FrameError as broken:
        raise StateError(str(broken)) from broken
    if not isinstance(message, Full):
        raise StateError("it holds no zone")
    return message.zone
