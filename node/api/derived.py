"""Rows that the state does not store because they follow from others: ports, mounts, volumes, addresses, labels, …

Ids stay what they are for as long as what a row stands for exists, on every node: a place in its container's row, or
a digest of what makes it one thing.  Pure; what each of them is: API.md 6.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from node.api.states import container_state
from node.model import Container, Environment, Host, PortBinding, State

PLACES = 10_000
"""More than a container can have ports or volumes."""
ON_HOST = frozenset({"running", "stopped", "stopping", "starting", "restarting"})
"""States of a container that exists on its host, and with it its mounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What every derived row has."""

    id: int
    environment_id: int
    created: int
    removed: int | None
    key: str
    """What makes it one thing, for its uuid."""

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Port(Derived):
    """One published port of a container."""

    container: Container
    binding: PortBinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(Derived):
    """A host's address, or a container's in the overlay."""

    owner: Host | Container

    @property
    def text(self) -> str:
        return self.owner.address or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(Derived):
    """The managed network of an environment."""

    environment: Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPart(Derived):
    """What each host has one of: its Docker's storage, and the machine itself."""

    host: Host


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount(Derived):
    """One volume inside of one container."""

    container: Container
    volume_id: int
    source: str | None
    """A path on the host, or a volume's name; None: a volume of this container alone."""
    path: str
    permissions: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Derived):
    """A directory or volume on one host with the mounts that lead to it."""

    host_id: int
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Derived):
    """A label that somebody gave to hosts or containers of one environment."""

    name: str
    value: str
    hosts: tuple[Host, ...]
    containers: tuple[Container, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Derived):
    """An image that containers of one environment are made of."""

    name: str
    containers: tuple[Container, ...]


def digest_id(*parts: object, size: int = 6) -> int:
    """A number for something that has no row: 48 bits, which clients of every language hold exactly."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:size])


def volume_id(row: Container, source: str) -> int:
    """The number of a volume: its host's, then 32 bits of what makes it one thing there."""
    return ((row.host_id or 0) << 32) | digest_id(row.environment_id, "volume", source, size=4)


def host_of_volume(number: int) -> int:
    """The number of the host that a volume is on."""
    return number >> 32


def ports_of(row: Container) -> list[Port]:
    """The published ports of a container, once it has its place."""
    return [
        Port(
            id=row.id * PLACES + place,
            environment_id=row.environment_id,
            created=row.created,
            removed=row.removed,
            key=f"port/{row.uuid}/{place}",
            container=row,
            binding=binding,
        )
        for place, binding in enumerate(row.ports, 1)
    ]


def mounts_of(row: Container) -> list[Mount]:
    """The mounts of a container, once it has its place."""
    if row.host_id is None:
        return []
    return [_mount(row, place, text) for place, text in enumerate(row.launch.data_volumes, 1)]


def _mount(row: Container, place: int, text: str) -> Mount:
    first, _, rest = text.partition(":")
    path, _, options = rest.partition(":")
    source = first if rest else None
    return Mount(
        id=row.id * PLACES + place,
        environment_id=row.environment_id,
        created=row.created,
        removed=row.removed,
        key=f"mount/{row.uuid}/{place}",
        container=row,
        volume_id=volume_id(row, first if rest else f"{row.uuid}:{first}"),
        source=source,
        path=path if rest else first,
        permissions="ro" if "ro" in options.split(",") else "rw",
    )


def volumes_of(containers: Iterable[Container]) -> dict[int, Volume]:
    """The volumes that containers use, by id; one lasts in the lists as long as the row of a container that uses it."""
    found: dict[int, list[Mount]] = {}
    for row in containers:
        for mount in mounts_of(row):
            found.setdefault(mount.volume_id, []).append(mount)
    return {number: _volume(number, tuple(mounts)) for number, mounts in found.items()}


def _volume(number: int, mounts: tuple[Mount, ...]) -> Volume:
    first = mounts[0]
    is_gone = first.source is None and first.removed is not None
    return Volume(
        id=number,
        environment_id=first.environment_id,
        created=min(mount.created for mount in mounts),
        removed=first.removed if is_gone else None,
        key=f"volume/{first.environment_id}/{number}",
        host_id=first.container.host_id or 0,
        mounts=mounts,
    )


