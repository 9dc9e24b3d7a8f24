"""Types that clients of Rancher know and that there can be none of here yet: they list nothing and say why.

Their fields, links and actions are described in full, so that clients find what they look for; nothing of them can
be made, and an attempt is refused with the reason.
"""

from collections.abc import Mapping

from node.api.definition import Action, Definition, Field, define
from node.api.definitions.common import (
    CONTAINER_STATES,
    CREATED_STATES,
    CREDENTIAL_STATES,
    DEFAULT_PROCESSES,
    DEFAULT_STATES,
    LABEL_CHARS,
    MACHINE_STATES,
    MAP_STATES,
    SERVICE_STATES,
    STACK_STATES,
    common_fields,
    refused,
)
from node.api.definitions.launch import CONFIG_FIELDS

_BALANCERS = "load balancers are not built yet; publish a port of the service instead"
_ALIASES = "DNS services are not built yet; link to the services themselves under the alias"
_EXTERNALS = "external services are not built yet"
_COMPOSE_AGENT = "Corral reads compose files itself and has no services of Docker Compose's"
_KUBERNETES = "Corral runs its own scheduler only"
_MACHINES = "hosts join by running the command of a registrationToken; Corral makes no machines"
_VIRTUAL = "virtual machines are not built"
_AGENTS = "Corral has no agents apart from its nodes: see clusterMember"
_SNAPSHOTS = "snapshots of volumes are not built"
_PULLS = "images are pulled when a container needs them; pulling ahead is not built yet"
_REGISTERING = "hosts join by running the command of a registrationToken"
_CERTIFICATES = "certificates are not built yet"
_REGISTRIES = "private registries are not built yet; have the image on the hosts"
_EVENTS = "a host's agent reports what it sees to the cluster itself, not through the API"
_HEALTH = "health checks are not built yet"
_AUDIT = "an audit log is not built yet"
_LINKS = "containers reach each other by name without links"
_PROXIES = "a service's ports are reached directly, not through the API"


def _absent(
    id_: str,
    why: str,
    fields: Mapping[str, Field],
    actions: tuple[Action, ...] = (),
    *,
    plural: str | None = None,
    is_admins_only: bool = False,
) -> Definition:
    return Definition(
        id=id_,
        plural=plural or f"{id_}s",
        fields=fields,
        actions=actions,
        acl={"admin": "r"} if is_admins_only else {"admin": "r", "project": "r"},
        later=why,
        rows=lambda call: (),
    )


_SERVICE_NAME = define("string", "cuNR", min_length=1, max_length=63, valid_chars=LABEL_CHARS)
_SERVICE_FIELDS: dict[str, Field] = {
    **common_fields(SERVICE_STATES),
    "assignServiceIpAddress": define("boolean", "c", default=False, is_filter=False),
    "environmentId": define("reference[environment]", "cR", max_length=255),
    "externalId": define("string", "N", max_length=255),
    "fqdn": define("string", "N", is_filter=False),
    "healthState": define("string", "N", max_length=128),
    "launchConfig": define("launchConfig", "cN"),
    "metadata": define("map[json]", "cuN"),
    "name": _SERVICE_NAME,
    "publicEndpoints": define("array[publicEndpoint]", "N"),
    "retainIp": define("boolean", "cN", is_filter=False),
    "scale": define("int", "cu", default=1, is_filter=False),
    "selectorContainer": define("string", "cuN", max_length=4096),
    "selectorLink": define("string", "cuN", max_length=4096),
    "startOnCreate": define("boolean", "cN", default=False, is_filter=False),
    "upgrade": define("serviceUpgrade", "N"),
    "vip": define("string", "cN", max_length=255),
}


def _service_fields(*missing: str, **more: Field) -> dict[str, Field]:
    return {**{name: spec for name, spec in _SERVICE_FIELDS.items() if name not in missing}, **more}


def _service_actions(why: str, kind: str = "Service") -> tuple[Action, ...]:
    """Those of every service; links to a load balancer have inputs of their own."""
    one, many = f"addRemove{kind}LinkInput", f"set{kind}LinksInput"
    plain = (
        "activate", "cancelrollback", "cancelupgrade", "create", "deactivate", "finishupgrade", "remove", "rollback",
        "update",
    )  # fmt: skip
    return (
        *refused("service", why, *plain),
        *refused("service", why, "restart", input="serviceRestart"),
        *refused("service", why, "upgrade", input="serviceUpgrade"),
        *refused("service", why, "addservicelink", "removeservicelink", input=one),
        *refused("service", why, "setservicelinks", input=many),
    )


