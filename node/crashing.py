"""Crash points: named sites where a test can have the daemon die as by SIGKILL, in the middle of what it does.

`CORRAL_CRASH_AT=store.before-send:3` ends the process the third time it comes by that site.  Unset, a site costs one
comparison.
"""

import os
import signal

VARIABLE = "CORRAL_CRASH_AT"

SITES = {
    "store.before-write": "an output's write is about to begin",
    "store.before-flush": "its rows are written, the transaction is not committed",
    "store.after-flush": "it is durable, nobody was told",
    "consensus.before-send": "it is durable, its messages are not sent",
    "consensus.after-send": "they are sent, what is committed is not applied",
    "consensus.mid-apply": "one entry of several is applied",
    "consensus.mid-install": "a leader's snapshot is durable, the state is still the old one",
    "snapshot.begun": "a snapshot is to be saved, nothing of it is written",
    "snapshot.mid-save": "some of its chunks are written",
    "snapshot.before-switch": "all of its chunks are written, the old snapshot still counts",
    "snapshot.after-switch": "the new snapshot counts, the old one's chunks are still there",
}
"""Every site, and what is and is not done there."""


def parse(text: str) -> tuple[str, int]:
    """Read `SITE:COUNT` or `SITE`; ValueError for a site that is none."""
    site, _, count = text.partition(":")
    if site not in SITES:
        raise ValueError(f"{VARIABLE}: there is no site {site!r}; there are {', '.join(sorted(SITES))}")
    return site, int(count or "1")


_armed = parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_at(site: str) -> None:
    """Come by a site."""
    if _armed is not None:
        _count(site)


def _count(site: str) -> None:
    global _armed
    if _armed is None or _armed[0] != site:
        return
    _armed = (site, _armed[1] - 1)
    if _armed[1] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
