"""A container that pings and looks up a name all the time, and what it lived through meanwhile."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from scripts.demolib.cluster import Cluster, eventually

_LOOP = """
rm -f /tmp/stop
while [ ! -e /tmp/stop ]; do
  if lookup "$1" 4 >/dev/null 2>&1; then echo named; else echo unnamed; fi
  if ping -c 1 -W 3 -q "$1" >/dev/null 2>&1; then echo reached; else echo lost; fi
  sleep 0.1
done
"""


@dataclass(slots=True)
class Seen:
    """What a watching container saw, once it has stopped."""

    words: list[str] = field(default_factory=list)

    @property
    def failures(self) -> list[str]:
        return [word for word in self.words if word not in ("named", "reached")]


@contextmanager
def watching(cluster: Cluster, host: str, container: str, asked: str) -> Iterator[Seen]:
    """Have a container of image corral-test/glibc watch a name while the block runs."""
    seen = Seen()
    log = cluster.lab.log_path(host, f"watch-{container}")
    log.unlink(missing_ok=True)
    # Not through nsenter's TERM alone: ending the client leaves the loop in the container running.
    loop = cluster.lab.spawn(host, ["docker", "exec", f"r-{container}", "sh", "-c", _LOOP, "sh", asked], log)
    try:
        eventually(lambda: len(loop.output().split()) > 4, f"{container} watches {asked}")
        yield seen
        marked = len(loop.output().split())
        eventually(lambda: len(loop.output().split()) > marked + 4, f"{container} still watches {asked}")
    finally:
        cluster.inside(host, container, "touch", "/tmp/stop", check=False)
        with suppress(subprocess.TimeoutExpired):
            loop.wait(20)
        loop.kill()
        seen.words += loop.output().split()