_SERVICES = (
    _absent(
        "loadBalancerService",
        _BALANCERS,
        _service_fields(
            "selectorContainer",
            certificateIds=define("array[reference[certificate]]", "cuN"),
            defaultCertificateId=define("reference[certificate]", "cuN", is_filter=False),
            loadBalancerConfig=define("loadBalancerConfig", "cuN"),
        ),
        _service_actions(_BALANCERS, "LoadBalancerService"),
    ),
    _absent(
        "dnsService",
        _ALIASES,
        _service_fields("publicEndpoints", "scale", "selectorContainer", "vip"),
        _service_actions(_ALIASES),
    ),
    _absent(
        "externalService",
        _EXTERNALS,
        _service_fields(
            "assignServiceIpAddress", "publicEndpoints", "retainIp", "scale", "selectorContainer", "selectorLink",
            "vip",
            externalIpAddresses=define("array[string]", "cuN"),
            healthCheck=define("instanceHealthCheck", "cN"),
            hostname=define("string", "cuN", is_filter=False),
        ),
        _service_actions(_EXTERNALS),
    ),
    _absent(
        "composeService",
        _COMPOSE_AGENT,
        _service_fields("assignServiceIpAddress", "metadata", "retainIp", "upgrade"),
        _service_actions(_COMPOSE_AGENT),
    ),
    _absent(
        "kubernetesService",
        _KUBERNETES,
        _service_fields(
            "assignServiceIpAddress", "fqdn", "launchConfig", "metadata", "publicEndpoints", "retainIp", "scale",
            "selectorLink", "startOnCreate", "upgrade",
            selectorContainer=define("string", "N", max_length=4096),
            template=define("json"),
            vip=define("string", "N", max_length=255),
        ),
        _service_actions(_KUBERNETES),
    ),
)  # fmt: skip

_STACKS = (
    _absent(
        "composeProject",
        _COMPOSE_AGENT,
        {
            **common_fields(STACK_STATES),
            "environment": define("map[string]", "c"),
            "externalId": define("string", "cuN", max_length=128),
            "healthState": define("string", "N", max_length=128),
            "name": define("string", "cNR", min_length=1, max_length=63, valid_chars=LABEL_CHARS),
            "previousEnvironment": define("map[string]", "cuN"),
            "previousExternalId": define("string", "cuN", is_filter=False),
            "templates": define("map[string]", "cR"),
        },
        (
            *refused(
                "environment", _COMPOSE_AGENT, "activateservices", "cancelrollback", "cancelupgrade", "create",
                "deactivateservices", "error", "finishupgrade", "remove", "rollback", "update",
            ),
            *refused("environment", _COMPOSE_AGENT, "addoutputs", input="addOutputsInput"),
            *refused("environment", _COMPOSE_AGENT, "upgrade", input="environmentUpgrade"),
            *refused("composeConfig", _COMPOSE_AGENT, "exportconfig", input="composeConfigInput"),
        ),
    ),
)  # fmt: skip

