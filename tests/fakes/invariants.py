"""What must hold in every state whatever was asked for: checked after random histories and in simulations."""

from collections import Counter
from collections.abc import Hashable, Iterable

from node.model import ApiKey, Password, PortBinding, State
from node.state.accounts import PROVIDER
from node.state.addresses import parse_subnet
from node.state.members import find_account


def check_invariants(state: State) -> None:
    """Raise AssertionError for a state that `apply` must never make."""
    _check_unique_names(state)
    _check_hosts(state)
    _check_containers(state)
    _check_references(state)
    _check_access(state)


def _each_once(items: Iterable[Hashable], what: str) -> None:
    twice = [item for item, count in Counter(items).items() if count > 1]
    assert not twice, f"{what} given twice: {twice}"


def _check_unique_names(state: State) -> None:
    _each_once((row.name.lower() for row in state.environments.values() if row.removed is None), "environment name")
    _each_once((row.name.lower() for row in state.hosts.values() if row.removed is None), "host name")
    stacks = [row for row in state.stacks.values() if row.removed is None]
    _each_once(((row.environment_id, row.name.lower()) for row in stacks), "stack name")
    services = [row for row in state.services.values() if row.removed is None]
    _each_once(((row.stack_id, row.name.lower()) for row in services), "service name")
    containers = [row for row in state.containers.values() if row.removed is None]
    _each_once(((row.environment_id, row.name.lower()) for row in containers), "container name")


def _check_hosts(state: State) -> None:
    live = [host for host in state.hosts.values() if host.removed is None]
    _each_once((host.node for host in live), "node")
    _each_once((host.subnet for host in live), "subnet")
    whole = parse_subnet(state.cluster.overlay_network)
    for host in live:
        part = parse_subnet(host.subnet)
        assert whole.base <= part.base
        assert part.base + part.size <= whole.base + whole.size


def _check_containers(state: State) -> None:
    held = [row for row in state.containers.values() if row.removed is None]
    _each_once((row.address for row in held if row.address is not None), "address")
    slots = ((row.service_id, row.number) for row in held if row.service_id is not None)
    _each_once(slots, "slot")
    _each_once((row.uuid for row in state.containers.values()), "uuid")
    by_port: dict[tuple[int | None, str, int], list[PortBinding]] = {}
    for row in held:
        if row.address is not None and row.host_id is not None:
            assert parse_subnet(state.hosts[row.host_id].subnet).offset_of(row.address) is not None
        for port in row.ports:
            by_port.setdefault((row.host_id, port.protocol, port.public), []).append(port)
    for place, ports in by_port.items():
        everywhere = any(port.bind in ("", "0.0.0.0") for port in ports)
        assert len(ports) == 1 or not everywhere, f"port given twice: {place}"
        _each_once((port.bind for port in ports), f"port {place}")


def _check_references(state: State) -> None:
    for host in state.hosts.values():
        assert host.environment_id in state.environments
    for service in state.services.values():
        assert state.stacks[service.stack_id].environment_id == service.environment_id
        assert service.removed is not None or state.stacks[service.stack_id].removed is None
    for row in state.containers.values():
        assert row.environment_id in state.environments
        assert (row.removed is not None) >= (row.seen.status == "gone")
        if row.host_id is not None:
            assert state.hosts[row.host_id].environment_id == row.environment_id
            assert row.removed is not None or state.hosts[row.host_id].removed is None
        if row.service_id is not None:
            service = state.services[row.service_id]
            assert service.environment_id == row.environment_id
            assert row.removed is not None or service.removed is None


def _check_access(state: State) -> None:
    _each_once((row.login.lower() for row in state.passwords.values() if row.removed is None), "login")
    living = [row for row in state.members.values() if row.removed is None]
    _each_once(((row.environment_id, row.external_id_type, row.external_id, row.role) for row in living), "member")
    _each_once([*state.environments, *state.accounts], "account number")
    for member in state.members.values():
        assert member.environment_id in state.environments
    for member in living:
        assert state.environments[member.environment_id].removed is None
        account = find_account(state, int(member.external_id.removeprefix("1a")))
        assert account is not None
        assert account.removed is None
    proofs: list[Password | ApiKey] = [*state.passwords.values(), *state.api_keys.values()]
    for owned in proofs:
        if owned.account_id is not None:
            account = find_account(state, owned.account_id)
            assert account is not None
            assert owned.removed is not None or account.removed is None
    if state.settings.get(PROVIDER) is not None:
        assert not state.cluster.open_access
        assert any(_can_administer(state, row) for row in state.passwords.values()), (
            "nobody can log in as administrator"
        )


def _can_administer(state: State, password: Password) -> bool:
    account = find_account(state, password.account_id)
    is_up = account is not None and account.state == "active" and account.kind == "admin"
    return is_up and password.state == "active"
