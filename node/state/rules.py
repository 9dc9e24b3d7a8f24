"""Rules for what people name and configure: names that can be DNS labels, launch configs that an engine can run.

Each check raises a Refusal with the API's code and field; nothing here reads the state.  Rules: sections 5 and 6 of
the v1 API.
"""

import re
from ipaddress import ip_address
from typing import Any

from node.model import LaunchConfig
from node.state.published import LAST_PORT, parse_port
from node.state.txn import Refusal

MAX_SCALE = 1000
MAX_LABEL = 63
"""A DNS label's length."""
MAX_FREE_NAME = 255
MAX_METADATA_DEPTH = 32
MAX_PORTS = 256
"""Published ports of one container."""
RESERVED_CONTAINER_NAMES = frozenset({"rancher-metadata"})

_LABEL = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\Z")
_CONTAINER = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?\Z")
_HOST = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]*[a-zA-Z0-9])?\Z")
_IMAGE = re.compile(r"[^\s\x00-\x1f]+\Z")
_SEARCH = re.compile(r"[a-zA-Z0-9._-]{1,253}\Z")
_RESTART = re.compile(r"(?:no|always|unless-stopped|on-failure(?::[0-9]{1,9})?)\Z")
_EXPOSED = re.compile(r"([0-9]{1,5})(?:/(?:tcp|udp))?\Z", re.IGNORECASE)
_DEVICE = re.compile(r"/[^:\x00-\x1f\x7f]*(?::/[^:\x00-\x1f\x7f]*(?::[rwm]{1,3})?)?\Z")
_VOLUME_OPTIONS = re.compile(r"[a-zA-Z]+(?:,[a-zA-Z]+)*\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_name(name: str, what: str) -> None:
    """Stacks and services: letters, digits and hyphens, 1 to 63 characters."""
    _check(name, what, _LABEL, "letters, digits and hyphens, a letter or digit at both ends", MAX_LABEL)


def check_container_name(name: str) -> None:
    """Stand-alone containers: as check_name with underscores.

    No dots: `web.shop` would answer for service web of stack shop.
    """
    _check(name, "container", _CONTAINER, "letters, digits, - and _, a letter or digit at both ends", MAX_LABEL)
    if name.lower() in RESERVED_CONTAINER_NAMES:
        raise Refusal("InvalidOption", f"the name {name} is kept for a service of Corral: choose another", "name")


def check_host_name(name: str) -> None:
    _check(name, "host", _HOST, "letters, digits, ., - and _, a letter or digit at both ends", MAX_FREE_NAME)


def check_free_name(name: str, what: str) -> None:
    """Environments and keys: any printable text."""
    if not name.strip():
        raise Refusal("MissingRequired", f"the {what} needs a name", "name")
    if len(name) > MAX_FREE_NAME:
        raise Refusal("MaxLengthExceeded", f"the name of the {what} has more than {MAX_FREE_NAME} characters", "name")
    if _CONTROL.search(name):
        raise Refusal("InvalidCharacters", f"the name of the {what} holds control characters", "name")


def _check(name: str, what: str, pattern: re.Pattern[str], allowed: str, longest: int) -> None:
    if not name:
        raise Refusal("MissingRequired", f"the {what} needs a name", "name")
    if len(name) > longest:
        raise Refusal("MaxLengthExceeded", f"the name of the {what} has more than {longest} characters", "name")
    if not pattern.match(name):
        raise Refusal("InvalidCharacters", f"{name!r} is no name for a {what}: use {allowed}", "name")


def check_scale(scale: int) -> None:
    """A service has 0 to MAX_SCALE containers."""
    if scale < 0:
        raise Refusal("MinLimitExceeded", f"scale is at least 0, got {scale}", "scale")
    if scale > MAX_SCALE:
        raise Refusal("MaxLimitExceeded", f"scale is at most {MAX_SCALE}, got {scale}", "scale")


def check_metadata(metadata: dict[str, Any]) -> None:
    """Metadata must be JSON at a sane depth, so that every replica and client can write it out."""
    level: list[Any] = [metadata]
    for _ in range(MAX_METADATA_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise Refusal("InvalidFormat", f"metadata is nested deeper than {MAX_METADATA_DEPTH} levels", "metadata")


def _children(value: Any) -> list[Any]:
    match value:
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise Refusal("InvalidFormat", "keys in metadata are strings", "metadata")
            return list(value.values())
        case list():
            return value
        case None | bool() | int() | float() | str():
            return []
    raise Refusal("InvalidFormat", f"metadata holds JSON values only, got a {type(value).__name__}", "metadata")


def check_launch(launch: LaunchConfig) -> None:
    """Refuse a launch config that no engine could run or whose texts would spill into files we write."""
    _check_image(launch.image_uuid)
    _check_ports(launch.ports)
    for volume in launch.data_volumes:
        _check_volume(volume)
    for port in launch.expose:
        _check_exposed(port)
    for entry in launch.extra_hosts:
        _check_extra_host(entry)
    for device in launch.devices:
        _check_device(device)
    for suffix in launch.dns_search:
        if not _SEARCH.match(suffix):
            raise Refusal("InvalidFormat", f"expected a domain name in dnsSearch, got {suffix[:60]!r}", "dnsSearch")
    if launch.restart_policy is not None and not _RESTART.match(launch.restart_policy):
        allowed = "no, always, unless-stopped or on-failure[:n]"
        raise Refusal(
            "InvalidOption", f"restartPolicy is {allowed}, got {launch.restart_policy[:60]!r}", "restartPolicy"
        )
    for field, sizes in (
        ("memory", launch.memory),
        ("memorySwap", launch.memory_swap),
        ("cpuShares", launch.cpu_shares),
    ):
        if sizes is not None and sizes < (-1 if field == "memorySwap" else 0):
            raise Refusal("MinLimitExceeded", f"{field} is not negative, got {sizes}", field)


def _check_image(image_uuid: str) -> None:
    image = image_uuid.removeprefix("docker:")
    if not image:
        raise Refusal("MissingRequired", "an image is needed, such as docker:nginx:1.8-alpine", "imageUuid")
    if image == image_uuid or not _IMAGE.match(image):
        message = f"expected docker:IMAGE as imageUuid, such as docker:nginx:1.8-alpine, got {image_uuid[:80]!r}"
        raise Refusal("InvalidFormat", message, "imageUuid")


def _check_ports(ports: tuple[str, ...]) -> None:
    if len(ports) > MAX_PORTS:
        raise Refusal("MaxLimitExceeded", f"a container publishes at most {MAX_PORTS} ports, got {len(ports)}", "ports")
    try:
        specs = [parse_port(text) for text in ports]
    except ValueError as error:
        raise Refusal("InvalidFormat", str(error), "ports") from None
    seen: list[tuple[str, int, str]] = []
    for spec in specs:
        if spec.public is None:
            continue
        for protocol, public, bind in seen:
            same = (protocol, public) == (spec.protocol, spec.public)
            if same and (bind == spec.bind or {bind, spec.bind} & {"", "0.0.0.0"}):
                raise Refusal("NotUnique", f"port {public}/{protocol} is published twice", "ports")
        seen.append((spec.protocol, spec.public, spec.bind))


def _check_volume(volume: str) -> None:
    parts = volume.split(":")
    inside = parts[1] if len(parts) > 1 else parts[0]
    options = parts[2] if len(parts) > 2 else "rw"
    is_odd = len(parts) > 3 or not inside.startswith("/") or not parts[0] or not _VOLUME_OPTIONS.match(options)
    if is_odd or _CONTROL.search(volume):
        message = f"expected /in/container, [/on/host or name]:/in/container[:ro] as a volume, got {volume[:80]!r}"
        raise Refusal("InvalidFormat", message, "dataVolumes")


def _check_exposed(port: str) -> None:
    match = _EXPOSED.match(port)
    if match is None or not 1 <= int(match[1]) <= LAST_PORT:
        message = f"expected a port from 1 to {LAST_PORT} with or without /tcp or /udp in expose, got {port[:80]!r}"
        raise Refusal("InvalidFormat", message, "expose")


def _check_extra_host(entry: str) -> None:
    name, _, address = entry.partition(":")
    try:
        ip_address(address)
    except ValueError:
        address = ""
    # A zone (`fe80::1%eth0`) may be any text, and is nothing for /etc/hosts.
    if not _SEARCH.match(name) or not address or "%" in address:
        message = f"expected NAME:IP in extraHosts, such as db:192.0.2.7, got {entry[:80]!r}"
        raise Refusal("InvalidFormat", message, "extraHosts")


def _check_device(device: str) -> None:
    if not _DEVICE.match(device):
        message = f"expected /dev/on/host[:/dev/in/container[:rwm]] in devices, got {device[:80]!r}"
        raise Refusal("InvalidFormat", message, "devices")