_NO_MACHINE_FIELDS = (
    "build", "capAdd", "capDrop", "dataVolumeMounts", "dataVolumes", "dataVolumesFrom", "devices", "entryPoint",
    "environment", "lxcConf", "networkContainerId", "pidMode", "privileged", "publishAllPorts", "readOnly",
    "stdinOpen", "tty", "user", "workingDir",
)  # fmt: skip
_INSTANCE_PROCESSES = (
    "allocate", "create", "deallocate", "error", "migrate", "purge", "remove", "restart", "restore", "start", "update",
    "updatehealthy", "updatereinitializing", "updateunhealthy",
)  # fmt: skip
_TEXTS = "array[string]"
_MACHINES_AND_HOSTS = (
    _absent(
        "virtualMachine",
        _VIRTUAL,
        {
            **common_fields(CONTAINER_STATES),
            **{name: spec for name, spec in CONFIG_FIELDS.items() if name not in _NO_MACHINE_FIELDS},
            "createIndex": define("int", "N", max_length=255),
            "deploymentUnitUuid": define("string", "N", max_length=128),
            "disks": define("array[virtualMachineDisk]", "cN"),
            "externalId": define("string", "N", max_length=128),
            "firstRunning": define("date", "N", max_length=255),
            "healthState": define(
                "enum",
                "N",
                max_length=128,
                options=("healthy", "unhealthy", "updating-healthy", "updating-unhealthy", "initializing"),
            ),
            "hostId": define("reference[host]", "N", is_filter=False),
            "memoryMb": define("int", "cN", default=512, max_length=255),
            "nativeContainer": define("boolean", max_length=255),
            "primaryIpAddress": define("string", is_filter=False),
            "startCount": define("int", "N", max_length=255),
            "systemContainer": define("enum", "N", max_length=128, options=("NetworkAgent", "LoadBalancerAgent")),
            "userdata": define("string", "cN", max_length=65535),
            "vcpu": define("int", "cN", default=1, is_filter=False),
        },
        (
            *refused("instance", _VIRTUAL, *_INSTANCE_PROCESSES),
            *refused("instance", _VIRTUAL, "stop", input="instanceStop"),
            *refused("instanceConsole", _VIRTUAL, "console", input="instanceConsoleInput"),
            *refused("hostAccess", _VIRTUAL, "logs", input="containerLogs"),
            *refused("hostAccess", _VIRTUAL, "execute", input="containerExec"),
            *refused("hostAccess", _VIRTUAL, "proxy", input="containerProxy"),
            *refused("container", _VIRTUAL, "setlabels", input="setLabelsInput"),
        ),
    ),
    _absent(
        "machine",
        _MACHINES,
        {
            **common_fields(MACHINE_STATES),
            **{name: define("string", "cN", is_filter=False) for name in (
                "authCertificateAuthority", "authKey", "dockerVersion", "engineInstallUrl", "engineStorageDriver",
            )},
            **{name: define("map[string]", "cN") for name in ("engineEnv", "engineLabel", "engineOpt", "labels")},
            **{name: define(_TEXTS, "cN") for name in ("engineInsecureRegistry", "engineRegistryMirror")},
            "driver": define("string", "N", max_length=128),
            "externalId": define("string", "N", max_length=128),
            "extractedConfig": define("string", "uN", is_filter=False, admin_only=True),
            "name": define("string", "cR", min_length=1),
        },
        refused("physicalHost", _MACHINES, "bootstrap", "create", "error", "remove", "update"),
    ),
    _absent(
        "agent",
        _AGENTS,
        {
            **common_fields(tuple(sorted((*DEFAULT_STATES, "reconnecting")))),
            "managedConfig": define("boolean", default=True, max_length=255),
            "uri": define("string", "NU", max_length=255),
        },
        refused("agent", _AGENTS, *DEFAULT_PROCESSES, "reconnect"),
        is_admins_only=True,
    ),
    _absent(
        "register",
        _REGISTERING,
        {
            **common_fields(DEFAULT_STATES),
            "accessKey": define("string", is_filter=False),
            "key": define("string", "cNR", max_length=255),
            "secretKey": define("string", is_filter=False),
        },
        (
            *refused("genericObject", _REGISTERING, *DEFAULT_PROCESSES),
            *refused("instance", _REGISTERING, "stop", input="instanceStop"),
        ),
        plural="register",
    ),
)  # fmt: skip

_STORED = (
    _absent(
        "snapshot",
        _SNAPSHOTS,
        {
            **common_fields(("backed-up", "backing-up", "created", "creating", "removed", "removing", "requested")),
            "managedVolumeUUID": define("string", "N", is_filter=False),
            "volumeId": define("reference[volume]", "cR", max_length=255),
        },
        refused("snapshot", _SNAPSHOTS, "backup", "create", "remove"),
    ),
    _absent(
        "pullTask",
        _PULLS,
        {
            **common_fields(DEFAULT_STATES),
            "image": define("string", "cR", is_filter=False),
            "labels": define("map[string]", "c"),
            "mode": define("enum", "cR", default="all", options=("all", "cached"), is_filter=False),
            "status": define("map[string]"),
        },
        refused("genericObject", _PULLS, *DEFAULT_PROCESSES),
    ),
    _absent(
        "certificate",
        _CERTIFICATES,
        {
            **common_fields((*MAP_STATES, "updating-active")),
            **{name: define("string", is_filter=False) for name in (
                "CN", "algorithm", "certFingerprint", "expiresAt", "issuedAt", "issuer", "serialNumber", "version",
            )},
            "accountId": define("reference[account]", "cN", max_length=255, admin_create=True),
            "cert": define("string", "cuR", max_length=65535),
            "certChain": define("string", "cuN", max_length=65535),
            "key": define("string", "cuR", max_length=65535, is_once=True),
            "keySize": define("int", is_filter=False),
            "name": define("string", "cuNRU", max_length=255),
            "subjectAlternativeNames": define(_TEXTS),
        },
        refused("certificate", _CERTIFICATES, "create", "remove", "update"),
    ),
    _absent(
        "registry",
        _REGISTRIES,
        {
            **common_fields(DEFAULT_STATES),
            "driverName": define("string", "N", max_length=255),
            "externalId": define("string", "N", max_length=128),
            "serverAddress": define("string", "cR", min_length=1, is_filter=False),
        },
        refused("storagePool", _REGISTRIES, *DEFAULT_PROCESSES),
        plural="registries",
    ),
    _absent(
        "registryCredential",
        _REGISTRIES,
        {
            **common_fields(CREDENTIAL_STATES),
            "email": define("string", "cuR", min_length=1, is_filter=False),
            "publicValue": define("string", "cuN", max_length=4096),
            "registryId": define("reference[registry]", "cR", max_length=255),
            "secretValue": define("password", "cuN", max_length=4096),
        },
        refused("credential", _REGISTRIES, *(name for name in DEFAULT_PROCESSES if name != "restore")),
    ),
)  # fmt: skip


