"""Who is in the group and who is alive: SWIM with Lifeguard's refinements, sans-IO. Start at `core`."""

from protocol.swim.core import Datagram, Swim, SwimOutput
from protocol.swim.events import (
    Event,
    MemberCleared,
    MemberDied,
    MemberForgotten,
    MemberJoined,
    MemberLeft,
    MemberRevived,
    MemberSuspected,
    MemberUpdated,
)
from protocol.swim.members import MAX_MEMBERS, Member
from protocol.swim.messages import GOSSIP_KIND, MAX_DATAGRAM_BYTES, Address, Meta, State
from protocol.swim.timing import SwimTiming

__all__ = [
    "GOSSIP_KIND",
    "MAX_DATAGRAM_BYTES",
    "MAX_MEMBERS",
    "Address",
    "Datagram",
    "Event",
    "Member",
    "MemberCleared",
    "MemberDied",
    "MemberForgotten",
    "MemberJoined",
    "MemberLeft",
    "MemberRevived",
    "MemberSuspected",
    "MemberUpdated",
    "Meta",
    "State",
    "Swim",
    "SwimOutput",
    "SwimTiming",
]
