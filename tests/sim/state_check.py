"""What must hold of a state, its replicas, the engines and the names, after each entry and each step of an agent."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from node.commands import Proposal
from node.model import DEFAULT_ENVIRONMENT_ID, Container, Result, State, host_of_node
from node.plan.agent_steps import AnyAction, Create, Remove, Restart, Stop
from node.plan.names import DNS_ADDRESS, DOMAIN, MAX_LABEL, render_names
from node.state import apply_proposal, state_digest
from protocol.ids import NodeId
from tests.fakes.invariants import check_invariants
from tests.sim.state_parts import Seat


class StateBroken(AssertionError):
    """Something that must hold of the state does not."""


_HAS_NO_PLACE = re.compile("no host fits|has no hosts|is taken by container")
"""What a person has to see to: planning does what it can, and says so."""


class StateChecker:
    """Every state that the log made, and what was seen of it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.states: list[State] = []
        self._results: list[Result] = []
        self._first: dict[str, Result] = {}
        """Proposal → what it came to when it was applied first."""
        self._digests: dict[int, str] = {}
        self._places: dict[str, tuple[NodeId, str | None]] = {}
        """Uuid → the node that it was placed on, and its address."""
        self._given_up: set[str] = set()
        """Uuids of containers that some state did not want to run as they were."""

    @property
    def state(self) -> State:
        return self.states[-1]

    def require(self, holds: bool, what: str) -> None:
        if not holds:
            raise StateBroken(f"seed {self.seed}, entry {len(self.states)}: {what}")

    def committed(self, proposal: Proposal) -> None:
        """Apply an entry by itself, and look at the state that it makes."""
        before = self.states[-1] if self.states else None
        applied = apply_proposal(before, proposal)
        state = applied.state
        assert state is not None
        self.require(before is None or state.last_at >= before.last_at, "time runs backwards")
        known = self._first.setdefault(proposal.id, applied.result)
        self.require(known == applied.result, f"{proposal.id} was retried and came to {applied.result}, not {known}")
        self.states.append(state)
        self._results.append(applied.result)
        check_invariants(state)
        for row in state.containers.values():
            if row.desired != "running" or row.removed is not None or row.restarts_wanted:
                self._given_up.add(row.uuid)
            if row.host_id is not None and row.removed is None:
                place = (state.hosts[row.host_id].node, row.address)
                self.require(self._places.setdefault(row.uuid, place) == place, f"{row.name} moved to {place}")

    def applied(self, seat: Seat, results: Sequence[Result], dead: Mapping[NodeId, float]) -> None:
        """State machine safety: whatever was applied at once, and from where, the state is that of the log."""
        if seat.state is None:
            return
        known = self._results[seat.applied - len(results) : seat.applied]
        self.require(list(results) == known, f"{seat.name} has other results before {seat.applied}")
        wanted = self._digests.get(seat.applied) or state_digest(self.states[seat.applied - 1])
        self._digests[seat.applied] = wanted
        self.require(state_digest(seat.state) == wanted, f"{seat.name} has another state at {seat.applied}")
        self._check_names(seat, seat.state, frozenset(dead))

    def _check_names(self, seat: Seat, state: State, dead: frozenset[NodeId]) -> None:
        """What answers is what this state had running, and all of that."""
        host = host_of_node(state, seat.node)
        if host is None:
            return
        table = render_names(state, DEFAULT_ENVIRONMENT_ID, dead, host.id)
        alive = {each.id for each in state.hosts.values() if each.removed is None and each.node not in dead}
        rows = [row for row in state.containers.values() if _runs(row) and row.host_id in alive and row.address]
        running = {row.address for row in rows}
        for name, addresses in table.names.items():
            wrong = [each for each in addresses if each not in running and each != DNS_ADDRESS]
            self.require(not wrong, f"{seat.name} answers {wrong} for {name}, where nothing runs")
        for row in rows:
            given = table.names.get(f"{row.name.lower()}.{DOMAIN}", ())
            self.require(len(row.name) > MAX_LABEL or row.address in given, f"{seat.name} does not know {row.name}")

    def acts(self, seat: Seat, action: AnyAction) -> None:
        """An agent is about to carry out a step."""
        if isinstance(action, Create):
            self.require(self._places[action.key][0] == seat.node, f"{seat.name} makes what is placed elsewhere")
        if isinstance(action, Stop | Remove | Restart):
            held = {one.external_id: one for one in seat.held()}
            one = held.get(action.external_id)
            if one is None or [each.uuid for each in held.values()].count(one.uuid) > 1:
                return
            is_meant = one.uuid in self._given_up or (isinstance(action, Remove) and one.status != "running")
            self.require(is_meant, f"{seat.name} ends {one.name}, which is to run: {action.why}")

    def saw_engines(self, seats: Sequence[Seat]) -> None:
        count = Counter(one.uuid for seat in seats for one in seat.held())
        twice = [uuid for uuid, number in count.items() if number > 1]
        self.require(not twice, f"containers twice: {twice}")

    def why_not_settled(self, seats: Sequence[Seat]) -> str | None:
        """Return what is not as the state wants it."""
        state = self.state
        for service in state.services.values():
            rows = [r for r in state.containers.values() if r.service_id == service.id and r.removed is None]
            is_wanted = service.state in ("active", "activating", "updating-active")
            if is_wanted and len(rows) != service.scale and not _HAS_NO_PLACE.search(service.message or ""):
                return f"{service.name} has {len(rows)} of {service.scale} containers"
        for seat in seats:
            host = host_of_node(state, seat.node)
            if host is None:
                continue
            wanted = {r.uuid: r for r in state.containers.values() if r.host_id == host.id and r.removed is None}
            held = {one.uuid: one.status for one in seat.held()}
            for uuid, row in wanted.items():
                status = held.get(uuid, "absent")
                may_have_ended = row.service_id is None and status == "exited"
                differs = (row.desired == "running") != (status == "running") and not may_have_ended
                if row.desired == "removed" or differs:
                    return f"{row.name} on {seat.name} is {status}, not {row.desired}"
            if strays := held.keys() - wanted.keys():
                return f"{seat.name} has strays: {sorted(strays)}"
        return None


def _runs(row: Container) -> bool:
    return row.removed is None and row.desired == "running" and row.seen.status == "running"
