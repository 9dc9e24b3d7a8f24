"""The one place where a command becomes a new state: pure, deterministic, and never an exception.

`apply_proposals` is what replicas call for log entries; it also answers a proposal that was retried from
`state.recent` instead of applying it twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import msgspec

from node import commands as c
from node.commands import AnyCommand, Batch, InitCluster, Proposal, SingleCommand
from node.model import Change, Done, Refused, Result, State
from node.state import (
    accounts,
    containers,
    environments,
    hosts,
    keys,
    members,
    purge,
    service_links,
    services,
    stacks,
)
from node.state.indexes import Indexes
from node.state.txn import Refusal, Txn

MAX_RECENT = 4096
"""Results kept for retries, those of a batch's commands counted each; the oldest are dropped."""
TOO_OLD = Refused(code="TooOld", message="it was handed in so long ago that nobody can tell whether it happened")
"""What becomes of a proposal of which an earlier copy may have been applied and forgotten: nothing."""

S = TypeVar("S", bound=State | None, covariant=True)

Handler = Callable[[Txn, Any], Done]

HANDLERS: dict[type[Any], Handler] = {
    c.InitCluster: environments.refuse_second_init,
    c.SetOpenAccess: environments.set_open_access,
    c.CreateEnvironment: environments.create_environment,
    c.UpdateEnvironment: environments.update_environment,
    c.RemoveEnvironment: environments.remove_environment,
    c.CreateOwnEnvironment: environments.create_own_environment,
    c.SetEnvironmentState: environments.set_environment_state,
    c.SetMembers: members.set_members,
    c.CreateAccount: accounts.create_account,
    c.UpdateAccount: accounts.update_account,
    c.SetAccountState: accounts.set_account_state,
    c.CreatePassword: accounts.create_password,
    c.UpdatePassword: accounts.update_password,
    c.SetPassword: accounts.set_password,
    c.EnableLocalAuth: accounts.enable_local_auth,
    c.DisableLocalAuth: accounts.disable_local_auth,
    c.EndSession: accounts.end_session,
    c.SetSetting: accounts.set_setting,
    c.CreateToken: environments.create_token,
    c.SetTokenState: environments.set_token_state,
    c.CreateApiKey: keys.create_api_key,
    c.UpdateApiKey: keys.update_api_key,
    c.SealCaKey: keys.seal_ca_key,
    c.AdmitHost: hosts.admit_host,
    c.ReportHost: hosts.report_host,
    c.UpdateHost: hosts.update_host,
    c.SetHostState: hosts.set_host_state,
    c.RemoveHost: hosts.remove_host,
    c.MarkHostDown: hosts.mark_host_down,
    c.MarkHostUp: hosts.mark_host_up,
    c.CreateStack: stacks.create_stack,
    c.UpdateStack: stacks.update_stack,
    c.RemoveStack: stacks.remove_stack,
    c.FinishStackRemoval: stacks.finish_stack_removal,
    c.CreateService: services.create_service,
    c.UpdateService: services.update_service,
    c.SetServiceLinks: service_links.set_service_links,
    c.AddServiceLink: service_links.add_service_link,
    c.RemoveServiceLink: service_links.remove_service_link,
    c.ActivateService: services.activate_service,
    c.DeactivateService: services.deactivate_service,
    c.RemoveService: services.remove_service,
    c.SetServiceState: services.set_service_state,
    c.CreateContainer: containers.create_container,
    c.AddContainer: containers.add_container,
    c.PlaceContainer: containers.place_container,
    c.SetContainerDesired: containers.set_container_desired,
    c.RestartContainer: containers.restart_container,
    c.UpdateContainer: containers.update_container,
    c.ReportContainers: containers.report_containers,
    c.PurgeRows: purge.purge_rows,
}


@dataclass(frozen=True, slots=True)
class Applied(Generic[S]):
    """What became of one log entry."""

    state: S
    """The very state that went in, if nothing changed."""

    result: Result
    """For a batch: how many of its commands were done."""

    results: tuple[Result, ...]
    """One per command: of the batch, or the single one."""

    changes: tuple[Change, ...] = ()
    """Rows touched, each once, in order of first touch."""


