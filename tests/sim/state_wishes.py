"""What people wish of a state: mostly what can be, now and then what cannot, and what nobody should ask for."""

from collections.abc import Callable
from random import Random
from typing import Literal

import msgspec

from node import commands as c
from node.commands import SingleCommand
from node.model import DEFAULT_ENVIRONMENT_ID, HostFacts, LaunchConfig, State
from tests.fakes.states import admit, node_id

WEB = LaunchConfig(image_uuid="docker:web:1")
LAUNCHES = (
    *(WEB, WEB),
    msgspec.structs.replace(WEB, ports=("80:80",)),
    msgspec.structs.replace(WEB, ports=("80:80", "53:53/udp")),
    msgspec.structs.replace(WEB, ports=("8080/tcp",)),
    msgspec.structs.replace(WEB, network_mode="host"),
)
FOOLISH_LAUNCHES = tuple(
    msgspec.structs.replace(WEB, **odd)
    for odd in (
        {"image_uuid": "docker:"},
        {"image_uuid": "web"},
        {"ports": ("80:80", "80:81")},
        {"ports": ("99999:1",)},
        {"ports": tuple(f"{port}:80" for port in range(1, 300))},
        {"data_volumes": ("data",)},
        {"expose": ("0",)},
        {"extra_hosts": ("db",)},
        {"extra_hosts": ("db:nowhere",)},
        {"devices": ("null",)},
        {"dns_search": ("-",)},
        {"restart_policy": "never"},
        {"memory": -5},
    )
)
NAMES = ("web", "db", "cache", "mail")
FOOLISH_NAMES = ("", " ", "x" * 300, "a\nb", "-", "a.b", "web")
WHY = "a person"
DESIRED: tuple[Literal["running", "stopped", "removed"], ...] = ("running", "stopped", "removed")
STATES: tuple[Literal["active", "inactive", "removed"], ...] = ("active", "inactive", "removed")

Wishes = tuple[tuple[float, Callable[[], SingleCommand]], ...]
"""Each with its weight."""


