"""WireGuard's cross-platform text protocol: renders what changes and parses what a device says; opens no socket.

The format is that of wireguard.com/xplatform: `key=value` lines, keys in hex, an empty line at the end.
"""

from node.plan.overlay_model import WireGuard, WireGuardPeer
from node.plan.overlay_steps import ConfigureWireGuard, PeerChange

GET = b"get=1\n\n"


def render_set(step: ConfigureWireGuard) -> bytes:
    """Return the request for `step`; it names only the peers that change, so that the others keep their sessions."""
    lines = ["set=1"]
    if step.private_key is not None:
        lines.append(f"private_key={step.private_key.hex()}")
    if step.listen_port is not None:
        lines.append(f"listen_port={step.listen_port}")
    for change in step.peers:
        lines += _render_peer(change)
    return ("\n".join(lines) + "\n\n").encode()


def _render_peer(change: PeerChange) -> list[str]:
    lines = [f"public_key={change.public_key.hex()}"]
    if change.remove:
        return [*lines, "remove=true"]
    if change.endpoint is not None:
        lines.append(f"endpoint={change.endpoint[0]}:{change.endpoint[1]}")
    if change.keepalive is not None:
        lines.append(f"persistent_keepalive_interval={change.keepalive}")
    if change.allowed is not None:
        lines += ["replace_allowed_ips=true", *(f"allowed_ip={subnet}" for subnet in change.allowed)]
    return lines


def parse_errno(answer: str) -> int:
    """Return the error number that ends an answer; 0 is success."""
    for line in answer.splitlines():
        if line.startswith("errno="):
            return int(line.removeprefix("errno="))
    raise ValueError(f"expected errno= at the end of WireGuard's answer, got {answer[-40:]!r}")


def parse_device(answer: str) -> WireGuard:
    """Return the device that a `get` describes; keys that are not known here are skipped."""
    device: dict[str, str] = {}
    peers: list[tuple[dict[str, str], set[str]]] = []
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        if key == "public_key":
            peers.append(({key: value}, set()))
        elif key == "allowed_ip" and peers:
            peers[-1][1].add(value)
        elif key:
            (peers[-1][0] if peers else device)[key] = value
    return WireGuard(
        bytes.fromhex(device.get("private_key", "")),
        int(device.get("listen_port", "0")),
        tuple(_parse_peer(fields, allowed) for fields, allowed in peers),
    )


def _parse_peer(fields: dict[str, str], allowed: set[str]) -> WireGuardPeer:
    address, _, port = fields.get("endpoint", "").rpartition(":")
    return WireGuardPeer(
        public_key=bytes.fromhex(fields["public_key"]),
        endpoint=(address.strip("[]"), int(port)) if address else None,
        allowed=frozenset(allowed),
        keepalive=int(fields.get("persistent_keepalive_interval", "0")),
        handshake_at=float(fields.get("last_handshake_time_sec", "0")),
        rx_bytes=int(fields.get("rx_bytes", "0")),
        tx_bytes=int(fields.get("tx_bytes", "0")),
    )
