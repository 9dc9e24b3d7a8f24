"""One run from the first client to the verdict, and the table of what happened."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from scripts.chaoslib.asking import CLUSTER, Nodes, ask
from scripts.chaoslib.clients import LINEARIZABLE, Client, Ground
from scripts.chaoslib.faults import Breakable, Mischief
from scripts.chaoslib.judging import Judgement, UnsettledError, judge, note_rest, problems_of, wait_settled
from tests.sim.history import History, Operation, save

SETTLE_TIMEOUT = 120.0
ADVICE = "make room"
"""Says a daemon that ends because of its disk."""
WIDTH = 34


class World(Nodes, Breakable, Protocol):
    """What chaos is played in."""

    image: str

    def logs(self) -> dict[str, str]:
        """Return what each host's daemons wrote."""

    def double_containers(self) -> list[str]:
        """Return what is double or wrong on the engines themselves, as lines."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    seconds: float
    seed: int
    keep: Path
    """Where to leave the history and the logs if something is wrong."""

    always_keep: bool = False
    """Leave them there also if nothing is."""

    clients: int = 5
    pause: float = 0.03
    """Mean seconds between two requests of a client."""

    reads: str = "auto"
    """`linearizable`, `local`, or `auto`: linearizable where nodes know of such reads."""

    only: frozenset[str] = frozenset()
    """The faults to choose from; none means all there are."""


class Chaos:
    """A run in a world that is open."""

    def __init__(self, world: World, plan: Plan, say: Callable[[str], None]) -> None:
        self._world = world
        self._plan = plan
        self._say = say
        self._history = History()
        self._mischief = Mischief(world, Random(f"{plan.seed} faults"), say, only=plan.only)

    def run(self) -> bool:
        """Break, mend, judge and report; return whether nothing was wrong."""
        world, plan = self._world, self._plan
        read = self._choose_reads()
        self._say(f"seed {plan.seed}, {len(world.hosts)} hosts, {plan.seconds:g} s, {read or 'local'} reads")
        ground = Ground(world, self._history, read)
        ground.lay(world.hosts[0], world.image)
        wrong = self._break(ground)
        try:
            mended_at = time.monotonic()
            rest = wait_settled(world, self._revive, SETTLE_TIMEOUT)
            self._say(f"at rest at log entry {rest.index} after {time.monotonic() - mended_at:.1f} s")
            note_rest(ground, rest)
            wrong += problems_of(rest) + world.double_containers()
        except UnsettledError as error:
            wrong.append(str(error))
        wrong += unexpected(self._mischief.ended, world.logs())
        operations = self._history.operations()
        judgement = judge(operations)
        self._report(operations, judgement, wrong)
        is_fine = not (wrong or judgement.violations or judgement.undecided)
        if not is_fine or plan.always_keep:
            self._keep(operations)
        return is_fine

    def _break(self, ground: Ground) -> list[str]:
        """Let clients and faults at it for as long as planned; return what went wrong with the clients themselves."""
        names = [f"c{number + 1}" for number in range(self._plan.clients)]
        clients = [Client(ground, name, Random(f"{self._plan.seed} {name}"), pause=self._plan.pause) for name in names]
        for each in clients:
            each.start()
        try:
            self._mischief.run(self._plan.seconds)
            # Some more, to see that all goes on.
            time.sleep(min(2.0, self._plan.seconds / 10))
        finally:
            for each in clients:
                each.stop()
        for each in clients:
            each.join()
        return [f"client {each.name} ended: {each.failure!r}" for each in clients if each.failure is not None]

    def _revive(self) -> None:
        self._mischief.ended += self._world.revive(frozenset())

    def _choose_reads(self) -> str | None:
        if self._plan.reads != "auto":
            return LINEARIZABLE if self._plan.reads == LINEARIZABLE else None
        # A node that knows the header refuses what it does not know.
        answer = ask(self._world.connect(self._world.hosts[0], 10), "GET", CLUSTER, read="of-an-unknown-kind")
        return None if answer.status == 200 else LINEARIZABLE

    # What came of it

    def _report(self, operations: Sequence[Operation], judgement: Judgement, wrong: Sequence[str]) -> None:
        self._say("\nfault" + " " * (WIDTH - 5) + "times")
        for name, times in sorted(self._mischief.done.items()):
            self._say(f"{name:{WIDTH}}{times:5}")
        self._say(f"{'daemons that ended by themselves':{WIDTH}}{len(self._mischief.ended):5}")
        for line in sorted(set(self._mischief.ended)):
            self._say(f"    {line}")
        self._say("\noperation" + " " * (WIDTH - 9) + f"{'ok':>7}{'failed':>9}{'unknown':>9}")
        for kind, (fine, failed, unknown) in sorted(_counts(operations).items()):
            self._say(f"{kind:{WIDTH}}{fine:7}{failed:9}{unknown:9}")
        self._say("")
        for line in (*wrong, *judgement.violations):
            self._say(f"WRONG  {line}")
        for key in judgement.undecided:
            self._say(f"UNDECIDED  {key}: too many orders to try")
        found = len(wrong) + len(judgement.violations)
        verdict = f"{found} things are wrong" if found else "undecided" if judgement.undecided else "nothing is wrong"
        self._say(f"{verdict}: {len(operations)} operations on {judgement.keys} keys, seed {self._plan.seed}")

    def _keep(self, operations: Sequence[Operation]) -> None:
        folder = self._plan.keep
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        save(operations, folder / "history.jsonl")
        for host, text in self._world.logs().items():
            (folder / f"{host}.log").write_text(text)
        self._say(f"the history and the logs are in {folder}")


def unexpected(ended: Sequence[str], logs: Mapping[str, str]) -> list[str]:
    """Return the ends of daemons that no fault explains, and the errors in their logs that nobody foresaw."""
    problems = [f"a daemon ended: {line}" for line in sorted(set(ended)) if ADVICE not in line]
    for host, log in logs.items():
        lines = log.splitlines()
        starts = [number for number, line in enumerate(lines) if "Traceback (most recent call last)" in line]
        # The text of an error is the first line after its frames that is not indented.
        texts = [next((line for line in lines[number + 1 :] if line[:1].strip(" |+")), "") for number in starts]
        problems += [f"{host}'s log has an error nobody foresaw: {text}" for text in sorted(set(texts))]
    return problems


def _counts(operations: Sequence[Operation]) -> dict[str, tuple[int, int, int]]:
    fine, failed, unknown = Counter[str](), Counter[str](), Counter[str]()
    for each in operations:
        counter = unknown if each.is_unknown else failed if each.failed else fine
        counter[f"{each.kind} {each.key.partition(':')[0]}"] += 1
    return {kind: (fine[kind], failed[kind], unknown[kind]) for kind in {*fine, *failed, *unknown}}
