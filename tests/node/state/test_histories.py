"""Random histories: no command raises, every invariant holds, retries and replays give the same state."""

from typing import Any

import msgspec
from hypothesis import given, settings, strategies as st

from node import commands as c
from node.commands import AnyCommand, Batch, Placement, Proposal, decode_proposal, encode_proposal
from node.model import PortBinding, Refused, Seen, State
from node.state import apply_proposal, decode_state, encode_state, state_digest
from node.state.txn import TABLES
from tests.fakes.invariants import check_invariants
from tests.fakes.states import admit, done, found, launch, node_id, with_service, with_stack

SMALL = st.integers(1, 5)
NAMES = st.sampled_from(["web", "Web", "db", "cache", "shop_web_1", "bad name"])
LAUNCHES = st.sampled_from(
    [launch(), launch(), launch(ports=("80:80",)), launch(ports=("80/tcp",)), launch(network_mode="host")]
)
UUIDS = st.integers(0, 60).map(lambda number: f"u{number}")
ENVIRONMENTS = st.sampled_from([5, 5, 5, 7, 8])
SEEN = st.builds(
    Seen, status=st.sampled_from(["none", "pulling", "created", "running", "exited", "error", "gone"]), starts=SMALL
)


def build(kind: type[Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


WHY = st.just("test")


def placement(host_id: int, offset: int, kind: str) -> Placement:
    """Mostly one that fits a launch config of LAUNCHES on that host."""
    ports = (PortBinding(public=80, private=80),) if kind == "port" else ()
    address = None if kind == "host" else f"10.42.0.{16 * (host_id - 1) + offset}"
    return Placement(host_id=host_id, address=address, ports=ports)


PLACEMENTS = st.builds(
    placement, st.sampled_from([1, 1, 2, 2, 3]), st.integers(1, 7), st.sampled_from(["plain", "plain", "port", "host"])
)
CONTAINERS: st.SearchStrategy[Any] = st.one_of(
    build(c.AddContainer, uuid=UUIDS, service_id=SMALL, number=SMALL, placement=PLACEMENTS, why=WHY),
    build(c.AddContainer, uuid=UUIDS, service_id=st.just(1), number=SMALL, placement=PLACEMENTS, why=WHY),
    build(c.CreateContainer, uuid=UUIDS, environment_id=ENVIRONMENTS, name=NAMES, launch=LAUNCHES),
    build(c.PlaceContainer, id=SMALL, placement=PLACEMENTS, why=WHY),
    build(c.SetContainerDesired, id=SMALL, desired=st.sampled_from(["running", "stopped", "removed"]), why=WHY),
    build(c.RestartContainer, id=SMALL),
    build(
        c.ReportContainers,
        node=st.sampled_from([1, 2]).map(node_id),
        observations=st.lists(st.builds(c.Observation, container_id=SMALL, seen=SEEN), max_size=4).map(tuple),
    ),
)
CHANGES: st.SearchStrategy[Any] = st.one_of(
    st.builds(admit, st.integers(1, 5), ENVIRONMENTS),
    build(c.CreateEnvironment, uuid=UUIDS, name=NAMES),
    build(c.SetHostState, id=SMALL, state=st.sampled_from(["active", "active", "inactive"])),
    build(c.MarkHostUp, id=SMALL, why=WHY),
    build(c.CreateStack, uuid=UUIDS, environment_id=ENVIRONMENTS, name=NAMES),
    build(c.UpdateStack, id=SMALL, name=NAMES),
    build(
        c.CreateService,
        uuid=UUIDS,
        stack_id=SMALL,
        name=NAMES,
        launch=LAUNCHES,
        scale=SMALL,
        start_on_create=st.booleans(),
    ),
    build(c.UpdateService, id=SMALL, scale=st.integers(-1, 5)),
    build(c.ActivateService, id=SMALL),
    build(c.SetServiceState, id=SMALL, state=st.sampled_from(["active", "inactive", "removed", "updating-active"])),
    build(c.SealCaKey, node=st.integers(1, 5).map(node_id), sealed=st.sampled_from([None, b"x"])),
)
ACCOUNTS = st.sampled_from([1, 2, 7, 8, 9])
MEMBERS = st.lists(
    st.builds(
        c.Member,
        uuid=UUIDS,
        external_id=ACCOUNTS.map(lambda number: f"1a{number}"),
        role=st.sampled_from(["owner", "member", "restricted", "readonly"]),
    ),
    max_size=3,
).map(tuple)
LOGINS = st.sampled_from(["alice", "Alice", "bob", "a:b", ""])
HASHES = st.sampled_from(["h1", "h2"])
PEOPLE: st.SearchStrategy[Any] = st.one_of(
    build(c.CreateAccount, uuid=UUIDS, kind=st.sampled_from(["admin", "user"]), name=NAMES),
    build(c.UpdateAccount, id=ACCOUNTS, kind=st.sampled_from([None, "admin", "user"])),
    build(c.SetAccountState, id=ACCOUNTS, state=st.sampled_from(["active", "active", "inactive", "removed", "purged"])),
    build(c.CreatePassword, uuid=UUIDS, account_id=ACCOUNTS, login=LOGINS, secret_hash=HASHES),
    build(c.UpdatePassword, id=SMALL, state=st.sampled_from(["active", "inactive", "removed"])),
    build(c.SetPassword, id=SMALL, old_hash=HASHES, secret_hash=HASHES, is_same=st.booleans()),
    build(c.SetMembers, environment_id=ENVIRONMENTS, members=MEMBERS),
    build(c.CreateEnvironment, uuid=UUIDS, name=NAMES, members=MEMBERS),
    build(c.CreateOwnEnvironment, uuid=UUIDS, account_id=ACCOUNTS, name=NAMES, member_uuid=UUIDS),
    build(c.SetEnvironmentState, id=ENVIRONMENTS, state=st.sampled_from(["active", "inactive"])),
    build(
        c.CreateApiKey,
        uuid=UUIDS,
        environment_id=st.none(),
        account_id=ACCOUNTS,
        public=UUIDS,
        secret_hash=st.just(b"x"),
    ),
    build(c.EnableLocalAuth, uuid=UUIDS, member_uuid=UUIDS, login=LOGINS, name=NAMES, secret_hash=HASHES),
    st.just(c.DisableLocalAuth()),
    build(c.EndSession, session_id=UUIDS, account_id=ACCOUNTS, ends=st.integers(900, 1200)),
    build(c.SetSetting, name=st.sampled_from(["a", "b", "api.security.enabled"]), value=st.sampled_from([None, "x"])),
    build(c.RemoveEnvironment, id=ENVIRONMENTS),
    build(
        c.PurgeRows,
        rows=st.lists(
            st.tuples(st.sampled_from(["accounts", "passwords", "members", "api_keys"]), ACCOUNTS | SMALL), max_size=4
        ).map(tuple),
    ),
)
ENDS: st.SearchStrategy[Any] = st.one_of(
    build(c.RemoveEnvironment, id=ENVIRONMENTS),
    build(c.RemoveHost, id=SMALL),
    build(c.MarkHostDown, id=SMALL, why=WHY),
    build(c.DeactivateService, id=SMALL),
    build(c.RemoveService, id=SMALL),
    build(c.RemoveStack, id=SMALL),
    build(c.FinishStackRemoval, id=SMALL),
    build(
        c.PurgeRows,
        rows=st.lists(
            st.tuples(st.sampled_from(["containers", "services", "stacks", "hosts", "environments"]), SMALL), max_size=4
        ).map(tuple),
    ),
)
# Ends are rare, or nothing would live long enough to collide.
SINGLES = st.integers(0, 19).flatmap(lambda die: ENDS if die == 0 else CHANGES if die < 6 else CONTAINERS)
COMMANDS: st.SearchStrategy[AnyCommand] = st.one_of(
    SINGLES, st.lists(SINGLES, max_size=5).map(lambda singles: Batch(commands=tuple(singles)))
)


# Accounts and environments have a history of their own: nothing of theirs collides with containers.
ACCESS: st.SearchStrategy[AnyCommand] = st.one_of(
    PEOPLE, st.lists(PEOPLE, max_size=5).map(lambda singles: Batch(commands=tuple(singles)))
)
HISTORIES = st.lists(COMMANDS, min_size=10, max_size=60) | st.lists(ACCESS, min_size=10, max_size=60)


def start() -> State:
    """Two hosts with 13 places each and no subnet left, and services that wait for containers."""
    state = done(found(network="10.42.0.0/27", bits=28), Batch(commands=(admit(1), admit(2))))
    state = with_stack(with_stack(state), "cache")
    state = with_service(state, "web", scale=4)
    state = with_service(state, "db", scale=2, launch=launch(ports=("80:80",)))
    return with_service(state, "web", stack_id=2, scale=3, launch=launch(network_mode="host"))


@settings(max_examples=120, deadline=None)
@given(history=HISTORIES)
def test_any_history_keeps_the_invariants_on_every_replica(history: list[AnyCommand]) -> None:
    ours, theirs = start(), start()
    for number, command in enumerate(history):
        proposal = Proposal(id=f"p{number}", at=1000 + number, command=command)
        before = encode_state(ours)
        applied = apply_proposal(ours, proposal)
        assert applied.state is not None
        assert encode_state(ours) == before, "the old state is never written to"
        if all(isinstance(result, Refused) for result in applied.results):
            assert (
                msgspec.structs.replace(
                    applied.state, recent=ours.recent, forgotten=ours.forgotten, last_at=ours.last_at
                )
                == ours
            )
        check_invariants(applied.state)
        retried = apply_proposal(applied.state, proposal)
        assert retried.state is applied.state
        assert (retried.result, retried.results) == (applied.result, applied.results)
        ours = applied.state
        replica = apply_proposal(decode_state(encode_state(theirs)), decode_proposal(encode_proposal(proposal)))
        assert replica.state is not None
        theirs = replica.state
    assert state_digest(ours) == state_digest(theirs)


@settings(max_examples=40, deadline=None)
@given(history=HISTORIES)
def test_changes_name_exactly_the_rows_that_differ(history: list[AnyCommand]) -> None:
    state = start()
    for number, command in enumerate(history):
        applied = apply_proposal(state, Proposal(id=f"p{number}", at=1000 + number, command=command))
        assert applied.state is not None
        named = {(change.table, change.id) for change in applied.changes}
        for table in TABLES:
            old, new = getattr(state, table), getattr(applied.state, table)
            differ = {(table, key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
            assert differ <= named
        state = applied.state
