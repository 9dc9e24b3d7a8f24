"""`POST scripts/transform`: a container as Docker inspects it, turned into the API's form of one (API.md 4.4).

Pure, and equal bodies give equal answers byte for byte: clients hash them to see whether a service has changed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from node.api.errors import ApiError

Json = dict[str, Any]

MAX_ITEMS = 4096


def transform(body: Mapping[str, Any]) -> Json:
    """Return the container that `{"Name", "Config", "HostConfig"}` describes; nothing for nothing."""
    if not body:
        return {}
    config, host = _object(body, "Config"), _object(body, "HostConfig")
    image = _text(config, "Image")
    found: Json = {
        "capAdd": _texts(host, "CapAdd"),
        "capDrop": _texts(host, "CapDrop"),
        "command": _texts(config, "Cmd"),
        "cpuSet": _text(host, "CpusetCpus") or _text(config, "Cpuset"),
        "cpuShares": _number(host, "CpuShares") or _number(config, "CpuShares"),
        "dataVolumes": [*sorted(_object(config, "Volumes")), *_texts(host, "Binds")],
        "devices": _devices(host),
        "dns": _texts(host, "Dns"),
        "dnsSearch": _texts(host, "DnsSearch"),
        "domainName": _text(config, "Domainname"),
        "entryPoint": _texts(config, "Entrypoint"),
        "environment": _environment(config),
        "extraHosts": _texts(host, "ExtraHosts") if host.get("ExtraHosts") is not None else None,
        "hostname": _text(config, "Hostname"),
        "imageUuid": f"docker:{image}" if image else None,
        "kind": "container",
        "labels": _strings(config, "Labels"),
        "logConfig": _log_config(host),
        "memory": _number(host, "Memory") or _number(config, "Memory"),
        "memorySwap": _number(host, "MemorySwap") or _number(config, "MemorySwap"),
        "name": (_text(body, "Name") or "").removeprefix("/") or None,
        "networkMode": _network_mode(host),
        "pidMode": _text(host, "PidMode"),
        "ports": _ports(config, host),
        "privileged": _flag(host, "Privileged"),
        "publishAllPorts": _flag(host, "PublishAllPorts"),
        "readOnly": _flag(host, "ReadonlyRootfs"),
        "restartPolicy": _restart_policy(host),
        "securityOpt": _texts(host, "SecurityOpt") if host.get("SecurityOpt") is not None else None,
        "stdinOpen": _flag(config, "OpenStdin"),
        "tty": _flag(config, "Tty"),
        "user": _text(config, "User"),
        "workingDir": _text(config, "WorkingDir"),
    }
    return {"type": "container", "links": {}, "actions": {}, **found}


def _network_mode(host: Mapping[str, Any]) -> str:
    mode = _text(host, "NetworkMode") or "bridge"
    if mode.startswith("container:"):
        detail = "a container's network is named by an id that only its host knows; use networkLaunchConfig"
        raise ApiError("InvalidOption", detail, field="networkMode")
    return mode


def _ports(config: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    """What is published; a port that is only exposed is not."""
    bindings = _object(host, "PortBindings")
    ports = []
    for port in sorted(_object(config, "ExposedPorts"), key=_port_order):
        for binding in _objects(bindings, port):
            public, address = _text(binding, "HostPort") or "", _text(binding, "HostIp")
            # An address must not get lost: the port would be open on all of them.
            where = f"{address}:" if address not in (None, "0.0.0.0") else ""
            ports.append(f"{where}{public}:{port}" if public or where else port)
    return ports


def _port_order(port: str) -> tuple[int, str]:
    number = port.partition("/")[0]
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 0, port)


def _devices(host: Mapping[str, Any]) -> list[str]:
    names = ("PathOnHost", "PathInContainer", "CgroupPermissions")
    return [":".join(_text(device, name) or "" for name in names) for device in _objects(host, "Devices")]


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    pairs = (item.partition("=") for item in _texts(config, "Env"))
    return {name: value for name, _, value in pairs}


def _log_config(host: Mapping[str, Any]) -> Json | None:
    config = _object(host, "LogConfig")
    driver = _text(config, "Type")
    return None if driver is None else {"driver": driver, "config": _strings(config, "Config")}


def _restart_policy(host: Mapping[str, Any]) -> Json | None:
    policy = _object(host, "RestartPolicy")
    name = _text(policy, "Name")
    count = _number(policy, "MaximumRetryCount") or 0
    return None if name is None else {"name": name, "maximumRetryCount": count}


def _wrong(name: str, wanted: str) -> ApiError:
    return ApiError("InvalidFormat", f"{name} must be {wanted}", field=name[:60])


def _object(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = source.get(name)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
        raise _wrong(name, f"an object of at most {MAX_ITEMS} entries")
    return value


def _list(source: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = source.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise _wrong(name, f"an array of at most {MAX_ITEMS} entries")
    return value


def _objects(source: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    items = _list(source, name)
    if not all(isinstance(item, Mapping) for item in items):
        raise _wrong(name, "an array of objects")
    return list(items)


def _texts(source: Mapping[str, Any], name: str) -> list[str]:
    items = _list(source, name)
    if not all(isinstance(item, str) for item in items):
        raise _wrong(name, "an array of texts")
    return list(items)


def _strings(source: Mapping[str, Any], name: str) -> dict[str, str]:
    items = _object(source, name)
    if not all(isinstance(item, str) for item in items.values()):
        raise _wrong(name, "an object of texts")
    return {key: items[key] for key in sorted(items)}


def _text(source: Mapping[str, Any], name: str) -> str | None:
    """A text; nothing and "" are None."""
    value = source.get(name)
    if value is not None and not isinstance(value, str):
        raise _wrong(name, "text")
    return value or None


def _number(source: Mapping[str, Any], name: str) -> int | None:
    """A whole number; nothing and 0 are None."""
    value = source.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong(name, "a whole number")
    return value or None


def _flag(source: Mapping[str, Any], name: str) -> bool:
    value = source.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "true or false")
    return bool(value)
