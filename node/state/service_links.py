"""What commands mean for links between services: under which alias a service's containers find which other service.

A link lives in the row of the service that has it and leads to a service of the same environment.
"""

import re

import msgspec

from node.commands import AddServiceLink, RemoveServiceLink, SetServiceLinks
from node.model import Done, Service, ServiceLink, WantedLink
from node.state.rules import RESERVED_CONTAINER_NAMES
from node.state.services import changeable_service
from node.state.txn import Refusal, Txn

MAX_LINKS = 256
"""Of one service."""
MAX_ALIAS = 128
_ALIAS = re.compile(r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\Z")


def set_service_links(txn: Txn, command: SetServiceLinks) -> Done:
    """Replace all links; those that stay keep their ids."""
    row = changeable_service(txn, command.id)
    kept = {(link.service_id, link.name): link for link in row.links}
    links = []
    for wanted in dict.fromkeys(command.links):
        _check_link(txn, row, wanted)
        links.append(kept.get((wanted.service_id, wanted.name)) or _new_link(txn, wanted))
    return _put(txn, row, tuple(links))


def add_service_link(txn: Txn, command: AddServiceLink) -> Done:
    """Add one link; one that is there already stays."""
    row = changeable_service(txn, command.id)
    _check_link(txn, row, command.link)
    if any(_is_same(link, command.link) for link in row.links):
        return Done("service", row.id)
    return _put(txn, row, (*row.links, _new_link(txn, command.link)))


def remove_service_link(txn: Txn, command: RemoveServiceLink) -> Done:
    """Take away the links to a service, or the one under an alias; it is no error if there is none."""
    row = changeable_service(txn, command.id)
    wanted = command.link
    left = [link for link in row.links if link.service_id != wanted.service_id or wanted.name not in ("", link.name)]
    return _put(txn, row, tuple(left))


def _put(txn: Txn, row: Service, links: tuple[ServiceLink, ...]) -> Done:
    if len(links) > MAX_LINKS:
        raise Refusal("MaxLimitExceeded", f"a service has at most {MAX_LINKS} links", "serviceLinks")
    if links != row.links:
        txn.put(msgspec.structs.replace(row, links=links))
    return Done("service", row.id)


def _is_same(link: ServiceLink, wanted: WantedLink) -> bool:
    return (link.service_id, link.name) == (wanted.service_id, wanted.name)


def _new_link(txn: Txn, wanted: WantedLink) -> ServiceLink:
    return ServiceLink(id=txn.next_id("service_links"), service_id=wanted.service_id, name=wanted.name, created=txn.at)


def _check_link(txn: Txn, row: Service, wanted: WantedLink) -> None:
    target = txn.services.get(wanted.service_id)
    if target is None or target.environment_id != row.environment_id or target.removed is not None:
        raise Refusal("InvalidReference", f"the environment has no service {wanted.service_id}", "serviceId")
    if target.state == "removing":
        raise Refusal("InvalidReference", f"service {target.name} is being removed", "serviceId")
    if target.id == row.id:
        raise Refusal("InvalidReference", f"service {row.name} cannot be linked to itself", "serviceId")
    if not wanted.name:
        return
    if len(wanted.name) > MAX_ALIAS:
        raise Refusal("MaxLengthExceeded", f"a link's name has at most {MAX_ALIAS} characters", "name")
    if not all(_ALIAS.match(label) for label in wanted.name.split(".")):
        message = f"expected a name that can be looked up, such as db or db.internal, got {wanted.name!r}"
        raise Refusal("InvalidCharacters", message, "name")
    if wanted.name.lower() in RESERVED_CONTAINER_NAMES:
        raise Refusal("InvalidOption", f"the name {wanted.name} is kept for a service of Corral", "name")
