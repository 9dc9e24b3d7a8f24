"""Volumes, mounts, storage pools and images, as they follow from the containers that use them."""

from collections.abc import Iterable, Sequence
from typing import Any

from node.api.call import Call
from node.api.definition import Definition, Link, Values, define
from node.api.definitions.common import (
    DEFAULT_PROCESSES,
    DEFAULT_STATES,
    account_of,
    common_fields,
    common_values,
    may_see_owned,
    refused,
    rows_of,
)
from node.api.derived import (
    PLACES,
    HostPart,
    Image,
    Mount,
    Volume,
    digest_id,
    host_part,
    in_order,
    mount_state,
    mounts_of,
)
from node.api.ids import format_id, parse_id
from node.model import Container, Host

_MOUNT_STATES = ("activating", "active", "deactivating", "inactive", "removed", "removing", "requested")
_BY_CONTAINERS = "volumes come and go with the containers whose dataVolumes name them"
_MOUNTS = "mounts come and go with their container"
_POOLS = "a host's Docker is its storage pool"
_IMAGES = "images are pulled when a container needs them"


def pool_of(host: Host) -> HostPart:
    return host_part(host, "storagePool")


def _pools_of_hosts(hosts: Iterable[Host | None]) -> list[HostPart]:
    return [pool_of(host) for host in hosts if host is not None]


def _volume_state(row: Volume) -> str:
    states = {mount_state(mount) for mount in row.mounts}
    if row.removed is not None:
        return "removed"
    return "active" if "active" in states else "requested" if "requested" in states else "inactive"


def _volume_values(call: Call, row: Volume) -> Values:
    values = common_values(row, kind="volume", owner=row.environment_id, state=_volume_state(row))
    mount = row.mounts[0]
    is_path = mount.source is not None and mount.source.startswith("/")
    driver = None if is_path else mount.container.launch.volume_driver or "local"
    is_own = mount.source is None
    return {
        **values,
        "driver": driver,
        "instanceId": format_id("instance", mount.container.id) if is_own else None,
        "isHostPath": is_path,
        "name": mount.source,
        "uri": f"file://{mount.source}" if is_path else None if is_own else f"{driver}:///{mount.source}",
    }


def _find_volume(call: Call, text: str) -> Volume | None:
    number = parse_id(text)
    return None if number is None else call.index.volume(number)


def _pools_of_volume(call: Call, row: Volume) -> list[HostPart]:
    return _pools_of_hosts([call.state.hosts.get(row.host_id)])


def _instance_of_volume(call: Call, row: Volume) -> Container | None:
    return row.mounts[0].container if row.mounts[0].source is None else None


VOLUME = Definition(
    id="volume",
    plural="volumes",
    fields={
        **common_fields(DEFAULT_STATES),
        "driver": define("string", "cR", is_filter=False),
        "driverOpts": define("map[string]", "cN"),
        "externalId": define("string", "N", max_length=128),
        "imageId": define("reference[image]", "N", max_length=255),
        "instanceId": define("reference[instance]", "N", max_length=255),
        "isHostPath": define("boolean", default=False, is_filter=False),
        "name": define("string", "cNRU", max_length=255),
        "uri": define("string", "N", max_length=512),
    },
    links=(
        Link("account", "project", account_of),
        Link("instance", "instance", _instance_of_volume),
        Link("mounts", "mount", lambda call, row: row.mounts, many=True),
        Link("storagePools", "storagePool", _pools_of_volume, many=True),
    ),
    actions=refused("volume", _BY_CONTAINERS, *DEFAULT_PROCESSES, "allocate", "deallocate"),
    acl={"admin": "r", "project": "r"},
    later=_BY_CONTAINERS,
    rows=lambda call: call.index.volumes(),
    find=_find_volume,
    may_see=may_see_owned,
    values=_volume_values,
)


def _mount_values(call: Call, row: Mount) -> Values:
    values = common_values(row, kind="mount", owner=row.environment_id, state=mount_state(row))
    return {
        **values,
        "instanceId": format_id("instance", row.container.id),
        "path": row.path,
        "permissions": row.permissions,
        "volumeId": format_id("volume", row.volume_id),
    }


