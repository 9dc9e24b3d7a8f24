"""What commands mean for API keys and for the sealed copies of the CA key."""

import msgspec

from node.commands import CreateApiKey, SealCaKey, UpdateApiKey
from node.model import ApiKey, Done
from node.state.environments import live_environment
from node.state.members import live_account
from node.state.rules import check_free_name
from node.state.txn import Refusal, Txn


def create_api_key(txn: Txn, command: CreateApiKey) -> Done:
    if command.environment_id is not None:
        live_environment(txn, command.environment_id)
    if command.account_id is not None:
        live_account(txn, command.account_id)
    if command.name is not None:
        check_free_name(command.name, "API key")
    if any(other.public == command.public for other in txn.api_keys.values()):
        raise Refusal("NotUnique", f"access key {command.public} exists already: draw another", "publicValue")
    row = ApiKey(
        id=txn.next_id("api_keys"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=command.environment_id,
        account_id=command.account_id,
        name=command.name,
        description=command.description,
        public=command.public,
        secret_hash=command.secret_hash,
    )
    txn.put(row)
    return Done("api_key", row.id)


def update_api_key(txn: Txn, command: UpdateApiKey) -> Done:
    row = txn.api_keys.get(command.id)
    if row is None or row.removed is not None:
        raise Refusal("Not Found", f"there is no API key {command.id}")
    if command.name is not None:
        check_free_name(command.name, "API key")
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
            state=row.state if command.state is None else command.state,
            removed=txn.at if command.state == "removed" else None,
        )
    )
    return Done("api_key", row.id)


def seal_ca_key(txn: Txn, command: SealCaKey) -> Done:
    """Keep the copy only for a host that is a member: nobody else will ever open it."""
    if command.sealed is not None and not any(
        host.node == command.node and host.removed is None for host in txn.hosts.values()
    ):
        raise Refusal("InvalidReference", f"node {command.node} is no member of the cluster", "node")
    if command.sealed is None and not txn.sealed.keys() - {command.node}:
        raise Refusal("Conflict", "this is the last copy of the CA key; seal one to another host first", "node")
    txn.set_sealed(command.node, command.sealed)
    return Done("cluster", 0)
