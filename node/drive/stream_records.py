"""What is said on a stream between two hosts: what is to be read or run, and the pieces that go either way.

Bounded before anything is built from it.  A stream begins with one Opening; the side that runs it ends with Ended.
"""

import msgspec

from node.ports import LogLine
from protocol.errors import DecodeError

MAX_OPENING_BYTES = 256 * 1024
MAX_PIECE_BYTES = 256 * 1024
PART_BYTES = 32 * 1024
"""How much of a log or of output goes into one piece, if no line alone is longer."""
MAX_COMMAND = 1024
MAX_CONTAINERS = 10_000


class _Record(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Base of all records."""


class ReadLog(_Record, frozen=True, tag="logs"):
    """Read the log of a container, by the number of its row."""

    container: int
    follow: bool
    lines: int | None = None
    since: float | None = None


class RunCommand(_Record, frozen=True, tag="exec"):
    """Run a command in a container."""

    container: int
    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    output: bool = True


class ReadFigures(_Record, frozen=True, tag="stats"):
    """Read once a second what containers use, and what the host itself does."""

    containers: tuple[int, ...]
    host: bool = False


Opening = ReadLog | RunCommand | ReadFigures


class Lines(_Record, frozen=True, tag=1):
    """Lines of a log."""

    lines: tuple[LogLine, ...]


class Output(_Record, frozen=True, tag=2):
    """What a command wrote, and where to (node.ports.BOTH, OUT, ERR)."""

    kind: int
    data: bytes


class Input(_Record, frozen=True, tag=3):
    """What a command is to read."""

    data: bytes


class InputEnd(_Record, frozen=True, tag=4):
    """Nothing more comes for a command to read."""


class Resize(_Record, frozen=True, tag=5):
    """The size of a command's terminal."""

    columns: int
    rows: int


class Figures(_Record, frozen=True, tag=6):
    """One row of figures, as a JSON object, of a container or a host by the number of its row."""

    kind: str
    id: int
    row: bytes


class Ended(_Record, frozen=True, tag=7):
    """The end: of a command with its exit code if that is known; with what went wrong if something did."""

    exit_code: int | None = None
    error: str = ""


class Credit(_Record, frozen=True, tag=8):
    """So many more pieces may come."""

    pieces: int


Piece = Lines | Output | Input | InputEnd | Resize | Figures | Ended
_Said = Piece | Credit

_encoder = msgspec.msgpack.Encoder()
_openings = msgspec.msgpack.Decoder(Opening)
_pieces = msgspec.msgpack.Decoder(_Said)


def encode_stream(record: Opening | _Said) -> bytes:
    """Return the record's bytes."""
    return _encoder.encode(record)


def decode_opening(data: bytes) -> Opening:
    """Read what a stream begins with, or raise DecodeError."""
    if len(data) > MAX_OPENING_BYTES:
        raise DecodeError(f"a stream begins with at most {MAX_OPENING_BYTES} bytes, not {len(data)}")
    try:
        opening: Opening = _openings.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not the beginning of a stream: {error}") from None
    match opening:
        case RunCommand(command=command) if not 0 < len(command) <= MAX_COMMAND:
            raise DecodeError(f"a command has 1 to {MAX_COMMAND} words, not {len(command)}")
        case ReadLog(lines=int(lines)) if lines < 0:
            raise DecodeError("lines of a log are counted from 0")
        case ReadFigures(containers=containers) if len(containers) > MAX_CONTAINERS:
            raise DecodeError(f"figures of at most {MAX_CONTAINERS} containers at a time")
    return opening


def decode_piece(data: bytes) -> _Said:
    """Read one piece, or raise DecodeError."""
    if len(data) > MAX_PIECE_BYTES:
        raise DecodeError(f"a piece of a stream has at most {MAX_PIECE_BYTES} bytes, not {len(data)}")
    try:
        said: _Said = _pieces.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a piece of a stream: {error}") from None
    return said


def split_lines(batch: tuple[LogLine, ...]) -> list[Lines]:
    """Return lines in parts of bounded size."""
    parts: list[Lines] = []
    part: list[LogLine] = []
    size = 0
    for line in batch:
        if part and size + len(line.line) > PART_BYTES:
            parts.append(Lines(tuple(part)))
            part, size = [], 0
        part.append(line)
        size += len(line.line) + len(line.at) + 8
    if part:
        parts.append(Lines(tuple(part)))
    return parts
