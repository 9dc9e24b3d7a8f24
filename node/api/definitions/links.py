"""Links between services, and the maps under which clients read them (API.md 5 and 6)."""

import uuid
from dataclasses import dataclass

from node.api.call import Call
from node.api.definition import Definition, Input, Link, Values, define
from node.api.definitions.common import (
    MAP_STATES,
    account_of,
    common_fields,
    common_values,
    may_see_owned,
    none_yet,
    refused,
    rows_of,
)
from node.api.ids import format_id, parse_id
from node.commands import AddServiceLink, RemoveServiceLink, SetServiceLinks
from node.model import Service, ServiceLink, WantedLink

_MAPS = "links are changed by the actions of the service that has them"


@dataclass(frozen=True, slots=True)
class ConsumeMap:
    """One link as a row of its own."""

    link: ServiceLink
    service: Service
    consumed: Service

    @property
    def id(self) -> int:
        return self.link.id

    @property
    def environment_id(self) -> int:
        return self.service.environment_id

    @property
    def created(self) -> int:
        return self.link.created

    @property
    def removed(self) -> int | None:
        """A link goes with either of its services."""
        return min((row.removed for row in (self.service, self.consumed) if row.removed is not None), default=None)

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"serviceConsumeMap/{self.service.uuid}/{self.link.id}"))


def maps_of(call: Call, row: Service) -> list[ConsumeMap]:
    """The links that a service has, as rows."""
    pairs = ((link, call.state.services.get(link.service_id)) for link in row.links)
    return [ConsumeMap(link, row, consumed) for link, consumed in pairs if consumed is not None]


def _live_maps(call: Call, row: Service) -> list[ConsumeMap]:
    return [one for one in maps_of(call, row) if one.removed is None]


def consumed_services(call: Call, row: Service) -> list[Service]:
    """The services that a service is linked to."""
    return list({one.consumed.id: one.consumed for one in _live_maps(call, row)}.values())


def consuming_services(call: Call, row: Service) -> list[Service]:
    """The services that are linked to a service."""
    return [one for one in rows_of("services")(call) if any(link.service_id == row.id for link in one.links)]


def _all_maps(call: Call) -> list[ConsumeMap]:
    maps = (one for row in rows_of("services")(call) if row.links for one in maps_of(call, row))
    return sorted(maps, key=lambda one: one.id)


def _find_map(call: Call, text: str) -> ConsumeMap | None:
    number = parse_id(text)
    return next((one for one in _all_maps(call) if one.id == number), None)


def _map_values(call: Call, row: ConsumeMap) -> Values:
    is_leaving = "removing" in (row.service.state, row.consumed.state)
    state = "removed" if row.removed is not None else "removing" if is_leaving else "active"
    values = common_values(row, kind="serviceConsumeMap", owner=row.environment_id, state=state)
    return {
        **values,
        "consumedServiceId": format_id("service", row.consumed.id),
        "name": row.link.name or None,
        "ports": [],
        "serviceId": format_id("service", row.service.id),
    }


SERVICE_CONSUME_MAP = Definition(
    id="serviceConsumeMap",
    plural="serviceConsumeMaps",
    fields={
        **common_fields(tuple(sorted((*MAP_STATES, "updating-active")))),
        "consumedServiceId": define("reference[service]", "N", max_length=255),
        "name": define("string", "N", max_length=255),
        "ports": define("array[string]", "NR"),
        "serviceId": define("reference[service]", "N", max_length=255),
    },
    links=(
        Link("account", "project", account_of),
        Link("consumedService", "service", lambda call, row: row.consumed),
        Link("instanceLinks", "instanceLink", none_yet, many=True),
        Link("service", "service", lambda call, row: row.service),
    ),
    actions=refused("serviceConsumeMap", _MAPS, "create", "remove", "update"),
    acl={"admin": "r", "project": "r"},
    rows=_all_maps,
    find=_find_map,
    may_see=may_see_owned,
    values=_map_values,
)


def _wanted(link: Input) -> WantedLink:
    return WantedLink(service_id=link["serviceId"], name=link.get("name") or "")


def set_links(call: Call, row: Service, data: Input) -> SetServiceLinks:
    """Without serviceLinks, as clients say it, there are to be none."""
    return SetServiceLinks(id=row.id, links=tuple(_wanted(link) for link in data.get("serviceLinks") or ()))


def add_link(call: Call, row: Service, data: Input) -> AddServiceLink:
    return AddServiceLink(id=row.id, link=_wanted(data["serviceLink"]))


def remove_link(call: Call, row: Service, data: Input) -> RemoveServiceLink:
    return RemoveServiceLink(id=row.id, link=_wanted(data["serviceLink"]))
