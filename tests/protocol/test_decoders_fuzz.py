"""Whatever bytes come, each decoder returns or raises what it says, soon; and no decoder is left out.

Half of the inputs are valid ones with a few bytes changed, cut, doubled or put elsewhere: those get past the first
checks.  `CORRAL_FUZZ` makes it longer: a number of examples per decoder.
"""

import ast
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.protocol.decoders import HOSTILE, Decoder, make_decoders

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = int(os.environ.get("CORRAL_FUZZ", "150"))
SLOW = 5.0
"""Processor seconds that no input may cost."""
LIES = (b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xff" * 4, b"\x00" * 4, b"\x91" * 2000)
"""Lengths and nesting that are not there."""
DECODERS = make_decoders()


def decode(decoder: Decoder, data: bytes) -> None:
    began = time.process_time()
    try:
        decoder.decode(data)
    except decoder.errors:
        pass
    assert time.process_time() - began < SLOW


@st.composite
def changed(draw: st.DrawFn, samples: tuple[bytes, ...]) -> bytes:
    """Return a valid input with a few changes."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 8)))
        match draw(st.sampled_from(("flip", "cut", "drop", "put", "double", "length"))):
            case "flip" if at < len(data):
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at:]
            case "drop":
                del data[at:end]
            case "put":
                data[at:at] = draw(st.binary(max_size=8))
            case "double":
                data[at:at] = data[at:end] * draw(st.integers(1, 50))
            case _:
                data[at:end] = draw(
                    st.sampled_from((b"\xdd\xff\xff\xff\xff", b"\xff" * 4, b"\x00" * 4, b"\x91" * 2000))
                )
    return bytes(data)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda each: each.name)
def test_valid_input_is_read(decoder: Decoder) -> None:
    for sample in decoder.samples:
        decoder.decode(sample)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda each: each.name)
def test_hostile_input_is_refused_in_our_words(decoder: Decoder) -> None:
    for data in HOSTILE:
        decode(decoder, data)
        for sample in decoder.samples:
            decode(decoder, sample + data)
            decode(decoder, sample[:1] + data)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda each: each.name)
def test_any_input_is_read_or_refused_in_our_words(decoder: Decoder) -> None:
    inputs = st.one_of(changed(decoder.samples), st.binary(max_size=400))

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(data=inputs)
    def check(data: bytes) -> None:
        decode(decoder, data)

    check()


READERS = ("decode", "parse", "open_", "read_", "load_", "node_id_of", "certificate_from", "key_from", "csr_public")
PLACES = ("protocol", "dns/wire.py", "dns/messages.py", "dns/keep.py", "node/commands.py", "node/state/codec.py")


def test_no_decoder_is_left_out() -> None:
    known = {decoder.name.rpartition(".")[2] for decoder in DECODERS}
    found = set[str]()
    for place in PLACES:
        path = ROOT / place
        for file in [path] if path.is_file() else path.rglob("*.py"):
            functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
            found |= {node.name for node in functions if node.name.startswith(READERS)}
    assert found - known == set()
