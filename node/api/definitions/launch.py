"""launchConfig and the configuration part of a container: one set of fields, to and from node.model.LaunchConfig.

A field marked `later` is known and described, but accepted only at its default: nothing is taken and then ignored.
"""

import msgspec

from node.api.definition import Definition, Field, Input, Values, define
from node.api.errors import ApiError
from node.api.ids import format_id
from node.model import LaunchConfig

CAPABILITIES = (
    "ALL", "AUDIT_CONTROL", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
    "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD",
    "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG",
    "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
)  # fmt: skip

_TEXTS = "array[string]"
_SIDEKICKS = "containers that share volumes or a network come with sidekicks, which this version does not have"
_REGISTRIES = "private registries are not built yet; have the image on the hosts"
_MACHINES = "virtual machines are not built"

CONFIG_FIELDS: dict[str, Field] = {
    "build": define("dockerBuild", "cN", later="build the image, push it, and name it in imageUuid"),
    "capAdd": define("array[enum]", "cN", options=CAPABILITIES),
    "capDrop": define("array[enum]", "cN", options=CAPABILITIES),
    "command": define(_TEXTS, "cN"),
    "count": define("int", "cN", later="create one container per request, or a service with that scale"),
    "cpuSet": define("string", "cN"),
    "cpuShares": define("int", "cN"),
    "dataVolumeMounts": define("map[reference[volume]]", "cN", later="name volumes in dataVolumes"),
    "dataVolumes": define(_TEXTS, "cN"),
    "dataVolumesFrom": define("array[reference[container]]", "cN", later=_SIDEKICKS),
    "devices": define(_TEXTS, "cN"),
    "dns": define(_TEXTS, "cN"),
    "dnsSearch": define(_TEXTS, "cN"),
    "domainName": define("string", "cN"),
    "entryPoint": define(_TEXTS, "cN"),
    "environment": define("map[string]", "c"),
    "expose": define(_TEXTS, "cN"),
    "extraHosts": define(_TEXTS, "cN"),
    "healthCheck": define("instanceHealthCheck", "cN", later="health checks are not built yet"),
    "hostname": define("string", "cN", min_length=1, max_length=255, is_filter=True),
    "imageUuid": define("string", "cN"),
    "instanceLinks": define(
        "map[reference[instance]]", "cN", later="containers reach each other by name without links"
    ),
    "labels": define("map[string]", "c"),
    "logConfig": define("logConfig", "cN"),
    "lxcConf": define("map[string]", "cN", later="Docker has no LXC driver any more"),
    "memory": define("int", "cN"),
    "memorySwap": define("int", "cN"),
    "networkContainerId": define("reference[container]", "cN", max_length=255, later=_SIDEKICKS),
    "networkIds": define("array[reference[network]]", "cN", later="choose a network by networkMode"),
    "networkMode": define(
        "enum", "cN", options=("none", "bridge", "host", "managed", "container"), default="managed", is_filter=False
    ),
    "pidMode": define("enum", "cN", options=("host",), is_filter=False),
    "ports": define(_TEXTS, "cN"),
    "privileged": define("boolean", "c", default=False),
    "publishAllPorts": define("boolean", "c", default=False),
    "readOnly": define("boolean", "c", default=False),
    "registryCredentialId": define("reference[registryCredential]", "cN", max_length=255, later=_REGISTRIES),
    "requestedHostId": define("reference[host]", "cN"),
    "restartPolicy": define("restartPolicy", "cN"),
    "securityOpt": define(_TEXTS, "cN"),
    "startOnCreate": define("boolean", "c", default=True),
    "stdinOpen": define("boolean", "c", default=False),
    "tty": define("boolean", "c", default=False),
    "user": define("string", "cN", min_length=1),
    "version": define("string", default="0", max_length=255),
    "volumeDriver": define("string", "cN"),
    "workingDir": define("string", "cN", min_length=1),
}

