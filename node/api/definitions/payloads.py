"""Types that are part of requests and answers only: what actions take and give, and records inside of resources.

Nothing of them is listed; a field of such a type is read and checked by these descriptions.  Rules: API.md 6.
"""

from node.api.definition import Definition, Field, define
from node.api.definitions.common import LABEL_CHARS
from node.api.definitions.launch import LAUNCH_CONFIG


def _taken(id_: str, /, **fields: Field) -> Definition:
    """A type that clients send."""
    return Definition(id=id_, plural=f"{id_}s", fields=fields, acl={"admin": "c", "project": "c"})


def _given(id_: str, /, **fields: Field) -> Definition:
    """A type that clients receive, or that belongs to an action that is never offered."""
    return Definition(id=id_, plural=f"{id_}s", fields=fields, acl={"admin": "", "project": ""})


def _batches() -> dict[str, Field]:
    return {
        "batchSize": define("int", "cN", default=1, min=1),
        "intervalMillis": define("int", "cN", default=2000, min=100),
    }


SECONDARY_LAUNCH_CONFIG = Definition(
    id="secondaryLaunchConfig",
    plural="secondaryLaunchConfigs",
    fields={
        **LAUNCH_CONFIG.fields,
        "name": define("string", "cR", min_length=1, max_length=63, valid_chars=LABEL_CHARS),
    },
    acl={"admin": "c", "project": "c"},
)

_SERVICES = (
    _taken(
        "serviceLink",
        name=define("string", "cN", valid_chars="a-zA-Z0-9-._"),
        serviceId=define("reference[service]", "cR"),
        uuid=define("string"),
    ),
    _taken("addRemoveServiceLinkInput", serviceLink=define("serviceLink", "cR")),
    _taken("setServiceLinksInput", serviceLinks=define("array[serviceLink]", "cN")),
    _taken(
        "loadBalancerServiceLink",
        ports=define("array[string]", "cN"),
        serviceId=define("reference[service]", "cR"),
        uuid=define("string"),
    ),
    _given("addRemoveLoadBalancerServiceLinkInput", serviceLink=define("loadBalancerServiceLink", "cR")),
    _given("setLoadBalancerServiceLinksInput", serviceLinks=define("array[loadBalancerServiceLink]", "cN")),
    _taken("rollingRestartStrategy", **_batches()),
    _taken("serviceRestart", rollingRestartStrategy=define("rollingRestartStrategy", "cR")),
    _given("serviceUpgradeStrategy", **_batches()),
    _taken(
        "inServiceUpgradeStrategy",
        **_batches(),
        launchConfig=define("launchConfig", "cN"),
        previousLaunchConfig=define("launchConfig", "N"),
        previousSecondaryLaunchConfigs=define("array[secondaryLaunchConfig]"),
        secondaryLaunchConfigs=define("array[secondaryLaunchConfig]", "c"),
        startFirst=define("boolean", "c", default=False),
    ),
    _taken(
        "toServiceUpgradeStrategy",
        **_batches(),
        finalScale=define("int", "cN", default=1, min=1),
        toServiceId=define("reference[service]", "c"),
        updateLinks=define("boolean", "c"),
    ),
    _taken(
        "serviceUpgrade",
        inServiceStrategy=define("inServiceUpgradeStrategy", "cN"),
        toServiceStrategy=define("toServiceUpgradeStrategy", "cN"),
    ),
    _taken("recreateOnQuorumStrategyConfig", quorum=define("int", "cNR")),
    _taken(
        "instanceHealthCheck",
        healthyThreshold=define("int", "cN"),
        initializingTimeout=define("int", "cN"),
        interval=define("int", "cN"),
        name=define("string", "cuN"),
        port=define("int", "cNR", min=1, max=65535),
        recreateOnQuorumStrategyConfig=define("recreateOnQuorumStrategyConfig", "cN"),
        reinitializingTimeout=define("int", "cN"),
        requestLine=define("string", "cN"),
        responseTimeout=define("int", "cN"),
        strategy=define("enum", "cN", default="recreate", options=("none", "recreate", "recreateOnQuorum")),
        unhealthyThreshold=define("int", "cN"),
    ),
)

_STACKS = (
    _given("addOutputsInput", outputs=define("map[string]", "cR")),
    _given("composeConfig", dockerComposeConfig=define("string"), rancherComposeConfig=define("string")),
    _taken("composeConfigInput", serviceIds=define("array[reference[service]]", "cN")),
    _taken(
        "environmentUpgrade",
        dockerCompose=define("string", "c"),
        environment=define("map[string]", "c"),
        externalId=define("string", "c"),
        rancherCompose=define("string", "c"),
    ),
    _taken(
        "servicesPortRange",
        endPort=define("int", "cuNR", min=1, max=65535),
        startPort=define("int", "cuNR", min=1, max=65535),
    ),
)

_CONTAINERS = (
    _taken(
        "dockerBuild",
        context=define("string", "cN"),
        dockerfile=define("string", "cN"),
        forcerm=define("boolean", "c"),
        nocache=define("boolean", "c"),
        remote=define("string", "cN"),
        rm=define("boolean", "c"),
    ),
    _taken("setLabelsInput", labels=define("json", "c")),
    _given("instanceConsole", kind=define("string"), password=define("string"), url=define("string")),
    _given("instanceConsoleInput"),
    _taken("ipAddressAssociateInput", ipAddressId=define("reference[ipAddress]", "c")),
    _taken(
        "virtualMachineDisk",
        driver=define("string", "c"),
        name=define("string", "cN", min_length=2, valid_chars="a-z0-9_.-"),
        opts=define("map[string]", "c"),
        root=define("boolean", "c"),
        size=define("string", "c", default="40g"),
    ),
)

_BALANCERS = (
    _taken("haproxyConfig", **{"defaults": define("string", "cuN"), "global": define("string", "cuN")}),
    _taken(
        "loadBalancerCookieStickinessPolicy",
        cookie=define("string", "cu"),
        domain=define("string", "cu"),
        indirect=define("boolean", "cuN"),
        mode=define("enum", "cu", options=("rewrite", "insert", "prefix")),
        name=define("string", "cu"),
        nocache=define("boolean", "cuN"),
        postonly=define("boolean", "cuN"),
    ),
    _taken(
        "loadBalancerAppCookieStickinessPolicy",
        cookie=define("string", "cuR"),
        maxLength=define("int", "cuNR"),
        mode=define("enum", "cu", options=("path_parameters", "query_string")),
        name=define("string", "cu"),
        prefix=define("boolean", "cuN"),
        requestLearn=define("boolean", "cuN"),
        timeout=define("int", "cuNR"),
    ),
    _taken(
        "loadBalancerConfig",
        haproxyConfig=define("haproxyConfig", "cuN"),
        lbCookieStickinessPolicy=define("loadBalancerCookieStickinessPolicy", "cuN"),
    ),
)

PAYLOADS: tuple[Definition, ...] = (SECONDARY_LAUNCH_CONFIG, *_SERVICES, *_STACKS, *_CONTAINERS, *_BALANCERS)
