"""TLS over one TCP connection, where what is written leaves at once if the kernel takes it, without a wait or a task.

trio's own TLS stream may only be written to by a task, and each read or write of it costs several rounds of the loop.
Decides nothing about what is sent; one reader and one writer at a time.
"""

import os
import ssl

import trio

READ_BYTES = 65536
CHUNK_BYTES = 16384
"""A TLS record holds no more."""


class Channel:
    """One side of a connection; `do_handshake` first.  A failure of the network or of TLS is a BrokenResourceError."""

    def __init__(
        self,
        tcp: trio.SocketStream,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        self._tcp = tcp
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._unsent = b""
        """Encrypted, and not taken by the kernel yet."""

    @property
    def is_clear(self) -> bool:
        """Whether the kernel has taken all that was written."""
        return not self._unsent

    async def do_handshake(self) -> None:
        """Return once TLS is up; what a server says last leaves with the first that it writes."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send_handshake()
                await self._fill()
            except (ssl.SSLError, ssl.CertificateError) as error:
                raise trio.BrokenResourceError from error
            else:
                if not self._tls.server_side:
                    await self._send_handshake()
                return

    def certificate(self) -> bytes | None:
        """Return the other side's certificate, in DER, if it has shown one."""
        return self._tls.getpeercert(binary_form=True)

    async def receive(self) -> bytes:
        """Return what has come next, b"" at the end of it."""
        while True:
            try:
                return self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error

    def write(self, data: bytes) -> bool:
        """Encrypt and send; return whether the kernel took all of it: the rest is left to `flush`."""
        try:
            for start in range(0, len(data), CHUNK_BYTES):
                self._tls.write(data[start : start + CHUNK_BYTES])
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        self._unsent += self._outgoing.read()
        self._send()
        return self.is_clear

    async def flush(self) -> None:
        """Wait until the kernel has taken all that was written."""
        while self._unsent:
            await trio.lowlevel.wait_writable(self._tcp.socket)
            self._send()

    async def send_all(self, data: bytes) -> None:
        self.write(data)
        await self.flush()

    async def close(self) -> None:
        """Close the connection without a farewell."""
        await trio.aclose_forcefully(self._tcp)

    async def _send_handshake(self) -> None:
        self._unsent += self._outgoing.read()
        self._send()
        await self.flush()

    def _send(self) -> None:
        """Give the kernel what it takes.  A closed socket has the descriptor -1, which is an error as well."""
        try:
            while self._unsent:
                sent = os.write(self._tcp.socket.fileno(), self._unsent)
                self._unsent = self._unsent[sent:]
        except BlockingIOError:
            return
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def _fill(self) -> None:
        """Wait for bytes from the other side, always: who is flooded has to let others have their turn."""
        await trio.lowlevel.wait_readable(self._tcp.socket)
        try:
            data = os.read(self._tcp.socket.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise trio.BrokenResourceError from error
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
