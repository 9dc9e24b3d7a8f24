"""Every change to the state, as frozen records: imperative, versioned by name, refused when a field is unknown.

`node.state.apply` gives each its meaning.  Whoever makes a command draws what must be random (uuids, keys), so
that applying it is the same on every replica.  Planner commands carry a `why` for people and logs.
"""

from typing import Any, Literal

import msgspec

from node.access_commands import (
    Command as Command,
    CreateAccount as CreateAccount,
    CreateOwnEnvironment as CreateOwnEnvironment,
    CreatePassword as CreatePassword,
    DisableLocalAuth as DisableLocalAuth,
    EnableLocalAuth as EnableLocalAuth,
    EndSession as EndSession,
    Member as Member,
    SetAccountState as SetAccountState,
    SetEnvironmentState as SetEnvironmentState,
    SetMembers as SetMembers,
    SetPassword as SetPassword,
    SetSetting as SetSetting,
    UpdateAccount as UpdateAccount,
    UpdatePassword as UpdatePassword,
)
from node.model import HostFacts, LaunchConfig, OverlayMode, PortBinding, Seen, ServiceState, WantedLink
from protocol.ids import NodeId

MAX_COMMAND_BYTES = 1024 * 1024


class InitCluster(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """The first entry of every cluster: makes the cluster record and environment 5, `Default`."""

    cluster_id: str
    ca: bytes
    environment_uuid: str = "adminProject"
    overlay_network: str = "10.42.0.0/16"
    overlay_mode: OverlayMode = "wireguard"
    overlay_subnet_bits: int = 24
    open_access: bool = False


class SetOpenAccess(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Turn the unauthenticated API on or off."""

    open_access: bool


class CreateEnvironment(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make an environment; names are unique among living ones."""

    uuid: str
    name: str
    description: str | None = None
    members: tuple[Member, ...] = ()


class UpdateEnvironment(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Rename or describe an environment; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None


class RemoveEnvironment(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Remove an environment without hosts; refused for the default one and while hosts are in it."""

    id: int


class CreateToken(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Allow hosts to join an environment with the secret behind `secret_hash`."""

    uuid: str
    environment_id: int
    token_id: str
    secret_hash: bytes
    expires: int | None = None


class SetTokenState(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Deactivate, activate or remove a join token."""

    id: int
    state: Literal["active", "inactive", "removed"]


class CreateApiKey(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Add an API key: an environment's, an account's, or with neither an administrator's that belongs to nobody."""

    uuid: str
    environment_id: int | None
    account_id: int | None = None
    name: str | None = None
    description: str | None = None
    public: str
    secret_hash: bytes


class UpdateApiKey(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change a key's name, description or state; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None
    state: Literal["active", "inactive", "removed"] | None = None


class AdmitHost(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make a host a member.  The same node again updates its row; the subnet is chosen by `apply`, lowest free."""

    uuid: str
    environment_id: int
    node: NodeId
    name: str
    address: str
    peer_port: int
    api_port: int
    overlay_port: int
    overlay_key: bytes
    seal_key: bytes
    labels: dict[str, str] = {}
    facts: HostFacts = HostFacts()


class ReportHost(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """A host says what changed about itself (address, ports, facts); None leaves a field as it is."""

    node: NodeId
    address: str | None = None
    peer_port: int | None = None
    api_port: int | None = None
    overlay_port: int | None = None
    facts: HostFacts | None = None


class UpdateHost(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """A person changes a host's name, description or labels; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None
    labels: dict[str, str] | None = None


class SetHostState(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Deactivate (no new containers) or activate a host."""

    id: int
    state: Literal["active", "inactive"]


class RemoveHost(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Take a host out: its containers' rows go with it and its services place new ones elsewhere."""

    id: int


class MarkHostDown(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: gossip has held the host dead for long enough."""

    id: int
    why: str


class MarkHostUp(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: the host answers again."""

    id: int
    why: str


class CreateStack(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make a stack; names are unique in the environment, compared without case."""

    uuid: str
    environment_id: int
    name: str
    description: str | None = None
    external_id: str | None = None
    variables: dict[str, str] = {}
    docker_compose: str | None = None
    rancher_compose: str | None = None


class UpdateStack(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change a stack; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None
    variables: dict[str, str] | None = None


class RemoveStack(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Remove a stack and, with it, its services and their containers."""

    id: int


class CreateService(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Make a service; it stays inactive unless `start_on_create`."""

    uuid: str
    stack_id: int
    name: str
    launch: LaunchConfig
    description: str | None = None
    scale: int = 1
    metadata: dict[str, Any] = {}
    external_id: str | None = None
    start_on_create: bool = False
    retain_ip: bool = False


class UpdateService(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change what may change in place; None leaves a field as it is."""

    id: int
    name: str | None = None
    description: str | None = None
    scale: int | None = None
    metadata: dict[str, Any] | None = None


class SetServiceLinks(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Have a service be linked to these and no others."""

    id: int
    links: tuple[WantedLink, ...] = ()


class AddServiceLink(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Link a service to one more."""

    id: int
    link: WantedLink


class RemoveServiceLink(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Take a link away; without a name, all to that service."""

    id: int
    link: WantedLink


class ActivateService(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Start the service's containers (inactive → activating)."""

    id: int


class DeactivateService(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Stop and keep the service's containers (active → deactivating)."""

    id: int


class RemoveService(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Remove the service and its containers."""

    id: int


class SetServiceState(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: the service has settled, or the reason why it has not changed."""

    id: int
    state: ServiceState
    message: str | None = None


class FinishStackRemoval(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: nothing of the stack is left."""

    id: int


class CreateContainer(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """A person wants a stand-alone container; the planner places it."""

    uuid: str
    environment_id: int
    name: str
    launch: LaunchConfig
    description: str | None = None
    start: bool = True


class Placement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a container goes and what it gets there; `apply` refuses one that collides with what is taken."""

    host_id: int
    address: str | None
    ports: tuple[PortBinding, ...] = ()


class AddContainer(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: fill a service's slot with a new container, already placed."""

    uuid: str
    service_id: int
    number: int
    placement: Placement
    why: str


class PlaceContainer(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: give a stand-alone container its host, or say why none fits (`placement` None)."""

    id: int
    placement: Placement | None
    why: str


class SetContainerDesired(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Start, stop or remove a container; planner and people use the same command."""

    id: int
    desired: Literal["running", "stopped", "removed"]
    why: str


class RestartContainer(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Stop and start a running container once more."""

    id: int


class UpdateContainer(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Change a container's description (its name is Docker's too and stays); None leaves it as it is."""

    id: int
    description: str | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent saw of one container."""

    container_id: int
    seen: Seen


class ReportContainers(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """A host's agent reports what it saw, changes only."""

    node: NodeId
    observations: tuple[Observation, ...]


class PurgeRows(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: drop rows that have been `removed` for longer than they are to be shown."""

    rows: tuple[tuple[str, int], ...]
    """(table, id) pairs."""


class SealCaKey(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Planner: keep a copy of the CA key that only `node` can open, or drop it (`sealed` None)."""

    node: NodeId
    sealed: bytes | None


class Batch(Command, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True):
    """Several commands in one log entry, each refused or done on its own; batches do not nest."""

    commands: "tuple[SingleCommand, ...]"


SingleCommand = (
    InitCluster
    | SetOpenAccess
    | CreateEnvironment
    | CreateOwnEnvironment
    | SetEnvironmentState
    | SetMembers
    | UpdateEnvironment
    | RemoveEnvironment
    | CreateAccount
    | UpdateAccount
    | SetAccountState
    | CreatePassword
    | UpdatePassword
    | SetPassword
    | EnableLocalAuth
    | DisableLocalAuth
    | EndSession
    | SetSetting
    | CreateToken
    | SetTokenState
    | CreateApiKey
    | UpdateApiKey
    | AdmitHost
    | ReportHost
    | UpdateHost
    | SetHostState
    | RemoveHost
    | MarkHostDown
    | MarkHostUp
    | CreateStack
    | UpdateStack
    | RemoveStack
    | CreateService
    | UpdateService
    | SetServiceLinks
    | AddServiceLink
    | RemoveServiceLink
    | ActivateService
    | DeactivateService
    | RemoveService
    | SetServiceState
    | FinishStackRemoval
    | CreateContainer
    | AddContainer
    | PlaceContainer
    | SetContainerDesired
    | RestartContainer
    | UpdateContainer
    | ReportContainers
    | PurgeRows
    | SealCaKey
)
AnyCommand = SingleCommand | Batch


class Proposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a log entry holds: the command, when the leader took it, and an id that makes a retry harmless."""

    id: str
    at: int
    """Milliseconds since the epoch by the leader's clock; applied as no smaller than an earlier entry's."""
    command: AnyCommand
    since: int | None = None
    """How many results the submitter had seen when no copy was under way: none of them is this one's."""


_encoder = msgspec.msgpack.Encoder()
_proposals = msgspec.msgpack.Decoder(Proposal)
_commands: msgspec.msgpack.Decoder[AnyCommand] = msgspec.msgpack.Decoder(AnyCommand)


def encode_proposal(proposal: Proposal) -> bytes:
    """Return the bytes of a log entry."""
    return _encoder.encode(proposal)


def decode_proposal(data: bytes) -> Proposal:
    """Read a log entry; msgspec.DecodeError or ValidationError for anything this version does not know whole."""
    return _proposals.decode(data)


def encode_command(command: AnyCommand) -> bytes:
    """Return the bytes in which a command is forwarded to the leader."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> AnyCommand:
    """Read a forwarded command; msgspec errors as in decode_proposal, also for one larger than MAX_COMMAND_BYTES."""
    if len(data) > MAX_COMMAND_BYTES:
        raise msgspec.ValidationError(f"a command of {len(data)} bytes; the limit is {MAX_COMMAND_BYTES}")
    return _commands.decode(data)
