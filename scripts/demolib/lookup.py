"""Asks a DNS server at any port for the addresses of a name: `python -m scripts.demolib.lookup IP:PORT NAME`.

A question as RFC 1035 has it, for the demo where no tool of the machine asks at another port than 53.
"""

import secrets
import socket
import struct
import sys

TIMEOUT = 5.0
_A, _IN = 1, 1


def ask(server: str, name: str) -> list[str]:
    """Return the IPv4 addresses of a name, none where it has none."""
    host, _, port = server.rpartition(":")
    number = secrets.randbelow(65536)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    question = labels + b"\0" + struct.pack(">HH", _A, _IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect((host, int(port)))
        sock.send(struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + question)
        reply = sock.recv(65535)
    return _addresses(reply, 12 + len(question))


def _addresses(reply: bytes, at: int) -> list[str]:
    found = []
    for _ in range(struct.unpack_from(">H", reply, 6)[0]):
        at = _after_name(reply, at)
        kind, _, _, size = struct.unpack_from(">HHIH", reply, at)
        if kind == _A:
            found.append(socket.inet_ntoa(reply[at + 10 : at + 14]))
        at += 10 + size
    return found


def _after_name(reply: bytes, at: int) -> int:
    while reply[at]:
        if reply[at] >= 0xC0:
            return at + 2
        at += 1 + reply[at]
    return at + 1


if __name__ == "__main__":
    addresses = ask(sys.argv[1], sys.argv[2])
    print("\n".join(addresses) if addresses else f"{sys.argv[2]}: no such name")
    sys.exit(not addresses)
