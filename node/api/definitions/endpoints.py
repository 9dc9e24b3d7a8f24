"""publicEndpoint: where a running container's published ports are reached."""

from collections.abc import Iterable

from node.api.call import Call
from node.api.definition import Definition, Values, define
from node.api.ids import format_id
from node.model import Container

PUBLIC_ENDPOINT = Definition(
    id="publicEndpoint",
    plural="publicEndpoints",
    fields={
        "hostId": define("reference[host]"),
        "instanceId": define("reference[instance]"),
        "ipAddress": define("string"),
        "port": define("int", "N"),
        "serviceId": define("reference[service]"),
    },
    acl={"admin": "", "project": ""},
)


def endpoints_of(call: Call, containers: Iterable[Container]) -> list[Values]:
    """Return the endpoints of those of the containers that run."""
    return [
        {
            "type": "publicEndpoint",
            "hostId": format_id("host", row.host_id),
            "instanceId": format_id("instance", row.id),
            "ipAddress": port.bind if port.bind not in ("", "0.0.0.0") else host.address,
            "port": port.public,
            "serviceId": format_id("service", row.service_id),
        }
        for row in containers
        if row.seen.status == "running"
        and row.removed is None
        and row.host_id is not None
        and (host := call.state.hosts.get(row.host_id)) is not None
        for port in row.ports
    ]
