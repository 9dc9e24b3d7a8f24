"""Makes and takes packets inside a namespace: `python -m tests.live.overlay_traffic ping|forge|serve|fetch …`.

Plain sockets, since neither ping nor netcat is on every machine.
"""

import json
import os
import socket
import struct
import sys
import time

UNREACHABLE = 3


def checksum(text: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    text += b"\0" * (len(text) % 2)
    total: int = sum(struct.unpack(f"!{len(text) // 2}H", text))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(number: int, size: int = 16) -> bytes:
    """Return an ICMP echo request that carries this process's id."""
    head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, number)
    body = b"x" * size
    return struct.pack("!BBHHH", 8, 0, checksum(head + body), os.getpid() & 0xFFFF, number) + body


def ping(address: str, count: int) -> dict[str, list[int]]:
    """Return the TTL of each answer, and the error of each refusal (errno, or 1000 + the ICMP code)."""
    ttls: list[int] = []
    errors: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        for number in range(count):
            try:
                raw.sendto(echo_request(number), (address, 0))
            except OSError as error:
                errors.append(error.errno or -1)
                continue
            take_answer(raw, address, number, ttls, errors)
    return {"ttls": ttls, "errors": errors}


def take_answer(raw: socket.socket, address: str, number: int, ttls: list[int], errors: list[int]) -> None:
    """Wait a second for what answers the request."""
    give_up_at = time.monotonic() + 1.0
    while (left := give_up_at - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            packet, sender = raw.recvfrom(2048)
        except TimeoutError:
            return
        kind, code, _, echo_id, echo_number = struct.unpack("!BBHHH", packet[20:28])
        if kind == 0 and sender[0] == address and (echo_id, echo_number) == (os.getpid() & 0xFFFF, number):
            ttls.append(packet[8])
            return
        if kind == UNREACHABLE:
            errors.append(1000 + code)
            return


def forge(source: str, target: str, via: str) -> None:
    """Send one echo request with another source out of link `via`; the kernel fills in length and checksum."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 1, 0, 64, 1, 0, socket.inet_aton(source), socket.inet_aton(target))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, via.encode())
        raw.sendto(head + echo_request(1), (target, 0))


def serve(address: str, port: int) -> None:
    """Answer one connection with what it sent, and where it came from."""
    with socket.create_server((address, port)) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        connection, peer = listener.accept()
        with connection:
            total = 0
            while part := connection.recv(65536):
                total += len(part)
            connection.sendall(f"{peer[0]} {total}".encode())


def fetch(address: str, port: int, size: int) -> str:
    """Send `size` bytes and return the answer."""
    with socket.create_connection((address, port), timeout=10) as connection:
        connection.sendall(b"x" * size)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode()


def main(command: str, *words: str) -> None:
    """Run one command and print its outcome as JSON."""
    outcome: object = None
    match command:
        case "ping":
            outcome = ping(words[0], int(words[1]))
        case "forge":
            forge(*words)
        case "serve":
            serve(words[0], int(words[1]))
        case "fetch":
            outcome = fetch(words[0], int(words[1]), int(words[2]))
    sys.stdout.write(json.dumps(outcome))


if __name__ == "__main__":
    main(*sys.argv[1:])
