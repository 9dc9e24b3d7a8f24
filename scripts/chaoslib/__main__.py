"""`scripts/chaos`: makes a cluster, has clients use it while it is broken at random, mends it, and judges.

Exit codes: 0 nothing was wrong, 1 something was, 2 wrong usage, 130 interrupted.
"""

import argparse
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from scripts.chaoslib.lab_world import LabWorld
from scripts.chaoslib.light_world import LightWorld
from scripts.chaoslib.run import Chaos, Plan, World
from scripts.demolib.cluster import NotSoError as NotSoOnHostsError
from scripts.lablib import Lab, LabError, ground
from scripts.lightlib import NotSoError

LAB = "chaos"

MAX_MINUTES = 60.0
MAX_HOSTS = 9

_EPILOG = """\
On lab hosts (root): kill -9, pauses, orderly restarts, leadership handed over, engine restarts, power losses, cut
cables, partitions, one-way cuts, lost packets, full disks.  With --light, on daemons of this machine: kill -9, pauses,
restarts, leadership handed over, full disks.
The seed decides which faults come when and what clients ask; how they meet is up to the machine.
What went wrong is kept in a folder: history.jsonl (one operation a line) and each host's log.
"""


def main() -> int:
    """Run; return the exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    keep = arguments.keep or Path(tempfile.gettempdir()) / f"corral-chaos-{arguments.seed}"
    plan = Plan(
        seconds=arguments.minutes * 60,
        seed=arguments.seed,
        clients=arguments.clients,
        keep=keep,
        always_keep=arguments.keep is not None,
        reads=arguments.reads,
        only=frozenset(arguments.only or ()),
    )
    try:
        with _world(arguments.hosts, is_light=arguments.light) as world:
            if unknown := plan.only - (known := {fault.name for fault in world.faults()}):
                _say(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
                return 2
            return 0 if Chaos(world, plan, _say).run() else 1
    except (LabError, NotSoError, NotSoOnHostsError, OSError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("interrupted; nothing is left behind")
        return 130


@contextmanager
def _world(count: int, *, is_light: bool) -> Iterator[World]:
    if is_light:
        with tempfile.TemporaryDirectory(prefix="corral-chaos-") as folder:
            light = LightWorld(Path(folder), count)
            try:
                light.open()
                yield light
            finally:
                light.close()
        return
    ground.prepare(_say)
    world = LabWorld(Lab(LAB, say=_say), count)
    try:
        world.open()
        yield world
    finally:
        world.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos",
        description="Breaks a cluster at random while clients use it, and judges what they were told.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number = random.SystemRandom().randrange(1_000_000)
    parser.add_argument("--minutes", type=_within(0.05, MAX_MINUTES), default=2.0, help="how long it is broken (2)")
    parser.add_argument("--hosts", type=int, choices=range(1, MAX_HOSTS + 1), default=3, help="(3)")
    parser.add_argument("--seed", type=int, default=number, help="of faults and clients (drawn)")
    parser.add_argument("--clients", type=int, choices=range(1, 33), default=5, help="that ask side by side (5)")
    parser.add_argument("--light", action="store_true", help="daemons of this machine, containers in memory")
    parser.add_argument("--reads", choices=("auto", "linearizable", "local"), default="auto", help="(auto)")
    parser.add_argument("--only", action="append", metavar="FAULT", help="leave out the other faults; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="for the history and the logs")
    return parser.parse_args()


def _within(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: give {least:g} to {most:g}")
        return value

    return number


def _say(line: str) -> None:
    print(line, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Once: tidying up is not interrupted by somebody's impatience.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