_LAUNCH_ONLY: dict[str, Field] = {
    "dataVolumesFromLaunchConfigs": define(_TEXTS, "cN", later=_SIDEKICKS),
    "description": define("string", "cN", max_length=1024),
    "disks": define("array[virtualMachineDisk]", "cN", later=_MACHINES),
    "kind": define("enum", "cN", max_length=255, options=("container", "virtualMachine"), default="container"),
    "memoryMb": define("int", "cN", max_length=255, later=_MACHINES),
    "networkLaunchConfig": define("string", "cN", later=_SIDEKICKS),
    "requestedIpAddress": define("string", "cN", later="addresses are chosen by the cluster"),
    "userdata": define("string", "cN", max_length=65535, later=_MACHINES),
    "vcpu": define("int", "cN", default=1, later=_MACHINES),
}

LAUNCH_CONFIG = Definition(
    id="launchConfig",
    plural="launchConfigs",
    fields=dict(sorted({**CONFIG_FIELDS, **_LAUNCH_ONLY}.items())),
    acl={"admin": "c", "project": "c"},
)
RESTART_POLICY = Definition(
    id="restartPolicy",
    plural="restartPolicys",
    fields={"maximumRetryCount": define("int", "c"), "name": define("string", "cu")},
    acl={"admin": "c", "project": "c"},
)
LOG_CONFIG = Definition(
    id="logConfig",
    plural="logConfigs",
    fields={"config": define("map[string]", "cN"), "driver": define("string", "cN")},
    acl={"admin": "c", "project": "c"},
)

_SAME_NAME = (
    "command", "cpuSet", "cpuShares", "domainName", "entryPoint", "hostname", "imageUuid", "memory", "memorySwap",
    "networkMode", "pidMode", "privileged", "publishAllPorts", "readOnly", "requestedHostId", "stdinOpen", "tty",
    "user", "volumeDriver", "workingDir", "capAdd", "capDrop", "dataVolumes", "devices", "dns", "dnsSearch",
    "environment", "expose", "extraHosts", "labels", "ports", "securityOpt",
)  # fmt: skip
"""Fields that the model has under the same name."""


def launch_of(data: Input) -> LaunchConfig:
    """Turn checked input into the model's record."""
    if data.get("imageUuid") is None:
        raise ApiError("MissingRequired", "an image is needed, such as docker:nginx:1.8-alpine", field="imageUuid")
    if data.get("kind") == "virtualMachine":
        raise ApiError("InvalidOption", f"{_MACHINES}; leave kind out", field="kind")
    if data.get("networkMode") == "container":
        raise ApiError("InvalidOption", _SIDEKICKS, field="networkMode")
    wanted = {name: data[name] for name in _SAME_NAME if data.get(name) is not None}
    log = data.get("logConfig") or {}
    wanted |= {"logDriver": log.get("driver"), "logOptions": log.get("config") or {}}
    wanted["restartPolicy"] = _restart_text(data.get("restartPolicy") or {})
    try:
        return msgspec.convert(wanted, LaunchConfig)
    except msgspec.ValidationError as error:
        raise ApiError("InvalidFormat", str(error), field="launchConfig") from None


def _restart_text(policy: Input) -> str | None:
    name = policy.get("name")
    count = policy.get("maximumRetryCount")
    return f"{name}:{count}" if name == "on-failure" and count is not None else name


def launch_values(launch: LaunchConfig) -> Values:
    """Return what is set, under the API's names, with the defaults that clients look for."""
    values: Values = msgspec.to_builtins(launch)
    driver, options = values.pop("logDriver", None), values.pop("logOptions", {})
    if driver is not None or options:
        values["logConfig"] = {"type": "logConfig", "config": options, "driver": driver}
    if (restart := values.pop("restartPolicy", None)) is not None:
        name, _, count = str(restart).partition(":")
        retries = int(count) if count.isdigit() else None
        values["restartPolicy"] = {"type": "restartPolicy", "maximumRetryCount": retries, "name": name}
    values["requestedHostId"] = format_id("host", launch.requested_host_id)
    return {**_defaults(CONFIG_FIELDS), **values}


def launch_config_values(launch: LaunchConfig) -> Values:
    """Return the value of a service's launchConfig: what is set and the defaults, null fields left out."""
    values = {**_defaults(_LAUNCH_ONLY), **launch_values(launch)}
    shown = {name: values[name] for name in sorted(values) if values[name] is not None}
    return {"type": "launchConfig", **shown}


def _defaults(fields: dict[str, Field]) -> Values:
    return {name: spec.default for name, spec in fields.items() if spec.default is not None}
