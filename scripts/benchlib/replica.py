"""One replica as a process: consensus on a real disk, the peer link over TLS, all that a daemon imports, no planners.

Says on its output, one JSON object a line, when it is up, what it has applied, when snapshots were made, and on SIGTERM
how long its slowest step of the loop was and how much memory it takes.  Run with the arguments of `Place`.
"""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

import node.assembly  # noqa: F401  Its memory counts.
from node.drive.consensus import Consensus
from node.drive.credentials import Credentials
from node.drive.link import Link
from node.store.log import LogStore
from node.store.threaded import ThreadedStore
from protocol.ids import Index, NodeId
from protocol.messages import Kind
from protocol.raft.messages import make_config
from protocol.raft.vocabulary import Snapshot

ADDRESS = "127.0.0.1"


class Place(msgspec.Struct):
    """Where a replica is and whom it knows."""

    me: NodeId
    folder: str
    port: int
    ca_pem: str
    peers: dict[NodeId, int]
    learners: list[NodeId]
    """Taken into the group when SIGUSR1 comes."""


class Steps(trio.abc.Instrument):
    """The longest that a task has kept the loop."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.by = ""
        self._begun = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._begun = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.perf_counter() - self._begun
        if took > self.longest:
            self.longest, self.by = took, task.name


class TimedStore(ThreadedStore):
    """Says when a snapshot was saved."""

    ended = 0.0

    async def save_snapshot(self, snapshot: Snapshot) -> None:
        await super().save_snapshot(snapshot)
        self.ended = time.perf_counter()


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def timed_offload(function: Callable[..., Any], *args: Any) -> Any:
    start = time.perf_counter()
    result = await trio.to_thread.run_sync(function, *args)
    say(did=function.__name__, start=start, end=time.perf_counter())
    return result


async def serve(place: Place, steps: Steps) -> None:
    folder = Path(place.folder)
    folder.mkdir(parents=True, exist_ok=True)
    link = Link(Credentials(key_and_certificate=folder / "node.pem", ca_pem=place.ca_pem))
    store = TimedStore(LogStore(folder / "state.db"))
    consensus = Consensus(
        place.me,
        store,
        link,
        members=dict,
        now_ms=lambda: int(time.time() * 1000),
        rng=Random(place.me),
        offload=timed_offload,
    )
    link.connect(
        resolve=lambda peer: (ADDRESS, place.peers[peer]) if peer in place.peers else None,
        may_speak=consensus.may_speak,
        is_host=consensus.is_host,
        on_message=consensus.deliver,
        on_lost=consensus.peer_lost,
        handlers={Kind.SUBMIT: consensus.answer_submit},
        takers={Kind.EXECUTE: consensus.execute},
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run, await trio.open_tcp_listeners(place.port, host=ADDRESS))
        await nursery.start(consensus.run)
        nursery.start_soon(_report, consensus, store)
        say(up=time.perf_counter())
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGUSR1) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    break
                consensus.propose_config(make_config([place.me], place.learners))
                say(asked=time.perf_counter())
        nursery.cancel_scope.cancel()
    lines = Path("/proc/self/status").read_text().splitlines()
    resident, peak = (next(int(x.split()[1]) for x in lines if x.startswith(f)) for f in ("VmRSS", "VmHWM"))
    say(slowest_ms=steps.longest * 1000, by=steps.by, resident_mb=resident / 1024, peak_mb=peak / 1024)


async def _report(consensus: Consensus, store: TimedStore) -> None:
    said, ended = Index(0), 0.0
    while True:
        applied = consensus.consensus.applied_index
        if said == 0 and consensus.has_state:
            said = applied
            say(state=time.perf_counter(), applied=applied, leads=consensus.is_leader)
        if store.ended > ended:
            ended = store.ended
            say(saved=ended)
        await trio.sleep(0.005)


def main() -> None:
    """Serve until SIGTERM."""
    place = msgspec.json.decode(sys.argv[1].encode(), type=Place)
    steps = Steps()
    trio.run(serve, place, steps, instruments=[steps])


if __name__ == "__main__":
    main()
