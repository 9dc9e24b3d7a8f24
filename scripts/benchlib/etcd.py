"""etcd beside us: three members on loopback with TLS everywhere, and puts over gRPC spoken by hand.

gRPC is HTTP/2 with a five-byte prefix before each protobuf message.  A put needs so little of it that a few lines
suffice, which cost the client less than a gRPC library would, so that the figure is etcd's.  Only what a put needs is
here: headers are sent without compression and those received are not read, since a put that failed ends without data.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

from scripts.lightlib.cluster import eventually, free_port

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
FIRST_WINDOW, LARGEST_WINDOW = 65535, 2**31 - 1
KEYS = 1000


class EtcdError(Exception):
    """etcd did not come up, or answered with something else than a put's reply."""


class Etcd:
    """Three members in a folder; a context manager that ends them."""

    def __init__(self, folder: Path, network: str = "127.0.7") -> None:
        self._folder = folder
        self._network = network
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports: list[tuple[str, int, int, int]] = []

    def __enter__(self) -> "Etcd":
        for number in (1, 2, 3):
            address = f"{self._network}.{number}"
            peer, grpc, plain = (free_port(address) for _ in range(3))
            self._ports.append((address, peer, grpc, plain))
        for number, ports in enumerate(self._ports, 1):
            self._start(f"e{number}", *ports)
        eventually(lambda: all(self._healthy(place) for place in range(3)), "etcd's members are healthy")
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _start(self, name: str, address: str, peer: int, grpc: int, plain: int) -> None:
        members = ",".join(f"e{n}=https://{a}:{p}" for n, (a, p, _, _) in enumerate(self._ports, 1))
        clients = f"https://{address}:{grpc},http://{address}:{plain}"
        words = ["etcd", "--name", name, "--data-dir", str(self._folder / name), "--initial-cluster", members]
        words += ["--initial-cluster-state", "new", "--peer-auto-tls", "--auto-tls", "--logger", "zap"]
        words += ["--listen-peer-urls", f"https://{address}:{peer}"]
        words += ["--initial-advertise-peer-urls", f"https://{address}:{peer}"]
        words += ["--listen-client-urls", clients, "--advertise-client-urls", clients]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables)
            )

    def _ask(self, place: int, method: str, path: str, body: object = None) -> dict[str, object]:
        address, _, _, plain = self._ports[place]
        connection = http.client.HTTPConnection(address, plain, timeout=5)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def _healthy(self, place: int) -> bool:
        if self._processes[place].poll() is not None:
            raise EtcdError((self._folder / f"e{place + 1}.log").read_text()[-2000:])
        with suppress(OSError, ValueError):
            return self._ask(place, "GET", "/health").get("health") == "true"
        return False

    def leader(self) -> int:
        """Return which member leads."""

        def look() -> list[int] | None:
            for place in range(3):
                status = self._ask(place, "POST", "/v3/maintenance/status", {})
                header = status["header"]
                assert isinstance(header, dict)
                if status.get("leader") == header["member_id"]:
                    return [place]
            return None

        return eventually(look, "etcd has a leader")[0]

    def follower_url(self) -> str:
        """Return where the HTTP gateway of a member that does not lead is."""
        leader = self.leader()
        address, _, _, plain = next(ports for place, ports in enumerate(self._ports) if place != leader)
        return f"http://{address}:{plain}"

    def put_through_gateway(self, key: str, value: str) -> None:
        """Put one value; both are base64, as the gateway has them."""
        self._ask(self.leader(), "POST", "/v3/kv/put", {"key": key, "value": value})

    def connect(self, size: int) -> "tuple[PutTalk, socket.socket]":
        """Open a gRPC connection to the leader."""
        address, _, grpc, _ = self._ports[self.leader()]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(socket.create_connection((address, grpc)), server_hostname="localhost")
        return PutTalk(f"{address}:{grpc}", size), sock

    def connect_gateway(self, size: int) -> "tuple[GatewayTalk, socket.socket]":
        """Open a connection to the leader's HTTP gateway."""
        address, _, _, plain = self._ports[self.leader()]
        return GatewayTalk(f"{address}:{plain}", size), socket.create_connection((address, plain))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _field(number: int, value: bytes) -> bytes:
    """A bytes field of protobuf."""
    length = len(value)
    size = bytes((length,)) if length < 128 else bytes((length & 0x7F | 0x80, length >> 7))
    return bytes((number << 3 | 2,)) + size + value


