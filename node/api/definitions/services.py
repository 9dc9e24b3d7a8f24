"""Services, and the maps that tie their containers to them."""

import uuid
from collections.abc import Callable, Sequence

from node.api.call import Call
from node.api.definition import Action, Creation, Definition, Input, Link, Values, define
from node.api.definitions.common import (
    LABEL_CHARS,
    LEAVING,
    MAP_STATES,
    SERVICE_STATES,
    RowsOf,
    account_of,
    common_fields,
    common_values,
    find_in,
    may_see_owned,
    rows_of,
    text_or_keep,
)
from node.api.definitions.endpoints import endpoints_of
from node.api.definitions.launch import launch_config_values, launch_of
from node.api.definitions.links import add_link, consumed_services, consuming_services, remove_link, set_links
from node.api.definitions.streams import SERVICE_LINKS
from node.api.errors import ApiError
from node.api.ids import format_id, parse_id
from node.commands import ActivateService, AnyCommand, CreateService, DeactivateService, RemoveService, UpdateService
from node.model import Container, Service

_UPGRADES = "upgrades are not built yet"
_SELECTORS = "selectors are not built yet"
_VIPS = "virtual addresses of services are not built"


def containers_of(call: Call, row: Service) -> Sequence[Container]:
    """The service's containers, those removed of late included."""
    return call.index.containers_of_service.get(row.id, ())


def _values(call: Call, row: Service) -> Values:
    values = common_values(row, kind="service", owner=row.environment_id, state=row.state, message=row.message)
    return {
        **values,
        "createIndex": row.create_index or None,
        "environmentId": format_id("environment", row.stack_id),
        "externalId": row.external_id,
        "launchConfig": launch_config_values(row.launch),
        "metadata": row.metadata or None,
        "publicEndpoints": endpoints_of(call, containers_of(call, row)),
        "retainIp": row.retain_ip,
        "scale": row.scale,
        "secondaryLaunchConfigs": [],
        "startOnCreate": row.start_on_create,
    }


def _create(call: Call, data: Input) -> Creation:
    if data.get("launchConfig") is None:
        raise ApiError("MissingRequired", "a service needs a launchConfig with an imageUuid", field="launchConfig")
    return Creation(
        CreateService(
            uuid=call.draw_uuid(),
            stack_id=data["environmentId"],
            name=data["name"],
            launch=launch_of(data["launchConfig"]),
            description=data.get("description"),
            scale=data["scale"],
            metadata=data.get("metadata") or {},
            start_on_create=bool(data.get("startOnCreate")),
            retain_ip=bool(data.get("retainIp")),
        )
    )


def _update(call: Call, row: Service, data: Input) -> UpdateService:
    return UpdateService(
        id=row.id,
        name=data.get("name"),
        description=text_or_keep(data, "description"),
        scale=data.get("scale"),
        metadata=(data["metadata"] or {}) if "metadata" in data else None,
    )


def _remove(call: Call, row: Service, data: Input | None = None) -> RemoveService:
    return RemoveService(id=row.id)


_STARTED = frozenset({"active", "activating", "updating-active"})
_KEPT = frozenset(SERVICE_STATES) - LEAVING


def _handled(name: str, input: str, command: Callable[[Call, Service, Input], AnyCommand]) -> Action:
    """A change that is no step of the service's machine: done at once, and answered with 200."""
    return Action(name, _KEPT, input=input, output="service", command=command, status=200)


