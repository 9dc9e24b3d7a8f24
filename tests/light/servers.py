"""Servers that are not Corral, or pretend to be: each on a port of its own, remembering what it was told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True)
class Listener:
    """What listens somewhere."""

    address: str
    port: int
    heard: bytearray = field(default_factory=bytearray)

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"


@contextmanager
def answering(answer: bytes, address: str = "127.0.4.200") -> Iterator[Listener]:
    """Run a server that says `answer` to whoever connects and sends something, and hangs up."""
    with socket.create_server((address, 0)) as sock:
        listener = Listener(address, sock.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(sock, answer, listener.heard), daemon=True)
        thread.start()
        try:
            yield listener
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _serve(sock: socket.socket, answer: bytes, heard: bytearray) -> None:
    while True:
        try:
            stream, _ = sock.accept()
        except OSError:
            return
        with stream, suppress(OSError):
            stream.settimeout(10)
            heard += stream.recv(65536)
            stream.sendall(answer)


def http(body: bytes, *, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Return an HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body
