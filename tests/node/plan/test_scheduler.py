"""Filters that explain themselves, spread, addresses and ports."""

import msgspec
import pytest

from node.commands import MarkHostDown, Placement, SetHostState
from node.model import Container, LaunchConfig, PortBinding, State
from node.plan.scheduler import NoPlace, place
from node.state import Taken
from tests.fakes.states import done, grown, launch


def container(container_id: int, host_id: int, **fields: object) -> Container:
    row = Container(
        id=container_id,
        uuid=f"u{container_id}",
        created=1,
        environment_id=5,
        name=f"c{container_id}",
        launch=launch(),
        host_id=host_id,
    )
    return msgspec.structs.replace(row, **fields)


def chosen(
    state: State, *rows: Container, config: LaunchConfig | None = None, service_id: int | None = None
) -> Placement:
    placement = place(state, Taken(rows), environment_id=5, launch=config or launch(), service_id=service_id)
    assert isinstance(placement, Placement), placement
    return placement


def refused(state: State, *rows: Container, config: LaunchConfig | None = None) -> str:
    placement = place(state, Taken(rows), environment_id=5, launch=config or launch())
    assert isinstance(placement, NoPlace), placement
    return placement.why


def test_place_prefers_the_host_with_fewest_of_the_service_then_of_all_then_lowest_id() -> None:
    state = grown(3)
    assert chosen(state).host_id == 1
    assert chosen(state, container(1, 1)).host_id == 2
    rows = (container(1, 1, service_id=7, number=1), container(2, 2), container(3, 2), container(4, 3), container(5, 3))
    assert chosen(state, *rows, service_id=7).host_id == 2
    assert chosen(state, *rows).host_id == 1


def test_place_counts_no_container_that_is_to_be_removed() -> None:
    assert chosen(grown(2), container(1, 1, desired="removed")).host_id == 1


def test_place_says_how_to_get_hosts_when_there_are_none() -> None:
    assert "node join" in refused(grown(0))


def test_place_counts_excluded_hosts_by_reason() -> None:
    state = done(grown(3), SetHostState(id=3, state="inactive"))
    port = (PortBinding(public=10086, private=80),)
    why = refused(state, container(1, 1, ports=port), container(2, 2, ports=port), config=launch(ports=("10086:80",)))
    assert why == (
        "no host fits: 2 of 3 hosts have port 10086/tcp taken (h1, h2), 1 is inactive (h3): "
        "free the port or add a host or activate it"
    )


def test_place_avoids_hosts_that_are_down() -> None:
    state = done(grown(2), MarkHostDown(id=1, why="test"))
    assert chosen(state).host_id == 2
    assert "1 of 1 host is down (h1)" in refused(done(grown(1), MarkHostDown(id=1, why="test")))


def test_place_keeps_to_the_requested_host() -> None:
    state = grown(3)
    assert chosen(state, config=launch(requested_host_id=3)).host_id == 3
    down = done(state, MarkHostDown(id=3, why="test"))
    assert "not the requested host 3" in refused(down, config=launch(requested_host_id=3))


def test_place_says_that_corral_itself_uses_a_port() -> None:
    assert "8080/tcp in use as the API of Corral" in refused(grown(1), config=launch(ports=("8080:80",)))


def test_place_names_at_most_five_hosts_of_a_reason() -> None:
    assert "(h1, h2, h3, h4, h5, …)" in refused(grown(7), config=launch(ports=("8080:80",)))


def test_addresses_begin_after_the_gateway_and_come_back_last() -> None:
    state = grown(1)
    assert chosen(state).address == "10.42.0.2"
    old = container(1, 1, address="10.42.0.2", desired="removed", removed=5)
    assert chosen(state, old).address == "10.42.0.3"
    last = container(2, 1, address="10.42.0.254")
    assert chosen(state, old, last).address == "10.42.0.2"


def test_addresses_run_out_with_numbers() -> None:
    state = grown(1, network="10.42.0.0/24", bits=29)
    rows = [container(n, 1, address=f"10.42.0.{n}", desired="stopped" if n > 4 else "running") for n in range(2, 7)]
    assert "subnet of h1: 5 of 5 used, 2 by stopped containers" in refused(state, *rows)
    assert chosen(state, *rows, config=launch(network_mode="host")).address is None


@pytest.mark.parametrize("gap", range(2, 7))
def test_last_free_address_is_found_wherever_it_is(gap: int) -> None:
    state = grown(1, network="10.42.0.0/24", bits=29)
    rows = [container(n, 1, address=f"10.42.0.{n}") for n in range(2, 7) if n != gap]
    assert chosen(state, *rows).address == f"10.42.0.{gap}"


def test_public_ports_left_to_us_are_the_next_free_ones() -> None:
    placed = chosen(grown(1), config=launch(ports=("80", "81/udp", "82", "49154:90")))
    assert [(port.public, port.private, port.protocol) for port in placed.ports] == [
        (49153, 80, "tcp"),
        (49153, 81, "udp"),
        (49155, 82, "tcp"),
        (49154, 90, "tcp"),
    ]
    taken = container(1, 1, ports=(PortBinding(public=49153, private=80),))
    assert chosen(grown(1), taken, config=launch(ports=("80",))).ports[0].public == 49154


def test_ports_are_ignored_for_containers_on_the_hosts_own_network() -> None:
    assert chosen(grown(1), config=launch(network_mode="host", ports=("8080:80",))).ports == ()
