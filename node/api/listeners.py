"""The sockets an API server listens on: TCP addresses and the root-only unix socket.

A socket file is made with mode 0600 from its first moment, replaces only another socket, and goes with its listener.
"""

import os
import socket
import stat
from pathlib import Path

import trio

BACKLOG = 1024


class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A listening unix socket that removes its file when it closes."""

    def __init__(self, path: Path, listener: trio.SocketListener) -> None:
        self.path = path
        self._listener = listener
        self._inode = path.stat().st_ino

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        # A daemon started in the meantime owns the path by now: its file has another inode and stays.
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass
        await self._listener.aclose()


def open_unix_listener(path: Path) -> UnixListener:
    """Listen on `path`; OSError if something that is not a socket is there."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} exists and is not a socket: move it away or choose another path")
        path.unlink()
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The mode must be right before anybody can connect, so it comes from the umask and not from a later chmod.
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return UnixListener(path, trio.SocketListener(trio.socket.from_stdlib_socket(sock)))
    except BaseException:
        sock.close()
        raise


async def open_tcp_listeners(host: str | None, port: int) -> list[trio.SocketListener]:
    """Listen on every address of `host` (None: all); port 0 takes a free one."""
    return await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
