"""What the failure detector tells its owner, in the order it happened."""

from dataclasses import dataclass
from typing import TypeAlias

from protocol.swim.members import Member


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Somebody new, or back after leaving."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """Its own words changed: address, labels, release."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """It may be dead; it still counts as alive."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberCleared:
    """It refuted the suspicion."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberDied:
    """It is held dead."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberRevived:
    """It was held dead, and is alive."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """It said goodbye."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberForgotten:
    """It was gone so long that its row is dropped."""

    member: Member


Event: TypeAlias = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberCleared
    | MemberDied
    | MemberRevived
    | MemberLeft
    | MemberForgotten
)
