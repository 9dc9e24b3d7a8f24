"""A client that makes stacks all the time and notes which were acknowledged, so that a lost one is found out."""

import threading
import time
from collections.abc import Callable, Sequence

from scripts.demolib.api import Answer
from scripts.demolib.cluster import eventually

STACKS = "/v1/projects/1a5/environments"
PAUSE = 0.03

Ask = Callable[[str, str, str, object], Answer]
"""Host, method, path, body."""


class Writer:
    """Writes through some hosts in turn while its block runs."""

    def __init__(self, ask: Ask, hosts: Sequence[str], prefix: str) -> None:
        self.prefix = prefix
        self.acknowledged: list[str] = []
        self._ask = ask
        self._hosts = tuple(hosts)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> "Writer":
        self._thread.start()
        self.wait_more()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def wait_more(self) -> float:
        """Wait until writes begun from now on are acknowledged; return the seconds that took."""
        so_far, started_at = len(self.acknowledged), time.monotonic()
        # The first of them may have been under way already.
        eventually(lambda: len(self.acknowledged) > so_far + 1, "writes are acknowledged", step=0.01)
        return time.monotonic() - started_at

    def missing(self, host: str) -> set[str]:
        """Return what was acknowledged and is not known to a host."""
        rows = self._ask(host, "GET", f"{STACKS}?limit=1000", None).body["data"]
        return set(self.acknowledged) - {row["name"] for row in rows}

    def clean(self, host: str) -> None:
        """Remove all that was made."""
        for row in self._ask(host, "GET", f"{STACKS}?limit=1000", None).body["data"]:
            if row["name"].startswith(f"{self.prefix}-"):
                self._ask(host, "DELETE", f"{STACKS}/{row['id']}", None)

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"{self.prefix}-{number}"
            try:
                answer = self._ask(self._hosts[number % len(self._hosts)], "POST", STACKS, {"name": name})
            except OSError:
                continue
            if answer.status == 201:
                self.acknowledged.append(name)
            time.sleep(PAUSE)
