"""The environment state that every host holds: rows, and the tables they live in.

Rows are frozen; `node.state` alone makes new ones.  Ids are small integers per table as in Rancher
(the API adds the prefix: host 5 is `1h5`).  Times are milliseconds since the epoch, stamped by the leader.
API names differ: an Environment is the API's `project`, a Stack is its `environment`.
"""

from typing import Any, Literal

import msgspec

from protocol.ids import NodeId

DEFAULT_ENVIRONMENT_ID = 5
"""Rancher's `1a5`, the environment that exists from the first start; ids below it are reserved accounts."""

OverlayMode = Literal["wireguard", "vxlan"]


class Row(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What every row has."""

    id: int
    uuid: str
    created: int
    removed: int | None = None
    """When the row became `removed`; it stays listed for a while and is purged after."""


class LaunchConfig(
    msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True
):
    """How to run a container: the v1 API's launchConfig (API.md section 6), names as there."""

    image_uuid: str
    """`docker:<image>`."""
    command: tuple[str, ...] | None = None
    entry_point: tuple[str, ...] | None = None
    environment: dict[str, str] = {}
    labels: dict[str, str] = {}
    ports: tuple[str, ...] = ()
    """`[bind:][public:]private[/tcp|/udp]`; public left out: one is chosen."""
    expose: tuple[str, ...] = ()
    data_volumes: tuple[str, ...] = ()
    volume_driver: str | None = None
    tty: bool = False
    stdin_open: bool = False
    privileged: bool = False
    read_only: bool = False
    publish_all_ports: bool = False
    network_mode: Literal["managed", "bridge", "host", "none"] = "managed"
    hostname: str | None = None
    domain_name: str | None = None
    user: str | None = None
    working_dir: str | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    pid_mode: Literal["host"] | None = None
    memory: int | None = None
    """Bytes."""
    memory_swap: int | None = None
    cpu_shares: int | None = None
    cpu_set: str | None = None
    log_driver: str | None = None
    log_options: dict[str, str] = {}
    restart_policy: str | None = None
    """For stand-alone containers only: `no`, `always`, `on-failure[:n]`; services restart theirs themselves."""
    requested_host_id: int | None = None

    @property
    def image(self) -> str:
        """The image as Docker names it."""
        return self.image_uuid.removeprefix("docker:")


class Cluster(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What was decided when the cluster was made."""

    id: str
    """32 hex digits."""
    ca: bytes
    """The CA certificate, DER."""
    created: int
    overlay_network: str = "10.42.0.0/16"
    overlay_mode: OverlayMode = "wireguard"
    overlay_subnet_bits: int = 24
    """Prefix length of each host's own subnet inside `overlay_network`."""
    open_access: bool = False
    """True only while somebody typed `--access-control none`."""


class Environment(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An isolated set of hosts, stacks and names (the API's project)."""

    name: str
    description: str | None = None
    state: Literal["active", "inactive", "removed"] = "active"
    """Inactive: what runs goes on, nobody can change anything inside, and members lose sight of it."""


class HostFacts(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What a host says of itself; refreshed when it starts and when something changes."""

    docker_version: str = ""
    docker_api: str = ""
    kernel: str = ""
    os: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    node_version: str = ""
    overlay_kind: str = ""
    """`wireguard kernel`, `wireguard-go` or `vxlan`, as in use."""
    mtu: int = 0


class Host(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Docker host with its daemon, a member of exactly one environment."""

    environment_id: int
    node: NodeId
    name: str
    description: str | None = None
    state: Literal["active", "inactive", "removed"] = "active"
    up: bool = True
    """The leader's verdict from gossip; False shows as agentState `reconnecting`."""
    address: str = ""
    """Where other hosts reach it."""
    peer_port: int = 8090
    api_port: int = 8080
    overlay_port: int = 51820
    overlay_key: bytes = b""
    """WireGuard public key, 32 bytes."""
    seal_key: bytes = b""
    """X25519 public key for sealed boxes, 32 bytes."""
    subnet: str = ""
    """Its part of the overlay, e.g. `10.42.1.0/24`; freed with the host."""
    labels: dict[str, str] = {}
    facts: HostFacts = HostFacts()


class Stack(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named group of services (the API's environment)."""

    environment_id: int
    name: str
    description: str | None = None
    external_id: str | None = None
    variables: dict[str, str] = {}
    """The API's `environment` map, used by compose files."""
    docker_compose: str | None = None
    rancher_compose: str | None = None
    state: Literal["active", "removing", "removed"] = "active"


ServiceState = Literal[
    "inactive", "activating", "active", "updating-active", "updating-inactive", "deactivating", "removing", "removed"
]


class ServiceLink(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """That a service's containers find another service under an alias (the API's serviceConsumeMap)."""

    id: int
    service_id: int
    """The service that is found."""
    name: str = ""
    """The alias; empty: the other service's own name."""
    created: int = 0


class WantedLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A link to a service; without a name, under the other service's own."""

    service_id: int
    name: str = ""


class Service(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A wanted number of equal containers under one name."""

    environment_id: int
    stack_id: int
    name: str
    description: str | None = None
    scale: int = 1
    launch: LaunchConfig
    metadata: dict[str, Any] = {}
    external_id: str | None = None
    start_on_create: bool = False
    retain_ip: bool = False
    state: ServiceState = "inactive"
    message: str | None = None
    """Why it is not settled: what the planner would tell a person."""
    create_index: int = 0
    """How many containers it has ever created."""
    links: tuple[ServiceLink, ...] = ()


class PortBinding(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """One published port, its public side decided."""

    public: int
    private: int
    protocol: Literal["tcp", "udp"] = "tcp"
    bind: str = ""
    """Host address to bind; empty means every address."""


SeenStatus = Literal["none", "pulling", "created", "running", "exited", "error", "gone"]


class Seen(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """What its host's agent last reported of a container."""

    status: SeenStatus = "none"
    external_id: str | None = None
    """Docker's id."""
    exit_code: int | None = None
    message: str | None = None
    started: int | None = None
    starts: int = 0


class Container(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One container: wanted by a service's slot or by a person, placed on one host for life."""

    environment_id: int
    name: str
    launch: LaunchConfig
    description: str | None = None
    service_id: int | None = None
    stack_id: int | None = None
    number: int | None = None
    """Its slot in the service, from 1; None for a stand-alone container."""
    create_index: int = 0
    deployment_unit: str = ""
    host_id: int | None = None
    address: str | None = None
    """In the host's overlay subnet; None unless network mode is managed."""
    ports: tuple[PortBinding, ...] = ()
    desired: Literal["running", "stopped", "removed"] = "running"
    restarts_wanted: int = 0
    """Raised by a restart request; the agent restarts until it has done as many."""
    message: str | None = None
    """Why it could not be placed."""
    seen: Seen = Seen()


AccountKind = Literal["admin", "user", "system", "superadmin", "token", "service"]
MemberRole = Literal["owner", "member", "restricted", "readonly"]
ADMIN_ACCOUNT_ID = 1


class Account(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who can log in; its number is of the same count as environments' (`1a7` is one thing)."""

    kind: AccountKind = "user"
    name: str | None = None
    description: str | None = None
    external_id: str | None = None
    external_id_type: str | None = None
    state: Literal["active", "inactive", "removed", "purged"] = "active"
    sessions: int = 0
    """Raised to end every session that carries a smaller number: by a new password, by deactivating."""


class Password(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login and what proves it (the API's credential of kind `password`)."""

    account_id: int
    login: str
    """Unique among living ones, case does not count."""
    secret_hash: str
    """As made by node.auth.passwords; the password itself is never kept."""
    name: str | None = None
    description: str | None = None
    state: Literal["active", "inactive", "removed"] = "active"


class ProjectMember(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody's role in an environment; an account is `rancher_id` with its number written as `1a7`."""

    environment_id: int
    external_id: str
    external_id_type: str = "rancher_id"
    role: MemberRole = "member"
    name: str | None = None
    state: Literal["active", "removed"] = "active"


class EndedSession(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """A session that somebody logged out of before its time."""

    account_id: int
    ends: int
    """When it would have ended by itself; remembered no longer."""


class ApiKey(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Access to one environment, or with the rights of one account."""

    environment_id: int | None
    """None: an account's key, or an administrator's."""
    account_id: int | None = None
    """Whose key it is; None for an environment's key, and for an administrator's that belongs to nobody."""
    name: str | None = None
    description: str | None = None
    public: str
    secret_hash: bytes
    """As made by node.auth.keys; the secret itself is never kept."""
    state: Literal["active", "inactive", "removed"] = "active"


class JoinToken(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Leave for hosts to join one environment (the API's registrationToken)."""

    environment_id: int
    token_id: str
    secret_hash: bytes
    expires: int | None = None
    state: Literal["active", "inactive", "removed"] = "active"


class Done(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag=True):
    """A command that took effect; `id` is the row it made or changed."""

    kind: str = ""
    id: int = 0


class Refused(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag=True):
    """A command that changed nothing, and why."""

    code: str
    """An error code of API.md 1.4 such as NotUnique, InvalidReference, Conflict, Not Found."""
    message: str
    """What was wrong and what to try, for a person."""
    field: str | None = None


Result = Done | Refused


class State(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True):
    """Everything, as one value.  Tables are read-only by convention: `node.state` copies what it changes."""

    version: int = 1
    cluster: Cluster
    next_ids: dict[str, int] = {}
    environments: dict[int, Environment] = {}
    hosts: dict[int, Host] = {}
    stacks: dict[int, Stack] = {}
    services: dict[int, Service] = {}
    containers: dict[int, Container] = {}
    api_keys: dict[int, ApiKey] = {}
    tokens: dict[int, JoinToken] = {}
    accounts: dict[int, Account] = {}
    """Those that somebody made or changed; `node.state.accounts` knows the fixed ones besides."""
    passwords: dict[int, Password] = {}
    members: dict[int, ProjectMember] = {}
    settings: dict[str, str] = {}
    """What somebody set, by name; defaults are the API's."""
    ended_sessions: dict[str, EndedSession] = {}
    """By the session's id, until it would have ended anyway."""
    sealed_ca_keys: dict[NodeId, bytes] = {}
    """The CA's private key, sealed to each voter's seal_key."""
    removed_nodes: dict[NodeId, int] = {}
    """Nodes whose hosts were removed, and when: kept for as long as a certificate of theirs could be in force."""
    last_at: int = 0
    """When the latest entry was taken: time never runs backwards from one entry to the next."""
    recent: dict[str, Result] = {}
    """Results of the latest proposals by their id, oldest first, so that a retried one is applied once."""
    forgotten: int = 0
    """How many results were dropped from `recent` since the cluster began."""


Table = Literal[
    "environments",
    "hosts",
    "stacks",
    "services",
    "containers",
    "api_keys",
    "tokens",
    "accounts",
    "passwords",
    "members",
]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One row that a command touched."""

    table: Table
    id: int


def host_of_node(state: State, node: NodeId) -> Host | None:
    """The host row of a node that has not been removed."""
    return next((host for host in state.hosts.values() if host.node == node and host.state != "removed"), None)
