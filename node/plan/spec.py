"""From a container's row to what the engine is told: name, labels, network, ports, volumes.

Pure; labels as Rancher 1.0 put them on every container, plus the cluster's, by which we know our own.
"""

from node.model import Container, State
from node.plan.names import resolv_conf_of
from node.ports import ContainerSpec

OVERLAY_NETWORK = "corral"
"""The engine's name for the overlay's bridge network."""
CLUSTER_LABEL = "io.corral.cluster"
UUID_LABEL = "io.rancher.container.uuid"
HOSTNAME_OVERRIDE = "io.rancher.container.hostname_override"
PRIMARY_LAUNCH_CONFIG = "io.rancher.service.primary.launch.config"
DOCKER_NAME_PREFIX = "r-"


def render_spec(container: Container, state: State, *, by_uuid: bool = False) -> ContainerSpec:
    """Return what the engine is to make; `by_uuid` names it so when `r-<name>` belongs to somebody else."""
    launch = container.launch
    managed = launch.network_mode == "managed"
    binds, anonymous = split_volumes(launch.data_volumes)
    return ContainerSpec(
        name=container.uuid if by_uuid else f"{DOCKER_NAME_PREFIX}{container.name}",
        image=launch.image,
        labels={**launch.labels, **render_labels(container, state)},
        command=launch.command,
        entry_point=launch.entry_point,
        environment=launch.environment,
        network=OVERLAY_NETWORK if managed else launch.network_mode,
        address=container.address,
        ports=container.ports,
        expose=launch.expose,
        binds=binds,
        anonymous_volumes=anonymous,
        volume_driver=launch.volume_driver,
        resolv_conf=resolv_conf_of(container, state) if managed else None,
        hostname=_hostname(container),
        domain_name=launch.domain_name,
        user=launch.user,
        working_dir=launch.working_dir,
        tty=launch.tty,
        stdin_open=launch.stdin_open,
        privileged=launch.privileged,
        read_only=launch.read_only,
        publish_all_ports=launch.publish_all_ports,
        cap_add=launch.cap_add,
        cap_drop=launch.cap_drop,
        devices=launch.devices,
        dns=() if managed else launch.dns,
        dns_search=() if managed else launch.dns_search,
        extra_hosts=launch.extra_hosts,
        security_opt=launch.security_opt,
        pid_mode=launch.pid_mode,
        memory=launch.memory,
        memory_swap=launch.memory_swap,
        cpu_shares=launch.cpu_shares,
        cpu_set=launch.cpu_set,
        log_driver=launch.log_driver,
        log_options=launch.log_options,
        # Service containers are restarted by the agent, which backs off and says so.
        restart_policy=launch.restart_policy if container.service_id is None else None,
    )


def render_labels(container: Container, state: State) -> dict[str, str]:
    """Our labels of a container; a user's label of the same name gives way."""
    labels = {
        CLUSTER_LABEL: state.cluster.id,
        UUID_LABEL: container.uuid,
        "io.rancher.container.name": container.name,
    }
    if container.address is not None:
        prefix = state.cluster.overlay_network.partition("/")[2]
        labels["io.rancher.container.ip"] = f"{container.address}/{prefix}"
    service = state.services.get(container.service_id) if container.service_id is not None else None
    stack = state.stacks.get(container.stack_id) if container.stack_id is not None else None
    if service is not None and stack is not None:
        path = f"{stack.name}/{service.name}"
        labels |= {
            "io.rancher.stack.name": stack.name,
            "io.rancher.stack_service.name": path,
            "io.rancher.project.name": stack.name,
            "io.rancher.project_service.name": path,
            "io.rancher.service.deployment.unit": container.deployment_unit,
            "io.rancher.service.launch.config": PRIMARY_LAUNCH_CONFIG,
        }
    return labels


def _hostname(container: Container) -> str | None:
    if container.launch.labels.get(HOSTNAME_OVERRIDE) == "container_name":
        return container.name
    return container.launch.hostname


def split_volumes(volumes: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split into binds (`/host:/in`, `name:/in:ro`) and anonymous volumes (`/in`)."""
    return (
        tuple(volume for volume in volumes if ":" in volume),
        tuple(volume for volume in volumes if ":" not in volume),
    )
