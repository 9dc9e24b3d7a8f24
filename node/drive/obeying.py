"""What of an output must be on the disk first, and how much of what is committed is applied at one time.  Pure."""

from collections.abc import Sequence

from protocol.raft.messages import AppendRequest, Entry
from protocol.raft.vocabulary import Envelope, Output

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


def split_sends(output: Output, *, is_leader: bool) -> tuple[Sequence[Envelope], Sequence[Envelope]]:
    """Return what may leave before this output is durable, and what may not.

    10.2.1: a leader's own disk may work while its followers' do.  Its new entries count as its own at once, but no
    reply is heard before they are on its disk; so none of these requests may say that a new entry is committed.
    """
    if output.hard is not None or output.install is not None or not output.append or not is_leader:
        return (), output.send
    first = output.append[0].index
    if all(isinstance(each.message, AppendRequest) and each.message.commit < first for each in output.send):
        return output.send, ()
    return (), output.send


def durable_before(output: Output) -> Sequence[Entry]:
    """Return what is committed now and was on the disk before this output."""
    if output.install is not None or not output.append:
        return ()
    first = output.append[0].index
    return [entry for entry in output.apply if entry.index < first]
