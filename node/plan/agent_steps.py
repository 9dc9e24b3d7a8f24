"""What an agent may do to its engine, and what it remembers of having tried: both as values.

The driver carries out actions, at most one per `key` at a time, and tells the memory with the `note_` functions;
`plan_host` alone decides.  Times are milliseconds since the epoch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from node.commands import Observation
from node.model import Seen
from node.ports import ContainerSpec, EngineErrorCode

STOP_TIMEOUT = 10.0
"""Seconds a container has to end by itself."""
FIRST_RETRY_MS = 1_000
LAST_RETRY_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One step; `key` is the container's uuid, or its engine id where the uuid is no key."""

    key: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull(Action):
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(Action):
    """Make the container and start it."""

    spec: ContainerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Action):
    external_id: str
    quick_exits: int = 0
    """What the memory is to hold once it has started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(Action):
    external_id: str
    timeout: float = STOP_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Action):
    """Stop and start."""

    external_id: str
    timeout: float = STOP_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove(Action):
    external_id: str


AnyAction = Pull | Create | Start | Stop | Restart | Remove


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was tried for one container."""

    busy: type[Action] | None = None
    """The kind of action under way."""

    failed: type[Action] | None = None
    """The kind of action that failed last; it alone has to wait for `retry_at`."""

    failures: int = 0
    retry_at: int = 0
    error: str | None = None
    missing_image: str | None = None
    """An image that the engine said it does not have."""

    pulled: bool = False
    name_taken: bool = False
    quick_exits: int = 0
    """Starts in a row after which the container ended soon."""


@dataclass(frozen=True, slots=True)
class AgentMemory:
    """Everything an agent knows beyond state and engine; losing it costs patience, nothing else."""

    attempts: Mapping[str, Attempt] = field(default_factory=dict)
    reported: Mapping[int, Seen] = field(default_factory=dict)
    """What was reported last of each container: not said again while it is on its way."""

    def attempt(self, key: str) -> Attempt:
        return self.attempts.get(key, _NEVER)


_NEVER = Attempt()


def backoff_ms(failures: int) -> int:
    """0 without failures, then 1 s, doubled each time up to a minute."""
    return min(LAST_RETRY_MS, FIRST_RETRY_MS << min(failures - 1, 16)) if failures else 0


def note_begun(memory: AgentMemory, action: AnyAction) -> AgentMemory:
    """The action is under way: nothing else is planned for its container until it ends."""
    return _with(memory, action.key, replace(memory.attempt(action.key), busy=type(action)))


def note_done(memory: AgentMemory, action: AnyAction) -> AgentMemory:
    """The action succeeded."""
    before = memory.attempt(action.key)
    after = replace(before, busy=None, failed=None, failures=0, retry_at=0, error=None)
    match action:
        case Pull(image=image):
            pulled = _with(memory, action.key, replace(after, pulled=True))
            return replace(pulled, attempts={key: _has(one, image) for key, one in pulled.attempts.items()})
        case Create():
            return _with(memory, action.key, Attempt())
        case Start(quick_exits=quick_exits):
            after = replace(after, quick_exits=quick_exits)
        case Remove():
            return replace(memory, attempts={key: one for key, one in memory.attempts.items() if key != action.key})
        case Stop() | Restart():
            pass
    return _with(memory, action.key, after)


def note_failed(memory: AgentMemory, action: AnyAction, code: EngineErrorCode, message: str, now: int) -> AgentMemory:
    """The action failed; a missing image or a taken name asks for another action, all else for patience."""
    before = replace(memory.attempt(action.key), busy=None)
    if isinstance(action, Create) and code == "image-missing" and not before.pulled:
        return _with(memory, action.key, replace(before, missing_image=action.spec.image))
    if isinstance(action, Create) and code == "name-taken" and not before.name_taken:
        return _with(memory, action.key, replace(before, name_taken=True))
    failures = before.failures + 1 if before.failed is type(action) else 1
    after = replace(
        before,
        failed=type(action),
        failures=failures,
        retry_at=now + backoff_ms(failures),
        error=message,
        # Whatever was pulled did not help: the next attempt may ask the registry again.
        pulled=False,
    )
    return _with(memory, action.key, after)


def note_reported(memory: AgentMemory, observations: Collection[Observation]) -> AgentMemory:
    """The observations are on their way to the state."""
    return replace(memory, reported={**memory.reported, **{one.container_id: one.seen for one in observations}})


def note_report_lost(memory: AgentMemory) -> AgentMemory:
    """Nobody knows whether the last report arrived: say everything again that the state does not hold."""
    return replace(memory, reported={})


def pruned(memory: AgentMemory, keys: Collection[str], container_ids: Collection[int]) -> AgentMemory:
    """Forget what is neither placed on this host nor known to its engine any more."""
    return AgentMemory(
        attempts={key: one for key, one in memory.attempts.items() if key in keys or one.busy is not None},
        reported={key: seen for key, seen in memory.reported.items() if key in container_ids},
    )


def _has(attempt: Attempt, image: str) -> Attempt:
    if attempt.missing_image != image:
        return attempt
    return replace(attempt, missing_image=None, pulled=True)


def _with(memory: AgentMemory, key: str, attempt: Attempt) -> AgentMemory:
    return replace(memory, attempts={**memory.attempts, key: attempt})
