"""WireGuard devices: reads, changes, starts and ends the kernel's (generic netlink) and wireguard-go's (its socket).

wireguard-go puts itself into the background in a session of its own, holds the link as long as it lives and is found
again by its socket: it outlives whoever started it.  It ends when its link is removed.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyroute2 import NetlinkError, WireGuard as KernelWireGuard

from node.overlay.uapi import GET, parse_device, parse_errno, render_set
from node.plan.overlay_model import WireGuard, WireGuardPeer
from node.plan.overlay_steps import ConfigureWireGuard, PeerChange

SOCKETS = Path("/var/run/wireguard")
"""Built into wireguard-go."""

ANSWER_TIMEOUT = 5.0
START_TIMEOUT = 10.0
END_TIMEOUT = 2.0
DISCARD_PORT = 9


class WireGuardError(Exception):
    """A device that could not be read, changed or started; the message says what to do."""


# The kernel's.


def read_kernel(link: str) -> WireGuard | None:
    """Return the kernel's device; None where it has none of that name."""
    try:
        with KernelWireGuard() as netlink:
            return parse_kernel(netlink.info(link))
    except NetlinkError:
        return None


def configure_kernel(step: ConfigureWireGuard) -> None:
    """Change the kernel's device, one message per peer."""
    with KernelWireGuard() as netlink:
        if step.private_key is not None or step.listen_port is not None:
            key = b64encode(step.private_key).decode() if step.private_key is not None else None
            netlink.set(step.link, listen_port=step.listen_port, private_key=key)
        for change in step.peers:
            netlink.set(step.link, peer=kernel_peer(change))


def kernel_peer(change: PeerChange) -> dict[str, Any]:
    """Return a peer's change in the form that pyroute2 takes."""
    peer: dict[str, Any] = {"public_key": b64encode(change.public_key).decode()}
    if change.remove:
        return {**peer, "remove": True}
    if change.endpoint is not None:
        peer |= {"endpoint_addr": change.endpoint[0], "endpoint_port": change.endpoint[1]}
    if change.keepalive is not None:
        peer["persistent_keepalive"] = change.keepalive
    if change.allowed is not None:
        peer |= {"replace_allowed_ips": True, "allowed_ips": list(change.allowed)}
    return peer


def parse_kernel(messages: Iterable[Any]) -> WireGuard:
    """Return the device that a dump describes; a peer's ranges may go on in the next message."""
    private_key, listen_port = b"", 0
    peers: dict[bytes, WireGuardPeer] = {}
    for message in messages:
        if key := message.get_attr("WGDEVICE_A_PRIVATE_KEY"):
            private_key = b64decode(key["value"] if isinstance(key, dict) else key)
        listen_port = message.get_attr("WGDEVICE_A_LISTEN_PORT") or listen_port
        for part in message.get_attr("WGDEVICE_A_PEERS") or ():
            peer = _parse_kernel_peer(part)
            before = peers.get(peer.public_key)
            peers[peer.public_key] = _joined(before, peer) if before else peer
    return WireGuard(private_key, listen_port, tuple(peers.values()))


def _parse_kernel_peer(part: Any) -> WireGuardPeer:
    endpoint = part.get_attr("WGPEER_A_ENDPOINT")
    handshake = part.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    key = part.get_attr("WGPEER_A_PUBLIC_KEY")
    return WireGuardPeer(
        public_key=b64decode(key["value"] if isinstance(key, dict) else key),
        endpoint=(endpoint["addr"], endpoint["port"]) if endpoint else None,
        allowed=frozenset(allowed["addr"] for allowed in part.get_attr("WGPEER_A_ALLOWEDIPS") or ()),
        keepalive=part.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        handshake_at=float(handshake["tv_sec"]) if handshake else 0.0,
        rx_bytes=part.get_attr("WGPEER_A_RX_BYTES") or 0,
        tx_bytes=part.get_attr("WGPEER_A_TX_BYTES") or 0,
    )


def _joined(first: WireGuardPeer, rest: WireGuardPeer) -> WireGuardPeer:
    return WireGuardPeer(
        first.public_key,
        first.endpoint,
        first.allowed | rest.allowed,
        first.keepalive,
        first.handshake_at,
        first.rx_bytes,
        first.tx_bytes,
    )


# wireguard-go's.


def read_process(link: str) -> WireGuard | None:
    """Return wireguard-go's device; None where nobody answers."""
    try:
        return parse_device(_ask(link, GET))
    except (OSError, ValueError):
        return None


def configure_process(step: ConfigureWireGuard) -> None:
    """Change wireguard-go's device."""
    if code := parse_errno(_ask(step.link, render_set(step))):
        raise WireGuardError(f"wireguard-go refused the change of {step.link}: {os.strerror(abs(code))}")


def start_process(link: str, program: str) -> None:
    """Start wireguard-go; its link and socket are there on return."""
    if shutil.which(program) is None:
        raise WireGuardError(
            f"this kernel has no WireGuard and {program} is not there: install the package wireguard-go"
        )
    if read_process(link) is not None:
        raise WireGuardError(f"{SOCKETS}/{link}.sock is another network namespace's: give each a /run of its own")
    (SOCKETS / f"{link}.sock").unlink(missing_ok=True)
    SOCKETS.mkdir(mode=0o755, parents=True, exist_ok=True)
    # It sets the device up, hands it to a copy of itself and exits: no child of ours stays to be waited for.
    code = subprocess.run(
        [program, link],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "silent"},
        start_new_session=True,
        timeout=START_TIMEOUT,
        check=False,
    ).returncode
    if code:
        raise WireGuardError(
            f"{program} {link} exited with {code}: is /dev/net/tun there? `LOG_LEVEL=debug {program} -f {link}` tells"
        )
    # The copy sets the link's MTU once more before it answers: whoever changes the link waits for that.
    _ask(link, GET)


def nudge(addresses: Iterable[str]) -> None:
    """Send each host a datagram for its discard port through the tunnel.

    Peers learn a host's new endpoint from its packets: with one at once, none of them waits for the next keepalive.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for address in addresses:
            with suppress(OSError):
                sender.sendto(b"", (address, DISCARD_PORT))


def end_process(link: str) -> None:
    """See the process of a removed link off, by force if it lingers, and its socket."""
    give_up_at = time.monotonic() + END_TIMEOUT
    while pids := list(_find_processes(link)):
        if time.monotonic() > give_up_at:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    (SOCKETS / f"{link}.sock").unlink(missing_ok=True)


def list_sockets(links: Collection[str]) -> tuple[str, ...]:
    """Return the overlay's devices that have, or left, a socket; `links` are the links of this network namespace."""
    names = sorted(path.name.removesuffix(".sock") for path in SOCKETS.glob("corral*.sock"))
    return tuple(name for name in names if name in links or not _is_elsewhere(name))


def _is_elsewhere(link: str) -> bool:
    return read_process(link) is not None and not list(_find_processes(link))


def _find_processes(link: str) -> Iterator[int]:
    """Find wireguard-go for `link` in this network namespace; another namespace may have a link of the same name."""
    here = os.stat("/proc/self/ns/net").st_ino
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            is_ours = words[1:2] == [link.encode()] and os.path.basename(words[0]) == b"wireguard-go"
            if is_ours and os.stat(entry / "ns/net").st_ino == here:
                yield int(entry.name)
        except OSError:
            continue  # It ended meanwhile.


def _ask(link: str, request: bytes) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT)
        connection.connect(str(SOCKETS / f"{link}.sock"))
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"\n\n"):
            part = connection.recv(65536)
            if not part:
                break
            answer += part
    return answer.decode()
