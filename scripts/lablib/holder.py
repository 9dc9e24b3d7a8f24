"""The first process of a host: keeps its namespaces open, names it, and reaps what nobody else waits for.

Run as PID 1 of a PID namespace by `unshare`; when it is killed the kernel ends everything in that namespace, which
is the host losing its power.  The last two arguments are the lab and the host; they are there to be found by.
"""

import os
import signal
import socket
import sys


def main() -> None:
    """Wait for children until killed."""
    socket.sethostname(sys.argv[-1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    main()