def _plain(name: bytes, value: bytes) -> bytes:
    """A header that no table remembers; `name` is an index of the static table or the name itself."""
    return name + bytes((len(value),)) + value


class PutTalk:
    """Puts on one HTTP/2 connection, as many at once as wanted."""

    def __init__(self, authority: str, size: int) -> None:
        self._stream = 1
        self._window = FIRST_WINDOW
        self._pending = b""
        self._answered: set[int] = set()
        self._headers = b"".join(
            (
                b"\x83\x87",  # :method POST, :scheme https
                _plain(b"\x04", b"/etcdserverpb.KV/Put"),
                _plain(b"\x01", authority.encode()),
                _plain(b"\x0f\x10", b"application/grpc"),
                _plain(b"\x00" + _plain(b"", b"te"), b"trailers"),
            )
        )
        self._value = os.urandom(size - 13)

    def opening(self) -> bytes:
        room = (LARGEST_WINDOW - FIRST_WINDOW).to_bytes(4, "big")
        return PREFACE + _frame(SETTINGS, 0, 0, b"") + _frame(WINDOW_UPDATE, 0, 0, room)

    def ask(self) -> tuple[int, bytes] | None:
        message = _field(1, b"%08d" % (self._stream // 2 % KEYS)) + _field(2, self._value)
        body = b"\x00" + len(message).to_bytes(4, "big") + message
        if len(body) > self._window:
            return None
        self._window -= len(body)
        number, self._stream = self._stream, self._stream + 2
        headers = _frame(HEADERS, END_HEADERS, number, self._headers)
        return number, headers + _frame(DATA, END_STREAM, number, body)

    def hear(self, data: bytes) -> tuple[list[int], bytes]:
        data = self._pending + data
        start, end, done, owed = 0, len(data), [], b""
        while end - start >= 9:
            stop = start + 9 + int.from_bytes(data[start : start + 3], "big")
            if stop > end:
                break
            kind, flags = data[start + 3], data[start + 4]
            stream = int.from_bytes(data[start + 5 : start + 9], "big")
            if kind == DATA:
                self._answered.add(stream)
            elif kind == HEADERS and flags & END_STREAM:
                if stream not in self._answered:
                    raise EtcdError(f"a put failed: {data[start:stop]!r}")
                self._answered.discard(stream)
                done.append(stream)
            elif kind in (RST_STREAM, GOAWAY):
                raise EtcdError(f"etcd ended a conversation: {data[start:stop]!r}")
            elif kind == WINDOW_UPDATE and not stream:
                self._window += int.from_bytes(data[start + 9 : stop], "big")
            elif kind in (SETTINGS, PING) and not flags & ACK:
                owed += _frame(kind, ACK, 0, data[start + 9 : stop] if kind == PING else b"")
            start = stop
        self._pending = data[start:]
        return done, owed


class GatewayTalk:
    """Puts through the HTTP gateway, one at a time on a connection, as HTTP/1.1 has it."""

    def __init__(self, authority: str, size: int) -> None:
        self._head = f"POST /v3/kv/put HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n".encode()
        self._value = base64.b64encode(os.urandom(size * 3 // 4)).decode()
        self._number = 0
        self._reader = ResponseReader(200)

    def opening(self) -> bytes:
        return b""

    def ask(self) -> tuple[int, bytes] | None:
        self._number += 1
        key = base64.b64encode(b"%08d" % (self._number % KEYS)).decode()
        body = json.dumps({"key": key, "value": self._value}).encode()
        return self._number, self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def hear(self, data: bytes) -> tuple[list[int], bytes]:
        return [self._number] * self._reader.feed(data), b""


class ResponseReader:
    """Counts HTTP/1.1 responses whose length is given, all of which are to have one status."""

    def __init__(self, status: int) -> None:
        self._status = b" %d " % status
        self._data = b""

    def feed(self, data: bytes) -> int:
        """Return how many responses `data` completes."""
        self._data += data
        count = 0
        while (head := self._data.find(b"\r\n\r\n")) >= 0:
            fields = self._data[:head].lower()
            place = fields.find(b"content-length:")
            if self._status not in fields.split(b"\r\n", 1)[0] + b" " or place < 0:
                raise EtcdError(f"expected a response of status{self._status.decode()}, got {self._data[:500]!r}")
            end = head + 4 + int(fields[place + 15 :].split(b"\r\n", 1)[0])
            if len(self._data) < end:
                break
            self._data = self._data[end:]
            count += 1
        return count
