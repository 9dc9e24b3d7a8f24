"""What others sent that was refused: counted by its kind, and said in the log without letting anybody fill it.

Decides nothing about what is refused.  Of one kind from one address a warning is written once in a while.
"""

import logging
import ssl
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from protocol.errors import DecodeError, ProtocolError

WARN_EVERY = 60.0
MAX_WARNED = 1024

log = logging.getLogger("corral.refused")


class Bad(Enum):
    """Kinds of bad input; the value is the key of its count."""

    HANDSHAKE = "handshake"
    """A certificate of another cluster, or no TLS as we speak it."""
    FRAME = "frame"
    """Too long, of an unknown version, nested, or no envelope at all."""
    CUT = "cut"
    """The stream ended within a frame."""
    KIND = "kind"
    """A frame of a kind that is not known, or not for such a sender."""
    PAYLOAD = "payload"
    """A request whose content cannot be read."""
    RAFT = "raft"
    """No Raft message."""
    DATAGRAM = "datagram"
    """Gossip that was sealed with another key, altered, or cannot be read."""


class UnknownKindError(DecodeError):
    """A frame of a kind that no release known here sends."""


class CutError(DecodeError):
    """A stream that ended within a frame."""


@dataclass(slots=True, eq=False)
class Refusals:
    """One per node."""

    counts: Counter[str] = field(default_factory=Counter)
    _warned_at: dict[tuple[Bad, str], float] = field(default_factory=dict)

    def note(self, bad: Bad, source: str, why: str, now: float) -> None:
        """Count one, and say so."""
        self.counts[bad.value] += 1
        key = (bad, source)
        is_news = now - self._warned_at.get(key, -WARN_EVERY) >= WARN_EVERY
        if is_news:
            self._warned_at.pop(key, None)
            while len(self._warned_at) >= MAX_WARNED:
                del self._warned_at[next(iter(self._warned_at))]
            self._warned_at[key] = now
        log.log(logging.WARNING if is_news else logging.DEBUG, "refused what %s sent: %s", source, why)

    def note_error(self, error: BaseException, source: str, now: float) -> bool:
        """Count what ended a connection, if that was bad input and not the network; tell which."""
        bad = _kind_of(error)
        if bad is not None:
            self.note(bad, source, _words_of(error), now)
        return bad is not None


def leaves_of(errors: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Return the errors that came together, one by one."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves_of(error)
        else:
            yield error


def _kind_of(error: BaseException) -> Bad | None:
    match error:
        case UnknownKindError():
            return Bad.KIND
        case CutError():
            return Bad.CUT
        case ProtocolError():
            return Bad.FRAME
        case _:
            return Bad.HANDSHAKE if _is_tls(error) or _is_tls(error.__cause__) else None


def _is_tls(error: BaseException | None) -> bool:
    """Whether TLS found fault with the other side; one that only hangs up is none."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _words_of(error: BaseException) -> str:
    cause = error.__cause__ if _is_tls(error.__cause__) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not of this cluster: {cause}"
    return f"TLS failed: {cause}" if isinstance(cause, ssl.SSLError) else str(cause)
