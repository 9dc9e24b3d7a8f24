"""What a joining host and a member say before the host has a certificate.

The vocabulary of the unauthenticated part of the peer port, its bounds and its codec.  Order: the joiner fetches
JoinInfo over the API, holds its CA against the token, and only then, over TLS verified with it, says the secret.
What is made of it is decided in protocol/admission.  Never does I/O; times are seconds since the epoch.
"""

from ipaddress import IPv4Network
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocol.errors import DecodeError

API_PORT: Final = 8080
PEER_PORT: Final = 8090
"""TCP for peer links and UDP for gossip."""

WIREGUARD_PORT: Final = 51820
VXLAN_PORT: Final = 4789

MAX_JOIN_BYTES = 128 * 1024
MAX_INFO_BYTES = 256 * 1024

Word = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
Pem = Annotated[str, Meta(max_length=16 * 1024)]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?\Z", max_length=63)]
NodeIdText = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z", max_length=32)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Seconds = Annotated[float, Meta(ge=0, le=1e11)]
Mtu = Annotated[int, Meta(ge=0, le=65536)]
OverlayMode = Literal["wireguard", "vxlan"]


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a member's peer port is."""

    address: Word
    port: Port


Endpoints = Annotated[tuple[Endpoint, ...], Meta(max_length=256)]


class JoinInfo(msgspec.Struct, frozen=True):
    """Served to anybody at GET /v1/join; nothing in it is believed before its CA matches the token's digest.

    The one message that may grow fields freely: a joiner of any release reads it first.
    """

    cluster_id: Word
    ca: Pem
    peers: Endpoints
    version: Word
    feature_level: Annotated[int, Meta(ge=0)]
    overlay_mode: OverlayMode
    overlay_network: Word
    clock: Seconds


class KernelFeatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a host can build an overlay from."""

    wireguard_kernel: bool
    wireguard_go: bool
    vxlan: bool
    tun: bool
    nft: bool


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a joining host says of itself; the member checks it and believes no more than it must."""

    name: HostName
    node_id: NodeIdText
    version: Word
    feature_level: Annotated[int, Meta(ge=0, le=1_000_000)]
    clock: Seconds
    docker_api: Word
    """The engine's API version, "1.41"; empty when it could not be asked."""

    docker_version: Word
    kernel: KernelFeatures
    addresses: Annotated[tuple[Word, ...], Meta(max_length=128)]
    advertise: Word
    api_port: Port
    peer_port: Port
    overlay_port: Port
    range_in_use: Annotated[tuple[Text, ...], Meta(max_length=32)]
    """What on the host overlaps the overlay's range, in words: "10.42.7.0/24 on eth1"."""

    underlay_mtu: Mtu


class TokenProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the join token a member needs; its secret never shows in a log."""

    environment_id: Word
    token_id: Word
    secret: Word

    def __repr__(self) -> str:
        return f"TokenProof(environment_id={self.environment_id!r}, token_id={self.token_id!r}, secret=…)"


class PreflightRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="preflight"):
    """Ask a member to check these facts and to probe this host's ports, which answer for the nonce's key."""

    token: TokenProof
    facts: Facts
    nonce: Annotated[bytes, Meta(min_length=16, max_length=64)]


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was checked, and what to do when it is not well."""

    check: Text
    level: Literal["ok", "warn", "fail"]
    detail: Text = ""
    try_: Text = msgspec.field(default="", name="try")

    @property
    def ok(self) -> bool:
        """False only for what makes a join impossible; a warning does not."""
        return self.level != "fail"


Findings = Annotated[tuple[Finding, ...], Meta(max_length=128)]


class PreflightReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="preflight-reply"):
    """What a member found, its own probes of the joiner among it; `name` is the member's."""

    name: Word
    findings: Findings
    overlay_port: Port | None
    """The member's, for the joiner to probe; None where the member builds no overlay."""


class JoinRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="join"):
    """Ask to become a host of the token's environment."""

    token: TokenProof
    csr: Annotated[bytes, Meta(max_length=4096)]
    facts: Facts
    wireguard_key: Key32
    """Public half."""

    seal_key: Key32
    """Public half of the X25519 key that sealed secrets are opened with."""

    labels: Annotated[dict[Word, Text], Meta(max_length=64)]


class GossipKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key of the gossip ring, as protocol/seal takes it; it never shows in a log."""

    key: Key32

    def __repr__(self) -> str:
        return "GossipKey(…)"


class OverlayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this cluster's overlay is built; the host's own subnet follows through replicated state."""

    mode: OverlayMode
    network: Word
    port: Port


class JoinReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="joined"):
    """The host is a member: everything it needs to speak to the others."""

    certificate: Annotated[bytes, Meta(max_length=8192)]
    """DER."""

    ca: Annotated[bytes, Meta(max_length=8192)]
    """DER."""

    gossip_keys: Annotated[tuple[GossipKey, ...], Meta(min_length=1, max_length=8)]
    """The first seals; all of them open."""

    cluster_id: Word
    environment_id: Word
    environment_name: Word
    host_id: Word
    members: Endpoints
    overlay: OverlayConfig


RefusalCode = Literal[
    "token_malformed",
    "token_unknown",
    "token_expired",
    "token_rotated",
    "wrong_cluster",
    "already_member",
    "name_taken",
    "preflight_failed",
    "bad_request",
    "no_leader",
    "busy",
]


class JoinRefused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """Nothing was written; why, and what to try."""

    code: RefusalCode
    message: Text
    try_: Text = msgspec.field(default="", name="try")


JoinMessage = PreflightRequest | PreflightReply | JoinRequest | JoinReply | JoinRefused

_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[JoinMessage] = msgspec.msgpack.Decoder(JoinMessage)
_json_encoder = msgspec.json.Encoder()
_info_decoder = msgspec.json.Decoder(JoinInfo)


def encode_join(message: JoinMessage) -> bytes:
    """Return the message as the payload of one frame."""
    payload = _encoder.encode(message)
    if len(payload) > MAX_JOIN_BYTES:
        raise ValueError(f"expected a join message of at most {MAX_JOIN_BYTES} bytes, made one of {len(payload)}")
    return payload


def decode_join(payload: bytes) -> JoinMessage:
    """Return the message, or raise DecodeError naming the field that is wrong."""
    if len(payload) > MAX_JOIN_BYTES:
        raise DecodeError(f"expected a join message of at most {MAX_JOIN_BYTES} bytes, got {len(payload)}")
    try:
        return _decoder.decode(payload)
    except _DECODE_ERRORS as error:
        raise DecodeError(f"expected a join message: {error}") from error


def encode_join_info(info: JoinInfo) -> bytes:
    """Return the JSON body of GET /v1/join."""
    return _json_encoder.encode(info)


def decode_join_info(body: bytes) -> JoinInfo:
    """Return what the API said, or raise DecodeError: then the URL is not a Corral node's."""
    if len(body) > MAX_INFO_BYTES:
        raise DecodeError(f"expected at most {MAX_INFO_BYTES} bytes from /v1/join, got {len(body)}")
    try:
        info = _info_decoder.decode(body)
        IPv4Network(info.overlay_network)
        return info
    except _DECODE_ERRORS as error:
        raise DecodeError(f"the answer is not a Corral node's: {error}") from error