@overload
def apply(state: State, command: AnyCommand, *, at: int) -> Applied[State]: ...
@overload
def apply(state: State | None, command: AnyCommand, *, at: int) -> Applied[State | None]: ...
def apply(state: State | None, command: AnyCommand, *, at: int) -> Applied[State] | Applied[State | None]:
    """Give `command` its meaning at the leader's time `at`; a refusal is a result like another.

    Without a state only InitCluster is taken, alone or as the first of a batch.
    """
    singles = command.commands if isinstance(command, Batch) else (command,)
    results: list[Result] = []
    changes: tuple[Change, ...] = ()
    if state is None and singles:
        state, result, changes = _found(singles[0], at)
        results.append(result)
    if state is None:
        results += [results[0]] * (len(singles) - 1)
        return Applied(None, _summary(command, results), tuple(results))
    txn = Txn(state, at)
    results += [_apply_single(txn, single) for single in singles[len(results) :]]
    return Applied(txn.finish(), _summary(command, results), tuple(results), changes + txn.changes)


def _found(command: SingleCommand, at: int) -> tuple[State | None, Result, tuple[Change, ...]]:
    if not isinstance(command, InitCluster):
        return None, Refused(code="Conflict", message="there is no cluster yet: `node start` makes one"), ()
    try:
        state = environments.init_cluster(command, at)
    except Refusal as refusal:
        return None, refusal.refused, ()
    return state, Done("cluster", 0), tuple(Change("environments", key) for key in state.environments)


def _apply_single(txn: Txn, command: SingleCommand) -> Result:
    try:
        return HANDLERS[type(command)](txn, command)
    except Refusal as refusal:
        return refusal.refused


def _summary(command: AnyCommand, results: list[Result]) -> Result:
    if isinstance(command, Batch):
        return Done("batch", sum(isinstance(result, Done) for result in results))
    return results[0]


@dataclass(frozen=True, slots=True)
class AppliedAll(Generic[S]):
    """What became of several log entries."""

    state: S
    results: tuple[Result, ...]
    """One per proposal."""
    changes: tuple[Change, ...] = ()
    """Rows touched by any of them."""


def apply_proposals(
    state: State | None, proposals: Sequence[Proposal], indexes: Indexes | None = None
) -> AppliedAll[State | None]:
    """Apply log entries in order: the same state as one by one, at the cost of one copy of what they touch.

    `indexes` must be those of `state`, and are those of the new state afterwards.
    """
    results: list[Result] = []
    changes: tuple[Change, ...] = ()
    while state is None and len(results) < len(proposals):
        first = apply_proposal(None, proposals[len(results)])
        state, changes = first.state, first.changes
        results.append(first.result)
    if state is None:
        return AppliedAll(None, tuple(results))
    txn = Txn(state, state.last_at, indexes)
    results += [_apply_next(txn, proposal)[0] for proposal in proposals[len(results) :]]
    return AppliedAll(txn.finish(), tuple(results), tuple(dict.fromkeys(changes + txn.all_changes)))


def apply_proposal(state: State | None, proposal: Proposal) -> Applied[State | None]:
    """Apply a log entry once, however often its proposal comes."""
    if state is not None:
        txn = Txn(state, state.last_at)
        result, results = _apply_next(txn, proposal)
        return Applied(txn.finish(), result, results, txn.changes)
    applied = apply(None, proposal.command, at=proposal.at)
    if applied.state is None:
        return applied
    recent = _to_remember(proposal, applied.result, applied.results)
    state = msgspec.structs.replace(applied.state, recent=recent, last_at=proposal.at)
    return Applied(state, applied.result, applied.results, applied.changes)


def _apply_next(txn: Txn, proposal: Proposal) -> tuple[Result, tuple[Result, ...]]:
    """Apply a proposal after those before it; return its result, and those of its commands."""
    # A new leader's clock may be behind that of the one before it.
    txn.begin(max(proposal.at, txn.last_at))
    if proposal.id in txn.recent:
        return _remembered(txn.recent, proposal)
    command = proposal.command
    singles = command.commands if isinstance(command, Batch) else (command,)
    if proposal.since is not None and txn.forgotten > proposal.since:
        return TOO_OLD, (TOO_OLD,) * len(singles)
    results = [_apply_single(txn, single) for single in singles]
    result = _summary(command, results)
    txn.remember(_to_remember(proposal, result, results), MAX_RECENT)
    return result, tuple(results)


def _to_remember(proposal: Proposal, result: Result, results: Sequence[Result]) -> dict[str, Result]:
    remembered = {proposal.id: result}
    if isinstance(proposal.command, Batch):
        remembered |= {_part(proposal.id, place): each for place, each in enumerate(results)}
    return remembered


def _part(proposal_id: str, place: int) -> str:
    return f"{proposal_id}/{place}"


def _remembered(recent: Mapping[str, Result], proposal: Proposal) -> tuple[Result, tuple[Result, ...]]:
    result = recent[proposal.id]
    if not isinstance(proposal.command, Batch):
        return result, (result,)
    places = range(len(proposal.command.commands))
    return result, tuple(recent.get(_part(proposal.id, place), result) for place in places)
