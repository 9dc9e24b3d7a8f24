"""The identifiers every layer shares.

A node is known by a random 128-bit identity that it keeps for life; addresses come and go.
"""

import re
from random import Random
from typing import NewType

NodeId = NewType("NodeId", str)
"""32 lower-case hex digits. It is also the DNS name in the node's certificate, under NODE_DOMAIN."""

Term = NewType("Term", int)
"""Raft term, from 1; 0 means none yet."""

Index = NewType("Index", int)
"""Raft log index, from 1; 0 is before the first entry."""

Incarnation = NewType("Incarnation", int)
"""SWIM incarnation number of a member, raised only by the member itself."""

NODE_DOMAIN = "node.corral.internal"

_NODE_ID = re.compile(r"[0-9a-f]{32}\Z")


def new_node_id(rng: Random) -> NodeId:
    """Draw a fresh identity from `rng` (pass `random.SystemRandom()` outside simulations)."""
    return NodeId(f"{rng.getrandbits(128):032x}")


def parse_node_id(text: str) -> NodeId:
    """Return `text` as a NodeId, or raise ValueError naming what was expected."""
    if not _NODE_ID.match(text):
        raise ValueError(f"expected 32 lower-case hex digits as a node id, got {text[:40]!r}")
    return NodeId(text)
