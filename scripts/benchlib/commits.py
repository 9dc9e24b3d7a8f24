"""Commits of ours over the peer link: a cluster of three daemons, and a client that shows a host's certificate."""

import json
import os
import socket
import ssl
from pathlib import Path
from random import Random

import msgspec

from node.commands import CreateStack, UpdateStack, encode_command
from node.drive.credentials import Credentials, server_name
from node.drive.proposals import decode_result
from node.model import Done
from node.store.identity import Identity
from protocol.messages import Kind, Submit, decode_execute_reply, encode
from protocol.wire import Frame, FrameReader, encode_frame
from scripts.benchlib.etcd import ResponseReader
from scripts.benchlib.load import LoadError
from scripts.lightlib.cluster import LightCluster, LightNode

STACKS = 100
ENVIRONMENT = 5
MAX_NUMBER = 2**32


def identity_of(node: LightNode) -> Identity:
    """Return who a host is, as its own folder says."""
    content = (node.data / "identity").read_bytes().partition(b"\n")[2]
    return msgspec.json.decode(content, type=Identity)


class Commits:
    """A client of one cluster's leader that shows the certificate of another host, as every host may."""

    def __init__(self, cluster: LightCluster) -> None:
        self.leader = cluster.leader()
        other = next(node for node in cluster.nodes if node is not self.leader)
        self._target = identity_of(self.leader)
        self._context = Credentials(key_and_certificate=other.data / "node.pem", ca_pem=self._target.ca_pem).client
        self._rng = Random(os.urandom(16))

    def open(self) -> ssl.SSLSocket:
        """Open a connection to the leader's peer port."""
        sock = socket.create_connection((self.leader.address, self.leader.peer_port))
        return self._context.wrap_socket(sock, server_hostname=server_name(self._target.node))

    def make_stacks(self) -> list[int]:
        """Make the stacks whose descriptions are written."""
        ids = []
        with self.open() as sock:
            reader = FrameReader()
            for number in range(STACKS):
                command = CreateStack(uuid=f"bench-{number}", environment_id=ENVIRONMENT, name=f"bench{number}")
                submit = Submit(f"{self._rng.getrandbits(128):032x}", encode_command(command))
                sock.sendall(encode_frame(Frame(Kind.EXECUTE, number + 1, encode(submit))))
                frames: list[Frame] = []
                while not frames:
                    frames = reader.feed(sock.recv(65536))
                ids.append(_done(frames[0]).id)
        return ids

    def connect(self, stacks: list[int], size: int) -> "tuple[CommitTalk, socket.socket]":
        """Open a connection on which descriptions are written."""
        return CommitTalk(stacks, size, self._rng), self.open()

    def connect_api(self) -> "tuple[StackTalk, socket.socket]":
        """Open a connection to the leader's API, on which stacks are made."""
        authority = f"{self.leader.address}:{self.leader.api_port}"
        sock = socket.create_connection((self.leader.address, self.leader.api_port))
        return StackTalk(authority, self._rng), sock


def _done(frame: Frame) -> Done:
    if frame.kind != Kind.REPLY:
        raise LoadError(frame.payload.decode("utf-8", "replace"))
    reply = decode_execute_reply(frame.payload)
    if reply.result is None:
        raise LoadError(reply.detail)
    result = decode_result(reply.result)
    if not isinstance(result, Done):
        raise LoadError(result.message)
    return result


class CommitTalk:
    """New descriptions of stacks, as many at once as wanted."""

    def __init__(self, stacks: list[int], size: int, rng: Random) -> None:
        self._stacks = stacks
        self._rng = rng
        self._number = 0
        self._reader = FrameReader()
        bare = len(encode(Submit("f" * 32, encode_command(UpdateStack(id=STACKS, description="x" * 100)))))
        self._text = "x" * (size - bare + 100 - 8)

    def opening(self) -> bytes:
        return b""

    def ask(self) -> tuple[int, bytes] | None:
        self._number += 1
        command = UpdateStack(
            id=self._stacks[self._number % len(self._stacks)], description=f"{self._number:08d}{self._text}"
        )
        submit = Submit(f"{self._rng.getrandbits(128):032x}", encode_command(command))
        return self._number, encode_frame(Frame(Kind.EXECUTE, self._number, encode(submit)))

    def hear(self, data: bytes) -> tuple[list[int], bytes]:
        frames = self._reader.feed(data)
        for frame in frames:
            _done(frame)
        return [frame.number for frame in frames], b""


class StackTalk:
    """New stacks through the HTTP API, one at a time on a connection."""

    def __init__(self, authority: str, rng: Random) -> None:
        path = f"/v1/projects/1a{ENVIRONMENT}/environments"
        self._head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n".encode()
        self._rng = rng
        self._number = 0
        self._reader = ResponseReader(201)

    def opening(self) -> bytes:
        return b""

    def ask(self) -> tuple[int, bytes] | None:
        self._number += 1
        body = json.dumps({"name": f"s{self._rng.getrandbits(64):x}", "description": "x" * 180}).encode()
        return self._number, self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def hear(self, data: bytes) -> tuple[list[int], bytes]:
        return [self._number] * self._reader.feed(data), b""


def file_system(path: Path) -> str:
    """Return the type of the file system that `path` is on, as /proc/mounts names it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    fitting = [(len(point), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(fitting)[1]
