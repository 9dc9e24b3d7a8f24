"""What chaos plans and concludes, without a cluster: models, the choice of faults, and what is wrong at rest."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from scripts.chaoslib.asking import NotSentError, ask
from scripts.chaoslib.clients import SERVICES, STACKS
from scripts.chaoslib.engines import Found, problems_of_engines
from scripts.chaoslib.faults import Fault, Mischief
from scripts.chaoslib.judging import CONTAINERS, Rest, judge, problems_of
from scripts.chaoslib.models import FIRST_TEXT, StackName, read_key, stale_own_reads
from scripts.chaoslib.run import unexpected
from scripts.demolib.api import SocketConnection
from tests.sim.history import Operation
from tests.sim.linearizability import LINEARIZABLE, VIOLATED, check


def op(
    begins: float,
    ends: float | None,
    kind: str,
    argument: Hashable = None,
    result: Hashable = None,
    *,
    key: str = "name:x",
    client: str = "c1@h1#1",
) -> Operation:
    return Operation(client, key, kind, argument, begins, result, ends)


# The stack of a name


def test_name_is_free_again_at_some_time_after_its_stack_was_deleted() -> None:
    history = [
        op(0, 1, "create", "a", True),
        op(2, 3, "delete", "a", True),
        op(4, 5, "create", "b", False),  # still being removed
        op(6, 7, "create", "c", True),
        op(8, 9, "list", None, ("c",)),
        op(10, 11, "delete", "a", True),  # done long ago, and no harm to the new one
        op(12, 13, "list", None, ("c",)),
    ]
    assert check(history, StackName()).outcome == LINEARIZABLE


@pytest.mark.parametrize(
    "wrong",
    [
        [op(4, 5, "create", "b", True)],
        [op(4, 5, "list", None, ())],
        [op(4, 5, "list", None, ("a", "a"))],
        [op(4, 5, "delete", "a", True), op(6, 7, "list", None, ("a",))],
        [op(4, 5, "delete", "a", True), op(6, 7, "create", "b", True), op(8, 9, "list", None, ("a",))],
        [op(4, 5, "delete", "a", True), op(6, 7, "create", "b", True), op(8, 9, "list", None, ("a", "b"))],
    ],
)
def test_name_is_refused_when_an_acknowledged_change_does_not_show(wrong: Sequence[Operation]) -> None:
    assert check([op(0, 1, "create", "a", True), *wrong], StackName()).outcome == VIOLATED


def test_creation_of_unknown_outcome_is_taken_for_one_when_it_shows() -> None:
    history = [op(0, None, "create", "a"), op(1, 2, "create", "b", False), op(3, 4, "list", None, ("a",))]
    assert check(history, StackName()).outcome == LINEARIZABLE
    assert check([*history, op(5, 6, "create", "c", True)], StackName()).outcome == VIOLATED


def test_many_creations_nobody_answered_do_not_make_the_search_long() -> None:
    history = [op(number, None, "create", f"t{number}") for number in range(200)]
    history += [op(300, 301, "create", "last", False)]
    assert check(history, StackName()).outcome == LINEARIZABLE
    verdict = check([*history, op(302, 303, "list", None, ())], StackName(), max_steps=5000)
    assert verdict.outcome == VIOLATED


# Reads of a node's own copy


def write(begins: float, ends: float | None, value: str, client: str = "c1@h1#1") -> Operation:
    return op(begins, ends, "write", value, key="text:x", client=client)


def local(begins: float, ends: float, value: str, client: str = "c1@h1#1") -> Operation:
    return op(begins, ends, "local", None, value, key="text:x", client=client)


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 1, "a"), local(2, 3, "a")],
        [write(0, 1, "a"), write(0.5, 9, "b", "c2@h2#1"), local(2, 3, "b")],
        [write(0, 1, "old"), write(2, 3, "a", "c2@h2#1"), local(4, 5, "old")],  # through another node: may lag
        [write(0, 1, "old"), write(2, 3, "a"), local(4, 5, "old", "c1@h1#2")],  # the node was started anew
        [write(0, 1, "old"), write(2, None, "a"), local(4, 5, "old")],
    ],
)
def test_local_read_is_accepted_when_it_is_as_new_as_its_own_writes(history: Sequence[Operation]) -> None:
    assert stale_own_reads(history) == []
    assert not judge(history).violations


@pytest.mark.parametrize(
    "history",
    [
        [write(0, 1, "a"), local(2, 3, FIRST_TEXT)],
        [write(0, 1, "old", "c2@h2#1"), write(2, 3, "a"), local(4, 5, "old")],
        [write(0, 1, "a"), local(2, 3, "nobody wrote this")],
    ],
)
def test_local_read_is_refused_when_it_is_older_than_its_own_write(history: Sequence[Operation]) -> None:
    assert len(stale_own_reads(history)) == 1
    assert len(judge(history).violations) == 1


# What must be so at rest


def stack(name: str, text: str | None = None, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "environment", "name": name, "description": text, "state": "active", **more}


def container(name: str, address: str, state: str = "running") -> dict[str, Any]:
    return {"id": name, "type": "container", "name": name, "primaryIpAddress": address, "state": state}


def service(name: str, scale: int) -> dict[str, Any]:
    return {"id": name, "type": "service", "name": name, "scale": scale, "state": "active"}


def rest(*hosts: dict[str, list[dict[str, Any]]], digests: dict[str, str] | None = None) -> Rest:
    rows = {f"h{number + 1}": {STACKS: [], SERVICES: [], CONTAINERS: [], **each} for number, each in enumerate(hosts)}
    return Rest(7, 0.0, 1.0, rows, digests or {})


def test_nodes_that_say_the_same_are_fine_whatever_their_own_addresses() -> None:
    one = {STACKS: [stack("a", links={"self": "http://h1/"})]}
    other = {STACKS: [stack("a", links={"self": "http://h2/"})]}
    assert problems_of(rest(one, other)) == []


WRONG: dict[str, tuple[Rest, str]] = {
    "a row differs": (rest({STACKS: [stack("a", "x")]}, {STACKS: [stack("a", "y")]}), "h1 and h2 differ in a"),
    "a row is missing": (rest({STACKS: [stack("a")]}, {}), "h1 and h2 differ in a"),
    "digests differ": (rest({}, {}, digests={"h1": "1", "h2": "2"}), "digests"),
    "an address twice": (
        rest({CONTAINERS: [container("a", "10.42.1.2"), container("b", "10.42.1.2")]}),
        "address 10.42.1.2 is there 2 times",
    ),
    "a stack's name twice": (rest({STACKS: [stack("a"), {**stack("A"), "id": "2"}]}), "stack a is there 2 times"),
    "a container too few": (rest({SERVICES: [service("web", 1)]}), "service web has 0 containers"),
    "a container too many": (
        rest({SERVICES: [service("web", 0)], CONTAINERS: [container("home_web_1", "10.42.1.2")]}),
        "service web has 1 containers",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_nodes_at_rest_are_told_off_when(what: str) -> None:
    at_rest, expected = WRONG[what]
    (problem,) = problems_of(at_rest)
    assert expected in problem


def test_keys_are_read_from_rows_that_are_not_on_their_way_out() -> None:
    stacks = [stack("a", "x"), {**stack("a", "y"), "state": "removing"}, {**stack("a", "z"), "state": "removed"}]
    assert read_key("name:a", stacks, []) == ("x",)
    assert read_key("text:a", stacks, []) == "x"
    assert read_key("scale:web", [], [service("web", 3)]) == 3
    assert read_key("name:b", stacks, []) == ()


# What engines have


def found(line: str) -> Found:
    return Found.parse(line)


def test_line_of_docker_is_read_when_the_container_runs_and_when_it_does_not() -> None:
    assert found("u1 /r-web_1 running 10.42.1.2/16 10.42.1.2 ") == Found("u1", "r-web_1", True, ("10.42.1.2",) * 2)
    assert found("u1 /r-web_1 exited 10.42.1.2/16 ") == Found("u1", "r-web_1", False, ("10.42.1.2",))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({"h1": ["u1 /r-web_1 running 10.42.1.2/16 10.42.1.2"]}, []),
        (
            {"h1": ["u1 /r-web_1 running 10.42.1.2/16 10.42.1.2"], "h2": ["u1 /r-web_1 exited 10.42.1.2/16"]},
            ["in Docker, container u1 is there 2 times"],
        ),
        (
            {"h1": ["u1 /r-web_1 running 10.42.1.2/16 10.42.1.3"]},
            ["in Docker, r-web_1 has ('10.42.1.3',), it was given 10.42.1.2"],
        ),
        ({"h1": []}, ["in Docker, r-web_1 does not run anywhere"]),
        (
            {
                "h1": ["u1 /r-web_1 running 10.42.1.2/16 10.42.1.2"],
                "h2": ["u2 /r-web_2 running 10.42.1.2/16 10.42.1.2"],
            },
            ["in Docker, address 10.42.1.2 is there 2 times", "in Docker, r-web_2 runs and nobody wants it"],
        ),
    ],
)
def test_engines_are_told_off_when_they_have_other_containers(lines: dict[str, list[str]], expected: list[str]) -> None:
    engines = {host: [found(line) for line in each] for host, each in lines.items()}
    assert problems_of_engines(engines, ["web_1"]) == expected


# Faults


@dataclass
class Troubled:
    """A world that notes what befalls it."""

    hosts: tuple[str, ...] = ("h1", "h2", "h3")
    begun: list[tuple[str, str]] = field(default_factory=list)
    now: set[str] = field(default_factory=set)
    mended: int = 0

    def leader(self) -> str | None:
        return "h2"

    def serves(self, host: str) -> bool:
        return host not in self.now

    def faults(self) -> Sequence[Fault]:
        def note(name: str) -> Fault:
            def begin_and_note(host: str, rng: Random) -> None:
                self.begun.append((name, host))
                self.now.add(host)

            at_leader = name == "leader"
            return Fault(name, 1, (0.0, 0.02), begin_and_note, self.now.discard, at_leader=at_leader, storms=False)

        return [note("any"), note("leader")]

    def revive(self, busy: frozenset[str]) -> list[str]:
        assert busy == self.now
        return []

    def mend(self) -> None:
        self.mended += 1


def troubled(seed: int) -> Troubled:
    world, said = Troubled(), list[str]()
    ends_at = time.monotonic() + 30
    mischief = Mischief(world, Random(seed), said.append, gap=(0.0, 0.0))
    while len(world.begun) < 10 and time.monotonic() < ends_at:
        mischief.run(0.1)
    return world


def test_every_fault_ends_and_the_world_is_mended_when_the_time_is_up() -> None:
    world = troubled(1)
    assert len(world.begun) >= 10
    assert world.now == set()
    assert world.mended >= 1


def test_fault_of_the_leader_befalls_the_leader() -> None:
    assert {host for name, host in troubled(2).begun if name == "leader"} == {"h2"}


def test_same_seed_draws_the_same_faults() -> None:
    assert troubled(3).begun[:3] == troubled(3).begun[:3]


# What daemons say of themselves


def test_end_of_a_daemon_is_foreseen_when_its_disk_is_full() -> None:
    assert unexpected(["h1: cannot run: state.db: disk is full; make room on that disk"], {"h1": "all is well"}) == []
    assert unexpected(["h1: NameError: x"], {}) == ["a daemon ended: h1: NameError: x"]


def test_error_nobody_foresaw_is_found_in_a_log() -> None:
    log = 'fine\nTraceback (most recent call last):\n  File "x.py", line 1\n    x\nKeyError: 7\nfine again'
    assert unexpected([], {"h2": log}) == ["h2's log has an error nobody foresaw: KeyError: 7"]


# Asking


def test_request_is_known_not_to_be_sent_when_nobody_listens(tmp_path: Any) -> None:
    with pytest.raises(NotSentError):
        ask(SocketConnection(str(tmp_path / "none.sock"), 1.0), "GET", "/v1")
