"""Ports for tests on loopback: free for datagrams and streams alike, and out of the kernel's own way.

The kernel draws ports for outgoing connections from 32768 on; one of those may be taken at any moment by another test.
"""

import socket
from random import SystemRandom

LOWEST, HIGHEST = 20_000, 32_000
ATTEMPTS = 100


def free_port(address: str = "127.0.0.1") -> int:
    """Return a port that nobody holds at `address`, neither by UDP nor by TCP."""
    rng = SystemRandom()
    for _ in range(ATTEMPTS):
        port = rng.randrange(LOWEST, HIGHEST)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.bind((address, port))
        except OSError:
            continue
        return port
    raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST} at {address}")
