"""What the engine is told: Docker's name, labels, network and files."""

from node.commands import UpdateStack
from node.plan.spec import render_spec, split_volumes
from tests.fakes.states import CLUSTER_ID, done, grown, launch
from tests.node.plan.test_services import planned, shop
from tests.node.state.test_containers import standalone


def test_service_container_carries_ranchers_labels_and_the_clusters() -> None:
    state = planned(shop(hosts=1, scale=1, launch=launch(labels={"mine": "1", "io.corral.cluster": "forged"})))
    row = state.containers[1]
    spec = render_spec(row, state)
    assert spec.labels == {
        "mine": "1",
        "io.corral.cluster": CLUSTER_ID,
        "io.rancher.container.uuid": row.uuid,
        "io.rancher.container.name": "shop_web_1",
        "io.rancher.container.ip": "10.42.0.2/16",
        "io.rancher.stack.name": "shop",
        "io.rancher.stack_service.name": "shop/web",
        "io.rancher.project.name": "shop",
        "io.rancher.project_service.name": "shop/web",
        "io.rancher.service.deployment.unit": row.uuid,
        "io.rancher.service.launch.config": "io.rancher.service.primary.launch.config",
    }


def test_managed_container_has_our_network_address_ports_and_resolv_conf() -> None:
    state = planned(shop(hosts=1, scale=1, launch=launch(ports=("10086:80",), dns=("192.0.2.53",))))
    spec = render_spec(state.containers[1], state)
    assert (spec.name, spec.image, spec.network, spec.address) == (
        "r-shop_web_1",
        "nginx:1.8-alpine",
        "corral",
        "10.42.0.2",
    )
    assert [(port.public, port.private) for port in spec.ports] == [(10086, 80)]
    assert (spec.resolv_conf or "").endswith("nameserver 169.254.169.250\n")
    assert spec.dns == ()


def test_container_on_the_hosts_network_keeps_dockers_resolv_conf() -> None:
    config = launch(network_mode="host", dns=("192.0.2.53",))
    state = planned(done(grown(1), standalone(launch=config)))
    spec = render_spec(state.containers[1], state)
    assert (spec.network, spec.address, spec.resolv_conf, spec.dns) == ("host", None, None, ("192.0.2.53",))
    assert "io.rancher.container.ip" not in spec.labels


def test_restart_policy_is_dockers_for_standalone_containers_only() -> None:
    config = launch(restart_policy="always")
    state = planned(done(shop(hosts=1, scale=1, launch=config), standalone(launch=config)))
    by_name = {row.name: render_spec(row, state).restart_policy for row in state.containers.values()}
    assert by_name == {"shop_web_1": None, "tool": "always"}


def test_hostname_is_the_containers_name_when_the_label_asks_for_it() -> None:
    labels = {"io.rancher.container.hostname_override": "container_name"}
    state = planned(shop(hosts=1, scale=1, launch=launch(labels=labels, hostname="other")))
    assert render_spec(state.containers[1], state).hostname == "shop_web_1"


def test_labels_of_a_new_container_have_the_stacks_present_name() -> None:
    state = planned(shop(hosts=1, scale=1))
    state = done(state, UpdateStack(id=1, name="store"))
    assert render_spec(state.containers[1], state).labels["io.rancher.stack.name"] == "store"


def test_volumes_are_split_into_binds_and_anonymous_ones() -> None:
    volumes = ("/host:/in:ro", "/scratch", "named:/data")
    assert split_volumes(volumes) == (("/host:/in:ro", "named:/data"), ("/scratch",))
