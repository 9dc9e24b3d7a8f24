"""The leader's planning, round after round: what changed since the last one, and what had not settled then.

A round gives the same commands as `everything.plan` would for the services it looks at, and does only so much that the
loop is not held up; the next one goes on.  What it remembers follows from comparing one state with the next, row by
row, so that nothing can be missed; all the same everything is looked at anew from time to time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random

from node.commands import SingleCommand
from node.model import Container, Service, State
from node.plan.draft import MAX_COMMANDS, Draft
from node.plan.everything import Picture
from node.plan.hosts import plan_hosts
from node.plan.purge import plan_purge
from node.plan.services import plan_service, plan_stacks, plan_standalone
from node.state import Taken

SERVICES_PER_ROUND = 256
ROWS_PER_ROUND = 2048
"""Changed rows of containers that one round takes in."""
EVERYTHING_EVERY_MS = 60_000
PURGE_EVERY_MS = 10_000

Pair = tuple[Container | None, Container | None]


@dataclass(frozen=True, slots=True)
class Round:
    """What a round decided."""

    commands: tuple[SingleCommand, ...]
    more: bool
    """Whether it stopped short, and the next one has something to do at once."""


class Planner:
    """What a leader remembers between its rounds; made anew for each leadership."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._taken = Taken(())
        self._behind: Iterator[Pair] = iter(())
        self._is_behind = False
        self._unplaced: dict[int, None] = {}
        """Containers of no service and without a host, in order."""
        self._due: dict[int, None] = {}
        """Services to look at in this pass, in order."""
        self._unsettled: dict[int, None] = {}
        """Services to look at in the next pass, whatever changes."""
        self._everything_at = self._purge_at = 0

    def round(self, state: State, picture: Picture, now: int, rng: Random) -> Round:
        """Return what is to be done next; `now` in milliseconds since the epoch."""
        if not self._follow(state):
            return Round((), True)
        if now >= self._everything_at:
            self._due |= dict.fromkeys(state.services)
            self._everything_at = now + EVERYTHING_EVERY_MS
        draft = Draft(state, now, rng, self._taken)
        try:
            plan_hosts(draft, picture.dead_for)
            self._plan_services(draft)
            plan_standalone(draft, [state.containers[each] for each in self._unplaced])
            plan_stacks(draft)
            if now >= self._purge_at:
                plan_purge(draft)
                self._purge_at = now + PURGE_EVERY_MS
        finally:
            draft.close()
        more = bool(self._due)
        if not more:
            self._due, self._unsettled = self._unsettled, {}
        return Round(tuple(draft.commands[:MAX_COMMANDS]), more)

    def _plan_services(self, draft: Draft) -> None:
        for service_id in list(islice(self._due, SERVICES_PER_ROUND)):
            if draft.is_full:
                return
            del self._due[service_id]
            service = draft.state.services.get(service_id)
            if service is not None and not plan_service(draft, service):
                self._unsettled[service_id] = None

    def _follow(self, state: State) -> bool:
        """Take in what changed; False while there is more of it than one round may take."""
        if not self._is_behind and state is not self._state:
            self._note_target(state)
        for old, new in islice(self._behind, ROWS_PER_ROUND):
            self._note_container(old, new)
        # One row more would say whether there is any: the iterator is cheap to ask, the next round does so.
        following = next(self._behind, None)
        self._is_behind = following is not None
        if following is not None:
            self._note_container(*following)
        return not self._is_behind and self._state is state

    def _note_target(self, state: State) -> None:
        before, self._state = self._state, state
        self._behind = iter(_differences(before.containers if before else {}, state.containers))
        if before is None or before.hosts != state.hosts:
            self._due |= dict.fromkeys(state.services)
            return
        services: Mapping[int, Service] = before.services
        self._due |= {each: None for each, row in state.services.items() if services.get(each) is not row}

    def _note_container(self, old: Container | None, new: Container | None) -> None:
        for row in (old, new):
            if row is not None and row.service_id is not None:
                self._due[row.service_id] = None
        if old is not None:
            self._taken.discard(old)
            self._unplaced.pop(old.id, None)
        if new is not None:
            self._taken.add(new)
            if new.service_id is None and new.host_id is None and new.removed is None:
                self._unplaced[new.id] = None


def _differences(before: Mapping[int, Container], after: Mapping[int, Container]) -> list[Pair]:
    """Return each row that is another one, as (old, new)."""
    if before is after:
        return []
    pairs: list[Pair] = [(before.get(each), row) for each, row in after.items() if before.get(each) is not row]
    return pairs + [(row, None) for each, row in before.items() if each not in after]
