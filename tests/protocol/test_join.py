"""The join vocabulary: every message survives its bytes, wrong bytes give our error, secrets stay out of logs."""

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from protocol import join
from protocol.errors import DecodeError

KERNEL = join.KernelFeatures(wireguard_kernel=False, wireguard_go=True, vxlan=True, tun=True, nft=True)
FACTS = join.Facts(
    name="h2",
    node_id="0" * 32,
    version="0.1.0",
    feature_level=1,
    clock=1e9,
    docker_api="1.41",
    docker_version="20.10",
    kernel=KERNEL,
    addresses=("10.0.0.2",),
    advertise="10.0.0.2",
    api_port=8080,
    peer_port=8090,
    overlay_port=51820,
    range_in_use=(),
    underlay_mtu=1500,
)
PROOF = join.TokenProof("1a5", "abcdefgh", "very-secret")
INFO = join.JoinInfo(
    cluster_id="c1",
    ca="-----BEGIN CERTIFICATE-----",
    peers=(join.Endpoint("10.0.0.1", 8090),),
    version="0.1.0",
    feature_level=1,
    overlay_mode="wireguard",
    overlay_network="10.42.0.0/16",
    clock=1e9,
)
MESSAGES: list[join.JoinMessage] = [
    join.PreflightRequest(PROOF, FACTS, b"n" * 16),
    join.PreflightReply("h1", (join.Finding("clock", "warn", "6 s", "run chrony"),), 51820),
    join.JoinRequest(PROOF, b"csr", FACTS, b"w" * 32, b"s" * 32, {"zone": "a"}),
    join.JoinReply(
        certificate=b"cert",
        ca=b"ca",
        gossip_keys=(join.GossipKey(b"k" * 32), join.GossipKey(b"o" * 32)),
        cluster_id="c1",
        environment_id="1a5",
        environment_name="Default",
        host_id="1h2",
        members=INFO.peers,
        overlay=join.OverlayConfig("wireguard", "10.42.0.0/16", 51820),
    ),
    join.JoinRefused("token_expired", "it expired", "make a new one"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_message_survives_its_bytes(message: join.JoinMessage) -> None:
    assert join.decode_join(join.encode_join(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_message_shows_no_secret_in_its_representation(message: join.JoinMessage) -> None:
    shown = repr(message)
    assert "very-secret" not in shown
    assert "kkkk" not in shown
    assert "oooo" not in shown


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: type(each).__name__)
def test_message_cut_anywhere_is_refused(message: join.JoinMessage) -> None:
    payload = join.encode_join(message)
    for keep in range(len(payload)):
        with pytest.raises(DecodeError):
            join.decode_join(payload[:keep])


def test_message_with_a_field_we_do_not_know_is_refused() -> None:
    raw = msgspec.msgpack.decode(join.encode_join(MESSAGES[4]))
    with pytest.raises(DecodeError, match="unknown field"):
        join.decode_join(msgspec.msgpack.encode({**raw, "more": 1}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "h2\n"),
        ("name", "-h2"),
        ("name", "a" * 64),
        ("name", "h 2"),
        ("node_id", "F" * 32),
        ("node_id", "0" * 32 + "\n"),
        ("peer_port", 0),
        ("peer_port", 65536),
        ("version", "v" * 129),
        ("addresses", ["a"] * 129),
        ("range_in_use", ["r"] * 33),
        ("clock", -1.0),
        ("clock", "soon"),
        ("feature_level", 2**40),
    ],
)
def test_fact_out_of_bounds_is_refused(field: str, value: object) -> None:
    raw = msgspec.msgpack.decode(join.encode_join(MESSAGES[0]))
    raw["facts"][field] = value
    with pytest.raises(DecodeError, match=field):
        join.decode_join(msgspec.msgpack.encode(raw))


def test_message_beyond_the_bound_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DecodeError, match="at most"):
        join.decode_join(bytes(join.MAX_JOIN_BYTES + 1))
    with pytest.raises(DecodeError, match="at most"):
        join.decode_join_info(bytes(join.MAX_INFO_BYTES + 1))
    with pytest.raises(ValueError, match="at most"):
        join.encode_join(join.JoinRefused("busy", "x" * join.MAX_JOIN_BYTES))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_give_our_error(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        join.decode_join(raw)
    with pytest.raises(DecodeError):
        join.decode_join_info(raw)


@settings(max_examples=100)
@given(st.sampled_from(MESSAGES), st.integers(0, 2**16), st.integers(1, 255))
def test_a_flipped_byte_gives_a_message_or_our_error(message: join.JoinMessage, position: int, flip: int) -> None:
    payload = bytearray(join.encode_join(message))
    payload[position % len(payload)] ^= flip
    try:
        join.decode_join(bytes(payload))
    except DecodeError:
        return


def test_info_survives_its_json() -> None:
    assert join.decode_join_info(join.encode_join_info(INFO)) == INFO


def test_info_of_a_later_release_is_read_though_it_says_more() -> None:
    raw = {**msgspec.json.decode(join.encode_join_info(INFO)), "later": [{"deep": 1}]}
    assert join.decode_join_info(msgspec.json.encode(raw)) == INFO


@pytest.mark.parametrize("network", ["", "10.42.0.0/99", "10.42.0.1/16", "::/0", "everything"])
def test_info_without_a_proper_overlay_network_is_refused(network: str) -> None:
    with pytest.raises(DecodeError, match="not a Corral node"):
        join.decode_join_info(join.encode_join_info(msgspec.structs.replace(INFO, overlay_network=network)))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"a":' * 20000, b"\xff\xfe"])
def test_info_of_something_else_says_that_it_is_not_ours(body: bytes) -> None:
    with pytest.raises(DecodeError, match="not a Corral node"):
        join.decode_join_info(body)
