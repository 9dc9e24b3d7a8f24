"""What commands mean for stacks: unique in their environment without regard to case, removed with their services."""

import msgspec

from node.commands import CreateStack, FinishStackRemoval, RemoveStack, UpdateStack
from node.model import Done, Stack
from node.state.environments import live_environment
from node.state.rules import check_name
from node.state.txn import Refusal, Txn


def live_stack(txn: Txn, stack_id: int) -> Stack:
    stack = txn.stacks.get(stack_id)
    if stack is None or stack.removed is not None:
        raise Refusal("Not Found", f"there is no stack {stack_id}: see `node stack ls`")
    return stack


def _check_unique_name(txn: Txn, environment_id: int, name: str, besides: int = 0) -> None:
    check_name(name, "stack")
    holder = txn.named.stacks.get((environment_id, name.lower()))
    if holder is not None and holder != besides:
        other = txn.stacks[holder]
        still = ", which is being removed: wait for that" if other.state == "removing" else ""
        raise Refusal("NotUnique", f"the environment has a stack {other.name} already{still}", "name")


def create_stack(txn: Txn, command: CreateStack) -> Done:
    live_environment(txn, command.environment_id)
    _check_unique_name(txn, command.environment_id, command.name)
    row = Stack(
        id=txn.next_id("stacks"),
        uuid=command.uuid,
        created=txn.at,
        environment_id=command.environment_id,
        name=command.name,
        description=command.description,
        external_id=command.external_id,
        variables=command.variables,
        docker_compose=command.docker_compose,
        rancher_compose=command.rancher_compose,
    )
    txn.put(row)
    return Done("stack", row.id)


def update_stack(txn: Txn, command: UpdateStack) -> Done:
    row = live_stack(txn, command.id)
    if row.state != "active":
        raise Refusal("Conflict", f"stack {row.name} is being removed")
    if command.name is not None:
        _check_unique_name(txn, row.environment_id, command.name, besides=row.id)
    txn.put(
        msgspec.structs.replace(
            row,
            name=row.name if command.name is None else command.name,
            description=row.description if command.description is None else command.description,
            variables=row.variables if command.variables is None else command.variables,
        )
    )
    return Done("stack", row.id)


def remove_stack(txn: Txn, command: RemoveStack) -> Done:
    """Begin the removal of the stack and all its services; asked again, it goes on."""
    row = live_stack(txn, command.id)
    for service in list(txn.services.values()):
        if service.stack_id == row.id and service.removed is None:
            txn.put(msgspec.structs.replace(service, state="removing", message=None))
    txn.put(msgspec.structs.replace(row, state="removing"))
    return Done("stack", row.id)


def finish_stack_removal(txn: Txn, command: FinishStackRemoval) -> Done:
    row = live_stack(txn, command.id)
    if row.state != "removing":
        raise Refusal("Conflict", f"stack {row.name} is {row.state}: only one being removed can be finished")
    left = sum(service.stack_id == row.id and service.removed is None for service in txn.services.values())
    if left:
        raise Refusal("Conflict", f"{left} services of stack {row.name} are not removed yet")
    txn.put(msgspec.structs.replace(row, state="removed", removed=txn.at))
    return Done("stack", row.id)
