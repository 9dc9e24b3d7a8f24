"""The walk-through as data: which steps there are, in what order, and which of their acts need a kernel."""

from scripts.demolib import acts, faults
from scripts.demolib.stage import Act, Step


def _kernel(what: str, play: "acts.Play") -> Act:
    return Act(what, play, needs_kernel=True)


STEPS = (
    Step(
        1,
        "First host",
        (
            Act("`node start` makes a cluster and says how to go on", acts.start_first_host),
            Act("on the host itself root needs no key", acts.ask_as_root),
        ),
    ),
    Step(
        2,
        "Open and closed",
        (
            Act("an open API answers the default environment, and warns", acts.try_an_open_cluster),
            Act("a closed API answers 401", acts.ask_without_a_key),
        ),
    ),
    Step(
        6,
        "Hosts",
        (
            Act("a token's command makes a host a member", acts.join_second_host),
            Act("a host joins another environment with a token of it", acts.join_third_host),
            Act("a host never shows in another environment", acts.list_hosts),
            Act("three hosts elect a leader among three voters", acts.see_the_voters),
        ),
    ),
    Step(
        7,
        "A stack and a service",
        (
            Act("its first container runs and has an overlay address", acts.deploy_nginx),
            _kernel("curl http://<its host>:10086/ answers", acts.curl_nginx),
        ),
    ),
    Step(
        8,
        "Scale +1",
        (
            Act("the second container is placed on the other host", acts.scale_nginx),
            _kernel("Docker knows them as r-<name>", acts.list_in_docker),
        ),
    ),
    Step(
        9,
        "Ping by container name, both ways, across hosts",
        (_kernel("0 % loss both ways", acts.ping_both_ways),),
    ),
    Step(
        10,
        "Same stack, by service name",
        (
            Act("redis-alpine-service joins the stack", acts.deploy_redis),
            _kernel("ping reaches one of the two containers, asked again both", acts.ping_service),
            Act("the service's name has both addresses", acts.look_up_service),
        ),
    ),
    Step(
        11,
        "Across stacks, and not across environments",
        (
            Act("memcached-service runs in a stack of its own", acts.deploy_memcached),
            _kernel("names of another stack resolve and answer ping", acts.ping_across_stacks),
            _kernel("/etc/resolv.conf is exactly as documented", acts.show_resolv_conf),
            Act("no name of dev is answered in test", acts.look_up_from_test),
            _kernel("no address of dev answers in test", acts.stay_apart),
        ),
    ),
    Step(
        15,
        "Any node",
        (Act("an API key opens every node, and each takes changes", acts.write_through_every_node),),
    ),
    Step(
        16,
        "A host dies",
        (
            _kernel("names of a host that is cut off leave the answers", faults.cut_second_host),
            _kernel("the API goes on", faults.write_without_second_host),
            _kernel("when it returns all is as before, nothing runs twice", faults.heal_second_host),
        ),
    ),
    Step(
        17,
        "The leader dies",
        (
            Act("writes work again, no acknowledged change is lost", faults.kill_the_leader),
            _kernel("containers and names never notice", faults.never_notice),
            _kernel("the daemon that starts again adopts its containers", faults.adopt),
        ),
    ),
)
