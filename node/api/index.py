"""Rows of one state by what they belong to, worked out at most once per state."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from node.api.derived import Derived, Image, Label, Volume, host_of_volume, images_of, in_order, labels_of, volumes_of
from node.model import Container, Service, State, Table


class Index:
    """Lookups into one immutable state; keep it as long as the state is the newest."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._sorted: dict[Table, list[Any]] = {}
        self._volumes: dict[int, Mapping[int, Volume]] = {}

    def rows(self, table: Table) -> Sequence[Any]:
        """All rows of a table in the order of their ids."""
        if table not in self._sorted:
            self._sorted[table] = [row for _, row in sorted(getattr(self.state, table).items())]
        return self._sorted[table]

    @cached_property
    def containers_of_service(self) -> Mapping[int, Sequence[Container]]:
        found: dict[int, list[Container]] = {}
        for row in self.rows("containers"):
            if row.service_id is not None:
                found.setdefault(row.service_id, []).append(row)
        return found

    @cached_property
    def containers_of_host(self) -> Mapping[int, Sequence[Container]]:
        found: dict[int, list[Container]] = {}
        for row in self.rows("containers"):
            if row.host_id is not None:
                found.setdefault(row.host_id, []).append(row)
        return found

    @cached_property
    def services_of_stack(self) -> Mapping[int, Sequence[Service]]:
        found: dict[int, list[Service]] = {}
        for row in self.rows("services"):
            found.setdefault(row.stack_id, []).append(row)
        return found

    def volumes_on(self, host_id: int) -> Mapping[int, Volume]:
        """The volumes on one host, by id: whoever asks for one need not wait for those of all hosts."""
        if host_id not in self._volumes:
            self._volumes[host_id] = volumes_of(self.containers_of_host.get(host_id, ()))
        return self._volumes[host_id]

    def volume(self, number: int) -> Volume | None:
        """The volume with that id."""
        return self.volumes_on(host_of_volume(number)).get(number)

    def volumes(self) -> Iterator[Derived]:
        """All volumes in the order of their ids, worked out host by host as they are taken."""
        for host_id in sorted(self.containers_of_host):
            yield from in_order(self.volumes_on(host_id))

    @cached_property
    def labels(self) -> Mapping[int, Label]:
        return labels_of(self.rows("hosts"), self.rows("containers"))

    @cached_property
    def images(self) -> Mapping[int, Image]:
        return images_of(self.rows("containers"))