def mount_state(mount: Mount) -> str:
    """Mounts come and go with their container."""
    state = container_state(mount.container)
    if state in ("removing", "removed"):
        return state
    return "active" if state in ON_HOST else "requested"


def host_address(host: Host) -> Address | None:
    """The address at which a host is reached."""
    if not host.address:
        return None
    return _address(host.id * 2, host, host.environment_id, f"ipAddress/{host.uuid}")


def container_address(row: Container) -> Address | None:
    """A container's address in the overlay."""
    if row.address is None:
        return None
    return _address(row.id * 2 + 1, row, row.environment_id, f"ipAddress/{row.uuid}")


def _address(number: int, owner: Host | Container, environment_id: int, key: str) -> Address:
    return Address(
        id=number,
        environment_id=environment_id,
        created=owner.created,
        removed=owner.removed,
        key=key,
        owner=owner,
    )


def addresses_of(state: State) -> Iterator[Address]:
    """All addresses, in the order of ids."""
    hosts = [address for host in state.hosts.values() if (address := host_address(host)) is not None]
    containers = [address for row in state.containers.values() if (address := container_address(row)) is not None]
    return iter(sorted([*hosts, *containers], key=lambda address: address.id))


def network_of(environment: Environment) -> Network:
    """The one network that managed containers of an environment are in."""
    return Network(
        id=environment.id,
        environment_id=environment.id,
        created=environment.created,
        removed=environment.removed,
        key=f"network/{environment.uuid}",
        environment=environment,
    )


def host_part(host: Host, what: str) -> HostPart:
    """The `storagePool` or the `physicalHost` of a host."""
    return HostPart(
        id=host.id,
        environment_id=host.environment_id,
        created=host.created,
        removed=host.removed,
        key=f"{what}/{host.uuid}",
        host=host,
    )


def labels_of(hosts: Iterable[Host], containers: Iterable[Container]) -> dict[int, Label]:
    """The labels that people gave, by id; Corral's own labels of a container show in its `labels` only."""
    holders: dict[tuple[int, str, str], tuple[list[Host], list[Container]]] = {}
    for host in hosts:
        for name, value in host.labels.items() if host.removed is None else ():
            holders.setdefault((host.environment_id, name, value), ([], []))[0].append(host)
    for row in containers:
        for name, value in row.launch.labels.items() if row.removed is None else ():
            holders.setdefault((row.environment_id, name, value), ([], []))[1].append(row)
    labels = [_label(*what, *held) for what, held in holders.items()]
    return {label.id: label for label in labels}


def label_id(environment_id: int, name: str, value: str) -> int:
    return digest_id("label", environment_id, name, value)


def _label(environment_id: int, name: str, value: str, hosts: list[Host], containers: list[Container]) -> Label:
    number = label_id(environment_id, name, value)
    return Label(
        id=number,
        environment_id=environment_id,
        created=min(row.created for row in (*hosts, *containers)),
        removed=None,
        key=f"label/{environment_id}/{number}",
        name=name,
        value=value,
        hosts=tuple(hosts),
        containers=tuple(containers),
    )


def images_of(containers: Iterable[Container]) -> dict[int, Image]:
    """The images of the containers that are not removed, by id."""
    used: dict[tuple[int, str], list[Container]] = {}
    for row in containers:
        if row.removed is None:
            used.setdefault((row.environment_id, row.launch.image), []).append(row)
    images = [_image(*what, rows) for what, rows in used.items()]
    return {image.id: image for image in images}


def _image(environment_id: int, name: str, rows: list[Container]) -> Image:
    number = digest_id("image", environment_id, name)
    return Image(
        id=number,
        environment_id=environment_id,
        created=min(row.created for row in rows),
        removed=None,
        key=f"image/{environment_id}/{number}",
        name=name,
        containers=tuple(rows),
    )


def in_order(rows: Mapping[int, Derived]) -> list[Derived]:
    """Rows by their ids."""
    return [row for _, row in sorted(rows.items())]