def find_place(call: Call, text: str) -> tuple[Container | None, int]:
    """The container and the place in it that an id of one of its parts names."""
    number = parse_id(text) or 0
    return call.state.containers.get(number // PLACES), number % PLACES


def _find_mount(call: Call, text: str) -> Mount | None:
    container, place = find_place(call, text)
    mounts = [] if container is None else mounts_of(container)
    return mounts[place - 1] if 0 < place <= len(mounts) else None


def _mounts(call: Call) -> Iterable[Mount]:
    return (mount for row in rows_of("containers")(call) for mount in mounts_of(row))


MOUNT = Definition(
    id="mount",
    plural="mounts",
    fields={
        **common_fields(_MOUNT_STATES),
        "instanceId": define("reference[instance]", "N", max_length=255),
        "path": define("string", "N", max_length=512),
        "permissions": define("string", "N", max_length=128),
        "volumeId": define("reference[volume]", "N", max_length=255),
    },
    links=(
        Link("account", "project", account_of),
        Link("instance", "instance", lambda call, row: row.container),
        Link("volume", "volume", lambda call, row: call.index.volume(row.volume_id)),
    ),
    actions=refused("mount", _MOUNTS, "create", "deactivate", "remove"),
    acl={"admin": "r", "project": "r"},
    rows=_mounts,
    find=_find_mount,
    may_see=may_see_owned,
    values=_mount_values,
)


def _pool_values(call: Call, row: HostPart) -> Values:
    state = "removed" if row.removed is not None else "active"
    values = common_values(row, kind="docker", owner=row.environment_id, state=state)
    return {**values, "name": row.host.name}


def _find_pool(call: Call, text: str) -> HostPart | None:
    number = parse_id(text)
    host = None if number is None else call.state.hosts.get(number)
    return None if host is None else pool_of(host)


def _volumes_on(call: Call, row: HostPart) -> list[Any]:
    return in_order(call.index.volumes_on(row.host.id))


def _images_on(call: Call, row: HostPart) -> list[Image]:
    used = {container.launch.image for container in call.index.containers_of_host.get(row.host.id, ())}
    images = (call.index.images.get(digest_id("image", row.environment_id, name)) for name in sorted(used))
    return [image for image in images if image is not None]


STORAGE_POOL = Definition(
    id="storagePool",
    plural="storagePools",
    fields={
        **common_fields(DEFAULT_STATES),
        "driverName": define("string", "N", max_length=255),
        "externalId": define("string", "N", max_length=128),
    },
    links=(
        Link("account", "project", account_of),
        Link("hosts", "host", lambda call, row: [row.host], many=True),
        Link("images", "image", _images_on, many=True),
        Link("volumes", "volume", _volumes_on, many=True),
    ),
    actions=refused("storagePool", _POOLS, *DEFAULT_PROCESSES),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: _pools_of_hosts(rows_of("hosts")(call)),
    find=_find_pool,
    may_see=may_see_owned,
    values=_pool_values,
)


def _image_values(call: Call, row: Image) -> Values:
    values = common_values(row, kind="docker", owner=row.environment_id, state="active")
    return {**values, "name": row.name}


def _find_image(call: Call, text: str) -> Image | None:
    number = parse_id(text)
    return None if number is None else call.index.images.get(number)


def _pools_of_image(call: Call, row: Image) -> list[HostPart]:
    numbers = sorted({container.host_id for container in row.containers if container.host_id is not None})
    return _pools_of_hosts(call.state.hosts.get(number) for number in numbers)


def _containers_of_image(call: Call, row: Image) -> Sequence[Container]:
    return row.containers


IMAGE = Definition(
    id="image",
    plural="images",
    fields=common_fields(DEFAULT_STATES),
    links=(
        Link("account", "project", account_of),
        Link("instances", "instance", _containers_of_image, many=True),
        Link("storagePools", "storagePool", _pools_of_image, many=True),
    ),
    actions=refused("image", _IMAGES, *DEFAULT_PROCESSES),
    acl={"admin": "r", "project": "r"},
    rows=lambda call: in_order(call.index.images),
    find=_find_image,
    may_see=may_see_owned,
    values=_image_values,
)

STORAGE = (VOLUME, MOUNT, STORAGE_POOL, IMAGE)
