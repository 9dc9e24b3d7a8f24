"""One API call as the definitions see it: who asks, in which environment, about which state, under which URLs."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from node.api.index import Index
from node.auth.access import Caller
from node.auth.ring import ClusterKeys
from node.model import State
from node.ports import ConsensusView, MemberView
from protocol.ids import NodeId

SHOW_REMOVED_MS = 300_000
"""How long removed rows stay in lists (api.show.removed.for.seconds)."""


class Operations(Protocol):
    """What the API can have this node itself do, besides changing the state."""

    async def doctor(self) -> Sequence[Mapping[str, Any]]:
        """Check this node and its paths to the others; return findings as JSON objects."""

    async def transfer(self, host_id: int | None) -> None:
        """Have that host, or some other one, lead; returns once one does.  Raises ApiError or Unavailable."""

    async def leave(self, *, force: bool) -> None:
        """Have this node leave the cluster; returns once that is under way.  Raises ApiError when it may not."""


@dataclass(frozen=True, slots=True)
class Urls:
    """The URLs of this answer: as the client reached us, inside the scope it asked in."""

    base: str
    """`http://h1:8080`, without a slash at the end."""
    scope: str = ""
    """`/projects/1a5` where the request's path had it."""

    @property
    def root(self) -> str:
        return f"{self.base}/v1{self.scope}"

    def collection(self, plural: str) -> str:
        return f"{self.root}/{plural.lower()}"


@dataclass(frozen=True, slots=True)
class Call:
    """Everything an answer depends on."""

    state: State
    now: int
    caller: Caller
    scope: int | None
    """The environment the call works in; None: an administrator outside of any."""
    role: Any
    """A node.api.definition.Role."""
    consensus: ConsensusView
    members: Mapping[NodeId, MemberView]
    urls: Urls
    rng: Random
    index: Index
    alarms: Sequence[str] = ()
    """What a person has to know of this node now."""
    refusals: Mapping[str, int] = field(default_factory=dict)
    """How often this node refused what others sent it, by kind."""
    ticket: Mapping[str, Any] | None = None
    """The claims of the ticket that opened a websocket; its caller is nobody known."""
    again: Callable[[], "Call"] | None = None
    """For a websocket: the same call made now.  ApiError when the caller has lost its right to."""
    keys: ClusterKeys | None = None
    """What tickets are signed with."""

    query: Mapping[str, str] = field(default_factory=dict)
    client: str = ""
    is_viewed: bool = False
    """An administrator looks at things as another role does."""

    def owns(self, environment_id: int | None) -> bool:
        """Whether rows of that environment (None: of no environment) are the caller's to see."""
        if self.scope is None:
            return self.caller.kind == "admin"
        return environment_id == self.scope

    def shows(self, removed: int | None) -> bool:
        """Whether a row removed then still belongs into lists."""
        return removed is None or self.now - removed < SHOW_REMOVED_MS

    def draw_uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
