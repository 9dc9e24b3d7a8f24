"""What an environment's names are now, for the DNS server of one host, and the resolv.conf of its containers.

Only containers that run, on hosts not held dead, are behind a name; a name without any exists all the same and
answers empty.  Pure; rules: what Rancher 1.0's DNS answered, and its search lists.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.model import Container, State
from protocol.ids import NodeId

DOMAIN = "rancher.internal"
DNS_ADDRESS = "169.254.169.250"
METADATA_NAME = f"rancher-metadata.{DOMAIN}"
MAX_LABEL = 63
"""A longer container name cannot be asked for, so it gets no record."""


@dataclass(frozen=True, slots=True)
class NameTable:
    """Names of one environment, lower-case and without the last dot, as one host's DNS server needs them."""

    names: Mapping[str, tuple[str, ...]]
    """Name → addresses, sorted; empty while nothing behind the name lives."""

    scopes: Mapping[str, tuple[str, ...]]
    """Address of a container of this host → the suffixes its questions are tried with."""


def render_names(state: State, environment_id: int, dead: frozenset[NodeId], local_host_id: int) -> NameTable:
    """Return the names of an environment; `dead` are the nodes that gossip holds dead."""
    lost = {host.id for host in state.hosts.values() if host.node in dead or host.removed is not None}
    bases = _service_names(state, environment_id)
    behind: dict[str, list[str]] = {METADATA_NAME: [DNS_ADDRESS]}
    behind |= {f"{base}.{DOMAIN}": [] for base in bases.values()}
    scopes: dict[str, tuple[str, ...]] = {}
    for row in state.containers.values():
        if row.environment_id != environment_id or row.removed is not None:
            continue
        base = bases.get(row.service_id) if row.service_id is not None else None
        addresses = (row.address,) if row.address is not None and _answers(row, lost) else ()
        if len(row.name) <= MAX_LABEL:
            behind.setdefault(f"{row.name.lower()}.{DOMAIN}", []).extend(addresses)
        if base is not None:
            behind[f"{base}.{DOMAIN}"].extend(addresses)
        if row.host_id == local_host_id and row.address is not None:
            scopes[row.address] = _search(base)
    behind |= _aliases(state, bases, behind)
    names = {name: tuple(sorted(addresses)) for name, addresses in behind.items()}
    return NameTable(names, scopes)


def _aliases(state: State, bases: Mapping[int, str], behind: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Names of linked services, each below the name of the service that has the link."""
    found: dict[str, dict[str, None]] = {}
    for number, base in bases.items():
        for link in state.services[number].links:
            if (target := bases.get(link.service_id)) is not None:
                alias = (link.name or state.services[link.service_id].name).lower()
                found.setdefault(f"{alias}.{base}.{DOMAIN}", {}).update(dict.fromkeys(behind[f"{target}.{DOMAIN}"]))
    return {name: list(addresses) for name, addresses in found.items()}


def _service_names(state: State, environment_id: int) -> dict[int, str]:
    """Service → `service.stack`, lower-case, of the services that are not removed."""
    return {
        service.id: f"{service.name}.{state.stacks[service.stack_id].name}".lower()
        for service in state.services.values()
        if service.environment_id == environment_id and service.removed is None
    }


def _answers(row: Container, lost: set[int]) -> bool:
    return row.desired == "running" and row.seen.status == "running" and row.host_id not in lost


def _search(base: str | None) -> tuple[str, ...]:
    """The search list of a container; `base` is its `service.stack`, None for a stand-alone one."""
    if base is None:
        return (DOMAIN,)
    stack = base.partition(".")[2]
    return f"{stack}.{DOMAIN}", f"{base}.{DOMAIN}", DOMAIN


def resolv_conf_of(container: Container, state: State) -> str:
    """The text of a container's /etc/resolv.conf: the search suffixes it asked for, then ours, and our nameserver."""
    service = state.services.get(container.service_id) if container.service_id is not None else None
    stack = state.stacks.get(service.stack_id) if service is not None else None
    base = f"{service.name}.{stack.name}".lower() if service is not None and stack is not None else None
    return f"search {' '.join(_each_once((*container.launch.dns_search, *_search(base))))}\nnameserver {DNS_ADDRESS}\n"


def _each_once(suffixes: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(suffixes)
