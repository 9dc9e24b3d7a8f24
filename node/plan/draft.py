"""A plan in the making: the state it reads, what it has already given away, and the commands it has decided on."""

from random import Random

from node.commands import Placement, SingleCommand
from node.model import Container, State
from node.state import Taken

MAX_COMMANDS = 128
"""A plan's length; the rest comes with the next one."""


class Draft:
    """What the planners of one round share, so that none gives away what another gave."""

    def __init__(self, state: State, now: int, rng: Random, taken: Taken | None = None) -> None:
        """`taken` must be that of `state`; what is reserved is in it until `close`."""
        self.state = state
        self.now = now
        self.rng = rng
        self.commands: list[SingleCommand] = []
        self.taken = taken or Taken(state.containers.values())
        self._next_id = state.next_ids.get("containers", 1)
        self._reserved: list[tuple[Container | None, Container]] = []

    @property
    def is_full(self) -> bool:
        return len(self.commands) >= MAX_COMMANDS

    def emit(self, command: SingleCommand) -> None:
        self.commands.append(command)

    def new_uuid(self) -> str:
        """Draw a version 4 UUID from the rng given."""
        bits = self.rng.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62) | (4 << 76) | (2 << 62)
        text = f"{bits:032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def reserve(self, like: Container, placement: Placement) -> None:
        """Count a container that this plan makes, or the row that it places, as if it were there."""
        self._next_id += 1
        old = self.state.containers.get(like.id)
        new = _placed(like, placement, self._next_id if old is None else old.id)
        if old is not None:
            self.taken.discard(old)
        self.taken.add(new)
        self._reserved.append((old, new))

    def close(self) -> None:
        """Take back what was reserved: whether it comes about is not decided here."""
        for old, new in reversed(self._reserved):
            self.taken.discard(new)
            if old is not None:
                self.taken.add(old)
        self._reserved.clear()


def _placed(like: Container, placement: Placement, container_id: int) -> Container:
    return Container(
        id=container_id,
        uuid=like.uuid,
        created=like.created,
        environment_id=like.environment_id,
        name=like.name,
        launch=like.launch,
        service_id=like.service_id,
        number=like.number,
        host_id=placement.host_id,
        address=placement.address,
        ports=placement.ports,
    )
