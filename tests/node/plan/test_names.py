"""Which names an environment has, what is behind them, and what its containers' resolv.conf says."""

from random import Random

from node.commands import (
    AddContainer,
    CreateEnvironment,
    CreateStack,
    DeactivateService,
    Placement,
    RemoveHost,
    SetContainerDesired,
    UpdateService,
)
from node.model import State
from node.plan.names import NameTable, render_names, resolv_conf_of
from tests.fakes.states import admit, carried_out, done, grown, launch, node_id, with_service, with_stack
from tests.node.plan.test_services import planned, settled, shop
from tests.node.state.test_containers import standalone


def rendered(state: State, *, environment: int = 5, dead: tuple[int, ...] = (), local: int = 1) -> NameTable:
    return render_names(state, environment, frozenset(map(node_id, dead)), local)


def test_service_and_its_containers_answer_once_they_run() -> None:
    state = planned(shop(hosts=2, scale=2))
    assert rendered(state).names["web.shop.rancher.internal"] == ()
    names = rendered(carried_out(state)).names
    assert names == {
        "rancher-metadata.rancher.internal": ("169.254.169.250",),
        "web.shop.rancher.internal": ("10.42.0.2", "10.42.1.2"),
        "shop_web_1.rancher.internal": ("10.42.0.2",),
        "shop_web_2.rancher.internal": ("10.42.1.2",),
    }


def test_names_are_lower_case() -> None:
    state = settled(with_service(with_stack(grown(1), "Shop"), "Web"))
    assert {"web.shop.rancher.internal", "shop_web_1.rancher.internal"} < set(rendered(state).names)


def test_containers_of_dead_hosts_leave_the_answers_and_the_name_stays() -> None:
    state = settled(shop(hosts=2, scale=2))
    names = rendered(state, dead=(1,)).names
    assert names["web.shop.rancher.internal"] == ("10.42.1.2",)
    assert names["shop_web_1.rancher.internal"] == ()
    assert rendered(state, dead=(1, 2)).names["web.shop.rancher.internal"] == ()


def test_stopped_container_leaves_the_answers_as_soon_as_it_is_to_stop() -> None:
    state = settled(shop(hosts=2, scale=2))
    stopping = done(state, SetContainerDesired(id=1, desired="stopped", why="test"))
    assert rendered(stopping).names["web.shop.rancher.internal"] == ("10.42.1.2",)
    stopped = settled(done(state, DeactivateService(id=1)))
    assert rendered(stopped).names["web.shop.rancher.internal"] == ()


def test_names_of_what_is_removed_are_gone() -> None:
    state = settled(done(settled(shop(hosts=1, scale=2)), UpdateService(id=1, scale=1)))
    assert "shop_web_2.rancher.internal" not in rendered(state).names
    assert "shop_web_1.rancher.internal" not in rendered(done(state, RemoveHost(id=1))).names


def test_renamed_service_answers_to_its_new_name_and_containers_to_their_old() -> None:
    state = done(settled(shop(hosts=1, scale=1)), UpdateService(id=1, name="front"))
    names = rendered(state).names
    assert names["front.shop.rancher.internal"] == ("10.42.0.2",)
    assert "web.shop.rancher.internal" not in names
    assert names["shop_web_1.rancher.internal"] == ("10.42.0.2",)


def test_environments_never_see_each_other() -> None:
    state = done(settled(shop(hosts=1, scale=1)), CreateEnvironment(uuid="e", name="test"))
    state = done(state, admit(2, 7))
    state = done(state, CreateStack(uuid="s", environment_id=7, name="shop"))
    state = settled(with_service(state, "web", stack_id=2), Random(2))
    assert rendered(state).names["web.shop.rancher.internal"] == ("10.42.0.2",)
    assert rendered(state, environment=7, local=2).names["web.shop.rancher.internal"] == ("10.42.1.2",)


def test_scopes_are_those_of_the_local_hosts_containers() -> None:
    state = settled(done(shop(hosts=2, scale=2), standalone()))
    assert rendered(state).scopes == {
        "10.42.0.2": ("shop.rancher.internal", "web.shop.rancher.internal", "rancher.internal"),
        "10.42.0.3": ("rancher.internal",),
    }
    assert set(rendered(state, local=2).scopes) == {"10.42.1.2"}


def test_containers_without_an_overlay_address_have_empty_names() -> None:
    state = settled(shop(hosts=1, scale=1, launch=launch(network_mode="host")))
    assert rendered(state).names["web.shop.rancher.internal"] == ()
    assert rendered(state).scopes == {}


def test_container_name_longer_than_a_label_gets_no_record() -> None:
    state = settled(with_service(with_stack(grown(1), "s" * 40), "w" * 40))
    assert all(len(label) <= 63 for name in rendered(state).names for label in name.split("."))


def test_resolv_conf_has_the_search_list_of_the_walk_through() -> None:
    state = with_service(with_stack(grown(1), "memcached-app-stack"), "memcached-service")
    place = Placement(host_id=1, address="10.42.0.2")
    state = done(state, AddContainer(uuid="u", service_id=1, number=1, placement=place, why="test"))
    assert resolv_conf_of(state.containers[1], state) == (
        "search memcached-app-stack.rancher.internal memcached-service.memcached-app-stack.rancher.internal "
        "rancher.internal\nnameserver 169.254.169.250\n"
    )


def test_resolv_conf_puts_the_users_search_first_and_names_nothing_twice() -> None:
    config = launch(dns_search=("example.com", "rancher.internal"))
    state = done(grown(1), standalone(launch=config))
    expected = "search example.com rancher.internal\nnameserver 169.254.169.250\n"
    assert resolv_conf_of(state.containers[1], state) == expected
