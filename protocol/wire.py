"""The outer envelope of everything nodes send each other: frames on the peer link, and datagrams.

An envelope is the msgpack array [version, kind, number, payload bytes]; on a stream it follows its length as four
big-endian bytes. Decodes under bounds before anything typed is built, so that no peer can make a node hold more
than one frame per link. What the payload means is the business of whoever owns the kind. Never does I/O.
"""

from dataclasses import dataclass
from typing import Final

import msgpack

from protocol.errors import DecodeError

WIRE_VERSION: Final = 1
MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""Longest envelope on a stream, its four length bytes not counted; a longer one is refused by its length alone."""
MAX_KIND: Final = 255
MAX_NUMBER: Final = 2**64 - 1
LENGTH_BYTES: Final = 4
ENVELOPE_BYTES: Final = 19
"""The most that an envelope adds to its payload."""
MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - ENVELOPE_BYTES


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of some kind; `number` pairs a reply with its request where the kind has replies."""

    kind: int
    number: int
    payload: bytes


def encode_envelope(frame: Frame) -> bytes:
    """Return the envelope alone, as datagrams carry it; raises ValueError for what no peer would accept."""
    if not 0 <= frame.kind <= MAX_KIND:
        raise ValueError(f"expected a kind of 0 to {MAX_KIND}, got {frame.kind}")
    if not 0 <= frame.number <= MAX_NUMBER:
        raise ValueError(f"expected a number of 0 to 2**64 - 1, got {frame.number}")
    if len(frame.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"expected a payload of at most {MAX_PAYLOAD_BYTES} bytes, got {len(frame.payload)}")
    return msgpack.packb([WIRE_VERSION, frame.kind, frame.number, frame.payload], use_bin_type=True)


def encode_frame(frame: Frame) -> bytes:
    """Return `frame` as it goes onto a stream: length, then envelope."""
    body = encode_envelope(frame)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_envelope(data: bytes) -> Frame:
    """Return the one envelope that `data` is, or raise DecodeError."""
    try:
        parts: object = msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            strict_map_key=True,
            max_array_len=4,
            max_map_len=0,
            max_str_len=0,
            max_ext_len=0,
            max_bin_len=MAX_PAYLOAD_BYTES,
        )
    except Exception as error:
        # msgpack answers hostile bytes with half a dozen unrelated exception types, some of them undocumented.
        raise DecodeError(
            f"expected one msgpack envelope, got {len(data)} bytes that are none: {error!r:.120}"
        ) from None
    match parts:
        case (int(version), int(kind), int(number), bytes(payload)):
            return _check_envelope(version, kind, number, payload)
        case _:
            raise DecodeError("expected an envelope [version, kind, number, payload], got another msgpack value")


def _check_envelope(version: int, kind: int, number: int, payload: bytes) -> Frame:
    if isinstance(version, bool) or version != WIRE_VERSION:
        raise DecodeError(
            f"expected wire version {WIRE_VERSION}, got {version}; is that host's release too far from ours?"
        )
    if isinstance(kind, bool) or not 0 <= kind <= MAX_KIND:
        raise DecodeError(f"expected a kind of 0 to {MAX_KIND}, got {kind}")
    if isinstance(number, bool) or not 0 <= number <= MAX_NUMBER:
        raise DecodeError(f"expected a number of 0 to 2**64 - 1, got {number}")
    return Frame(kind, number, payload)


class FrameReader:
    """Cuts a stream into frames; holds at most one unfinished frame between calls.

    After a DecodeError the stream has lost its place: every later `feed` raises again, and the link is to be closed.
    """

    __slots__ = ("_broken", "_buffer", "_limit")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        """`max_frame_bytes` only lowers the limit: a link whose peer is a stranger takes small frames."""
        self._buffer = bytearray()
        self._broken = False
        self._limit = min(max_frame_bytes, MAX_FRAME_BYTES)

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished frame is held; not 0 at the end of the stream means it was cut short."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, in order."""
        if self._broken:
            raise DecodeError("this stream lost its place at an earlier frame; close the link")
        try:
            return self._cut(data)
        except DecodeError:
            self._broken = True
            self._buffer = bytearray()
            raise

    def _cut(self, data: bytes) -> list[Frame]:
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
            if not 0 < length <= self._limit:
                raise DecodeError(f"expected a frame of 1 to {self._limit} bytes, its length says {length}")
            end = start + LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            frames.append(decode_envelope(bytes(self._buffer[start + LENGTH_BYTES : end])))
            start = end
        del self._buffer[:start]
        return frames
