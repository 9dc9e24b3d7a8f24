"""Small builders shared by the gossip tests."""

from random import Random

from protocol.ids import Incarnation, NodeId
from protocol.swim import Address, Member, Meta, State, Swim, SwimTiming
from protocol.swim.claims import Membership
from protocol.swim.health import LocalHealth
from protocol.swim.messages import Message, Packet, decode_packet, encode_message, encode_packet

ME, B, C, D, E = (NodeId(f"{n:032x}") for n in range(1, 6))


def node(number: int) -> NodeId:
    return NodeId(f"{number:032x}")


def meta(number: int = 1, name: str = "") -> Meta:
    return Meta(name or f"h{number}", f"10.0.{number // 250}.{number % 250 + 1}", 7946, 8080)


def member(who: NodeId, state: State = State.ALIVE, incarnation: int = 0, changed_at: float = 0.0) -> Member:
    return Member(who, meta(int(who, 16)), state, Incarnation(incarnation), changed_at)


def membership(timing: SwimTiming | None = None) -> Membership:
    return Membership(member(ME), timing or SwimTiming(), LocalHealth())


def swim(timing: SwimTiming | None = None) -> Swim:
    return Swim(ME, meta(1), timing=timing or SwimTiming(), rng=Random(1), now=0.0, incarnation=Incarnation(0))


def address(who: NodeId) -> Address:
    return member(who).address


def datagram(sender: NodeId, *messages: Message) -> bytes:
    return encode_packet(sender, [encode_message(message) for message in messages])


def said(swim: Swim, to: NodeId) -> list[Message]:
    """Take the output; return everything it says to `to`."""
    packets: list[Packet] = [decode_packet(item.data) for item in swim.take_output().send if item.to == address(to)]
    return [message for packet in packets for message in packet.messages]
