"""What containers hold as long as they are not gone: names, addresses, host ports, slots, places on hosts.

`apply` refuses by it and the scheduler chooses by it, so both always mean the same.  A container that is to be
removed holds everything until its host reports it gone.
"""

from collections import defaultdict
from collections.abc import Iterable

from node.model import Container, PortBinding
from node.state.addresses import address_number

ANY_ADDRESS = frozenset({"", "0.0.0.0"})
"""Binds that cover every address of a host."""


class Taken:
    """A mutable index over the containers given; whoever plans adds its own intentions to it."""

    def __init__(self, containers: Iterable[Container]) -> None:
        self.uuids: set[str] = set()
        self.names: dict[tuple[int, str], int] = {}
        """(environment, lower-case name) → container."""
        self.addresses: dict[int, dict[str, Container]] = defaultdict(dict)
        """Host → address → container."""
        self.newest_address: dict[int, tuple[int, int]] = {}
        """Host → (container id, its address as a number): where the search for the next address starts."""
        self.by_service: dict[int, dict[int, Container]] = defaultdict(dict)
        """Service → id → container."""
        self.on_host: dict[int, int] = defaultdict(int)
        """Host → containers that are to stay."""
        self.of_service_on_host: dict[tuple[int, int], int] = defaultdict(int)
        self._ports: dict[tuple[int, str, int], list[tuple[str, int]]] = defaultdict(list)
        for container in containers:
            self.add(container)

    def add(self, container: Container) -> None:
        """Count a row; one that is gone leaves only its uuid and the place of its address."""
        self.uuids.add(container.uuid)
        host_id = container.host_id
        if host_id is not None and container.address is not None:
            newest = (container.id, address_number(container.address))
            if newest > self.newest_address.get(host_id, (0, 0)):
                self.newest_address[host_id] = newest
        if container.removed is not None:
            return
        self.names[container.environment_id, container.name.lower()] = container.id
        if container.service_id is not None:
            self.by_service[container.service_id][container.id] = container
        if host_id is not None:
            self._add_placed(container, host_id)

    def _add_placed(self, container: Container, host_id: int) -> None:
        if container.address is not None:
            self.addresses[host_id][container.address] = container
        for port in container.ports:
            self._ports[host_id, port.protocol, port.public].append((port.bind, container.id))
        if container.desired != "removed":
            self.on_host[host_id] += 1
            if container.service_id is not None:
                self.of_service_on_host[container.service_id, host_id] += 1

    def discard(self, container: Container) -> None:
        """Forget a row exactly as it was added; only where the newest address was is kept, since it is but a hint."""
        self.uuids.discard(container.uuid)
        if container.removed is not None:
            return
        self.names.pop((container.environment_id, container.name.lower()), None)
        if container.service_id is not None:
            self.by_service[container.service_id].pop(container.id, None)
        host_id = container.host_id
        if host_id is None:
            return
        if container.address is not None:
            self.addresses[host_id].pop(container.address, None)
        for port in container.ports:
            self._ports[host_id, port.protocol, port.public].remove((port.bind, container.id))
        if container.desired != "removed":
            self.on_host[host_id] -= 1
            if container.service_id is not None:
                self.of_service_on_host[container.service_id, host_id] -= 1

    def port_holder(self, host_id: int, port: PortBinding) -> int | None:
        """The first container whose published port overlaps `port` on that host, if any."""
        holders = self._ports.get((host_id, port.protocol, port.public), ())
        overlapping = (
            holder for bind, holder in holders if bind == port.bind or bind in ANY_ADDRESS or port.bind in ANY_ADDRESS
        )
        return min(overlapping, default=None)

    def numbers(self, service_id: int) -> set[int]:
        """The slots of a service that are not free."""
        return {row.number for row in self.by_service.get(service_id, {}).values() if row.number is not None}
