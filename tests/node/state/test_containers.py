"""Slots, placements and reports: what is taken is never given twice, and stays taken until it is gone."""

import msgspec
import pytest

from node.commands import (
    AddContainer,
    AnyCommand,
    CreateContainer,
    CreateEnvironment,
    Observation,
    PlaceContainer,
    Placement,
    PurgeRows,
    ReportContainers,
    RestartContainer,
    SetContainerDesired,
    SetHostState,
)
from node.model import LaunchConfig, PortBinding, Refused, Seen, State
from node.state import apply
from tests.fakes.states import admit, carried_out, done, grown, launch, node_id, with_service, with_stack


def refusal(state: State, command: AnyCommand) -> Refused:
    applied = apply(state, command, at=7)
    assert isinstance(applied.result, Refused), applied.result
    assert applied.state is state
    return applied.result


def add(
    number: int, host_id: int = 1, *, address: str | None = None, ports: tuple[PortBinding, ...] = ()
) -> AddContainer:
    address = address or f"10.42.{host_id - 1}.{number + 1}"
    placement = Placement(host_id=host_id, address=address, ports=ports)
    return AddContainer(uuid=f"c-{number}-{host_id}", service_id=1, number=number, placement=placement, why="test")


def filled(*, hosts: int, scale: int) -> State:
    """Service 1 of stack 1 with all its slots filled, slot n on host n (round and round)."""
    state = with_service(with_stack(grown(hosts)), scale=scale)
    for number in range(1, scale + 1):
        state = done(state, add(number, (number - 1) % hosts + 1))
    return state


def report(state: State, container_id: int, seen: Seen, node: int = 1) -> State:
    observation = Observation(container_id=container_id, seen=seen)
    return done(state, ReportContainers(node=node_id(node), observations=(observation,)), at=3000)


def test_slot_is_named_after_stack_service_and_number() -> None:
    row = filled(hosts=1, scale=1).containers[1]
    assert (row.name, row.number, row.create_index, row.address) == ("shop_web_1", 1, 1, "10.42.0.2")


def test_slot_is_held_until_its_container_is_gone() -> None:
    state = carried_out(filled(hosts=1, scale=1))
    state = done(state, SetContainerDesired(id=1, desired="removed", why="test"))
    assert refusal(state, add(1)).code == "NotUnique"
    state = carried_out(state)
    assert state.containers[1].removed == 2000
    again = msgspec.structs.replace(add(1), uuid="fresh")
    assert done(state, again).containers[2].name == "shop_web_1"


def test_service_takes_no_more_containers_than_its_scale() -> None:
    assert refusal(filled(hosts=1, scale=1), add(2)).code == "Conflict"


@pytest.mark.parametrize("address", ["10.42.0.0", "10.42.0.1", "10.42.0.255", "10.42.1.2", "x", ""])
def test_address_is_refused_when_it_is_no_container_address_of_the_host(address: str) -> None:
    state = with_service(with_stack(grown(1)))
    placement = Placement(host_id=1, address=address)
    command = AddContainer(uuid="u", service_id=1, number=1, placement=placement, why="test")
    assert refusal(state, command).field == "address"


def test_address_is_refused_while_another_container_has_it() -> None:
    state = with_service(with_stack(grown(1)), scale=2)
    state = done(state, add(1, address="10.42.0.9"))
    assert "shop_web_1 has the address 10.42.0.9" in refusal(state, add(2, address="10.42.0.9")).message