class Wisher:
    """Somebody who sees a state and draws a wish."""

    def __init__(self, rng: Random, state: State, hosts: int) -> None:
        self._rng, self._state, self._hosts = rng, state, hosts
        self._uuid = f"u{rng.getrandbits(64):016x}"

    def draw(self) -> SingleCommand:
        wishes = self._rng.choices((self._usual, self._rare, self._foolish), (20, 3, 1))[0]()
        return self._rng.choices([wish for _, wish in wishes], [weight for weight, _ in wishes])[0]()

    def _some(self, table: str) -> int:
        rows: dict[int, object] = getattr(self._state, table)
        living = [key for key, row in rows.items() if getattr(row, "removed", None) is None]
        return self._rng.choice(living or [1])

    def _environment(self) -> int:
        return DEFAULT_ENVIRONMENT_ID if self._rng.random() < 0.9 else self._some("environments")

    def _usual(self) -> Wishes:
        """What most people do most of the time."""
        rng = self._rng
        stack, service, container, host = map(self._some, ("stacks", "services", "containers", "hosts"))
        desired = rng.choice(DESIRED)
        return (
            (
                1,
                lambda: c.CreateStack(
                    uuid=self._uuid, environment_id=self._environment(), name=rng.choice("abc"), description="x"
                ),
            ),
            (6, lambda: draw_service(rng, self._uuid, stack)),
            (4, lambda: c.UpdateService(id=service, scale=rng.randint(0, 5))),
            (1, lambda: c.ActivateService(id=service)),
            (1, lambda: c.DeactivateService(id=service)),
            (0.4, lambda: c.RemoveService(id=service)),
            (0.05, lambda: c.RemoveStack(id=stack)),
            (2, self._container),
            (3, lambda: c.SetContainerDesired(id=container, desired=desired, why=WHY)),
            (1, lambda: c.RestartContainer(id=container)),
            (0.3, lambda: c.SetHostState(id=host, state=rng.choice(["active", "active", "inactive"]))),
            (0.1, lambda: c.RemoveHost(id=host)),
            (1, lambda: admit(rng.randint(1, self._hosts))),
        )

    def _container(self) -> SingleCommand:
        return c.CreateContainer(
            uuid=self._uuid,
            environment_id=self._environment(),
            name=f"one{self._rng.randint(1, 9)}",
            launch=self._rng.choice(LAUNCHES),
            start=self._rng.random() < 0.8,
        )

    def _rare(self) -> Wishes:
        """What an administrator does now and then."""
        rng, uuid = self._rng, self._uuid
        token, key, environment = map(self._some, ("tokens", "api_keys", "environments"))
        state = rng.choice(STATES)
        facts = HostFacts(cpus=rng.randint(1, 4))
        return (
            (2, lambda: c.CreateEnvironment(uuid=uuid, name=rng.choice(["Test", "Prod", "default"]))),
            (1, lambda: c.UpdateEnvironment(id=environment, name=rng.choice(["Test", "Live"]))),
            (1, lambda: c.UpdateEnvironment(id=environment, description="y")),
            (0.5, lambda: c.RemoveEnvironment(id=environment)),
            (
                1,
                lambda: c.CreateToken(
                    uuid=uuid, environment_id=environment, token_id=f"t{rng.randint(1, 20)}", secret_hash=b"s"
                ),
            ),
            (1, lambda: c.SetTokenState(id=token, state=state)),
            (
                1,
                lambda: c.CreateApiKey(
                    uuid=uuid,
                    environment_id=rng.choice([None, environment]),
                    name=rng.choice([None, "key"]),
                    public=f"k{rng.randint(1, 20)}",
                    secret_hash=b"s",
                ),
            ),
            (1, lambda: c.UpdateApiKey(id=key, name="other", state=rng.choice([None, state]))),
            (0.5, lambda: c.SetOpenAccess(open_access=rng.random() < 0.5)),
            (1, lambda: c.UpdateHost(id=self._some("hosts"), name=rng.choice([None, "h1", "big"]), labels={"a": "b"})),
            (1, lambda: c.ReportHost(node=node_id(rng.randint(1, 5)), address="192.0.2.9", facts=facts)),
            (1, lambda: c.UpdateStack(id=self._some("stacks"), name=rng.choice([None, *"abc"]), variables={"A": "b"})),
            (1, lambda: c.UpdateService(id=self._some("services"), name=rng.choice(NAMES), metadata={"a": [1, None]})),
            (0.5, lambda: c.UpdateContainer(id=self._some("containers"), description="z")),
            (0.3, lambda: c.SealCaKey(node=node_id(rng.randint(1, 5)), sealed=rng.choice([None, b"sealed"]))),
        )

    def _foolish(self) -> Wishes:
        """What is refused, or should be."""
        rng, uuid = self._rng, self._uuid
        name, launch = rng.choice(FOOLISH_NAMES), rng.choice(FOOLISH_LAUNCHES)
        stack, nowhere = self._some("stacks"), rng.choice([0, -1, 10**6])
        deep: dict[str, object] = {}
        for _ in range(40):
            deep = {"a": deep}
        return (
            (1, lambda: c.CreateStack(uuid=uuid, environment_id=DEFAULT_ENVIRONMENT_ID, name=name)),
            (1, lambda: c.CreateStack(uuid=uuid, environment_id=nowhere, name="a")),
            (1, lambda: c.CreateEnvironment(uuid=uuid, name=name)),
            (1, lambda: c.CreateService(uuid=uuid, stack_id=stack, name=name, launch=WEB)),
            (3, lambda: c.CreateService(uuid=uuid, stack_id=stack, name="odd", launch=launch)),
            (1, lambda: c.CreateService(uuid=uuid, stack_id=nowhere, name="odd", launch=WEB)),
            (1, lambda: c.UpdateService(id=self._some("services"), scale=rng.choice([-1, 10**6]), metadata=deep)),
            (1, lambda: c.CreateContainer(uuid=uuid, environment_id=nowhere, name=name, launch=launch)),
            (1, lambda: c.CreateContainer(uuid=uuid, environment_id=DEFAULT_ENVIRONMENT_ID, name=name, launch=WEB)),
            (0.5, lambda: c.RemoveStack(id=nowhere)),
            (0.5, lambda: c.RemoveEnvironment(id=rng.choice([nowhere, DEFAULT_ENVIRONMENT_ID]))),
            (0.5, lambda: c.RemoveHost(id=nowhere)),
            (0.5, lambda: c.UpdateHost(id=self._some("hosts"), name=name)),
            (0.5, lambda: c.UpdateApiKey(id=nowhere, name=name)),
            (0.5, lambda: c.SetTokenState(id=nowhere, state="active")),
            (0.5, lambda: c.SetContainerDesired(id=nowhere, desired="running", why=WHY)),
            (0.5, lambda: c.InitCluster(cluster_id="d" * 32, ca=b"ca")),
        )


def draw_service(rng: Random, uuid: str, stack_id: int) -> SingleCommand:
    return c.CreateService(
        uuid=uuid,
        stack_id=stack_id,
        name=rng.choice(NAMES),
        launch=rng.choice(LAUNCHES),
        scale=rng.randint(1, 4),
        start_on_create=rng.random() < 0.9,
    )
