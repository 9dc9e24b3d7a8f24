"""A replica of one node in memory: commands take effect at once, through the real `node.state.apply`."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import msgspec
import trio

from node.commands import AnyCommand, InitCluster
from node.model import Change, Done, Refused, State
from node.ports import ConsensusView, MemberView, RefusedError, Unavailable
from node.state.apply import apply
from protocol.ids import Index, NodeId, Term

ME = NodeId("1" * 32)
START = 1_460_440_800_000
"""2016-04-12T06:00:00Z."""


class FakeReplica:
    """Implements node.ports.Replica; tests set `leaderless_since` to cut it off and `now` to move time."""

    def __init__(self, state: State | None = None, *, open_access: bool = False) -> None:
        self.now = START
        self.rng = Random(7)
        self.leaderless_since: int | None = None
        self.submitted: list[AnyCommand] = []
        self.known: dict[NodeId, MemberView] = {}
        self.listeners: list[Callable[[State, Sequence[Change]], None]] = []
        self._changed = trio.Event()
        self._state = state or _founded(open_access)

    def now_ms(self) -> int:
        return self.now

    @property
    def state(self) -> State:
        return self._state

    @property
    def consensus(self) -> ConsensusView:
        index = Index(len(self.submitted) + 1)
        return ConsensusView(
            node=ME,
            role="leader" if self.leaderless_since is None else "candidate",
            term=Term(1),
            leader=ME if self.leaderless_since is None else None,
            voters=(ME,),
            learners=(),
            commit_index=index,
            applied_index=index,
            last_index=index,
            stale_since=self.leaderless_since,
        )

    @property
    def members(self) -> Mapping[NodeId, MemberView]:
        return self.known

    async def submit(self, command: AnyCommand, *, timeout: float = 10.0) -> Done:
        if self.leaderless_since is not None:
            raise Unavailable("no leader has answered; the hosts that are up are too few to elect one", 2.0)
        await trio.lowlevel.checkpoint()
        return self.apply(command)

    def apply(self, command: AnyCommand) -> Done:
        """Have a command take effect, as planners and agents do."""
        # Commands travel as bytes: what cannot be written does not count as submitted.
        msgspec.msgpack.encode(command)
        self.submitted.append(command)
        applied = apply(self._state, command, at=self.now)
        match applied.result:
            case Refused(code=code, message=message, field=field):
                raise RefusedError(code, message, field)
            case Done() as done:
                self._state = applied.state
                for listener in self.listeners:
                    listener(applied.state, applied.changes)
                self._changed.set()
                self._changed = trio.Event()
                return done

    async def wait_changed(self, since: State) -> State:
        while self._state is since:
            await self._changed.wait()
        return self._state


def _founded(open_access: bool) -> State:
    applied = apply(None, InitCluster(cluster_id="c" * 32, ca=b"ca", open_access=open_access), at=START)
    assert applied.state is not None
    return applied.state
