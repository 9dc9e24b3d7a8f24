"""What of an output must be on the disk first, and how much of what is committed is applied at one time.  Pure."""

from collections.abc import Sequence

from protocol.raft.messages import Entry
from protocol.raft.vocabulary import Output

APPLY_PER_STEP, APPLY_BYTES_PER_STEP = 128, 64 * 1024
"""How much is applied at one time, so that nothing else waits long."""


def is_durable(output: Output) -> bool:
    """Whether anything in it has to be saved before the rest is done."""
    return bool(output.hard or output.install or output.truncate_from is not None or output.compact_to or output.append)


def cut_piece(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return the first entries, as many as are applied at one time."""
    size = 0
    for count, entry in enumerate(entries[:APPLY_PER_STEP], 1):
        size += len(entry.data)
        if size >= APPLY_BYTES_PER_STEP:
            return entries[:count]
    return entries[:APPLY_PER_STEP]