def test_host_port_is_refused_while_a_container_publishes_it() -> None:
    port = PortBinding(public=10086, private=80)
    state = with_service(with_stack(grown(2)), scale=2, launch=launch(ports=("10086:80",)))
    state = done(state, add(1, 1, ports=(port,)))
    assert refusal(state, add(2, 1, ports=(port,))).code == "NotUnique"
    assert len(done(state, add(2, 2, ports=(port,))).containers) == 2


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (PortBinding(public=53, private=53), PortBinding(public=53, private=53, protocol="udp"), False),
        (
            PortBinding(public=53, private=53, bind="192.0.2.1"),
            PortBinding(public=53, private=53, bind="192.0.2.2"),
            False,
        ),
        (PortBinding(public=53, private=53, bind="192.0.2.1"), PortBinding(public=53, private=53), True),
        (PortBinding(public=53, private=53, bind="0.0.0.0"), PortBinding(public=53, private=5, bind="192.0.2.1"), True),
    ],
)
def test_host_ports_exclude_each_other_when_protocol_and_bind_overlap(
    one: PortBinding, other: PortBinding, clash: bool
) -> None:
    def text(port: PortBinding) -> str:
        return f"{port.bind}:{port.public}:{port.private}/{port.protocol}"

    state = with_service(with_stack(grown(1)), launch=launch(ports=(text(one),)))
    state = with_service(state, "other", launch=launch(ports=(text(other),)))
    state = done(state, add(1, ports=(one,)))
    second = msgspec.structs.replace(add(2, ports=(other,)), service_id=2)
    assert isinstance(apply(state, second, at=7).result, Refused) is clash


def test_host_port_is_refused_when_corral_itself_uses_it() -> None:
    state = with_service(with_stack(grown(1)), launch=launch(ports=("8080:80",)))
    assert "the API" in refusal(state, add(1, ports=(PortBinding(public=8080, private=80),))).message


def test_placement_is_refused_when_it_publishes_something_else_than_asked() -> None:
    state = with_service(with_stack(grown(1)), launch=launch(ports=("10086:80",)))
    assert refusal(state, add(1)).field == "ports"
    assert refusal(state, add(1, ports=(PortBinding(public=10087, private=80),))).field == "ports"


def test_placement_is_refused_when_the_host_is_inactive_foreign_or_unknown() -> None:
    state = with_service(with_stack(grown(1)))
    state = done(state, CreateEnvironment(uuid="e", name="test"))
    state = done(state, admit(2, 7))
    assert refusal(done(state, SetHostState(id=1, state="inactive")), add(1)).field == "hostId"
    assert refusal(state, add(1, 2)).code == "InvalidReference"
    assert refusal(state, add(1, 9)).code == "InvalidReference"


def standalone(name: str = "tool", **fields: object) -> CreateContainer:
    base = CreateContainer(uuid=f"u-{name}", environment_id=5, name=name, launch=launch())
    return msgspec.structs.replace(base, **fields)


def test_container_name_is_unique_in_its_environment_without_regard_to_case() -> None:
    state = filled(hosts=1, scale=1)
    assert refusal(state, standalone("Shop_Web_1")).code == "NotUnique"
    assert done(state, standalone("shop_web_2")).containers[2].name == "shop_web_2"


@pytest.mark.parametrize("name", ["", "a.b", "a b", "_a", "x" * 64, "rancher-metadata"])
def test_container_name_is_refused_when_it_could_not_be_resolved(name: str) -> None:
    assert refusal(grown(1), standalone(name)).field == "name"


def test_container_uuid_is_never_used_twice() -> None:
    state = done(grown(1), standalone())
    assert refusal(state, standalone("other", uuid="u-tool")).field == "uuid"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"image_uuid": ""}, "imageUuid"),
        ({"image_uuid": "docker:"}, "imageUuid"),
        ({"image_uuid": "nginx"}, "imageUuid"),
        ({"image_uuid": "docker:a b"}, "imageUuid"),
        ({"ports": ("0:80",)}, "ports"),
        ({"ports": ("80/sctp",)}, "ports"),
        ({"ports": ("nonsense:80",)}, "ports"),
        ({"ports": ("99999999999999999999:80",)}, "ports"),
        ({"ports": ("80:80", "80:81")}, "ports"),
        ({"data_volumes": ("relative",)}, "dataVolumes"),
        ({"data_volumes": ("/a:/b:ro:x",)}, "dataVolumes"),
        ({"data_volumes": ("/a:/b:",)}, "dataVolumes"),
        ({"expose": ("abc",)}, "expose"),
        ({"expose": ("0",)}, "expose"),
        ({"expose": ("65536/tcp",)}, "expose"),
        ({"expose": ("80/sctp",)}, "expose"),
        ({"extra_hosts": ("nocolon",)}, "extraHosts"),
        ({"extra_hosts": ("db:",)}, "extraHosts"),
        ({"extra_hosts": (":192.0.2.7",)}, "extraHosts"),
        ({"extra_hosts": ("db:192.0.2.7\n192.0.2.8 web",)}, "extraHosts"),
        ({"extra_hosts": ("db:fe80::1%a\nb",)}, "extraHosts"),
        ({"devices": ("",)}, "devices"),
        ({"devices": ("sda",)}, "devices"),
        ({"devices": ("/dev/sda:/dev/sdb:x",)}, "devices"),
        ({"devices": ("/dev/sda:/dev/sdb:rw:r",)}, "devices"),
        ({"dns_search": ("a\nnameserver 1.2.3.4",)}, "dnsSearch"),
        ({"restart_policy": "sometimes"}, "restartPolicy"),
        ({"memory": -5}, "memory"),
        ({"requested_host_id": 9}, "requestedHostId"),
    ],
)
def test_launch_config_is_refused_when_no_engine_could_run_it(fields: dict[str, object], field: str) -> None:
    config: LaunchConfig = launch(**fields)
    assert refusal(grown(1), standalone(launch=config)).field == field


