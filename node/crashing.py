"""Crash points: named sites where a test can have the daemon die as by SIGKILL, in the middle of what it does.

`CORRAL_CRASH_AT=store.after-flush:3` ends the process the third time it comes by that site; `CORRAL_CRASH_AT=@FILE`
once FILE is there, at the site that is written in it.  Unset, a site costs one comparison.
`CORRAL_SNAPSHOT_EVERY=40` makes snapshots that often, since many sites lie in one.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CORRAL_CRASH_AT"
SNAPSHOT_VARIABLE = "CORRAL_SNAPSHOT_EVERY"

SITES = {
    "store.before-write": "an output's write is about to begin",
    "store.before-flush": "its rows are written, the transaction is not committed",
    "store.after-flush": "it is durable, nobody was told",
    "consensus.sent-early": "a leader's new entries are sent, nothing of them is on its own disk",
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


@dataclass(slots=True)
class Trap:
    """Waits for a site to be passed for the last time."""

    site: str = ""
    left: int = 0
    path: Path | None = None
    """Where the site will be written; until then none is waited for."""

    @classmethod
    def parse(cls, text: str) -> "Trap":
        """Read `SITE`, `SITE:COUNT` or `@FILE`; ValueError for a site that is none."""
        if text.startswith("@"):
            return cls(path=Path(text[1:]))
        site, _, count = text.strip().partition(":")
        if site not in SITES:
            raise ValueError(f"{VARIABLE}: there is no site {site!r}; there are {', '.join(sorted(SITES))}")
        return cls(site, int(count or "1"))

    def is_sprung_by(self, site: str) -> bool:
        """Whether passing this site now is the end."""
        if self.path is not None and self.path.exists():
            found = self.parse(self.path.read_text())
            self.site, self.left, self.path = found.site, found.left, None
        if site == self.site:
            self.left -= 1
        return site == self.site and self.left <= 0


_trap = Trap.parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def crash_at(site: str) -> None:
    """Pass a site."""
    if _trap is not None and _trap.is_sprung_by(site):
        os.kill(os.getpid(), signal.SIGKILL)


def entries_per_snapshot(usual: int) -> int:
    """Return after how many entries a snapshot is due."""
    return int(os.environ.get(SNAPSHOT_VARIABLE) or usual)
