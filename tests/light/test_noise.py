"""Whatever arrives at a node's ports, from whoever: it goes on, it grows little, and the cluster still answers."""

import random
import resource
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from scripts.lightlib.cluster import LightCluster, LightNode, eventually

STACKS = "/v1/projects/1a5/environments"
STRINGS = 10_000
MAX_GROWTH_KB = 20_000


@pytest.fixture(scope="module")
def node(cluster: LightCluster) -> LightNode:
    return cluster.nodes[0]


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


@contextmanager
def unimpressed(node: LightNode) -> Iterator[None]:
    """Check that the daemon is the same process afterwards, has grown little, answers, and takes a change."""
    # What it grows by in ordinary work is grown before.
    for _ in range(20):
        node.ask("GET", STACKS)
    before, pid = node.resident_kb(), node.pid
    yield
    assert node.is_running(), node.log()
    assert node.pid == pid
    name = f"after-{random.randrange(2**32):x}"
    assert eventually(lambda: node.ask("POST", STACKS, {"name": name}).status == 201, "a change is taken")
    assert node.resident_kb() - before < MAX_GROWTH_KB
    assert "Traceback" not in node.log()


def connect(node: LightNode, port: int, timeout: float = 30.0) -> socket.socket:
    return socket.create_connection((node.address, port), timeout=timeout)


def random_bytes(rng: random.Random) -> bytes:
    """Return noise, some of which begins as something a server knows."""
    starts = (
        b"",
        b"\x16\x03\x01",
        b"\x16\x03\x03\x02\x00\x01",
        b"GET / HTTP/1.1\r\n",
        struct.pack(">I", rng.randrange(2**32)),
    )
    return rng.choice(starts) + rng.randbytes(rng.choice((1, 8, 64, 512, 1400)))


def test_random_strings_at_the_peer_port_harm_nothing(node: LightNode, rng: random.Random) -> None:
    with unimpressed(node):
        for _ in range(STRINGS // 100):
            with ExitStack() as stack:
                streams = [stack.enter_context(connect(node, node.peer_port)) for _ in range(100)]
                for stream in streams:
                    with suppress(OSError):
                        stream.sendall(random_bytes(rng))


def test_random_frames_of_a_stranger_inside_tls_harm_nothing(node: LightNode, rng: random.Random) -> None:
    """A stranger speaks TLS as a joining host does; what it says inside is noise, whole frames of noise among it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.VerifyMode(0)
    with unimpressed(node):
        for _ in range(200):
            with context.wrap_socket(connect(node, node.peer_port)) as stream, suppress(OSError):
                for _ in range(10):
                    payload = rng.randbytes(rng.choice((0, 10, 1000)))
                    head = struct.pack(">IBI", len(payload) + 5, rng.randrange(20), rng.randrange(2**32))
                    stream.sendall(rng.choice((b"", head)) + payload)


def test_random_datagrams_at_the_gossip_port_harm_nothing(node: LightNode, rng: random.Random) -> None:
    with unimpressed(node), socket.socket(type=socket.SOCK_DGRAM) as sock:
        for number in range(STRINGS):
            sock.sendto(random_bytes(rng), (node.address, node.peer_port))
            if number % 100 == 99:
                time.sleep(0.005)  # So that they are read and not dropped by the kernel.


def test_random_datagrams_and_streams_at_the_dns_port_harm_nothing(node: LightNode, rng: random.Random) -> None:
    with unimpressed(node), socket.socket(type=socket.SOCK_DGRAM) as sock:
        for number in range(STRINGS):
            sock.sendto(rng.randbytes(12) + random_bytes(rng), (node.address, node.dns_port))
            if number % 100 == 99:
                time.sleep(0.005)
        for _ in range(200):
            with connect(node, node.dns_port) as stream, suppress(OSError):
                stream.sendall(random_bytes(rng))
        assert eventually(lambda: answers_dns(node), "names are answered")


def answers_dns(node: LightNode) -> bool:
    question = (
        b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x04none\x06rancher\x08internal\x00\x00\x01\x00\x01"
    )
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(question, (node.address, node.dns_port))
        # Behind the noise: what did not fit into the server's queue was dropped, and is asked again.
        with suppress(TimeoutError):
            return sock.recv(512)[:2] == b"\x01\x02"
    return False


@pytest.fixture(autouse=True)
def many_files() -> None:
    """Let this process hold a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


def test_thousand_connections_to_the_peer_port_that_do_not_go_on_harm_nothing(node: LightNode) -> None:
    with unimpressed(node), ExitStack() as stack:
        streams = [stack.enter_context(connect(node, node.peer_port)) for _ in range(1000)]
        for stream in streams[::2]:
            with suppress(OSError):
                stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert node.ask("GET", STACKS).status == 200
        assert node.ask("POST", STACKS, {"name": f"while-{time.monotonic_ns()}"}).status == 201
        # They are cut off, not kept: nobody holds a place by being silent.
        for stream in (*streams[:2], streams[-1]):
            stream.settimeout(60)
            with suppress(ConnectionResetError):
                assert stream.recv(1) == b""


@pytest.mark.parametrize("port", ["api_port", "peer_port"])
def test_bytes_that_drip_and_connections_cut_half_way_harm_nothing(node: LightNode, port: str) -> None:
    said = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if port == "peer_port" else b"GET /v1 HTTP/1.1\r\nHost"
    with unimpressed(node), ExitStack() as stack:
        dripping = [stack.enter_context(connect(node, getattr(node, port))) for _ in range(50)]
        for position in range(len(said)):
            for stream in dripping:
                with suppress(OSError):
                    stream.send(said[position : position + 1])
            time.sleep(0.02)
        for stream in dripping[:25]:
            # Closed with a reset instead of a goodbye.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
        for stream in dripping[25:]:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_WR)


def test_thousand_connections_to_the_api_leave_room_for_the_next(node: LightNode) -> None:
    with unimpressed(node), ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connect(node, node.api_port))
        assert node.ask("GET", STACKS).status == 200
