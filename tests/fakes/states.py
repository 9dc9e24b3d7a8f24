"""States for tests: a cluster grown by commands, as in life, with an agent that always succeeds."""

from random import Random
from typing import Any

import msgspec

from node.commands import (
    AdmitHost,
    AnyCommand,
    CreateService,
    CreateStack,
    InitCluster,
    Observation,
    ReportContainers,
)
from node.model import DEFAULT_ENVIRONMENT_ID, Container, Done, Host, LaunchConfig, Seen, State
from node.state import apply
from protocol.ids import NodeId, new_node_id

CLUSTER_ID = "c0" * 16


def node_id(number: int) -> NodeId:
    """The node of host `h<number>` as made by `grown`."""
    return new_node_id(Random(number))


def launch(**fields: object) -> LaunchConfig:
    """A launch config of nginx with the fields given, named as in Python."""
    return msgspec.structs.replace(LaunchConfig(image_uuid="docker:nginx:1.8-alpine"), **fields)


def found(*, network: str = "10.42.0.0/16", bits: int = 24) -> State:
    """The state right after InitCluster."""
    command = InitCluster(cluster_id=CLUSTER_ID, ca=b"ca", overlay_network=network, overlay_subnet_bits=bits)
    state = apply(None, command, at=1).state
    assert state is not None
    return state


def admit(number: int, environment_id: int = DEFAULT_ENVIRONMENT_ID) -> AdmitHost:
    """The command that makes host `h<number>`."""
    return AdmitHost(
        uuid=f"host-{number}",
        environment_id=environment_id,
        node=node_id(number),
        name=f"h{number}",
        address=f"192.0.2.{number % 256}",
        peer_port=8090,
        api_port=8080,
        overlay_port=51820,
        overlay_key=bytes(32),
        seal_key=bytes(32),
    )


def grown(hosts: int = 3, **options: object) -> State:
    """A cluster with hosts h1, h2, … in the default environment."""
    state = found(**options)  # type: ignore[arg-type]
    for number in range(1, hosts + 1):
        state = done(state, admit(number))
    return state


def done(state: State, command: AnyCommand, *, at: int = 1000) -> State:
    """Apply what must succeed."""
    applied = apply(state, command, at=at)
    assert all(isinstance(result, Done) for result in applied.results), applied.results
    return applied.state


def with_stack(state: State, name: str = "shop") -> State:
    return done(state, CreateStack(uuid=f"stack-{name}", environment_id=DEFAULT_ENVIRONMENT_ID, name=name))


def with_service(state: State, name: str = "web", *, stack_id: int = 1, **fields: Any) -> State:
    """Add an activated service of nginx to a stack."""
    command = CreateService(
        uuid=f"service-{stack_id}-{name}", stack_id=stack_id, name=name, launch=launch(), start_on_create=True
    )
    return done(state, msgspec.structs.replace(command, **fields))


def only_host(state: State, number: int) -> Host:
    return next(host for host in state.hosts.values() if host.name == f"h{number}" and host.removed is None)


def seen_as_wanted(container: Container) -> Seen:
    """What an agent that has done all its work reports."""
    match container.desired:
        case "running":
            started = 5000 + container.id
            return Seen(status="running", external_id=f"docker-{container.id}", started=started, starts=1)
        case "stopped":
            return Seen(status="exited", external_id=f"docker-{container.id}", exit_code=0, starts=1)
        case "removed":
            return Seen(status="gone")


def carried_out(state: State, *, at: int = 2000) -> State:
    """The state after every host that is up has done what is wanted and reported it."""
    for host in list(state.hosts.values()):
        if host.removed is not None or not host.up:
            continue
        seen = tuple(
            Observation(container_id=row.id, seen=seen_as_wanted(row))
            for row in state.containers.values()
            if row.host_id == host.id and row.removed is None and row.seen != seen_as_wanted(row)
        )
        if seen:
            state = done(state, ReportContainers(node=host.node, observations=seen), at=at)
    return state
