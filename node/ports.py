"""Every seam between the pure centre and the shell, as Protocols with the records they exchange.

Each port has a fake or in-memory twin and one contract test that runs on both.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec
import trio

from node.commands import AnyCommand
from node.model import Done, PortBinding, State
from protocol.ids import Index, NodeId, Term


class EngineVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of the container engine and its host."""

    version: str
    api: str
    kernel: str
    os: str
    cpus: int
    memory_bytes: int


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The one bridge network of this host."""

    name: str
    bridge: str
    subnet: str
    gateway: str
    mtu: int


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One container as the engine is to make it; everything is decided."""

    name: str
    """Docker's name, `r-<name>`."""
    image: str
    labels: dict[str, str]
    command: tuple[str, ...] | None = None
    entry_point: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    network: str = "bridge"
    """`bridge`, `host`, `none` or the name of the overlay's network."""
    address: str | None = None
    ports: tuple[PortBinding, ...] = ()
    expose: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    """`host:container[:ro]` and named volumes."""
    anonymous_volumes: tuple[str, ...] = ()
    volume_driver: str | None = None
    resolv_conf: str | None = None
    """Text for the container's /etc/resolv.conf, mounted read-only; None leaves Docker's own."""
    hostname: str | None = None
    domain_name: str | None = None
    user: str | None = None
    working_dir: str | None = None
    tty: bool = False
    stdin_open: bool = False
    privileged: bool = False
    read_only: bool = False
    publish_all_ports: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pid_mode: str | None = None
    memory: int | None = None
    memory_swap: int | None = None
    cpu_shares: int | None = None
    cpu_set: str | None = None
    log_driver: str | None = None
    log_options: dict[str, str] = {}
    restart_policy: str | None = None


class EngineContainer(msgspec.Struct, frozen=True, kw_only=True):
    """A container with this cluster's label as the engine lists it; `node.plan.agent.pick_own` tells whose it is."""

    external_id: str
    uuid: str
    """From label io.rancher.container.uuid."""
    name: str
    """The engine's own name for it."""
    given_name: str = ""
    """From label io.rancher.container.name: what `name` was made of when we made it."""
    status: Literal["created", "running", "exited"]
    exit_code: int | None
    started: int | None
    """Milliseconds since the epoch of the latest start."""
    finished: int | None


EngineErrorCode = Literal[
    "unavailable", "image-missing", "name-taken", "port-taken", "address-taken", "not-found", "invalid", "failed"
]


class EngineError(Exception):
    """An engine call that failed; `code` is for decisions, the text for people."""

    def __init__(self, code: EngineErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: EngineErrorCode = code


BOTH, OUT, ERR = 0, 1, 2
"""Where output of a container comes from: BOTH where a terminal has mixed what it wrote."""


class LogLine(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """One line of a container's log."""

    kind: int
    at: str
    """RFC 3339 with nanoseconds, as the engine wrote it; empty where it wrote none."""
    line: bytes
    """Without its end."""


class ExecSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run beside what a container runs."""

    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    output: bool = True


class ExecSession(Protocol):
    """A command that runs in a container; each call may raise EngineError."""

    async def send(self, data: bytes) -> None:
        """Write to its standard input; one that does not read holds the writer up."""

    async def end_input(self) -> None:
        """Close its standard input."""

    async def receive(self) -> tuple[int, bytes] | None:
        """Return what it wrote next, with where, or None once it has ended."""

    async def resize(self, columns: int, rows: int) -> None:
        """Give its terminal another size; without a terminal nothing happens."""

    async def exit_code(self) -> int | None:
        """Return how it ended, None if it runs on or nobody knows."""


class Engine(Protocol):
    """A container engine.  Every call may raise EngineError; removing what is gone is no error."""

    async def version(self) -> EngineVersion: ...

    async def list_containers(self) -> tuple[EngineContainer, ...]:
        """All containers that carry this cluster's label, in any status."""

    async def has_image(self, image: str) -> bool: ...

    async def pull(self, image: str) -> None: ...

    async def create(self, spec: ContainerSpec) -> str:
        """Make a container and return its id; `name-taken` if another has the name."""

    async def start(self, external_id: str) -> None: ...

    async def stop(self, external_id: str, timeout: float) -> None:
        """Stop within `timeout` seconds, by force after that; stopping a stopped one is no error."""

    async def remove(self, external_id: str) -> None:
        """Remove a container, running or not, with its anonymous volumes."""

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the overlay's bridge network, or replace one of ours that differs.

        One that differs in its MTU alone stays for as long as containers are on it.
        """

    async def remove_network(self, name: str) -> None: ...

    async def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` at each event of our containers and when the engine comes or goes; runs until cancelled."""


class StreamingEngine(Engine, Protocol):
    """An engine that also lets look into what runs.

    Streams end with their block: then nothing of them is left, no thread, no connection, no command.
    """

    def logs(
        self, external_id: str, *, follow: bool, lines: int | None = None, since: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[LogLine, ...]]]:
        """Read the last `lines` (None: all) since a time (seconds since the epoch), and go on if `follow`."""

    def exec(self, external_id: str, spec: ExecSpec) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command in a running container; one that still runs at the end of the block is hung up on."""

    def stats(self, external_id: str) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]:
        """Read what a running container uses, about once a second, in the shape of Docker's `stats`."""


class FollowerView(msgspec.Struct, frozen=True, kw_only=True):
    """What a leader knows of one other member of its group."""

    match: Index
    """The last entry that it is known to have."""
    state: str
    """probe, replicate or snapshot."""
    heard_ago: float
    is_caught_up: bool


class ConsensusView(msgspec.Struct, frozen=True, kw_only=True):
    """What this node knows of its Raft group now."""

    node: NodeId
    role: str
    term: Term
    leader: NodeId | None
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    commit_index: Index
    applied_index: Index
    last_index: Index
    stale_since: int | None
    """Milliseconds since the epoch since which no leader has been heard; None while there is one."""
    followers: dict[NodeId, FollowerView] = {}
    """Of the other members, on the leader only."""
    snapshot_index: Index = Index(0)
    snapshot_at: int | None = None
    """When this run of the node has made or taken its latest snapshot, if it has."""


class MemberView(msgspec.Struct, frozen=True, kw_only=True):
    """What gossip says of one node."""

    node: NodeId
    name: str
    address: str
    peer_port: int
    api_port: int
    status: Literal["alive", "suspect", "dead", "left"]
    version: str


class Unavailable(Exception):
    """No leader could take the command in time; the text says why and `retry_after` when to try again (seconds)."""

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RefusedError(Exception):
    """The state refused the command: nothing was changed.  Fields as in node.model.Refused."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


class Replica(Protocol):
    """The local copy of the state and the way to change it, as the API and the planners see it."""

    @property
    def state(self) -> State:
        """The state as applied here, one immutable value; a later read may give a newer one."""

    @property
    def consensus(self) -> ConsensusView: ...

    @property
    def members(self) -> Mapping[NodeId, MemberView]: ...

    async def submit(self, command: AnyCommand, *, timeout: float = 10.0) -> Done:
        """Have the leader order the command and wait until this node has applied it.

        Raises RefusedError when the state says no, Unavailable when no leader took it in time (it may still
        take effect later; a retry under the same proposal id is applied once).
        """

    async def wait_changed(self, since: State) -> State:
        """Return the newest state as soon as it is not `since`."""


class Clock(Protocol):
    """Wall time where people see it; nothing decides by it below the drivers."""

    def now_ms(self) -> int: ...


class Stoppable(Protocol):
    """A long-lived part of the daemon."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None: ...
