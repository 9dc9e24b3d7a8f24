"""A host that joins checks the ports where its daemon is going to listen, and answers probes where it is asked."""

import socket
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from node.config import Folders
from node.engine.memory import MemoryEngine
from node.joining import Joining, _look_around, probe_address
from protocol.ids import new_node_id
from tests.protocol.test_join import INFO, KERNEL

JOINING = Joining(
    name="h2",
    address="127.0.0.1",
    underlay_mtu=1500,
    addresses=("127.0.0.1",),
    api_port=0,
    peer_port=0,
    overlay_port=None,
    labels={},
    kernel=KERNEL,
    range_in_use=lambda network: (),
    has_overlay=False,
)


@pytest.mark.parametrize(
    ("bind", "address", "answers_at"),
    [
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "203.0.113.7", "0.0.0.0"),
        ("127.0.0.1", "203.0.113.7", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.1", "127.0.0.2"),
    ],
)
def test_probes_are_answered_from_the_address_asked_where_the_daemon_will_be(
    bind: str, address: str, answers_at: str
) -> None:
    assert probe_address(replace(JOINING, bind=bind, address=address)) == answers_at


@pytest.mark.parametrize(("bind", "is_free"), [("0.0.0.0", False), ("127.0.0.1", True), ("127.0.0.2", False)])
async def test_port_held_on_another_address_counts_if_the_daemon_would_meet_it(
    tmp_path: Path, bind: str, is_free: bool
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.2", 0))
        holder.listen()
        port = holder.getsockname()[1]
        _, findings = await _look_around(
            Folders(tmp_path, tmp_path),
            replace(JOINING, bind=bind, peer_port=port),
            new_node_id(Random(1)),
            INFO,
            MemoryEngine(now_ms=lambda: 0).version,
            1e9,
        )
    (found,) = [finding for finding in findings if finding.check == f"peer port TCP {port}"]
    assert found.ok is is_free
