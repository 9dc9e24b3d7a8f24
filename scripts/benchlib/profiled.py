"""A daemon under cProfile: begun by the interpreter itself, written when the daemon ends, printed by function.

The profiler roughly doubles the cost of small Python functions, so its times are shares, not durations.
"""

import io
import os
import pstats
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FUNCTIONS = 45

_SITE = """
import sys
if "node.daemon" in sys.orig_argv:
    import atexit, cProfile
    profile = cProfile.Profile()
    def write():
        profile.disable()
        profile.dump_stats({target!r})
    atexit.register(write)
    profile.enable()
"""


def target_of(folder: Path) -> Path:
    """Return where the profile is written."""
    return folder / "daemon.profile"


@contextmanager
def profiling(folder: Path) -> Iterator[None]:
    """Have each daemon that is started meanwhile profiled; start only one."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_SITE.format(target=str(target_of(folder))))
    os.environ["PYTHONPATH"] = str(site)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]


def read_profile(folder: Path) -> str:
    """Return the costliest functions by their own time, then ours with all that they call."""
    text = io.StringIO()
    stats = pstats.Stats(str(target_of(folder)), stream=text)
    stats.sort_stats("tottime").print_stats(FUNCTIONS)
    stats.sort_stats("cumtime").print_stats(r"/(node|protocol)/", FUNCTIONS)
    site = f"{sysconfig.get_paths()['purelib']}/"
    here = f"{Path(__file__).resolve().parent.parent.parent}/"
    standard = f"{sysconfig.get_paths()['stdlib']}/"
    return text.getvalue().replace(site, "").replace(standard, "").replace(here, "")
