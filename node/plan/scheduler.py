"""Where a container goes: filters that say whom they excluded, then spread, then an address and ports.

Pure and deterministic; what is taken comes from `node.state.Taken`, to which the caller adds what it has placed itself.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from node.commands import Placement
from node.model import Host, LaunchConfig, PortBinding, State
from node.state import Taken
from node.state.addresses import FIRST_CONTAINER_OFFSET, parse_subnet
from node.state.published import (
    FIRST_CHOSEN_PORT,
    LAST_PORT,
    PortSpec,
    overlaps,
    own_port_name,
    port_text,
    wanted_ports,
)

MAX_NAMED_HOSTS = 5
"""How many excluded hosts a refusal names per reason."""


@dataclass(frozen=True, slots=True)
class NoPlace:
    """No host fits; `why` counts what excluded whom and says what to try."""

    why: str


@dataclass(frozen=True, slots=True)
class _Filter:
    """Returns why a host is excluded, or None; hosts excluded for the same reason are counted together."""

    excludes: Callable[[Host], str | None]
    remedy: str
    detail: Callable[[Host], str] = lambda host: host.name
    """How an excluded host is named."""


def place(
    state: State, taken: Taken, *, environment_id: int, launch: LaunchConfig, service_id: int | None = None
) -> Placement | NoPlace:
    """Choose the host with fewest containers of the service, then of all, and what the container gets there."""
    members = [host for host in state.hosts.values() if host.environment_id == environment_id and host.removed is None]
    if not members:
        return NoPlace("the environment has no hosts: join one with `node join`")
    ports = wanted_ports(launch)
    filters = _filters(taken, launch, ports)
    # The best host mostly fits: the others are looked at one by one, and all of them only to explain a refusal.
    for _, host in sorted((_crowd(taken, host.id, service_id), host) for host in members):
        if not any(one.excludes(host) for one in filters):
            address = _free_address(taken, host) if launch.network_mode == "managed" else None
            return Placement(host_id=host.id, address=address, ports=_bind_ports(taken, host, ports) or ())
    return NoPlace(_explain(members, filters))


def _crowd(taken: Taken, host_id: int, service_id: int | None) -> tuple[int, int, int]:
    of_service = 0 if service_id is None else taken.of_service_on_host.get((service_id, host_id), 0)
    return of_service, taken.on_host.get(host_id, 0), host_id


def _filters(taken: Taken, launch: LaunchConfig, ports: tuple[PortSpec, ...]) -> list[_Filter]:
    filters = [
        _Filter(_not_active, "activate it"),
        _Filter(lambda host: None if host.up else "down", "bring it back"),
    ]
    if launch.requested_host_id is not None:
        wanted = launch.requested_host_id
        other = f"not the requested host {wanted}"
        filters.insert(0, _Filter(lambda host: None if host.id == wanted else other, "request another host"))
    if ports:
        filters.append(_Filter(lambda host: _ports_excluded(taken, host, ports), "free the port or add a host"))
    if launch.network_mode == "managed":
        filters.append(
            _Filter(
                lambda host: _subnet_excluded(taken, host),
                "remove stopped containers or add a host",
                lambda host: _subnet_use(taken, host),
            )
        )
    return filters


def _not_active(host: Host) -> str | None:
    return None if host.state == "active" else host.state


def _explain(hosts: Iterable[Host], filters: list[_Filter]) -> str:
    """Tell which filter excluded which hosts, none of which fits."""
    excluded: dict[str, list[str]] = {}
    remedies: dict[str, None] = {}
    for host in hosts:
        for one in filters:
            reason = one.excludes(host)
            if reason is not None:
                excluded.setdefault(reason, []).append(one.detail(host))
                remedies[one.remedy] = None
                break
    return f"no host fits: {_story(excluded)}: {' or '.join(remedies)}"


def _story(excluded: dict[str, list[str]]) -> str:
    total = sum(map(len, excluded.values()))
    of_all = f" of {total} {'host' if total == 1 else 'hosts'}"
    parts = []
    for reason, named in excluded.items():
        count = len(named)
        verb = ("has" if count == 1 else "have") if reason.startswith("port") else ("is" if count == 1 else "are")
        names = ", ".join(named[:MAX_NAMED_HOSTS]) + (", …" if count > MAX_NAMED_HOSTS else "")
        parts.append(f"{count}{of_all} {verb} {reason} ({names})")
        of_all = ""
    return ", ".join(parts)


def _ports_excluded(taken: Taken, host: Host, ports: tuple[PortSpec, ...]) -> str | None:
    for spec in ports:
        if spec.public is None:
            continue
        port = PortBinding(public=spec.public, private=spec.private, protocol=spec.protocol, bind=spec.bind)
        own = own_port_name(host, port)
        if own is not None:
            return f"port {port_text(port)} in use as {own} of Corral"
        if taken.port_holder(host.id, port) is not None:
            return f"port {port_text(port)} taken"
    if _bind_ports(taken, host, ports) is None:
        return f"ports {FIRST_CHOSEN_PORT} to {LAST_PORT} all taken"
    return None


def _bind_ports(taken: Taken, host: Host, ports: tuple[PortSpec, ...]) -> tuple[PortBinding, ...] | None:
    """Give each port its public side, the free ones from FIRST_CHOSEN_PORT up; None when those have run out."""
    given = [
        PortBinding(public=spec.public, private=spec.private, protocol=spec.protocol, bind=spec.bind)
        for spec in ports
        if spec.public is not None
    ]
    bound: list[PortBinding] = []
    for spec in ports:
        port = _bind_port(taken, host, spec, given)
        if port is None:
            return None
        bound.append(port)
        given.append(port)
    return tuple(bound)


def _bind_port(taken: Taken, host: Host, spec: PortSpec, given: list[PortBinding]) -> PortBinding | None:
    choices = range(FIRST_CHOSEN_PORT, LAST_PORT + 1) if spec.public is None else (spec.public,)
    for public in choices:
        port = PortBinding(public=public, private=spec.private, protocol=spec.protocol, bind=spec.bind)
        if spec.public is not None or not (
            taken.port_holder(host.id, port)
            or own_port_name(host, port)
            or any(overlaps(port, other) for other in given)
        ):
            return port
    return None


def _subnet_excluded(taken: Taken, host: Host) -> str | None:
    return "full" if len(taken.addresses.get(host.id, ())) >= parse_subnet(host.subnet).places else None


def _subnet_use(taken: Taken, host: Host) -> str:
    holders = taken.addresses.get(host.id, {}).values()
    stopped = sum(holder.desired == "stopped" for holder in holders)
    places = parse_subnet(host.subnet).places
    return f"subnet of {host.name}: {len(holders)} of {places} used, {stopped} by stopped containers"


def _free_address(taken: Taken, host: Host) -> str | None:
    """The first free address after the newest container's, round and round.

    An address that was just freed is thus given again last: caches and neighbour tables have time to forget it.
    """
    subnet = parse_subnet(host.subnet)
    used = taken.addresses.get(host.id, {})
    newest = taken.newest_address.get(host.id)
    start = max(0, newest[1] - subnet.base - FIRST_CONTAINER_OFFSET + 1) if newest else 0
    for step in range(subnet.places):
        address = subnet.address(FIRST_CONTAINER_OFFSET + (start + step) % subnet.places)
        if address not in used:
            return address
    return None
