"""A state of many services and containers, made by the commands that would make it, and its place on a disk."""

from collections.abc import Iterator
from pathlib import Path

from node.commands import (
    AddContainer,
    AdmitHost,
    CreateService,
    CreateStack,
    InitCluster,
    Observation,
    Placement,
    Proposal,
    ReportContainers,
    SetServiceState,
    SingleCommand,
    encode_proposal,
)
from node.model import LaunchConfig, Seen, State
from node.state import encode_state
from node.store.log import LogStore
from protocol.ids import Index, NodeId, Term
from protocol.raft.messages import SnapshotMeta, make_config
from protocol.raft.vocabulary import HardState, SavedState, Snapshot

SERVICES, SCALE = 10_000, 5
HOSTS = 200
STACKS = 100
REPORTED = 10
"""Containers in one report of a host."""
START = 1_700_000_000_000
TERM = Term(1)


def node_of(number: int) -> NodeId:
    return NodeId(f"{number:032x}")


def encoded_proposals() -> list[bytes]:
    """Return the log entries that make the crowd."""
    commands = (*_places(), *_services(), *_containers(), *_reports(), *_settled())
    return [encode_proposal(Proposal(id=f"{n:032x}", at=START + n, command=each)) for n, each in enumerate(commands)]


def _places() -> Iterator[SingleCommand]:
    yield InitCluster(cluster_id="c" * 32, ca=b"ca")
    for number in range(HOSTS):
        yield AdmitHost(
            uuid=f"host-{number}",
            environment_id=5,
            node=node_of(number),
            name=f"host{number}",
            address=f"10.0.0.{number + 1}",
            peer_port=8090,
            api_port=8080,
            overlay_port=51820,
            overlay_key=bytes(32),
            seal_key=bytes(32),
        )
    for number in range(STACKS):
        yield CreateStack(uuid=f"stack-{number}", environment_id=5, name=f"stack{number}")


def _services() -> Iterator[SingleCommand]:
    for number in range(SERVICES):
        launch = LaunchConfig(
            image_uuid=f"docker:registry.example.com/shop/service{number % 50}:1.{number}",
            environment={"DATABASE_URL": f"postgres://db/{number}", "MODE": "production"},
            labels={"com.example.team": f"team{number % 20}"},
        )
        yield CreateService(
            uuid=f"service-{number}",
            stack_id=number % STACKS + 1,
            name=f"service{number}",
            launch=launch,
            scale=SCALE,
            start_on_create=True,
        )


def _containers() -> Iterator[SingleCommand]:
    for number in range(SERVICES * SCALE):
        host = number % HOSTS
        address = f"10.42.{host}.{number // HOSTS + 2}"
        yield AddContainer(
            uuid=f"container-{number:022x}",
            service_id=number // SCALE + 1,
            number=number % SCALE + 1,
            placement=Placement(host_id=host + 1, address=address),
            why="the slot is free",
        )


def _reports() -> Iterator[SingleCommand]:
    for host in range(HOSTS):
        ids = range(host + 1, SERVICES * SCALE + 1, HOSTS)
        for first in range(0, len(ids), REPORTED):
            seen = tuple(
                Observation(
                    container_id=each,
                    seen=Seen(status="running", external_id=f"{each:064x}", started=START + each, starts=1),
                )
                for each in ids[first : first + REPORTED]
            )
            yield ReportContainers(node=node_of(host), observations=seen)


def _settled() -> Iterator[SingleCommand]:
    for number in range(SERVICES):
        yield SetServiceState(id=number + 1, state="active")


def write_replica(folder: Path, me: NodeId, state: State) -> int:
    """Make the disk of the only voter of a group that has this state; return the bytes of its snapshot."""
    folder.mkdir(parents=True)
    store = LogStore(folder / "state.db")
    store.write_saved(SavedState(HardState(TERM, me), None, ()))
    encoded = encode_state(state)
    store.save_snapshot(Snapshot(SnapshotMeta(Index(100), TERM, make_config([me])), encoded))
    store.close()
    return len(encoded)
