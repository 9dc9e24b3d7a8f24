"""`scripts/demo`: chooses the world, plays the walk-through in it, sums up, and takes the world down.

Exit codes: 0 every step that was played went well, 1 one did not, 2 wrong usage.
"""

import argparse
import os
import shutil
import sys
import time
from contextlib import suppress

from scripts.demolib.stage import Result, Stage, render_summary
from scripts.demolib.steps import STEPS
from scripts.demolib.worlds import LabWorld, LightWorld
from scripts.lablib import Lab, LabError, ground

LAB = "demo"
LAB_PROGRAMS = {"curl": "curl"}
_LIGHT = "three daemons as processes on loopback addresses, with containers in memory"


def main() -> int:
    """Play; return the exit code."""
    arguments = _arguments()
    world = _choose(is_light=arguments.light)
    if world is None:
        return 1
    started_at, results = time.monotonic(), list[Result]()
    try:
        _say("three lab hosts with real Docker engines" if world.has_kernel else f"the light version: {_LIGHT}")
        world.open()
        if world.has_kernel:
            _say("images are stand-ins made from Debian packages, loaded under the public names")
        stage = Stage(world, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
        results += stage.play(STEPS)
    except LabError as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say("interrupted")
    finally:
        if arguments.keep:
            print(f"\nkept; to look around:\n{world.entrance()}")
        else:
            world.close()
    print(render_summary(results), f"in {time.monotonic() - started_at:.0f} s", flush=True)
    is_whole = len(results) == len(STEPS)
    return 0 if is_whole and not any(result.failure for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Plays the first day with Corral: commands as typed, their real output."
    )
    parser.add_argument("--light", action="store_true", help=f"no hosts: {_LIGHT}")
    parser.add_argument("--keep", action="store_true", help="leave the hosts up, and print how to enter them")
    return parser.parse_args()


def _choose(*, is_light: bool) -> LabWorld | LightWorld | None:
    """Return the fullest world that this machine can make, saying what is missing for a fuller one."""
    with suppress(LabError):
        ground.install(LAB_PROGRAMS, _say)
    if shutil.which("curl") is None:
        _say("missing: curl; install it (apt-get install curl)")
        return None
    if is_light:
        return LightWorld()
    missing = [line for fine, line in ground.findings() if not fine]
    if not missing:
        return LabWorld(Lab(LAB, say=_say))
    _say("this machine cannot make hosts:")
    for line in missing:
        _say(f"  missing: {line}")
    return LightWorld()


def _say(line: str) -> None:
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
