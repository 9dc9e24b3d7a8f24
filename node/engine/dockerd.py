"""Docker through its low-level Python client, each call in a worker thread.

Only containers with this cluster's label are ever listed or touched.  A listing costs one call; details that it
lacks (exit code, start time) are inspected once and kept until an event says that the container changed; one that
never started has none.
"""

import hashlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import trio
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.types import LogConfig
from docker.utils import parse_repository_tag

from node.engine.errors import code_of_words, engine_error
from node.engine.streaming import Streaming
from node.ports import (
    ContainerSpec,
    EngineContainer,
    EngineError,
    EngineVersion,
    ExecSession,
    ExecSpec,
    LogLine,
    NetworkSpec,
)
from node.store.files import write_private

CLUSTER_LABEL = "io.corral.cluster"
UUID_LABEL = "io.rancher.container.uuid"
NAME_LABEL = "io.rancher.container.name"
MTU_OPTION = "com.docker.network.driver.mtu"
DEFAULT_URL = "unix:///var/run/docker.sock"
CALL_TIMEOUT = 120
CALLS_AT_ONCE = 8
PULLS_AT_ONCE = 3
RECONNECT_AFTER = 1.0

T = TypeVar("T")

log = logging.getLogger("corral.engine")


class DockerEngine:
    """The StreamingEngine port on a Docker daemon."""

    def __init__(self, cluster_id: str, *, resolv_dir: Path, url: str = DEFAULT_URL) -> None:
        self._cluster_id = cluster_id
        self._resolv_dir = resolv_dir
        self._url = url
        self._client: docker.APIClient | None = None
        self._calls = trio.CapacityLimiter(CALLS_AT_ONCE)
        self._pulls = trio.CapacityLimiter(PULLS_AT_ONCE)
        self._streams = trio.CapacityLimiter(8)
        self._streaming = Streaming(url, self._call, (CLUSTER_LABEL, cluster_id))
        self._writing = trio.Lock()
        """Containers of a service share a resolv.conf, and several are made at once: one writes it."""
        self._kept_mtu: tuple[str, int] | None = None
        """The MTU that the network has and the one it should have, as last seen."""
        self._known: dict[str, EngineContainer] = {}
        self._touched: set[str] = set()
        """Changed since the latest inspection began: what it found may be old already, so it is not kept."""

    async def version(self) -> EngineVersion:
        """Ask the engine who it is; one that is too old for our client answers this one question."""
        try:
            return await self._call(_version)
        except EngineError as error:
            if not isinstance(error.__cause__, docker.errors.InvalidVersion):
                raise
        return await trio.to_thread.run_sync(_version_of_old, self._url, limiter=self._calls, abandon_on_cancel=True)

    async def list_containers(self) -> tuple[EngineContainer, ...]:
        """List this cluster's containers."""
        listed, found = await self._call(lambda client: _list(client, self._cluster_id))
        self._known = {external_id: known for external_id, known in self._known.items() if external_id in listed}
        stale = [
            external_id
            for external_id, state in listed.items()
            if external_id not in found
            and ((known := self._known.get(external_id)) is None or known.status != _STATUS.get(state, "exited"))
        ]
        found = self._known | found
        if stale:
            self._touched.clear()
            for container in await self._call(lambda client: [_inspect(client, each) for each in stale]):
                if container is None:
                    continue
                found[container.external_id] = container
                if container.external_id not in self._touched:
                    self._known[container.external_id] = container
        return tuple(found[external_id] for external_id in listed if external_id in found)

    async def has_image(self, image: str) -> bool:
        """Whether the image is on this host already."""
        try:
            await self._call(lambda client: client.inspect_image(image))  # type: ignore[no-untyped-call]
        except EngineError as error:
            if error.code in ("image-missing", "not-found"):
                return False
            raise
        return True

    async def pull(self, image: str) -> None:
        """Fetch an image from its registry; `image-missing` with the registry's reason when it cannot be had."""
        repository, tag = parse_repository_tag(image)

        def pull(client: docker.APIClient) -> None:
            for line in client.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in line:
                    raise EngineError(code_of_words(str(line["error"])) or "image-missing", str(line["error"])[:1000])

        try:
            await self._call(pull, limiter=self._pulls)
        except EngineError as error:
            # What a registry says names hosts and digests, rarely the image that somebody wants.
            raise EngineError(error.code, f"{image} is not here and cannot be pulled: {error}") from error

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container."""
        async with self._writing:
            resolv_conf = await self._call(lambda client: self._write_resolv_conf(spec.resolv_conf))
        return await self._call(lambda client: _create(client, spec, resolv_conf))

    async def start(self, external_id: str) -> None:
        """Start a container; starting a running one is no error."""
        await self._call(lambda client: client.start(external_id))
        self._forget(external_id)

    async def stop(self, external_id: str, timeout: float) -> None:
        """Stop a container."""
        try:
            await self._call(lambda client: client.stop(external_id, timeout=math.ceil(timeout)))
        except EngineError as error:
            if error.code != "not-found":
                raise
        self._forget(external_id)

    async def remove(self, external_id: str) -> None:
        """Remove a container and its anonymous volumes."""
        try:
            await self._call(lambda client: client.remove_container(external_id, v=True, force=True))
        except EngineError as error:
            if error.code != "not-found":
                raise
        self._forget(external_id)

    async def ensure_network(self, spec: NetworkSpec) -> None:
        """Make the bridge network of the overlay what `spec` says, except for the MTU of one that is in use."""
        mtu = await self._call(lambda client: _ensure_network(client, spec, self._cluster_id))
        if mtu != str(spec.mtu) and self._kept_mtu != (mtu, spec.mtu):
            why = "it is replaced once no container is left on it"
            log.warning("the Docker network %s has MTU %s and should have %d: %s", spec.name, mtu, spec.mtu, why)
        self._kept_mtu = (mtu, spec.mtu)

    async def remove_network(self, name: str) -> None:
        """Remove our network; somebody else's of the same name stays."""

        def remove(client: docker.APIClient) -> None:
            for network in client.networks(names=[name]):
                if network["Name"] == name and CLUSTER_LABEL in (network.get("Labels") or {}):
                    client.remove_network(network["Id"])

        await self._call(remove)

    async def watch(self, wake: Callable[[], None]) -> None:
        """Wake at each event of our containers, and when the engine comes or goes; never returns."""
        while True:
            try:
                await self._pump_events(wake)
            except* EngineError as errors:
                log.debug("no events: %s", errors.exceptions[0])
            except* Exception:
                # Without events the agent still looks every few seconds; nothing here is worth the daemon.
                log.exception("the engine's events broke off")
            self._known.clear()
            wake()
            await trio.sleep(RECONNECT_AFTER)

    def logs(
        self, external_id: str, *, follow: bool, lines: int | None = None, since: float | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[LogLine, ...]]]:
        """Read a container's log."""
        return self._streaming.logs(external_id, follow=follow, lines=lines, since=since)

    def exec(self, external_id: str, spec: ExecSpec) -> AbstractAsyncContextManager[ExecSession]:
        """Run a command in a container."""
        return self._streaming.exec(external_id, spec)

    def stats(self, external_id: str) -> AbstractAsyncContextManager[AsyncIterator[Mapping[str, Any]]]:
        """Read what a container uses."""
        return self._streaming.stats(external_id)

    def _forget(self, external_id: str) -> None:
        self._known.pop(external_id, None)
        self._touched.add(external_id)

    async def _pump_events(self, wake: Callable[[], None]) -> None:
        filters = {"type": "container", "label": f"{CLUSTER_LABEL}={self._cluster_id}"}
        stream: Any = await self._call(lambda client: client.events(decode=True, filters=filters))

        def heard(event: dict[str, Any]) -> None:
            self._forget(str(event.get("id", "")))
            wake()

        def read() -> None:
            try:
                for event in stream:
                    trio.from_thread.run_sync(heard, event)
            except Exception as error:
                # The engine stopped, or we closed the stream, or it said what the client cannot read: listen anew.
                log.debug("the events ended: %r", error)

        async def close_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with suppress(Exception):  # The client refuses to close what it no longer knows to be open.
                    stream.close()  # Wakes the reader thread.

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_when_cancelled)
            await trio.to_thread.run_sync(read, limiter=self._streams, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

    async def _call(self, call: Callable[[docker.APIClient], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Run `call` in a thread, which is left to itself when we are cancelled: a pull or a hung engine has no end.

        What an abandoned call still makes carries our label, so the next start of this daemon finds it.
        """
        return await trio.to_thread.run_sync(
            self._in_thread, call, limiter=limiter or self._calls, abandon_on_cancel=True
        )

    def _in_thread(self, call: Callable[[docker.APIClient], T]) -> T:
        try:
            if self._client is None:
                self._client = docker.APIClient(base_url=self._url, version="auto", timeout=CALL_TIMEOUT)
            return call(self._client)
        except EngineError:
            raise
        except Exception as error:
            # The client library also raises what it stumbles over: a bad text in a spec, an answer it cannot read.
            raise engine_error(error) from error

    def _write_resolv_conf(self, text: str | None) -> Path | None:
        """Keep the text in a file named by its content: containers share it, and it outlives a reboot."""
        if text is None:
            return None
        path = self._resolv_dir / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.conf"
        if not path.exists():
            self._resolv_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_private(path, text.encode())
            path.chmod(0o644)
        return path


# What the engine answers is read in the thread too: an answer of an unknown shape is an EngineError like any other.


def _version(client: docker.APIClient) -> EngineVersion:
    version, info = client.version(), client.info()
    return EngineVersion(
        version=str(version["Version"]),
        api=str(version["ApiVersion"]),
        kernel=str(info.get("KernelVersion", "")),
        os=str(info.get("OperatingSystem", "")),
        cpus=int(info.get("NCPU", 0)),
        memory_bytes=int(info.get("MemTotal", 0)),
    )


def _version_of_old(url: str) -> EngineVersion:
    """Ask at the path without a version in it, which every engine answers."""
    try:
        with closing(
            docker.APIClient(base_url=url, version=MINIMUM_DOCKER_API_VERSION, timeout=CALL_TIMEOUT)
        ) as client:
            told = client.version(api_version=False)
        version, api = str(told["Version"]), str(told["ApiVersion"])
        return EngineVersion(version=version, api=api, kernel="", os="", cpus=0, memory_bytes=0)
    except Exception as error:
        raise engine_error(error) from error


def _list(client: docker.APIClient, cluster_id: str) -> tuple[dict[str, str], dict[str, EngineContainer]]:
    """Return the state of each container, and those that never started: inspecting one waits for its start to end."""
    rows = client.containers(all=True, filters={"label": [f"{CLUSTER_LABEL}={cluster_id}"]})
    listed = {str(row["Id"]): str(row["State"]) for row in rows}
    return listed, {str(row["Id"]): never_started(row) for row in rows if row["State"] == "created"}


def never_started(row: Mapping[str, Any]) -> EngineContainer:
    """Return a created container from its row of a listing, which says all there is to know of it."""
    labels = row.get("Labels") or {}
    return EngineContainer(
        external_id=str(row["Id"]),
        uuid=labels.get(UUID_LABEL, ""),
        given_name=labels.get(NAME_LABEL, ""),
        # A container that others link to has names of theirs as well: `/other/alias`.
        name=next((name[1:] for name in row.get("Names") or () if name.count("/") == 1), ""),
        status="created",
        exit_code=None,
        started=None,
        finished=None,
    )


_STATUS = {"created": "created", "running": "running", "paused": "running", "restarting": "running"}


def _inspect(client: docker.APIClient, external_id: str) -> EngineContainer | None:
    try:
        found: dict[str, Any] = client.inspect_container(external_id)
    except docker.errors.NotFound:
        return None
    state = found["State"]
    status = _STATUS.get(state["Status"], "exited")
    labels = found["Config"].get("Labels") or {}
    return EngineContainer(
        external_id=found["Id"],
        uuid=labels.get(UUID_LABEL, ""),
        given_name=labels.get(NAME_LABEL, ""),
        name=found["Name"].lstrip("/"),
        status=status,  # type: ignore[arg-type]
        exit_code=int(state["ExitCode"]) if status == "exited" else None,
        started=_milliseconds(state.get("StartedAt")),
        finished=_milliseconds(state.get("FinishedAt")),
    )


def _milliseconds(text: str | None) -> int | None:
    """Return Docker's RFC 3339 time (nanoseconds, `0001-01-01` for never) in milliseconds since the epoch."""
    if not text or text.startswith("0001-"):
        return None
    seconds, _, fraction = text.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(f"{seconds}+00:00").timestamp()
    return int(whole * 1000) + int((fraction + "000")[:3] if fraction else 0)


def _create(client: docker.APIClient, spec: ContainerSpec, resolv_conf: Path | None) -> str:
    binds = list(spec.binds)
    if resolv_conf is not None:
        binds.append(f"{resolv_conf}:/etc/resolv.conf:ro")
    host_config = client.create_host_config(
        binds=binds,
        port_bindings=_port_bindings(spec),
        publish_all_ports=spec.publish_all_ports,
        privileged=spec.privileged,
        read_only=spec.read_only,
        cap_add=list(spec.cap_add) or None,
        cap_drop=list(spec.cap_drop) or None,
        devices=list(spec.devices) or None,
        dns=list(spec.dns) or None,
        dns_search=list(spec.dns_search) or None,
        extra_hosts=dict(each.split(":", 1) for each in spec.extra_hosts) or None,
        security_opt=list(spec.security_opt) or None,
        pid_mode=spec.pid_mode,
        mem_limit=spec.memory,
        memswap_limit=spec.memory_swap,
        cpu_shares=spec.cpu_shares,
        cpuset_cpus=spec.cpu_set,
        network_mode=spec.network,
        restart_policy=_restart_policy(spec.restart_policy),
        log_config=LogConfig(type=spec.log_driver, config=spec.log_options) if spec.log_driver else None,
        volume_driver=spec.volume_driver,
    )
    networking = None
    if spec.address is not None:
        networking = client.create_networking_config(
            {spec.network: client.create_endpoint_config(ipv4_address=spec.address)}  # type: ignore[arg-type]
        )
    exposed = {(b.private, b.protocol) for b in spec.ports} | {_port(each) for each in spec.expose}
    created = client.create_container(
        spec.image,
        command=list(spec.command) if spec.command is not None else None,
        entrypoint=list(spec.entry_point) if spec.entry_point is not None else None,
        environment=spec.environment,
        hostname=spec.hostname,
        domainname=spec.domain_name,
        user=spec.user,
        working_dir=spec.working_dir,
        tty=spec.tty,
        stdin_open=spec.stdin_open,
        ports=sorted(exposed),
        volumes=list(spec.anonymous_volumes),
        labels=spec.labels,
        name=spec.name,
        host_config=host_config,
        networking_config=networking,
    )
    return str(created["Id"])


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number), protocol.lower() or "tcp"


def _port_bindings(spec: ContainerSpec) -> dict[int | str, list[tuple[str, int]]]:
    bindings: dict[int | str, list[tuple[str, int]]] = {}
    for port in spec.ports:
        bindings.setdefault(f"{port.private}/{port.protocol}", []).append((port.bind, port.public))
    return bindings


def _restart_policy(text: str | None) -> dict[str, Any] | None:
    if not text or text == "no":
        return None
    name, _, count = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _ensure_network(client: docker.APIClient, spec: NetworkSpec, cluster_id: str) -> str:
    """Return the MTU of the network that there is in the end."""
    for network in client.networks(names=[spec.name]):
        if network["Name"] != spec.name:
            continue
        if (network.get("Labels") or {}).get(CLUSTER_LABEL) != cluster_id:
            raise EngineError("invalid", f"a Docker network {spec.name} of somebody else exists: remove or rename it")
        mtu = _mtu_of(network)
        # A stopped container counts too: it could not be started on a network that only has the same name.
        if _fits(network, spec) and (mtu == str(spec.mtu) or _is_used(client, network["Id"])):
            return mtu
        client.remove_network(network["Id"])
    options = {
        "com.docker.network.bridge.name": spec.bridge,
        # Docker would hide who asks behind the host's address; we masquerade only what leaves the overlay.
        "com.docker.network.bridge.enable_ip_masquerade": "false",
        MTU_OPTION: str(spec.mtu),
    }
    if _engine_major(client) >= 28:
        # Since 28 packets from other hosts to a container's own address are dropped unless the network says so.
        options["com.docker.network.bridge.gateway_mode_ipv4"] = "nat-unprotected"
    pool = docker.types.IPAMPool(subnet=spec.subnet, gateway=spec.gateway)
    client.create_network(
        spec.name,
        driver="bridge",
        options=options,
        ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        labels={CLUSTER_LABEL: cluster_id},
        check_duplicate=True,
    )
    return str(spec.mtu)


def _mtu_of(network: Mapping[str, Any]) -> str:
    return str((network.get("Options") or {}).get(MTU_OPTION, "unknown"))


def _is_used(client: docker.APIClient, network_id: str) -> bool:
    return bool(client.containers(all=True, filters={"network": [network_id]}))


def _fits(network: dict[str, Any], spec: NetworkSpec) -> bool:
    """Whether it lies where it should; its MTU is another matter."""
    bridge = (network.get("Options") or {}).get("com.docker.network.bridge.name")
    pools = (network.get("IPAM") or {}).get("Config") or [{}]
    return bool(pools[0].get("Subnet") == spec.subnet and bridge == spec.bridge)


def _engine_major(client: docker.APIClient) -> int:
    major = str(client.version()["Version"]).split(".", 1)[0]
    return int(major) if major.isdigit() else 0
