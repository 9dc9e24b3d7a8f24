"""What is looked up in a state by other things than ids, built when first asked for and kept in step with each write.

An index says nothing that the state does not: kept over a thousand entries or built anew, it gives the same answers,
else replicas would part ways.  Whoever keeps one hands it in with the very state it was last in step with.
"""

from collections.abc import Iterable

from node.model import (
    Account,
    ApiKey,
    Container,
    Environment,
    Host,
    JoinToken,
    Password,
    ProjectMember,
    Service,
    Stack,
    State,
)
from node.state.taken import Taken

AnyRow = Environment | Host | Stack | Service | Container | ApiKey | JoinToken | Account | Password | ProjectMember


class Named:
    """Living stacks by environment and name, living services by stack and name; case does not count."""

    def __init__(self, stacks: Iterable[Stack], services: Iterable[Service]) -> None:
        self.stacks: dict[tuple[int, str], int] = {}
        self.services: dict[tuple[int, str], int] = {}
        for stack in stacks:
            self.add(stack)
        for service in services:
            self.add(service)

    def add(self, row: Stack | Service) -> None:
        if row.removed is None:
            names, key = self._place(row)
            names[key] = row.id

    def discard(self, row: Stack | Service) -> None:
        if row.removed is None:
            names, key = self._place(row)
            names.pop(key, None)

    def _place(self, row: Stack | Service) -> tuple[dict[tuple[int, str], int], tuple[int, str]]:
        if isinstance(row, Stack):
            return self.stacks, (row.environment_id, row.name.lower())
        return self.services, (row.stack_id, row.name.lower())


class Indexes:
    """All indexes of one state, as far as anybody has asked for them."""

    def __init__(self) -> None:
        self._taken: Taken | None = None
        self._named: Named | None = None

    def taken(self, containers: Iterable[Container]) -> Taken:
        """Return what containers hold; `containers` are all there are, read only the first time."""
        if self._taken is None:
            self._taken = Taken(containers)
        return self._taken

    def named(self, stacks: Iterable[Stack], services: Iterable[Service]) -> Named:
        """Return who has which name; the rows are all there are, read only the first time."""
        if self._named is None:
            self._named = Named(stacks, services)
        return self._named

    def note(self, old: AnyRow | None, new: AnyRow | None) -> None:
        """A row was written; None for what was or is no row."""
        row = new or old
        if isinstance(row, Container):
            if self._taken is not None:
                _replace_taken(self._taken, old, new)
        elif isinstance(row, Stack | Service) and self._named is not None:
            if isinstance(old, Stack | Service):
                self._named.discard(old)
            if isinstance(new, Stack | Service):
                self._named.add(new)


def _replace_taken(taken: Taken, old: AnyRow | None, new: AnyRow | None) -> None:
    if isinstance(old, Container):
        taken.discard(old)
    if isinstance(new, Container):
        taken.add(new)


def indexes_of(state: State) -> Indexes:
    """Build all indexes of a state, to compare those that were kept with."""
    indexes = Indexes()
    indexes.taken(state.containers.values())
    indexes.named(state.stacks.values(), state.services.values())
    return indexes
