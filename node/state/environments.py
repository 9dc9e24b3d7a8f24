"""What commands mean for the cluster record, environments and join tokens."""

import msgspec

from node.commands import (
    CreateEnvironment,
    CreateOwnEnvironment,
    CreateToken,
    InitCluster,
    RemoveEnvironment,
    SetEnvironmentState,
    SetOpenAccess,
    SetTokenState,
    UpdateEnvironment,
)
from node.model import (
    DEFAULT_ENVIRONMENT_ID,
    ApiKey,
    Cluster,
    Done,
    Environment,
    JoinToken,
    Service,
    Stack,
    State,
)
from node.state.addresses import parse_subnet
from node.state.members import account_member, check_members, is_member, put_members, remove_members
from node.state.rules import check_free_name
from node.state.txn import Refusal, Txn

FIRST_NEW_ENVIRONMENT_ID = 7
"""6 is Rancher's account `service`; the first environment that somebody makes is 1a7."""
MAX_SUBNET_BITS = 29
"""Five containers a host; longer prefixes leave next to none."""


def init_cluster(command: InitCluster, at: int) -> State:
    """Make the first state of a cluster; a Refusal if its network cannot be cut into subnets."""
    _check_network(command.overlay_network, command.overlay_subnet_bits)
    cluster = Cluster(
        id=command.cluster_id,
        ca=command.ca,
        created=at,
        overlay_network=command.overlay_network,
        overlay_mode=command.overlay_mode,
        overlay_subnet_bits=command.overlay_subnet_bits,
        open_access=command.open_access,
    )
    default = Environment(id=DEFAULT_ENVIRONMENT_ID, uuid=command.environment_uuid, created=at, name="Default")
    return State(
        cluster=cluster,
        environments={default.id: default},
        next_ids={"environments": FIRST_NEW_ENVIRONMENT_ID},
    )


def _check_network(network: str, bits: int) -> None:
    try:
        whole = parse_subnet(network)
    except ValueError as error:
        raise Refusal("InvalidFormat", f"expected a network such as 10.42.0.0/16: {error}", "overlayNetwork") from None
    if not 0 <= bits <= MAX_SUBNET_BITS or (1 << (32 - bits)) > whole.size:
        message = f"a host's subnet must lie in {network} and hold containers: /{bits} does not, try 24"
        raise Refusal("InvalidOption", message, "overlaySubnetBits")


def refuse_second_init(txn: Txn, command: InitCluster) -> Done:
    raise Refusal("Conflict", f"the cluster exists already, as {txn.cluster.id}")


def set_open_access(txn: Txn, command: SetOpenAccess) -> Done:
    txn.set_cluster(msgspec.structs.replace(txn.cluster, open_access=command.open_access))
    return Done("cluster", 0)


def live_environment(txn: Txn, environment_id: int, field: str = "accountId") -> Environment:
    """The environment a new row is to belong to."""
    environment = txn.environments.get(environment_id)
    if environment is None or environment.removed is not None:
        raise Refusal("InvalidReference", f"there is no environment {environment_id}: see `node env ls`", field)
    return environment


def _existing(txn: Txn, environment_id: int) -> Environment:
    environment = txn.environments.get(environment_id)
    if environment is None or environment.removed is not None:
        raise Refusal("Not Found", f"there is no environment {environment_id}: see `node env ls`")
    return environment


def _check_unique_name(txn: Txn, name: str, besides: int = 0) -> None:
    check_free_name(name, "environment")
    for other in txn.environments.values():
        if other.id != besides and other.removed is None and other.name.lower() == name.lower():
            raise Refusal("NotUnique", f"environment {other.id} is already called {other.name}", "name")


def create_environment(txn: Txn, command: CreateEnvironment) -> Done:
    _check_unique_name(txn, command.name)
    check_members(txn, command.members)
    row = Environment(
        id=txn.next_id("environments"),
        uuid=command.uuid,
        created=txn.at,
        name=command.name,
        description=command.description,
    )
    txn.put(row)
    put_members(txn, row.id, command.members)
    return Done("environment", row.id)


def create_own_environment(txn: Txn, command: CreateOwnEnvironment) -> Done:
    """Two nodes may see the same first login: the second finds the account a member already."""
    if is_member(txn, command.account_id):
        return Done("account", command.account_id)
    taken = {row.name.lower() for row in txn.environments.values() if row.removed is None}
    names = (command.name, *(f"{command.name}-{number}" for number in range(2, len(taken) + 3)))
    free = next(name for name in names if name.lower() not in taken)
    member = account_member(command.account_id, command.member_uuid, "owner")
    return create_environment(txn, CreateEnvironment(uuid=command.uuid, name=free, members=(member,)))


def set_environment_state(txn: Txn, command: SetEnvironmentState) -> Done:
    row = _existing(txn, command.id)
    txn.put(msgspec.structs.replace(row, state=command.state))
    return Done("environment", row.id)


def update_environment(txn: Txn, command: UpdateEnvironment) -> Done:
    row = _existing(txn, command.id)
    if command.name is not None:
        _check_unique_name(txn, command.name, besides=row.id)
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
        )
    )
    return Done("environment", row.id)


def remove_environment(txn: Txn, command: RemoveEnvironment) -> Done:
    """Remove at once, with all that is in it: without hosts none of it can be running."""
    row = _existing(txn, command.id)
    if row.id == DEFAULT_ENVIRONMENT_ID:
        raise Refusal("Conflict", f"{row.name} is the default environment and stays; it can be renamed")
    hosts = [host.name for host in txn.hosts.values() if host.environment_id == row.id and host.removed is None]
    if hosts:
        message = f"{len(hosts)} hosts are in {row.name} ({', '.join(sorted(hosts)[:5])}): remove them first"
        raise Refusal("Conflict", message)
    for container in list(txn.containers.values()):
        if container.environment_id == row.id and container.removed is None:
            txn.put(msgspec.structs.replace(container, desired="removed", removed=txn.at))
    inside: list[Service | Stack | JoinToken | ApiKey] = [
        *txn.services.values(),
        *txn.stacks.values(),
        *txn.tokens.values(),
        *txn.api_keys.values(),
    ]
    for item in inside:
        if item.environment_id == row.id and item.removed is None:
            txn.put(msgspec.structs.replace(item, state="removed", removed=txn.at))
    remove_members(txn, row.id)
    txn.put(msgspec.structs.replace(row, state="removed", removed=txn.at))
    return Done("environment", row.id)


def create_token(txn: Txn, command: CreateToken) -> Done:
    live_environment(txn, command.environment_id)
    if any(other.token_id == command.token_id for other in txn.tokens.values()):
        raise Refusal("NotUnique", f"token {command.token_id} exists already: draw another", "token")
    row = JoinToken(
        id=txn.next_id("tokens"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=command.environment_id,
        token_id=command.token_id,
        secret_hash=command.secret_hash,
        expires=command.expires,
    )
    txn.put(row)
    return Done("token", row.id)


def set_token_state(txn: Txn, command: SetTokenState) -> Done:
    row = txn.tokens.get(command.id)
    if row is None or row.removed is not None:
        raise Refusal("Not Found", f"there is no join token {command.id}: see `node token ls`")
    removed = txn.at if command.state == "removed" else None
    txn.put(msgspec.structs.replace(row, state=command.state, removed=removed))
    return Done("token", row.id)
