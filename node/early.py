"""What a signal does while the daemon's code is still being read: it ends the process in words, not in a traceback.

Imports nothing that takes time: it comes before everything else.  Once the daemon runs, it listens for itself.
"""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
ENDING = (signal.SIGTERM, signal.SIGINT)


def hold_signals() -> None:
    """Keep signals back until the program that this process becomes calls `catch_signals`; the mask outlives exec."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)


def catch_signals() -> None:
    """End on SIGTERM with 0 and on SIGINT with 130, until something else is said."""
    for number in ENDING:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def _end(number: int, frame: FrameType | None) -> None:
    sys.stderr.write("stopped before the node ran; this host is a member: `node start` starts it\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED if number == signal.SIGINT else 0)