def _event_fields(*missing: str, **more: Field) -> dict[str, Field]:
    common = {name: spec for name, spec in common_fields(CREATED_STATES).items() if name not in missing}
    return {**common, **more}


_REPORTED = define("reference[account]", "N", max_length=255)
_PLAIN = define("string", "N", max_length=255)
_EVENTS_TYPES = (
    _absent(
        "containerEvent",
        _EVENTS,
        _event_fields(
            "description", "name", "removed", "uuid",
            dockerInspect=define("json"),
            externalFrom=_PLAIN,
            externalId=_PLAIN,
            externalStatus=_PLAIN,
            externalTimestamp=define("int", "N", max_length=255),
            hostId=define("reference[host]", "N", max_length=255),
            reportedHostUuid=_PLAIN,
        ),
        refused("containerEvent", _EVENTS, "create", "remove"),
    ),
    _absent(
        "serviceEvent",
        _HEALTH,
        _event_fields(
            externalTimestamp=define("int", "N", max_length=255),
            healthcheckUuid=_PLAIN,
            hostId=define("reference[host]", "N", max_length=255),
            instanceId=define("reference[instance]", "N", max_length=255),
            reportedHealth=_PLAIN,
        ),
        refused("serviceEvent", _HEALTH, "create", "remove"),
    ),
    _absent(
        "externalEvent",
        _EVENTS,
        _event_fields(
            "description", "name", "removed", eventType=_PLAIN, externalId=_PLAIN, reportedAccountId=_REPORTED
        ),
        refused("externalEvent", _EVENTS, "create", "remove"),
    ),
    _absent(
        "externalHostEvent",
        _EVENTS,
        _event_fields(
            "description", "name", "removed",
            deleteHost=define("boolean", "c", default=False, is_filter=False),
            eventType=define("string", "cN", max_length=255),
            externalId=_PLAIN,
            hostId=define("reference[host]", "cN", is_filter=False),
            hostLabel=define("string", "cN", is_filter=False),
            reportedAccountId=_REPORTED,
        ),
        refused("externalEvent", _EVENTS, "create", "remove"),
    ),
    _absent(
        "healthcheckInstanceHostMap",
        _HEALTH,
        {
            **common_fields(MAP_STATES),
            "healthState": define("string", "N", max_length=128),
            "hostId": define("reference[host]", "N", max_length=255),
            "instanceId": define("reference[instance]", "N", max_length=255),
        },
        refused("healthcheckInstanceHostMap", _HEALTH, "create", "remove"),
    ),
    _absent(
        "instanceLink",
        _LINKS,
        {
            **common_fields(DEFAULT_STATES),
            "instanceId": define("reference[instance]", "N", max_length=255),
            "linkName": _PLAIN,
            "ports": define("array[json]", admin_only=True),
            "targetInstanceId": define("reference[instance]", "uN", max_length=255),
        },
        refused("instanceLink", _LINKS, *DEFAULT_PROCESSES),
    ),
    _absent(
        "auditLog",
        _AUDIT,
        {
            "accountId": define("reference[account]", "N", max_length=255),
            "authType": define(
                "enum",
                "NR",
                max_length=255,
                options=("AdminAuth", "BasicAuth", "RegistrationToken", "TokenAccount", "TokenAuth"),
            ),
            "authenticatedAsAccountId": define("reference[account]", "N", max_length=255),
            "authenticatedAsIdentityId": define("reference[identity]", "N", max_length=255),
            "clientIp": _PLAIN,
            "created": define("date", "N", max_length=255),
            "description": define("string", "N", max_length=1024),
            "eventType": _PLAIN,
            "id": define("int", "N"),
            "kind": define("string", "N", max_length=255),
            "requestObject": define("string", is_filter=False),
            "resourceId": define("int", "N", max_length=255),
            "resourceType": _PLAIN,
            "responseCode": define("string", is_filter=False),
            "responseObject": define("string", is_filter=False),
        },
    ),
    _absent(
        "serviceProxy",
        _PROXIES,
        {
            "port": define("int", "cN", default=80, min=0, is_filter=False),
            "scheme": define("enum", "c", default="http", options=("http", "https"), is_filter=False),
            "service": define("string", "cR", min_length=1, is_filter=False),
            "token": define("string", is_filter=False),
            "url": define("string", is_filter=False),
        },
        plural="serviceProxies",
    ),
)  # fmt: skip

ABSENT: tuple[Definition, ...] = (*_SERVICES, *_STACKS, *_MACHINES_AND_HOSTS, *_STORED, *_EVENTS_TYPES)
