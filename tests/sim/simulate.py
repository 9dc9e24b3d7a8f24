"""The command behind scripts/simulate: runs seeds on all cores, counts, and makes what fails small.

Plays whole nodes (scene `cluster`), or one part alone (`group`, `gossip`, `disk`, `state`), which is many times faster.
The seeds are run by worker processes, so that a hang ends one of them and a planted bug stays in one.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from itertools import islice

from tests.sim import planted, shrink
from tests.sim.faults import PROFILES, Scenario
from tests.sim.scenes import SCENES, Outcome, play
from tests.sim.workers import Crew

COVERED = ("protocol", "node/state", "node/plan")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 if anything did not hold."""
    options = _parse(arguments)
    if options.planted:
        return planted.hunt(options.only, options.seeds, options.jobs, _scenes(options))
    if options.replay is not None:
        return _replay(options)
    if options.coverage:
        return _cover(options)
    return _run(options)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/simulate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=_range, metavar="A..B", help="both ends included; 0..19, planted: 0..199")
    parser.add_argument("--hosts", type=_range, metavar="A..B", default=range(3, 10), help="before faults begin")
    parser.add_argument("--profile", choices=PROFILES, default="rough", help="how much goes wrong")
    parser.add_argument("--minutes", type=float, default=1.0, help="of virtual time in which things go wrong")
    parser.add_argument("--scene", choices=(*SCENES, "all"), help="cluster; planted bugs: all")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this one here")
    parser.add_argument("--without", default="", help="kinds or numbers of faults to leave out, with commas between")
    parser.add_argument("--trace", action="store_true", help="with --replay: say what happens")
    parser.add_argument("--repeat", action="store_true", help="run each twice, and compare what happened")
    parser.add_argument("--planted", action="store_true", help="see whether planted bugs are found")
    parser.add_argument("--only", help="with --planted: names that contain this")
    parser.add_argument("--coverage", action="store_true", help="say which lines and branches the seeds reached")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or range(200 if options.planted else 20)
    return options


def _range(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def _scenes(options: argparse.Namespace) -> tuple[str, ...]:
    scene = options.scene or ("all" if options.planted else "cluster")
    return SCENES if scene == "all" else (scene,)


def _scenarios(options: argparse.Namespace, seeds: Iterable[int]) -> Iterator[Scenario]:
    without = frozenset(filter(None, options.without.split(",")))
    hosts = (options.hosts[0], options.hosts[-1])
    for scene in _scenes(options):
        for seed in seeds:
            yield Scenario(seed, options.profile, hosts, options.minutes, without, scene)


def _replay(options: argparse.Namespace) -> int:
    show = print if options.trace else None
    failed = False
    for scenario in _scenarios(options, [options.replay]):
        outcome = play(scenario, show=show)
        print(f"seed {scenario.seed}: {outcome.failure or 'nothing is wrong'}; trace {outcome.trace[:16]}")
        failed = failed or outcome.failure is not None
    return int(failed)


def _run(options: argparse.Namespace) -> int:
    start, lived, runs, failed = time.monotonic(), 0.0, 0, list[Outcome]()
    with Crew(options.jobs, hash_seed="1") as crew, Crew(options.jobs, hash_seed="2") as others:
        for outcome in _outcomes(crew, _scenarios(options, options.seeds), 2 * options.jobs):
            runs, lived = runs + 1, lived + outcome.lived
            if options.repeat and outcome.failure is None:
                outcome = _compare(outcome, others.submit(outcome.scenario).result())
                lived += outcome.lived
            if outcome.failure is not None:
                failed.append(outcome)
                print(f"seed {outcome.scenario.seed} FAILS: {outcome.failure}", flush=True)
                print(f"  {outcome.scenario.command()}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{runs} seeds, {len(failed)} failed ", end="", file=sys.stderr)
        took = time.monotonic() - start
        for outcome in failed[: shrink.AT_MOST]:
            print(shrink.report(crew, outcome), flush=True)
    hours = lived / 3600
    again = " each twice with one trace hash," if options.repeat else ""
    print(
        f"{runs} seeds ({options.profile}, {options.minutes:g} min of faults),{again} {len(failed)} failed; "
        f"{hours:.1f} simulated hours in {took:.0f} s: {hours / took * 60:.2f} simulated hours a minute"
    )
    return int(bool(failed))


def _compare(one: Outcome, other: Outcome) -> Outcome:
    if other.trace == one.trace:
        return one
    return replace(one, failure=f"another life from the same seed: {one.trace[:16]} and {other.trace[:16]}")


def _outcomes(crew: Crew, scenarios: Iterator[Scenario], ahead: int) -> Iterator[Outcome]:
    """Yield outcomes as they come, with a bounded number under way."""
    waiting: set[Future[Outcome]] = {crew.submit(scenario) for scenario in islice(scenarios, ahead)}
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            waiting |= {crew.submit(scenario) for scenario in islice(scenarios, 1)}
            yield future.result()


def _cover(options: argparse.Namespace) -> int:
    """Run the seeds in this process under coverage; imported late, before anything that is to be measured runs."""
    import coverage

    measured = coverage.Coverage(branch=True, include=[f"{folder}/*" for folder in COVERED], data_file=None)
    # What was imported by now is loaded again, so that its definitions count too.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("protocol", "node", "dns", "tests")]:
        del sys.modules[name]
    measured.start()
    from tests.sim.scenes import play as play_measured

    failures = [play_measured(each).failure for each in _scenarios(options, options.seeds)]
    measured.stop()
    measured.report(show_missing=True, skip_covered=True, file=sys.stdout)
    return int(any(failures))


if __name__ == "__main__":
    sys.exit(main())
