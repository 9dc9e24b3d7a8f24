"""What is looked at once all faults have ended: do the nodes agree, is anything double, does the history hold."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.chaoslib.asking import Answer, Nodes, ask, picture
from scripts.chaoslib.clients import SERVICES, STACKS, Ground
from scripts.chaoslib.models import is_active, model_of, read_key, stale_own_reads
from tests.sim.history import Operation
from tests.sim.linearizability import UNDECIDED, VIOLATED, Verdict, check_all

CONTAINERS = "/v1/projects/1a5/containers"
KINDS = (STACKS, SERVICES, CONTAINERS)
OF_THE_NODE = ("links", "actions")
"""Fields of a row that hold the node's own address."""


class UnsettledError(Exception):
    """The cluster did not come to rest; the text says what was still moving."""


@dataclass(frozen=True, slots=True)
class Rest:
    """All nodes at one and the same log entry, nothing left to do."""

    index: int
    began_at: float
    ended_at: float
    rows: dict[str, dict[str, list[dict[str, Any]]]]
    """By host and kind."""

    digests: dict[str, str]
    """What each node says of its whole state, where it says so."""


def wait_settled(nodes: Nodes, mend: Callable[[], None], timeout: float) -> Rest:
    """Return what all nodes say once they are at rest; UnsettledError if they do not come to it."""
    give_up_at, why = time.monotonic() + timeout, "nothing was looked at"
    while time.monotonic() < give_up_at:
        mend()
        try:
            return _look(nodes)
        except UnsettledError as error:
            why = str(error)
        except (OSError, KeyError) as error:
            why = repr(error)
        time.sleep(0.3)
    raise UnsettledError(f"not at rest within {timeout:g} s: {why}")


def _look(nodes: Nodes) -> Rest:
    began_at = time.monotonic()
    before = _index(nodes)
    rows = {host: {kind: _rows(nodes, host, kind) for kind in KINDS} for host in nodes.hosts}
    pictures = [_picture(nodes, host) for host in nodes.hosts]
    after = _index(nodes)
    if before != after:
        raise UnsettledError(f"the log grew from {before} to {after}")
    for host in nodes.hosts:
        _check_at_rest(rows[host], host)
    digests = {
        host: str(each["stateDigest"])
        for host, each in zip(nodes.hosts, pictures, strict=True)
        if each.get("stateDigest")
    }
    return Rest(after, began_at, time.monotonic(), rows, digests)


def _picture(nodes: Nodes, host: str) -> dict[str, Any]:
    found = picture(nodes, host)
    if found is None:
        raise UnsettledError(f"{host} gives no picture of the cluster")
    if found["staleSince"] or not found["leader"]:
        raise UnsettledError(f"{host} knows no leader")
    silent = [f"{each['hostName']} {each['status']}" for each in found["members"] if each["status"] != "alive"]
    if silent:
        raise UnsettledError(f"for {host}: {', '.join(silent)}")
    if alarms := found.get("alarms"):
        raise UnsettledError(f"{host} warns: {'; '.join(map(str, alarms))}")
    return found


def _index(nodes: Nodes) -> int:
    seen = {host: int(_picture(nodes, host)["appliedIndex"]) for host in nodes.hosts}
    if len(set(seen.values())) > 1:
        raise UnsettledError(f"nodes are at different log entries: {seen}")
    return next(iter(seen.values()))


def _rows(nodes: Nodes, host: str, kind: str) -> list[dict[str, Any]]:
    answer: Answer = ask(nodes.connect(host, 30), "GET", f"{kind}?limit=-1")
    if answer.status != 200:
        raise UnsettledError(f"{host} answers {kind} with {answer.status}")
    return sorted(answer.rows, key=lambda row: str(row["id"]))


def _check_at_rest(rows: dict[str, list[dict[str, Any]]], host: str) -> None:
    moving = [
        f"{row['type']} {row['name']} is {row['state']}"
        for kind in KINDS
        for row in rows[kind]
        if row["transitioning"] == "yes" or (kind == CONTAINERS and is_active(row) and row["state"] != "running")
    ]
    if moving:
        raise UnsettledError(f"on {host}: {', '.join(moving[:3])}")


# What must be so then


def problems_of(rest: Rest) -> list[str]:
    """Return where the nodes disagree, and what is double or missing in what they say."""
    problems = []
    hosts = list(rest.rows)
    for host in hosts[1:]:
        for kind in KINDS:
            problems += _differences(rest.rows[hosts[0]][kind], rest.rows[host][kind], f"{hosts[0]} and {host}")
    if len(set(rest.digests.values())) > 1:
        problems.append(f"digests of the state at entry {rest.index} differ: {rest.digests}")
    rows = rest.rows[hosts[0]]
    live = [row for row in rows[CONTAINERS] if is_active(row)]
    problems += doubles("address", (row["primaryIpAddress"] for row in live))
    problems += doubles("container", (row["name"] for row in live))
    problems += doubles("stack", (row["name"].lower() for row in rows[STACKS] if is_active(row)))
    for service in rows[SERVICES]:
        has = sum(row["name"].split("_")[1:2] == [service["name"]] for row in live)
        if is_active(service) and has != service["scale"]:
            problems.append(f"service {service['name']} has {has} containers at rest, its scale is {service['scale']}")
    return problems


def _differences(one: list[dict[str, Any]], other: list[dict[str, Any]], who: str) -> list[str]:
    left, right = ({str(row["id"]): _plain(row) for row in rows} for rows in (one, other))
    return [
        f"{who} differ in {each}:\n    {left.get(each)}\n    {right.get(each)}"
        for each in sorted(left.keys() | right.keys())
        if left.get(each) != right.get(each)
    ]


def _plain(row: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in row.items() if key not in OF_THE_NODE}, sort_keys=True)


def doubles(what: str, found: Iterable[str | None]) -> list[str]:
    """Return a line for each value that is there more than once."""
    return [f"{what} {each} is there {times} times" for each, times in Counter(found).items() if each and times > 1]


def note_rest(ground: Ground, rest: Rest) -> None:
    """Add to the history what every node says at rest: whatever was acknowledged and not undone must show in it."""
    for host, rows in rest.rows.items():
        for key in ground.keys_used():
            kind = "list" if key.startswith("name:") else "read"
            call = ground.history.begin(f"end@{ground.nodes.session(host)}", key, kind, now=rest.began_at)
            call.ok(read_key(key, rows[STACKS], rows[SERVICES]), now=rest.ended_at, note=f"at entry {rest.index}")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a history."""

    violations: tuple[str, ...]
    undecided: tuple[str, ...]
    keys: int
    steps: int


def judge(operations: Sequence[Operation]) -> Judgement:
    """Hold a history against what is promised: reads marked so are linearizable, local ones see their own writes."""
    verdicts: list[Verdict] = check_all([each for each in operations if each.kind != "local"], model_of)
    wrong = [str(each) for each in verdicts if each.outcome == VIOLATED] + stale_own_reads(operations)
    unsure = [each.key for each in verdicts if each.outcome == UNDECIDED]
    return Judgement(tuple(wrong), tuple(unsure), len(verdicts), sum(each.steps for each in verdicts))
