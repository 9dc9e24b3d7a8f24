"""Clients of a cluster that is being broken: they ask through random nodes, never try again, and write down everything.

Each change has a value of its own, so that whoever sees it knows where it came from.
"""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from random import Random

from scripts.chaoslib.asking import Answer, Nodes, NotSentError, ask
from scripts.chaoslib.models import FIRST_SCALE, FIRST_TEXT, tags
from tests.sim.history import Call, History

STACKS = "/v1/projects/1a5/environments"
SERVICES = "/v1/projects/1a5/services"
TIMEOUTS = (0.5, 2.0, 6.0, 15.0)
AVOID = 1.0
"""Seconds for which a client leaves a node alone on which nobody listened."""
HOME = "chaos-services"
TEXTS, SCALES, POOL = 5, 2, 6
MAX_SCALE = 4
MAX_LEDGER = 400
"""Stacks that are made and never removed."""

LINEARIZABLE = "linearizable"
LINEARIZABLE_SHARE = 0.75
"""Of reads; the others are answered from the node's own copy."""


@dataclass(slots=True, eq=False)
class Ground:
    """What all clients work on: ids of what they know of, and the one history."""

    nodes: Nodes
    history: History
    read: str | None
    """The header of most reads: "linearizable", or None if all are of a node's own copy."""

    texts: dict[str, str] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Id and tag of the stacks last seen under a name."""

    ledger: list[str] = field(default_factory=list)

    def lay(self, host: str, image: str) -> None:
        """Make the stacks and services whose texts and scales are going to be changed."""
        for number in range(TEXTS):
            name = f"text-{number}"
            self.texts[name] = self._made(host, STACKS, {"name": name, "description": FIRST_TEXT})
        home = self._made(host, STACKS, {"name": HOME})
        for number in range(SCALES):
            name = f"service-{number}"
            body = {"name": name, "environmentId": home, "scale": FIRST_SCALE, "startOnCreate": True}
            body["launchConfig"] = {"imageUuid": f"docker:{image}"}
            self.scales[name] = self._made(host, SERVICES, body)

    def _made(self, host: str, path: str, body: object) -> str:
        answer = ask(self.nodes.connect(host, 30), "POST", path, body)
        if answer.status != 201:
            raise ConnectionError(f"{host} does not make {body}: {answer.status} {answer.body}")
        return str(answer.body["id"])

    def keys_used(self) -> list[str]:
        """Return every key that anything was done to."""
        return sorted({each.key for each in self.history.operations()})


class Client:
    """One thread that does one thing after the other."""

    def __init__(self, ground: Ground, name: str, rng: Random, *, pause: float) -> None:
        self.ground = ground
        self.name = name
        self._rng = rng
        self._pause = pause
        self._number = 0
        self._silent_until: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failure: BaseException | None = None
        """What ended the thread before its time: a mistake of ours."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Have it end after what it is doing."""
        self._stop.set()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(max(TIMEOUTS) + 30)

    def _run(self) -> None:
        acts: list[Callable[[], None]] = [
            *[self._write_text] * 4,
            *[self._read_text] * 5,
            *[self._create] * 3,
            *[self._delete] * 2,
            *[self._list] * 3,
            self._add_to_ledger,
            self._read_scale,
            *([self._scale] if self.name == "c1" else []),
        ]
        try:
            while not self._stop.is_set():
                self._rng.choice(acts)()
                self._stop.wait(self._rng.random() * 2 * self._pause)
        except BaseException as error:
            self.failure = error
            raise

    # What it does

    def _write_text(self) -> None:
        name, value = self._rng.choice(list(self.ground.texts)), self._value()
        path = f"{STACKS}/{self.ground.texts[name]}"
        self._change(f"text:{name}", "write", value, "PUT", path, {"description": value})

    def _scale(self) -> None:
        name, value = self._rng.choice(list(self.ground.scales)), self._rng.randint(0, MAX_SCALE)
        self._change(f"scale:{name}", "write", value, "PUT", f"{SERVICES}/{self.ground.scales[name]}", {"scale": value})

    def _create(self) -> None:
        name, tag = self._pooled(), self._value()
        answer = self._change(f"name:{name}", "create", tag, "POST", STACKS, {"name": name, "description": tag})
        if answer is not None and answer.status == 201:
            self.ground.seen[name] = [(str(answer.body["id"]), tag)]

    def _add_to_ledger(self) -> None:
        if len(self.ground.ledger) < MAX_LEDGER:
            name = tag = f"kept-{self._value()}"
            self.ground.ledger.append(name)
            self._change(f"name:{name}", "create", tag, "POST", STACKS, {"name": name, "description": tag})

    def _delete(self) -> None:
        name = self._pooled()
        if seen := self.ground.seen.get(name):
            stack, tag = self._rng.choice(seen)
            self._change(f"name:{name}", "delete", tag, "DELETE", f"{STACKS}/{stack}", None)

    def _list(self) -> None:
        name = self._pooled()
        answer = self._look(f"name:{name}", "list", f"{STACKS}?name={name}&limit=-1", lambda said: tags(said.rows))
        if answer is not None:
            self.ground.seen[name] = [(str(row["id"]), str(row["description"])) for row in answer.rows]

    def _read_text(self) -> None:
        name = self._rng.choice(list(self.ground.texts))
        path = f"{STACKS}/{self.ground.texts[name]}"
        self._look(f"text:{name}", "read", path, lambda said: str(said.body["description"]))

    def _read_scale(self) -> None:
        name = self._rng.choice(list(self.ground.scales))
        self._look(
            f"scale:{name}", "read", f"{SERVICES}/{self.ground.scales[name]}", lambda said: int(said.body["scale"])
        )

    def _pooled(self) -> str:
        return f"pool-{self._rng.randrange(POOL)}"

    def _value(self) -> str:
        self._number += 1
        return f"{self.name}-{self._number}"

    # How it asks

    def _choose_host(self) -> str:
        # Where nobody listens the answer comes at once: without this most questions would be asked of nobody.
        now = time.monotonic()
        hosts = [host for host in self.ground.nodes.hosts if self._silent_until.get(host, 0.0) < now]
        return self._rng.choice(hosts or self.ground.nodes.hosts)

    def _change(self, key: str, kind: str, value: Hashable, method: str, path: str, body: object) -> Answer | None:
        call, answer = self._ask(key, kind, value, method, path, body, None)
        if answer is None:
            return None
        note = f"{answer.status} {answer.code}".strip()
        if answer.status < 300:
            call.ok(True if kind in ("create", "delete") else None, now=time.monotonic(), note=note)
        elif kind == "create" and answer.code == "NotUnique":
            call.ok(False, now=time.monotonic(), note=note)
        elif answer.status < 500:
            # Refused for what the node's own copy says, which may be behind: it did not happen, no more is known.
            call.fail(now=time.monotonic(), note=note)
        else:
            call.unknown(note=f"{note}: {answer.body.get('detail') if isinstance(answer.body, dict) else ''}")
        return answer

    def _look(self, key: str, kind: str, path: str, result: Callable[[Answer], Hashable]) -> Answer | None:
        read = self.ground.read if self._rng.random() < LINEARIZABLE_SHARE else None
        kind = kind if read is not None else "local"
        call, answer = self._ask(key, kind, None, "GET", path, None, read)
        if answer is None:
            return None
        if answer.status != 200:
            call.fail(now=time.monotonic(), note=f"{answer.status} {answer.code}")
            return None
        call.ok(result(answer), now=time.monotonic())
        return answer

    def _ask(
        self, key: str, kind: str, value: Hashable, method: str, path: str, body: object, read: str | None
    ) -> tuple[Call, Answer | None]:
        host = self._choose_host()
        timeout = self._rng.choice(TIMEOUTS)
        client = f"{self.name}@{self.ground.nodes.session(host)}"
        call = self.ground.history.begin(client, key, kind, value, now=time.monotonic())
        try:
            return call, ask(self.ground.nodes.connect(host, timeout), method, path, body, read)
        except NotSentError:
            call.fail(now=time.monotonic(), note="not sent")
            self._silent_until[host] = time.monotonic() + AVOID
            self._stop.wait(0.1)
        except OSError as error:
            call.unknown(note=f"after {timeout:g} s: {error}" if isinstance(error, TimeoutError) else repr(error))
        return call, None
