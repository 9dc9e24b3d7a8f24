"""What benchmarks of a real cluster share: three lab hosts under one name, their engines asked, times read.

Needs root, as the lab does.  Everything is taken down at the end, also after an interruption.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import docker

from scripts.demolib.cluster import Cluster, check_program, eventually
from scripts.lablib import Lab, LabError

HOSTS = ("h1", "h2", "h3")
IMAGE = "busybox:latest"
WAIT = "pause"
"""A program of the stand-in images that waits, and ends at once when told to."""
STACK = "bench"


@contextmanager
def lab_hosts() -> Iterator[Lab]:
    """Bring up three hosts with engines and images, and leave nothing of them behind."""
    lab = Lab("bench", say=show)
    try:
        lab.down()
        started_at = time.monotonic()
        lab.up(len(HOSTS))
        check_program(lab, HOSTS[0])
        show(f"three hosts with engines after {time.monotonic() - started_at:.1f} s")
        yield lab
    except LabError as error:
        sys.exit(f"the lab: {error}")
    finally:
        lab.down()


@contextmanager
def joined_hosts() -> Iterator[Cluster]:
    """Make a cluster of the three hosts, all of them active and voting."""
    with lab_hosts() as lab:
        cluster = Cluster(lab)
        token = token_of(cluster.start(HOSTS[0]))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: cluster.join(host, HOSTS[0], token), HOSTS[1:]))
        eventually(lambda: len(cluster.cluster(HOSTS[0])["voters"]) == len(HOSTS), "all three vote")
        yield cluster


def token_of(welcome: str) -> str:
    """Return the join token that `node start` printed."""
    return next(word for word in welcome.split() if word.startswith("corral1_"))


def engine_of(lab: Lab, host: str) -> docker.APIClient:
    """Return a client of a host's engine, good until the host loses power."""
    return docker.APIClient(base_url=f"unix://{lab.docker_socket(host)}", version="auto")


def running(engine: docker.APIClient) -> list[dict[str, Any]]:
    """Return an engine's running containers."""
    return list(engine.containers())


def seconds_of(text: str) -> float:
    """Return a time that Docker tells, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def show(line: str) -> None:
    """Print one line of the table at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
