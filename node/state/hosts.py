"""What commands mean for hosts: admission with a subnet of their own, reports, verdicts, removal."""

from ipaddress import ip_address

import msgspec

from node.commands import AdmitHost, MarkHostDown, MarkHostUp, RemoveHost, ReportHost, SetHostState, UpdateHost
from node.model import Done, Host
from node.state.addresses import lowest_free_subnet, subnet_count
from node.state.environments import live_environment
from node.state.rules import check_host_name
from node.state.txn import Refusal, Txn
from protocol.ids import NodeId

REMEMBER_REMOVED_MS = 92 * 24 * 3600 * 1000
"""Longer than a node's certificate is in force."""
KEY_BYTES = 32


def live_host(txn: Txn, host_id: int) -> Host:
    host = txn.hosts.get(host_id)
    if host is None or host.removed is not None:
        raise Refusal("Not Found", f"there is no host {host_id}: see `node host ls`")
    return host


def host_by_node(txn: Txn, node: NodeId) -> Host:
    host = _find(txn, node)
    if host is None:
        raise Refusal("Not Found", f"node {node} is no member of the cluster")
    return host


def _find(txn: Txn, node: NodeId) -> Host | None:
    return next((host for host in txn.hosts.values() if host.node == node and host.removed is None), None)


def _check_unique_name(txn: Txn, name: str, besides: int = 0) -> None:
    check_host_name(name)
    for other in txn.hosts.values():
        if other.id != besides and other.removed is None and other.name.lower() == name.lower():
            message = f"host {other.id} at {other.address} is already called {other.name}: join with another --name"
            raise Refusal("NotUnique", message, "name")


def admit_host(txn: Txn, command: AdmitHost) -> Done:
    live_environment(txn, command.environment_id)
    old = _find(txn, command.node)
    if old is not None and old.environment_id != command.environment_id:
        message = f"{old.name} is a host of another environment: have it leave first with `node leave`"
        raise Refusal("Conflict", message)
    _check_unique_name(txn, command.name, besides=old.id if old is not None else 0)
    _check_place(command)
    for key, field in ((command.overlay_key, "overlayKey"), (command.seal_key, "sealKey")):
        if len(key) not in (0, KEY_BYTES):
            raise Refusal("InvalidFormat", f"a key has {KEY_BYTES} bytes, this one {len(key)}", field)
    subnet = old.subnet if old is not None else _free_subnet(txn)
    row = Host(
        id=old.id if old is not None else txn.next_id("hosts"),
        uuid=old.uuid if old is not None else command.uuid,
        created=old.created if old is not None else txn.at,
        description=old.description if old is not None else None,
        state=old.state if old is not None else "active",
        subnet=subnet,
        environment_id=command.environment_id,
        node=command.node,
        name=command.name,
        address=command.address,
        peer_port=command.peer_port,
        api_port=command.api_port,
        overlay_port=command.overlay_port,
        overlay_key=command.overlay_key,
        seal_key=command.seal_key,
        labels=command.labels,
        facts=command.facts,
    )
    txn.put(row)
    return Done("host", row.id)


def _free_subnet(txn: Txn) -> str:
    network, bits = txn.cluster.overlay_network, txn.cluster.overlay_subnet_bits
    used = {host.subnet for host in txn.hosts.values() if host.removed is None}
    subnet = lowest_free_subnet(network, bits, used)
    if subnet is None:
        total = subnet_count(network, bits)
        message = f"overlay {network}: {len(used)} of {total} host subnets used: remove a host that is gone for good"
        raise Refusal("MaxLimitExceeded", message)
    return subnet


def _check_place(command: AdmitHost | ReportHost) -> None:
    """Every other host will dial what is said here."""
    try:
        if command.address:
            ip_address(command.address)
    except ValueError:
        raise Refusal("InvalidFormat", f"{(command.address or '')[:60]!r} is no IP address", "address") from None
    for port in (command.peer_port, command.api_port, command.overlay_port):
        if port is not None and not 1 <= port <= 65535:
            raise Refusal("InvalidFormat", f"{port} is no port: expected 1 to 65535", "port")


def report_host(txn: Txn, command: ReportHost) -> Done:
    row = host_by_node(txn, command.node)
    _check_place(command)
    said = {
        field: value
        for field in ("address", "peer_port", "api_port", "overlay_port", "facts")
        if (value := getattr(command, field)) is not None
    }
    txn.put(msgspec.structs.replace(row, **said))
    return Done("host", row.id)


def update_host(txn: Txn, command: UpdateHost) -> Done:
    row = live_host(txn, command.id)
    if command.name is not None:
        _check_unique_name(txn, command.name, besides=row.id)
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
            labels=row.labels if command.labels is None else command.labels,
        )
    )
    return Done("host", row.id)


def set_host_state(txn: Txn, command: SetHostState) -> Done:
    row = live_host(txn, command.id)
    txn.put(msgspec.structs.replace(row, state=command.state))
    return Done("host", row.id)


def remove_host(txn: Txn, command: RemoveHost) -> Done:
    """Its containers count as gone at once: nobody would be left to report them."""
    row = live_host(txn, command.id)
    for container in list(txn.containers.values()):
        if container.host_id == row.id and container.removed is None:
            txn.put(
                msgspec.structs.replace(
                    container, desired="removed", removed=txn.at, message=f"its host {row.name} was removed"
                )
            )
    # Its copy of the CA key stays until others hold one: it may be the only one there is.
    txn.put(msgspec.structs.replace(row, state="removed", removed=txn.at, up=False))
    txn.note_removed_node(row.node, REMEMBER_REMOVED_MS)
    return Done("host", row.id)


def mark_host_down(txn: Txn, command: MarkHostDown) -> Done:
    row = live_host(txn, command.id)
    txn.put(msgspec.structs.replace(row, up=False))
    return Done("host", row.id)


def mark_host_up(txn: Txn, command: MarkHostUp) -> Done:
    row = live_host(txn, command.id)
    txn.put(msgspec.structs.replace(row, up=True))
    return Done("host", row.id)