@pytest.mark.parametrize(
    "fields",
    [
        {"data_volumes": ("/data", "/h:/c:ro", "name:/c:rw,Z")},
        {"expose": ("80", "53/udp", "81/TCP")},
        {"extra_hosts": ("db:192.0.2.7", "db6:2001:db8::7")},
        {"devices": ("/dev/fuse", "/dev/sda:/dev/xvda", "/dev/sda:/dev/xvda:rwm")},
    ],
)
def test_launch_config_is_kept_when_its_lists_have_the_forms_that_engines_know(fields: dict[str, object]) -> None:
    config: LaunchConfig = launch(**fields)
    assert done(grown(1), standalone(launch=config)).containers[1].launch == config


def test_container_is_placed_once_and_says_why_while_it_is_not() -> None:
    state = done(grown(1), standalone())
    state = done(state, PlaceContainer(id=1, placement=None, why="no host fits"))
    assert state.containers[1].message == "no host fits"
    place = PlaceContainer(id=1, placement=Placement(host_id=1, address="10.42.0.2"), why="test")
    state = done(state, place)
    assert (state.containers[1].host_id, state.containers[1].message) == (1, None)
    assert refusal(state, place).code == "Conflict"


def test_container_that_never_had_a_host_is_removed_at_once() -> None:
    state = done(done(grown(1), standalone()), SetContainerDesired(id=1, desired="removed", why="test"))
    assert state.containers[1].removed == 1000


def test_container_to_be_removed_cannot_be_started_again() -> None:
    state = done(filled(hosts=1, scale=1), SetContainerDesired(id=1, desired="removed", why="test"))
    assert refusal(state, SetContainerDesired(id=1, desired="running", why="test")).code == "Conflict"
    assert refusal(state, RestartContainer(id=1)).code == "Conflict"


def test_restart_asks_for_one_start_more_than_were_seen() -> None:
    state = report(filled(hosts=1, scale=1), 1, Seen(status="running", starts=3))
    state = done(state, RestartContainer(id=1))
    assert done(state, RestartContainer(id=1)).containers[1].restarts_wanted == 3


def test_report_counts_only_for_containers_of_the_reporting_host() -> None:
    state = report(filled(hosts=2, scale=2), 1, Seen(status="running"), node=2)
    assert state.containers[1].seen.status == "none"


def test_report_of_a_deleted_container_keeps_its_row_while_it_is_wanted() -> None:
    state = report(filled(hosts=1, scale=1), 1, Seen(status="gone"))
    assert (state.containers[1].seen.status, state.containers[1].removed) == ("none", None)


def test_purge_drops_removed_rows_that_nothing_refers_to() -> None:
    state = filled(hosts=1, scale=1)
    assert done(state, PurgeRows(rows=(("containers", 1), ("services", 1)))) is state
    state = carried_out(done(state, SetContainerDesired(id=1, desired="removed", why="test")))
    assert done(state, PurgeRows(rows=(("containers", 1), ("containers", 77)))).containers == {}
    assert refusal(state, PurgeRows(rows=(("nonsense", 1),))).code == "InvalidOption"
