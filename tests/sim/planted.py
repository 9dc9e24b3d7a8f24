"""Bugs to be planted: one rule each, broken by a substitution in the source as it is loaded, never on disk.

`hunt` shows for each whether the simulator finds it, and after how many seeds.  A bug that is missed is a fault of the
simulator.  Imports nothing of the product, so that a process can plant a bug before it loads anything.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[2]
CHEAP_FIRST = ("disk", "state", "gossip", "group", "cluster")


@dataclass(frozen=True, slots=True)
class Bug:
    """A rule broken: in `module`, `old`, which must be there once, becomes `new`."""

    name: str
    module: str
    old: str
    new: str
    scenes: tuple[str, ...] = ("group", "cluster")
    """Where it can show."""

    @property
    def path(self) -> Path:
        return ROOT / f"{self.module.replace('.', '/')}.py"


CORE, LEADERSHIP, LOG = "protocol.raft.core", "protocol.raft.leadership", "protocol.raft.log"
ELECTION = "protocol.raft.election"
CLUSTER, GOSSIP = ("cluster",), ("gossip",)
DISK, STATE = ("disk", "cluster"), ("state", "cluster")

BUGS: tuple[Bug, ...] = (
    # Elections.
    Bug(
        "vote twice in a term",
        ELECTION,
        "            and self._hard.vote in (None, sender)\n",
        "",
    ),
    Bug(
        "vote not saved",
        ELECTION,
        "hard = self._hard if self._hard != self._saved else None",
        "hard = HardState(self._hard.term) if self._hard != self._saved else None",
    ),
    Bug(
        "vote sent before it is on disk",
        "node.drive.consensus",
        "early, late = split_sends(output, is_leader=raft.is_leader)",
        "early, late = (output.send, ()) if output.hard else split_sends(output, is_leader=raft.is_leader)",
        CLUSTER,
    ),
    Bug(
        "up-to-date check forgotten",
        LOG,
        "return (last_term, last_index) >= (self.last_term, self.last_index)",
        "return True",
    ),
    Bug(
        "pre-vote promised beside a leader",
        CORE,
        "        if request.term > self.term and self._is_content(now):\n            return\n",
        "",
    ),
    Bug(
        "whoever hears a leader helps to replace it",
        CORE,
        "        if isinstance(message, VoteRequest) and not message.is_transfer and self._is_content(now):\n"
        "            return\n",
        "",
    ),
    Bug(
        "learner made heir",
        LEADERSHIP,
        "voters = [v for v in self._log.config.voters if",
        "voters = [v for v in self._log.config.members if",
    ),
    Bug(
        "quorum check forgotten",
        CORE,
        "if now - self._leading.quorum_heard_at(now) >= self._timing.election_timeout:",
        "if now - self._leading.quorum_heard_at(now) >= inf:",
    ),
    Bug("term of an old leader ignored", CORE, "        if request.term < self.term:\n", "        if False:\n"),
    Bug(
        "quorum of those who answer",
        "protocol.raft.quorum",
        ">= majority(len(config.voters))",
        ">= majority(len(those))",
    ),
    Bug("majority off by one", "protocol.raft.quorum", "return voters // 2 + 1", "return (voters + 1) // 2"),
    # Replication.
    Bug(
        "entry of an old term committed by counting",
        CORE,
        "if self._log.term_at(index) != self.term or not self._log.commit_to(index):",
        "if not self._log.commit_to(index):",
    ),
    Bug(
        "learner counted as a voter",
        "protocol.raft.quorum",
        "values = sorted((value_of(voter) for voter in config.voters), reverse=True)",
        "values = sorted((value_of(voter) for voter in config.members), reverse=True)",
    ),
    Bug(
        "acknowledged before it is on disk",
        "node.drive.consensus",
        "early, late = split_sends(output, is_leader=raft.is_leader)",
        "early, late = (output.send, ()) if output.append else split_sends(output, is_leader=raft.is_leader)",
        CLUSTER,
    ),
    Bug(
        "log cut back without a conflict",
        LOG,
        "            if self.term_at(entry.index) == entry.term:\n                continue\n",
        "",
    ),
    Bug(
        "commit beyond what is known to agree",
        "protocol.raft.following",
        "self._log.commit_to(min(request.commit, last))",
        "self._log.commit_to(min(request.commit, self._log.last_index))",
    ),
    Bug(
        "previous entry not compared",
        "protocol.raft.following",
        "if request.prev_index >= self._log.commit_index and prev_term != request.prev_term:",
        "if request.prev_index > self._log.last_index:",
    ),
    Bug(
        "cut not carried out on disk",
        LOG,
        "            self._truncate_from = min(index, self._truncate_from or index)\n",
        "",
    ),
    Bug(
        "applied out of order",
        LOG,
        "return tuple(self._entries[start:stop])",
        "return tuple(self._entries[start:stop][::-1])",
    ),
    Bug(
        "read without asking a majority",
        LEADERSHIP,
        "heard = quorum_value(self._log.config, self._heard_seq)",
        "heard = inf",
    ),
    Bug(
        "leadership handed to one that lags",
        LEADERSHIP,
        "if self._progress[self.heir].match == self._log.last_index:",
        "if True:",
    ),
    # Membership and snapshots.
    Bug(
        "group changed before an own entry is committed",
        CORE,
        "if not self.is_config_committed or self.commit_index < leading.first_index:",
        "if not self.is_config_committed:",
    ),
    Bug(
        "several voters changed at once",
        "protocol.raft.quorum",
        "    if len(changed) > 1:\n",
        "    if len(changed) > 9:\n",
        ("group",),
    ),
    Bug(
        "snapshot keeps a log that disagrees",
        LOG,
        "if self.term_at(meta.index) == meta.term:",
        "if self.term_at(meta.index) is not None:",
    ),
    Bug(
        "results of retries lost in a snapshot",
        "node.state.codec",
        'return b"".join(_encode(state))',
        'return b"".join(_encode(msgspec.structs.replace(state, recent={})))',
        STATE,
    ),
    # The disk.
    Bug(
        "snapshot read without its checksum",
        "node.store.records",
        "        if checksum(data, key, stored.meta.index) != crc:\n",
        "        if False:\n",
        DISK,
    ),
    Bug(
        "entry read without its checksum",
        "node.store.records",
        "        if checksum(data, index, term, kind) != crc:\n",
        "        if False:\n",
        DISK,
    ),
    Bug(
        "lost end of the log not noticed",
        "node.store.log",
        "            self._check_mark()\n            stored",
        "            stored",
        DISK,
    ),
    Bug(
        "snapshot replaced by an older one",
        "node.store.log",
        "if stored is None or stored.meta.index < staging.snapshot.meta.index:",
        "if True:",
        DISK,
    ),
    Bug(
        "promises kept in memory when the disk failed",
        "node.drive.consensus",
        "            raft = await (self._begin_again(raft) if failed is None else self._recover(raft, failed))\n",
        "            await (self._begin_again(raft) if failed is None else self._recover(raft, failed))\n"
        "            self._raft = raft\n",
        CLUSTER,
    ),
    # The driver.
    Bug(
        "early send counts entries as committed before the flush",
        "node.drive.obeying",
        "isinstance(each.message, AppendRequest) and each.message.commit < first for each",
        "isinstance(each.message, AppendRequest) for each",
        CLUSTER,
    ),
    Bug(
        "notice of a commit never sent",
        "node.drive.notices",
        "self.due = min(self.due, now + HOLD) if self._held else inf",
        "self.due = inf",
        CLUSTER,
    ),
    # The state and the planners.
    Bug(
        "retried proposal applied twice",
        "node.state.apply",
        "    if proposal.id in txn.recent:\n        return _remembered(txn.recent, proposal)\n",
        "",
        STATE,
    ),
    Bug(
        "session table lost with the next entries",
        "node.state.txn",
        "            self._recent = dict(self._base.recent)\n",
        "            self._recent = {}\n",
        STATE,
    ),
    Bug(
        "time runs backwards",
        "node.state.apply",
        "txn.begin(max(proposal.at, txn.last_at))",
        "txn.begin(proposal.at)",
        STATE,
    ),
    Bug(
        "address freed before the container is gone",
        "node.state.taken",
        "            self.addresses[host_id][container.address] = container\n",
        "            if container.desired != 'removed':\n"
        "                self.addresses[host_id][container.address] = container\n",
        STATE,
    ),
    Bug(
        "port given twice",
        "node.state.taken",
        "holders = self._ports.get((host_id, port.protocol, port.public), ())",
        "holders = self._ports.get((host_id, port.protocol, port.public), ())[1:]",
        STATE,
    ),
    Bug(
        "container run on every host",
        "node.plan.agent",
        "rows = {row.uuid: row for row in state.containers.values() if row.host_id == host_id}",
        "rows = {row.uuid: row for row in state.containers.values()}",
        STATE,
    ),
    Bug(
        "strays removed by a replica that lags",
        "node.plan.agent",
        "for stray in strays if state_is_current else ():",
        "for stray in strays:",
        STATE,
    ),
    Bug(
        "names of stopped containers kept",
        "node.plan.names",
        'return row.desired == "running" and row.seen.status == "running" and row.host_id not in lost',
        'return row.seen.status in ("running", "exited") and row.host_id not in lost',
        STATE,
    ),
    Bug(
        "names of containers that never ran",
        "node.plan.names",
        'return row.desired == "running" and row.seen.status == "running" and row.host_id not in lost',
        'return row.desired == "running" and row.host_id not in lost',
        STATE,
    ),
    # Gossip.
    Bug(
        "stale incarnation wins",
        "protocol.swim.members",
        "return (incarnation, state) > (self.incarnation, self.state)",
        "return state > self.state or incarnation != self.incarnation",
        GOSSIP,
    ),
    Bug(
        "refuted in the same incarnation",
        "protocol.swim.claims",
        "max(above, mine.incarnation) + 1",
        "max(above, mine.incarnation)",
        GOSSIP,
    ),
)


def by_name(name: str) -> Bug:
    return next(bug for bug in BUGS if bug.name == name)


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from its source with one substitution."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._bug.module:
            return None
        return importlib.util.spec_from_file_location(name, self._bug.path, loader=_Source(self._bug))


class _Source(importlib.machinery.SourceFileLoader):
    def __init__(self, bug: Bug) -> None:
        super().__init__(bug.module, str(bug.path))
        self._bug = bug

    def get_code(self, fullname: str) -> CodeType:
        return compile(mutated(self._bug), str(self._bug.path), "exec")


def mutated(bug: Bug) -> str:
    """Return the source with the bug in it; ValueError unless the rule is there exactly once."""
    source = bug.path.read_text()
    if source.count(bug.old) != 1:
        raise ValueError(f"{bug.name}: expected once in {bug.path}, found {source.count(bug.old)} times: {bug.old!r}")
    return source.replace(bug.old, bug.new)


def plant(bug: Bug) -> None:
    """Have this process load the bug; its module must not be loaded yet."""
    if bug.module in sys.modules:
        raise RuntimeError(f"{bug.module} is loaded already")
    sys.meta_path.insert(0, _Planter(bug))


@dataclass(frozen=True, slots=True)
class Catch:
    """How a bug was found, if it was."""

    bug: Bug
    scene: str | None
    seeds: int
    failure: str = ""

    def __str__(self) -> str:
        if self.scene is None:
            return f"{self.bug.name}: MISSED by {self.seeds} seeds"
        plural = "" if self.seeds == 1 else "s"
        return f"{self.bug.name}: caught after {self.seeds} seed{plural} ({self.scene}): {self.failure[:110]}"


def hunt(only: str | None, seeds: range, jobs: int, scenes: Sequence[str]) -> int:
    """Look for every bug, several side by side; 1 if one was missed."""
    bugs = [bug for bug in BUGS if only is None or only in bug.name]
    missed = 0
    with ThreadPoolExecutor(jobs) as threads:
        for future in as_completed([threads.submit(look_for, bug, seeds, scenes) for bug in bugs]):
            print(future.result(), flush=True)
            missed += future.result().scene is None
    print(f"{len(bugs) - missed} of {len(bugs)} planted bugs caught")
    return int(bool(missed))


def look_for(bug: Bug, seeds: range, scenes: Sequence[str]) -> Catch:
    """Run seeds in one process with the bug in it until one fails; the quick scenes first."""
    from tests.sim.faults import Scenario
    from tests.sim.workers import Worker

    worker, sound = Worker(plant=bug.name, patience=300.0), Worker()
    tried = 0
    try:
        for scene in (each for each in CHEAP_FIRST if each in bug.scenes and each in scenes):
            for seed in seeds:
                tried += 1
                scenario = Scenario(seed, "hell" if seed % 2 else "rough", (3, 5), 0.4, scene=scene)
                outcome = worker.play(scenario)
                # What fails without the bug too does not show it.
                if outcome.failure is not None and sound.play(scenario).failure is None:
                    return Catch(bug, scene, tried, outcome.failure)
                if not worker.is_alive:
                    worker = Worker(plant=bug.name, patience=300.0)
    finally:
        worker.end()
        sound.end()
    return Catch(bug, None, tried)