SERVICE = Definition(
    id="service",
    plural="services",
    fields={
        **common_fields(SERVICE_STATES),
        "assignServiceIpAddress": define("boolean", "c", default=False, later=_VIPS, is_filter=False),
        "createIndex": define("int", "N", max_length=255),
        "environmentId": define("reference[environment]", "cR", max_length=255),
        "externalId": define("string", "N", max_length=255),
        "fqdn": define("string", "N", is_filter=False),
        "healthState": define("string", "N", max_length=128),
        "launchConfig": define("launchConfig", "cN"),
        "metadata": define("map[json]", "cuN"),
        "name": define("string", "cuNR", min_length=1, max_length=63, valid_chars=LABEL_CHARS),
        "publicEndpoints": define("array[publicEndpoint]", "N"),
        "retainIp": define("boolean", "cN", is_filter=False),
        "scale": define("int", "cu", default=1, is_filter=False),
        "secondaryLaunchConfigs": define("array[secondaryLaunchConfig]", "c", later="sidekicks are not built yet"),
        "selectorContainer": define("string", "cuN", max_length=4096, later=_SELECTORS),
        "selectorLink": define("string", "cuN", max_length=4096, later=_SELECTORS),
        "startOnCreate": define("boolean", "cN", default=False, is_filter=False),
        "upgrade": define("serviceUpgrade", "N"),
        "vip": define("string", "cN", max_length=255, later=_VIPS),
    },
    links=(
        Link("account", "project", account_of),
        Link("consumedByServices", "service", consuming_services, many=True),
        Link("consumedServices", "service", consumed_services, many=True),
        Link("environment", "environment", lambda call, row: call.state.stacks.get(row.stack_id)),
        Link("instances", "instance", containers_of, many=True),
        Link("serviceExposeMaps", "serviceExposeMap", containers_of, many=True),
        *SERVICE_LINKS,
    ),
    actions=(
        Action("update", _KEPT, output="service", command=_update),
        Action("remove", _KEPT, output="service", command=_remove),
        Action(
            "activate",
            frozenset({"inactive"}),
            output="service",
            command=lambda call, row, data: ActivateService(id=row.id),
        ),
        Action("deactivate", _STARTED, output="service", command=lambda call, row, data: DeactivateService(id=row.id)),
        Action("restart", input="serviceRestart", output="service", later="rolling restarts are not built yet"),
        Action("upgrade", input="serviceUpgrade", output="service", later=_UPGRADES),
        Action("finishupgrade", output="service", later=_UPGRADES),
        Action("cancelupgrade", output="service", later=_UPGRADES),
        Action("rollback", output="service", later=_UPGRADES),
        Action("cancelrollback", output="service", later=_UPGRADES),
        _handled("addservicelink", "addRemoveServiceLinkInput", add_link),
        _handled("removeservicelink", "addRemoveServiceLinkInput", remove_link),
        _handled("setservicelinks", "setServiceLinksInput", set_links),
    ),
    acl={"admin": "crud", "project": "crud"},
    rows=rows_of("services"),
    find=find_in("services"),
    may_see=may_see_owned,
    values=_values,
    create=_create,
    update=_update,
    delete=_remove,
    delete_states=_KEPT,
)


mapped_containers = RowsOf("containers", lambda row: row.service_id is not None)
"""The containers that have a service: each is one serviceExposeMap, `1sem5` for `1i5`."""


def _find_map(call: Call, text: str) -> Container | None:
    number = parse_id(text)
    row = None if number is None else call.state.containers.get(number)
    return row if row is not None and row.service_id is not None else None


def _map_values(call: Call, row: Container) -> Values:
    state = "removed" if row.removed is not None else "removing" if row.desired == "removed" else "active"
    values = common_values(row, kind="serviceExposeMap", owner=row.environment_id, state=state)
    return {
        **values,
        "description": None,
        "instanceId": format_id("instance", row.id),
        "ipAddress": None,
        "managed": True,
        "name": None,
        "serviceId": format_id("service", row.service_id),
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"serviceExposeMap/{row.uuid}")),
    }


def _service_of(call: Call, row: Container) -> Service | None:
    return None if row.service_id is None else call.state.services.get(row.service_id)


SERVICE_EXPOSE_MAP = Definition(
    id="serviceExposeMap",
    plural="serviceExposeMaps",
    fields={
        **common_fields(MAP_STATES),
        "instanceId": define("reference[instance]", "N", max_length=255),
        "ipAddress": define("string", "N", max_length=255),
        "managed": define("boolean", max_length=255),
        "serviceId": define("reference[service]", "N", max_length=255),
    },
    links=(
        Link("account", "project", account_of),
        Link("instance", "instance", lambda call, row: row),
        Link("service", "service", _service_of),
    ),
    acl={"admin": "r", "project": "r"},
    rows=mapped_containers,
    find=_find_map,
    may_see=may_see_owned,
    values=_map_values,
)
